//! The agent that cannot start: it dies as a program does that finds its configuration changed under it. `--version` and the like still
//! answer, so that it passes every check but the one that counts.

#![expect(clippy::print_stderr, reason = "its last words are what the rollback has to show")]

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    if env::args().nth(1).as_deref() != Some("run") {
        return agent::main("1.2.0");
    }
    eprintln!("novacula-agent 1.2.0 starting");
    eprintln!("reading /etc/novacula/agent.toml");
    eprintln!("fatal: unknown field `chanel`, expected `channel` at line 3");
    ExitCode::from(78)
}
