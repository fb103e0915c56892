//! The line to a cluster: its script, told by its input, answering by its output, and ended by the end of either.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process_group};

use super::SOON;
use crate::wait;

#[derive(Debug)]
pub(super) struct Line {
    script: Child,
    /// Closed, it ends the cluster.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

// === impl Line ===

impl Line {
    /// Starts the script and waits until the cluster can be used; `None` when it gave up.
    pub(super) fn open(mut command: Command) -> Result<Option<Self>> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A signal from the terminal is for the test.
        let mut script = command.process_group(0).spawn().context("start tests/kube/cluster.sh")?;
        let output = BufReader::new(script.stdout.take().context("the script has an output")?);
        let mut line = Self { input: script.stdin.take(), script, output };
        Ok(line.read()?.starts_with("READY ").then_some(line))
    }

    pub(super) fn tell(&mut self, verb: &str, name: &str) -> Result<()> {
        let input = self.input.as_mut().context("the cluster has ended")?;
        writeln!(input, "{verb} {name}")?;
        let answer = self.read()?;
        ensure!(answer == format!("DONE {verb} {name}\n"), "the cluster answered {answer:?}");
        Ok(())
    }

    /// Its input ends, and so does it; by force where it does not. Safe to call twice.
    pub(super) fn end(&mut self) {
        if self.input.take().is_none() {
            return;
        }
        let ended = wait::until("the cluster's end", SOON, || Ok(self.script.try_wait()?.is_some()), |ended| *ended);
        if ended.is_err() {
            let group = i32::try_from(self.script.id()).ok().and_then(Pid::from_raw);
            let _ = group.map(|group| kill_process_group(group, Signal::KILL));
            let _ = self.script.wait();
        }
    }

    fn read(&mut self) -> Result<String> {
        let mut said = String::new();
        self.output.read_line(&mut said)?;
        Ok(said)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.end();
    }
}
