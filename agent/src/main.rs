//! The agent's binary: its own version, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    novacula_agent::main(env!("CARGO_PKG_VERSION"))
}
