//! `novacula`: the command line of the control plane.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
