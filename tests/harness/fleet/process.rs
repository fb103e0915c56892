//! Programs that run beside a test: their output in a file, and never left behind.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

/// Lines shown of a program that failed.
const SHOWN: usize = 40;

/// A program that runs; killed with its children when dropped.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` so that it is killed even when the test is; its output is added to `log`.
    pub(super) fn start(program: &Path, set_up: impl FnOnce(&mut Command), log: &Path) -> Result<Self> {
        let file =
            File::options().create(true).append(true).open(log).with_context(|| format!("open {}", log.display()))?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        set_up(&mut command);
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().context("share the log")?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn signal(&self, signal: rustix::process::Signal) -> Result<()> {
        let pid = pid(self.id()).context("a process id")?;
        rustix::process::kill_process(pid, signal).context("signal a program")
    }

    pub(super) fn expect_alive(&mut self) -> Result<()> {
        match self.child.try_wait().context("look at a program")? {
            None => Ok(()),
            Some(status) => bail!("it ended with {status}:\n{}", last_lines(&self.log)),
        }
    }

    /// The one child of this process, if it has one now.
    pub(super) fn only_child(&self) -> Option<u32> {
        children(self.id()).first().copied()
    }

    pub(super) fn kill(&mut self) {
        let children = children(self.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        for child in children.into_iter().filter_map(pid) {
            // It may be gone already.
            let _ = rustix::process::kill_process(child, rustix::process::Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The end of a log.
pub(super) fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

fn children(parent: u32) -> Vec<u32> {
    crate::lab::children(parent)
}

fn pid(number: u32) -> Option<rustix::process::Pid> {
    rustix::process::Pid::from_raw(i32::try_from(number).ok()?)
}
