//! From the command line to one command, and from its end to an exit code. The only wiring.

use std::ffi::OsString;
use std::process::ExitCode;

use domain::Version;
use executor_sdk::program;
use executor_sdk::report::chain;
use tokio::runtime::Runtime;

use crate::args::{self, Arguments, Command, Run};
use crate::config::Config;
use crate::exit::Failure;
use crate::layout::Layout;
use crate::output::{Impatient, tell};
use crate::service_manager::supervise::elder::elder;
use crate::service_manager::supervise::handover::{Origin, Settings, give_way_to};
use crate::service_manager::supervise::parent::{Ended, Parent};
use crate::{doctor, enroll, install, pin, run, status, ways_back};

/// Runs the program as this version.
pub(crate) fn main(version: &'static str) -> ExitCode {
    let arguments = match program::arguments(args::parser(), version) {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    match begin(arguments, version) {
        Ok(code) => code,
        Err(failure) => {
            tell(&format!("novacula-agent: {failure}"));
            failure.exit_code()
        }
    }
}

fn begin(arguments: Arguments, version: &str) -> Result<ExitCode, Failure> {
    let layout = arguments.layout();
    if let Command::Run(Run { supervise: true }) = &arguments.command {
        give_way(&layout);
        let settings = Settings::read(layout.config()).map_err(|error| Failure::configuration(&error))?;
        log(&settings.config, &arguments.command);
        settings.tell();
        return supervise(&layout, &settings);
    }
    let version: Version = version.parse().map_err(|error: domain::version::Error| Failure::failed(chain(&error)))?;
    // Only `run` needs a configuration that is right; the ways back and `doctor` work under a broken one.
    let config = match &arguments.command {
        Command::Run(_) => Config::read(layout.config()).map_err(|error| Failure::configuration(&error))?,
        _ => Config::read(layout.config()).unwrap_or_default(),
    };
    log(&config, &arguments.command);
    runtime()?.block_on(command(arguments.command, &layout, version, config))?;
    Ok(ExitCode::SUCCESS)
}

/// One thread: an agent that idles is one of many things on its host.
fn runtime() -> Result<Runtime, Failure> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    #[cfg(feature = "fault-points")]
    crate::fault::in_one_order(&mut runtime);
    runtime.enable_all().build().map_err(|error| Failure::failed(format!("start the runtime: {error}")))
}

async fn command(command: Command, layout: &Layout, version: Version, config: Config) -> Result<(), Failure> {
    match command {
        Command::Enroll(arguments) => enroll::enroll(layout, &arguments).await?,
        Command::Run(_) => {
            die_with_the_supervisor();
            #[cfg(feature = "fault-points")]
            crate::misbehaviour::at_start();
            run::run(layout.clone(), version, config).await?;
        }
        Command::Install(arguments) => install::install(layout, &arguments).await?,
        Command::Uninstall(arguments) => install::uninstall(layout, &arguments).await?,
        Command::Status(arguments) => status::status(layout, &version, arguments.output).await?,
        Command::Rollback(arguments) => ways_back::by_a_person(layout, arguments.reason.as_deref()).await?,
        Command::Pin(arguments) => {
            pin::pin(layout, &arguments.reason).map_err(|error| Failure::because(&error))?;
            tell("pinned; it shows at the agent's next connection, and counts at once");
        }
        Command::Unpin => {
            let was = pin::unpin(layout).map_err(|error| Failure::because(&error))?;
            tell(if was { "upgrades are accepted again" } else { "it was not pinned" });
        }
        Command::Doctor(arguments) => doctor::doctor(layout, &arguments).await?,
        Command::BeforeStart => ways_back::before_start(layout).await?,
        Command::RollbackOnFailure => ways_back::rollback_on_failure(layout).await?,
        Command::DeadMan => ways_back::dead_man(layout).await?,
    }
    Ok(())
}

/// The parent's life, of which a version that takes over is another chapter.
fn supervise(layout: &Layout, settings: &Settings) -> Result<ExitCode, Failure> {
    #[cfg(feature = "fault-points")]
    crate::misbehaviour::at_supervision();
    let mut arguments: Vec<OsString> = vec!["run".into()];
    for (flag, path) in
        [("--binary", layout.binary()), ("--state-dir", layout.state_dir()), ("--config", layout.config())]
    {
        arguments.extend([flag.into(), path.into()]);
    }
    let mut parent = Parent {
        layout: layout.clone(),
        arguments,
        window: settings.config.dead_man_window,
        origin: settings.origin,
        probe: async || ways_back::probe(layout).await,
    };
    loop {
        match runtime()?.block_on(parent.run()).map_err(|error| Failure::because(&error))? {
            Ended::Stopped => return Ok(ExitCode::SUCCESS),
            Ended::Reexecute => {
                tracing::info!("going on as the confirmed version");
                let failure = settings.leave_to(layout.binary());
                tracing::error!(%failure, "the version before supervises the confirmed one");
                parent.origin = Origin::TookOver;
            }
        }
    }
}

/// A child whose parent was killed would run on beside the next parent's child.
fn die_with_the_supervisor() {
    use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
    let Ok(parent) = std::env::var(crate::service_manager::SUPERVISED) else {
        return;
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        tracing::warn!(%error, "this process may outlive its supervisor");
    }
    let still_there = parent.parse().ok().and_then(Pid::from_raw) == getppid();
    if !still_there {
        tracing::warn!("the supervisor is gone already");
    }
}

/// An unconfirmed version lets the old one supervise it. Returns when there is no need to, or no way.
fn give_way(layout: &Layout) {
    let Some(previous) = elder(layout) else {
        return;
    };
    tell("novacula-agent: an upgrade is open, and its old version supervises it: going on as .prev");
    let failure = give_way_to(&previous);
    tell(&format!("novacula-agent: {failure}; an unconfirmed version supervises itself"));
}

/// Logs to stderr.
fn log(config: &Config, command: &Command) {
    let quiet = matches!(command, Command::Status(_) | Command::Pin(_) | Command::Unpin | Command::Enroll(_));
    let level = if quiet { tracing::Level::WARN } else { config.log_level };
    // Whom others rely on must not wait for a reader of the log.
    match command {
        Command::Run(Run { supervise: true }) => program::log(config.log_format, level, Impatient::default),
        _ => program::log(config.log_format, level, std::io::stderr),
    }
}
