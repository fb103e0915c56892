//! The command line: flags and environment are declared here and nowhere else.

use std::env;
use std::path::PathBuf;

use clap::{Arg, Args, CommandFactory as _, Parser, Subcommand};

use crate::layout::{self, Layout};
use crate::output::Format;

/// The Novacula agent.
///
/// One binary that the control plane upgrades and that comes back by itself when an upgrade fails.
#[derive(Debug, Parser)]
#[command(name = "novacula-agent", max_term_width = 100, after_help = STORY)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub(crate) paths: Paths,
}

const STORY: &str = "\
A host joins in three steps, as root:
  ./novacula-agent install --no-start                                    binary, units, directories
  /opt/novacula/bin/novacula-agent enroll --join-token-file join-token   a certificate for this host
  systemctl start novacula-agent                                         the agent and its dead man
When in doubt: /opt/novacula/bin/novacula-agent doctor

Exit codes: 0 done, 1 refused or failed, 2 usage, 3 control plane not reachable, 78 bad configuration.";

/// Where things are; the defaults are the packaged layout.
#[derive(Debug, Args)]
#[command(next_help_heading = "Paths")]
pub(crate) struct Paths {
    /// The agent's binary: what upgrades replace
    #[arg(long, global = true, env = "NOVACULA_AGENT_BINARY", value_name = "FILE", default_value = layout::BINARY)]
    binary: PathBuf,
    /// Journal, certificate and pin
    #[arg(long, global = true, env = "NOVACULA_AGENT_STATE_DIR", value_name = "DIR", default_value = layout::STATE_DIR)]
    state_dir: PathBuf,
    /// The host's own settings; may be missing
    #[arg(long, global = true, env = "NOVACULA_AGENT_CONFIG", value_name = "FILE", default_value = layout::CONFIG)]
    config: PathBuf,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Exchange a join token for this host's certificate
    ///
    /// The token names the control plane and the key it must prove. This host's private key never leaves it. Repeating the
    /// command after a lost answer is safe.
    Enroll(Enroll),
    /// Run the agent; systemd does this
    Run(Run),
    /// Put binary, units and directories in place, and start
    ///
    /// Copies this very file to the binary's path, writes hardened systemd units and enables them. Repeating it is safe.
    Install(Install),
    /// Stop, and remove the units
    Uninstall(Uninstall),
    /// What runs here, what is kept to go back to, and which upgrade is open
    Status(Print),
    /// Bring the previous version back
    ///
    /// Puts the last known good binary (.prev) in the binary's place and restarts. With an upgrade open, that ends it as rolled back.
    Rollback(Rollback),
    /// Refuse upgrades on this host
    Pin(Pin),
    /// Accept upgrades again
    Unpin,
    /// Check everything an upgrade needs, and say how to mend it
    ///
    /// Exits 1 when an upgrade would be refused or could not be undone.
    Doctor(Doctor),
    /// Count a start of an unconfirmed version (run by the unit, with the old code)
    #[command(hide = true)]
    BeforeStart,
    /// Act on a crash loop (run by OnFailure=)
    #[command(hide = true)]
    RollbackOnFailure,
    /// Look whether an unconfirmed version went silent (run by the timer, with the old code)
    #[command(hide = true)]
    DeadMan,
}

/// How to enrol.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "source", args = ["join_token_file", "join_token"])]
pub struct Enroll {
    /// Read the join token from a file, or from stdin (-)
    #[arg(long, value_name = "FILE")]
    pub join_token_file: Option<PathBuf>,
    /// The join token itself; other users may see it in the process list
    #[arg(long, env = "NOVACULA_JOIN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub join_token: Option<String>,
    /// This host's name in its organization (1 to 63 of a-z, 0-9, -); default: the join token's, else the host name
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub(crate) print: Print,
}

/// How to run.
#[derive(Debug, Args)]
pub struct Run {
    /// Without systemd: stay as a parent that restarts the agent, brings the old version back, and upgrades itself
    #[arg(long)]
    pub supervise: bool,
}

/// How to install.
#[derive(Debug, Args)]
pub struct Install {
    /// Enable the units and start nothing yet
    #[arg(long)]
    pub no_start: bool,
    /// Write into this directory instead of /, for images; systemd is not told
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// How to uninstall.
#[derive(Debug, Args)]
pub struct Uninstall {
    /// Also remove the binary and its previous version, the settings, the journal and the certificate
    #[arg(long)]
    pub purge: bool,
}

/// How to print data.
#[derive(Clone, Copy, Debug, Args)]
pub struct Print {
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    pub output: Format,
}

/// Why to go back.
#[derive(Debug, Args)]
pub struct Rollback {
    /// What the control plane and its audit log are told
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// Why to refuse upgrades.
#[derive(Debug, Args)]
pub struct Pin {
    /// What people who ask for an upgrade are told
    #[arg(long, value_name = "TEXT", default_value = "pinned by hand")]
    pub reason: String,
}

/// What to check.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Do not dial the control plane
    #[arg(long)]
    pub offline: bool,
    #[command(flatten)]
    pub(crate) print: Print,
}

/// The command line with what the environment says, where it says anything: `NAME=` in a unit or in a container's description is
/// how people say nothing, and no reason to refuse a flag beside it.
pub(crate) fn parser() -> clap::Command {
    without_empty(Arguments::command())
}

fn without_empty(command: clap::Command) -> clap::Command {
    let is_empty = |arg: &Arg| arg.get_env().and_then(env::var_os).is_some_and(|value| value.is_empty());
    let unset = |arg: Arg| if is_empty(&arg) { arg.env(None) } else { arg };
    command.mut_args(unset).mut_subcommands(without_empty)
}

impl Arguments {
    /// The paths as one value.
    #[must_use]
    pub fn layout(&self) -> Layout {
        let Paths { binary, state_dir, config } = &self.paths;
        Layout::new(binary, state_dir, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_units_run_is_hidden_from_people() {
        let help = Arguments::command().render_long_help().to_string();
        for hidden in ["before-start", "dead-man", "rollback-on-failure"] {
            assert!(!help.contains(hidden), "{hidden}");
        }
        for shown in ["enroll", "run", "install", "uninstall", "status", "rollback", "pin", "unpin", "doctor"] {
            assert!(help.contains(&format!("  {shown} ")), "{shown}");
        }
    }

    #[test]
    fn help_and_readme_say_the_same_steps() {
        let readme = include_str!("../../README.md");
        let begin = readme.find("./novacula-agent install").unwrap();
        let (steps, doctor) = readme[begin..].split_once('\n').unwrap();
        for step in steps.split(" && ").chain(doctor.lines().next()) {
            assert!(STORY.contains(step), "{step}");
        }
    }

    #[test]
    fn one_source_of_the_token_is_needed() {
        let parse = |words: &[&str]| Arguments::try_parse_from([&["novacula-agent", "enroll"], words].concat());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--join-token", "x", "--join-token-file", "y"]).is_err());
        assert!(parse(&["--join-token-file", "-"]).is_ok());
    }
}
