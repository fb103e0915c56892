//! The agent that the demo upgrades to.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::main("1.1.0")
}
