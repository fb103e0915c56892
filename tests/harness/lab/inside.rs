//! What a test does with a machine that is on: commands, units, journal, cable.

use std::{
    ffi::OsStr,
    net::Ipv4Addr,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{Entry, Lab, journal, network::Cable, proc};
use crate::wait;

impl Lab {
    /// A command inside, not started yet, with a clean environment; give it arguments as usual.
    ///
    /// # Errors
    ///
    /// When the machine is off.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let machine = self.machine.as_ref().context("the machine is off")?;
        Ok(machine.command(program.as_ref()))
    }

    /// Runs a command inside to its end, whatever its exit code.
    ///
    /// # Errors
    ///
    /// When the machine is off or the command cannot be started.
    pub fn exec<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Result<Output> {
        let mut words = command.into_iter();
        let program = words.next().context("a command has at least one word")?;
        let output = self.command(program)?.args(words).output();
        output.context("start nsenter")
    }

    /// Runs a command inside that must succeed, and returns what it printed, without the last line's end.
    ///
    /// # Errors
    ///
    /// When it fails: the error shows the exit code and both outputs.
    pub fn run<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Result<String> {
        let words: Vec<_> = command.into_iter().collect();
        let output = self.exec(&words)?;
        let shown = words.iter().map(|word| word.as_ref().to_string_lossy());
        proc::succeeded(&shown.collect::<Vec<_>>().join(" "), &output)
    }

    /// One property of a unit, as `systemctl show` prints it.
    ///
    /// # Errors
    ///
    /// When the machine is off.
    pub fn property(&self, unit: &str, property: &str) -> Result<String> {
        self.run(["systemctl", "show", "--value", "--property", property, unit])
    }

    /// Waits until a property of a unit has a value, such as `ActiveState` `active`.
    ///
    /// # Errors
    ///
    /// When `limit` passes first: the error says the last value and ends with the unit's journal.
    pub fn wait_for(&self, unit: &str, property: &str, value: &str, limit: Duration) -> Result<()> {
        let what = format!("{property} of {unit} to be `{value}`");
        let waited = wait::until(&what, limit, || self.property(unit, property), |seen| seen == value);
        match waited {
            Ok(_) => Ok(()),
            Err(error) => bail!("{error:#}\n{}", self.last_words(unit)),
        }
    }

    /// The journal, oldest first and of all boots: of one unit, or of everything. The machine may be off.
    ///
    /// # Errors
    ///
    /// When `journalctl` fails.
    pub fn journal(&self, unit: Option<&str>) -> Result<Vec<Entry>> {
        journal::read(&self.path("/var/log/journal")?, unit)
    }

    /// The process that is the machine's first, as the host numbers it.
    ///
    /// # Errors
    ///
    /// When the machine is off.
    pub fn leader(&self) -> Result<u32> {
        Ok(self.machine.as_ref().context("the machine is off")?.leader())
    }

    fn last_words(&self, unit: &str) -> String {
        let entries = self.journal(Some(unit)).unwrap_or_default();
        let tail = entries.iter().skip(entries.len().saturating_sub(30));
        tail.map(|entry| format!("  {}: {}\n", entry.identifier, entry.message)).collect()
    }
}

impl Lab {
    /// The host as the machine sees it, with [`Network::Own`](super::Network::Own).
    #[must_use]
    pub fn host_address(&self) -> Option<Ipv4Addr> {
        self.cable.as_ref().map(Cable::host)
    }

    /// The machine as the host sees it, with [`Network::Own`](super::Network::Own).
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.cable.as_ref().map(Cable::machine)
    }

    /// Pulls the cable: packets vanish both ways, and nobody is told.
    ///
    /// # Errors
    ///
    /// Without [`Network::Own`](super::Network::Own).
    pub fn unplug(&self) -> Result<()> {
        self.cable.as_ref().context("the machine shares the host's network")?.unplug()
    }

    /// Puts the cable back.
    ///
    /// # Errors
    ///
    /// Without [`Network::Own`](super::Network::Own).
    pub fn plug(&self) -> Result<()> {
        self.cable.as_ref().context("the machine shares the host's network")?.plug()
    }
}
