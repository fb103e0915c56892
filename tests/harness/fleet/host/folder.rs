//! A folder that looks like a host: a binary, its state, its settings, and `run --supervise` over them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::fleet::process::Process;

/// Puts the folder `$1` on a disk of its own, and goes on as the rest.
const ON_A_SMALL_DISK: &str = "mkdir -p \"$1.small\" && mount -t tmpfs -o size=1m,mode=755 small \"$1.small\" && \
                               cp -a \"$1/.\" \"$1.small\" && mount --move \"$1.small\" \"$1\" && shift && exec \"$@\"";

/// A folder that looks like a host.
#[derive(Debug)]
pub struct Folder {
    pub(super) path: PathBuf,
    pub(super) environment: Vec<(String, OsString)>,
    pub(super) parent: Option<Process>,
    pub(super) disk: Disk,
}

/// Where a supervised agent's state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disk {
    /// On the disk of the tests, like everything else.
    Shared,
    /// On one of its own, which begins as a copy, is seen by agent and parent alone, and goes with them.
    Small,
}

// === impl Folder ===

impl Folder {
    pub(super) fn start(&mut self) -> Result<()> {
        let set_up = |command: &mut Command| {
            command
                .args(self.paths())
                .args(["run", "--supervise"])
                .env_remove("NOTIFY_SOCKET")
                .env_remove("INVOCATION_ID")
                .envs(self.environment.iter().cloned());
        };
        let started = match self.disk {
            Disk::Shared => Process::start(&self.binary(), set_up, &self.log()),
            Disk::Small => {
                let small = |command: &mut Command| {
                    command.args(["--mount", "--propagation", "private", "sh", "-c", ON_A_SMALL_DISK, "sh"]);
                    set_up(command.arg(self.state()).arg(self.binary()));
                };
                Process::start(Path::new("unshare"), small, &self.log())
            }
        };
        self.parent = Some(started?);
        Ok(())
    }

    pub(super) fn state(&self) -> PathBuf {
        self.path.join("state")
    }

    pub(super) fn state_seen(&self) -> PathBuf {
        let (state, parent) = (self.state(), self.parent.as_ref());
        match (self.disk, parent) {
            (Disk::Small, Some(parent)) => {
                let seen = Path::new("/proc").join(parent.id().to_string()).join("root");
                seen.join(state.strip_prefix("/").unwrap_or(&state))
            }
            (Disk::Shared | Disk::Small, _) => state,
        }
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(self.binary());
        command.args(self.paths()).stdin(Stdio::null());
        command
    }

    fn paths(&self) -> Vec<PathBuf> {
        let flag = |name: &str, path: PathBuf| [PathBuf::from(name), path];
        [
            flag("--binary", self.binary()),
            flag("--state-dir", self.state()),
            flag("--config", self.path.join("agent.toml")),
        ]
        .concat()
    }

    pub(super) fn binary(&self) -> PathBuf {
        self.path.join("bin/novacula-agent")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("supervise.log")
    }
}
