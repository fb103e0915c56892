//! The agent that the demo begins with.

use std::process::ExitCode;

fn main() -> ExitCode {
    agent::main("1.0.0")
}
