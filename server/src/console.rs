//! What the program does for the person (or the service manager) who starts it: runs, makes the first tokens, judges the
//! configuration. Data goes to standard output, everything else to standard error.
//!
//! Exit codes (API.md): 0 done, 1 failed, 2 usage (clap), 78 bad configuration.

mod authority;

mod bootstrap;

mod import;

mod restore;

mod serve;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use domain::Version;
use store::postgres::OpenError;

use crate::app::App;
use crate::app::authority::AuthorityError;
use crate::args::{Arguments, Command};
use crate::config::{self, Config, Log, LogFormat};
use crate::observe::{self, logs};
use crate::run::{World, parts};

/// EX_CONFIG of sysexits.h.
const BAD_CONFIGURATION: u8 = 78;

/// Carries out a command.
#[must_use]
pub fn main(arguments: Arguments) -> ExitCode {
    let judged = Config::resolve(arguments.settings, version());
    let config = match judged.and_then(|config| config.check_files().map(|()| config)) {
        Ok(config) => config,
        Err(error) => {
            complain(&error.to_string());
            return ExitCode::from(BAD_CONFIGURATION);
        }
    };
    if let Command::CheckConfig = arguments.command {
        say("the configuration is good");
        return ExitCode::SUCCESS;
    }
    begin_to_log(config.log);
    match carry_out(arguments.command, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&observe::chain(error.as_ref()));
            let open = error.chain().find_map(|cause| cause.downcast_ref::<OpenError>());
            let authority = error.chain().find_map(|cause| cause.downcast_ref::<AuthorityError>());
            let configuration = open.is_some_and(OpenError::is_configuration)
                || authority.is_some_and(AuthorityError::is_configuration);
            if configuration || error.is::<config::Error>() {
                return ExitCode::from(BAD_CONFIGURATION);
            }
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command, config: Config) -> anyhow::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the async runtime")?;
    runtime.block_on(async {
        match command {
            Command::Run => serve::serve(config).await,
            Command::Bootstrap(wanted) => bootstrap::bootstrap(&config, wanted).await,
            Command::Migrate => open(&config).await.map(|_| say("the database has this version's schema")),
            Command::AfterRestore(wanted) => restore::after_restore(&config, wanted).await,
            Command::Authority { command } => authority::authority(&config, command).await,
            Command::Import(wanted) => import::carry_over(&config, &wanted).await,
            Command::CheckConfig => Ok(()),
        }
    })
}

/// Opens the store for a command. A data directory's is refused while a server holds it: it is one process's.
async fn open(config: &Config) -> anyhow::Result<Arc<App>> {
    Ok(parts::open(config, &World::default(), config.executor_listen).await?.app)
}

/// This build's version.
///
/// # Panics
/// Never: cargo refuses a manifest whose version is no SemVer.
#[must_use]
pub fn version() -> Version {
    env!("CARGO_PKG_VERSION").parse().expect("cargo checked the version of the manifest")
}

fn begin_to_log(log: Log) {
    let format = match log.format {
        LogFormat::Automatic => None,
        LogFormat::Text => Some(logs::Format::Text),
        LogFormat::Json => Some(logs::Format::Json),
    };
    logs::install(log.level, format);
}

#[expect(clippy::print_stdout, reason = "what a command was asked for goes to standard output")]
fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "logging may not have begun")]
fn complain(text: &str) {
    eprintln!("novacula-server: {text}");
}
