//! From the command line to one command, and from its end to an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use domain::Version;
use executor_sdk::release_keys::{BuildKind, build_kind};
use executor_sdk::report;
use tracing_subscriber::fmt;

use crate::args::{Arguments, Command, LogFormat, Ready, Run};
use crate::run;

/// Bad configuration (EX_CONFIG of sysexits.h).
const BAD_CONFIGURATION: u8 = 78;

/// Runs the program as this version.
pub(crate) fn main(version: &'static str) -> ExitCode {
    let shown = match build_kind() {
        BuildKind::Development => format!("{version} (development build)"),
        BuildKind::Release => version.to_owned(),
    };
    let command = Arguments::command().version(&*shown.leak());
    let arguments = match command.try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are data, and end with 0; clap knows.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match arguments.command {
        Command::Run(arguments) => match begin(version, *arguments) {
            Ok(()) => ExitCode::SUCCESS,
            Err(Failure { why, code }) => {
                let _ = writeln!(std::io::stderr().lock(), "novacula-operator: {why}");
                code
            }
        },
        Command::Ready(ready) => is_ready(&ready),
    }
}

/// Why it ended, for people and for whoever started it.
struct Failure {
    why: String,
    code: ExitCode,
}

impl Failure {
    fn because(error: &(dyn std::error::Error + 'static)) -> Self {
        Self { why: report::chain(error), code: ExitCode::FAILURE }
    }
}

impl From<run::Error> for Failure {
    fn from(error: run::Error) -> Self {
        let failure = Self::because(&error);
        match error {
            run::Error::Configuration(_) => Self { code: ExitCode::from(BAD_CONFIGURATION), ..failure },
            run::Error::Cluster(_) | run::Error::Signals(_) => failure,
        }
    }
}

fn begin(version: &str, arguments: Run) -> Result<(), Failure> {
    let version: Version = version.parse().map_err(|error: domain::version::Error| Failure::because(&error))?;
    log(&arguments);
    #[cfg(feature = "fault-points")]
    crate::misbehaviour::at_start();
    // One thread: an operator that idles is one of many things in its cluster.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because(&error))?;
    Ok(runtime.block_on(run::run(version, arguments))?)
}

/// By the file that `run` makes once it has proved itself.
fn is_ready(ready: &Ready) -> ExitCode {
    if ready.ready_file.exists() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// To stderr, where the cluster collects it.
fn log(arguments: &Run) {
    let base =
        fmt().with_writer(std::io::stderr).with_max_level(arguments.log_level).with_target(false).with_ansi(false);
    // A second subscriber in one process is a test's; the first one stays.
    let _ = match arguments.log_format {
        LogFormat::Json => base.json().try_init(),
        LogFormat::Text => base.try_init(),
    };
}
