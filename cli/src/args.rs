//! What may be asked on the command line. Flags and environment are declared here, a room for each noun, and nowhere else.

pub(crate) mod executor;

pub(crate) mod upgrade;

pub(crate) mod release;

pub(crate) mod people;

pub(crate) mod event;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use event::Event;
use executor::Executor;
use people::{JoinToken, Organization, Token};
use release::Release;
use upgrade::Upgrade;

const EXAMPLES: &str = "\
Examples:
  novacula login --server https://control:7443 --ca ca.pem --token-file token --organization acme
  novacula executor list
  novacula upgrade targets web-1
  novacula upgrade request web-1 1.2.0 --wait
  novacula executor explain web-1          why is it not moving?

Exit codes: 0 done; 1 refused or failed; 2 usage; 3 not reachable; 4 timed out waiting; 78 bad configuration.";

/// Upgrades the software that runs on other people's machines: the command line of the Novacula control plane.
#[derive(Debug, Parser)]
#[command(name = "novacula", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which control plane, as whom, and how to print.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Connection {
    /// API listener, `https://host:port` [default: the context's, else <https://127.0.0.1:7443>]
    #[arg(long, global = true, env = "NOVACULA_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// PEM file of the authority to trust (`<data-dir>/ca.pem` of the control plane)
    #[arg(long, global = true, env = "NOVACULA_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// File with the bearer token on its first line; `-` reads standard input
    #[arg(long, global = true, env = "NOVACULA_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Organization for short names, `acme`
    #[arg(long, short = 'O', global = true, env = "NOVACULA_ORGANIZATION", value_name = "ID")]
    pub(crate) organization: Option<String>,
    /// Context of the configuration file to use
    #[arg(long, global = true, env = "NOVACULA_CONTEXT", value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Print tables for people or JSON (proto3 JSON, one document or one a line when watching) for programs
    #[arg(long, short, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Longest time for one call, such as `30s`; watching and waiting have limits of their own
    #[arg(long, global = true, value_parser = humantime::parse_duration, default_value = "30s", value_name = "DURATION")]
    pub(crate) timeout: Duration,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Executors: who is there, what they run, why one is not moving
    #[command(subcommand)]
    Executor(Executor),
    /// Upgrades: ask, cancel, follow
    #[command(subcommand)]
    Upgrade(Upgrade),
    /// The release catalog
    #[command(subcommand)]
    Release(Release),
    /// Organizations
    #[command(subcommand)]
    Organization(Organization),
    /// Join tokens: what lets an executor enrol
    #[command(subcommand)]
    JoinToken(JoinToken),
    /// Bearer tokens of people and programs
    #[command(subcommand)]
    Token(Token),
    /// The event feed and the audit log
    #[command(subcommand)]
    Event(Event),
    /// Check a server and token, and keep them as a context
    Login(Login),
    /// Contexts of the configuration file
    #[command(subcommand)]
    Context(Context),
    /// Who the token says you are
    Whoami,
    /// Print a completion script: `source <(novacula completions bash)`
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

/// A channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Channel {
    /// For everyone.
    Stable,
    /// For those who test ahead.
    Beta,
    /// For those who build it.
    Dev,
}

/// A kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// One binary under systemd.
    Agent,
    /// One Deployment in Kubernetes.
    Operator,
}

/// `novacula login`
#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// Name of the context to write and make current
    #[arg(default_value = "default")]
    pub(crate) name: String,
}

/// `novacula context …`
#[derive(Debug, Subcommand)]
pub(crate) enum Context {
    /// List contexts; the current one is marked
    List,
    /// Make a context current
    Use {
        /// Its name
        name: String,
    },
    /// Forget a context and the token kept for it
    Remove {
        /// Its name
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn usage_errors_end_with_2() {
        let error = Args::try_parse_from(["novacula", "upgrade", "request", "web-1"]).expect_err("no version");
        assert_eq!(error.exit_code(), 2);
    }
}
