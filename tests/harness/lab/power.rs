//! Processes that stopped at a fault point, and their end.
//!
//! A process that stops itself holds still for as long as the test likes: it is then killed, or the machine's power is cut
//! ([`Lab::power_cut`]), at exactly that point.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Lab;
use crate::wait;

/// What the kernel calls a process that a signal stopped.
const STOPPED: &str = "T";

// === impl Lab ===

impl Lab {
    /// Waits for a process of the machine whose name begins with `name` to be stopped; returns its number inside.
    ///
    /// # Errors
    /// When there is none after `limit`, or the machine is off.
    pub fn wait_stopped(&self, name: &str, limit: Duration) -> Result<u32> {
        let what = format!("a process {name} to stop at its fault point");
        match wait::until(&what, limit, || self.stopped(name), Option::is_some)? {
            Some(pid) => Ok(pid),
            None => bail!("{what}: it did not"),
        }
    }

    /// Kills a process by its number inside. Nothing of what it wrote is lost.
    ///
    /// # Errors
    /// When it is not there.
    pub fn kill(&self, pid: u32) -> Result<()> {
        self.run(["kill", "-KILL", &pid.to_string()]).map(drop)
    }

    /// Lets a stopped process go on.
    ///
    /// # Errors
    /// When it is not there.
    pub fn resume(&self, pid: u32) -> Result<()> {
        self.run(["kill", "-CONT", &pid.to_string()]).map(drop)
    }

    fn stopped(&self, name: &str) -> Result<Option<u32>> {
        let processes = PathBuf::from(format!("/proc/{}/root/proc", self.leader()?));
        let entries = fs::read_dir(&processes).context("list the machine's processes")?;
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        // A process may be gone between two looks.
        let is_stopped = |pid: &u32| {
            let stat = fs::read_to_string(processes.join(pid.to_string()).join("stat")).unwrap_or_default();
            state_of(&stat, name) == Some(STOPPED)
        };
        Ok(pids.into_iter().find(is_stopped))
    }
}

/// The state in `/proc/<pid>/stat`, if the process is called so.
fn state_of<'s>(stat: &'s str, name: &str) -> Option<&'s str> {
    let (_, named) = stat.split_once(" (")?;
    // A name may hold anything, also brackets; what follows the last one does not.
    let (called, rest) = named.rsplit_once(") ")?;
    called.starts_with(name).then(|| rest.split(' ').next()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_behind_any_name() {
        assert_eq!(state_of("7 (novacula-agent.) T 1 7", "novacula-agent"), Some("T"));
        assert_eq!(state_of("7 (a) S (b) R 1 7", "a"), Some("R"));
        assert_eq!(state_of("7 (other) T 1 7", "novacula-agent"), None);
        assert_eq!(state_of("", "novacula-agent"), None);
    }
}
