//! From the command line to one command, and from its end to an exit code.

use std::io::Write as _;
use std::process::ExitCode;

use clap::CommandFactory as _;
use domain::Version;
use executor_sdk::{program, report};

use crate::args::{Arguments, Command, Ready, Run};
use crate::run;

/// Bad configuration (EX_CONFIG of sysexits.h).
const BAD_CONFIGURATION: u8 = 78;

/// Runs the program as this version.
pub(crate) fn main(version: &'static str) -> ExitCode {
    let arguments: Arguments = match program::arguments(Arguments::command(), version) {
        Ok(arguments) => arguments,
        Err(code) => return code,
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
    // To stderr, where the cluster collects it.
    program::log(arguments.log_format, arguments.log_level, std::io::stderr);
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
