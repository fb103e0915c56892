//! `novacula`, the command line of the control plane, as a library and a thin `main`.
//!
//! One invocation: [`args`] says what is asked, [`context`] which control plane and whose token, [`connect`] opens the channel, a
//! [`command`] makes one or a few calls, [`output`] prints for people or for programs. Data goes to stdout, everything else to
//! stderr. [`error`] holds the one mapping from what went wrong to an exit code (API.md).

#![expect(clippy::print_stderr, reason = "printing is what a command line does")]

mod args;

mod command;

mod connect;

mod context;

mod error;

mod names;

mod output;

mod progress;

mod time;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Args;
use crate::error::Error;

/// Runs one invocation with the process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return report(&Error::local("start the runtime", source)),
    };
    match runtime.block_on(command::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn report(error: &Error) -> ExitCode {
    eprintln!("novacula: {}", error.sentence());
    ExitCode::from(error.exit_code())
}
