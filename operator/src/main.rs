//! The operator's binary: its own version, and nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    novacula_operator::main(env!("CARGO_PKG_VERSION"))
}
