//! How often a process sleeps, which says how often it is woken.

use std::{collections::BTreeMap, ffi::OsString, fs};

use anyhow::{Context as _, Result};

/// How often each thread of a process has gone to sleep by itself (`voluntary_ctxt_switches` of `proc_pid_status(5)`).
#[derive(Debug)]
pub struct Sleeps {
    process: u32,
    threads: BTreeMap<OsString, u64>,
}

// === impl Sleeps ===

impl Sleeps {
    /// Until now.
    ///
    /// # Errors
    /// The process has ended.
    pub fn of(process: u32) -> Result<Self> {
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{process}/task")).context("the process has ended")? {
            let task = task?;
            // A thread may end at any moment.
            let Ok(status) = fs::read_to_string(task.path().join("status")) else { continue };
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            threads.insert(task.file_name(), line.context("a count")?.trim().parse()?);
        }
        Ok(Self { process, threads })
    }

    /// How often it was woken since: whoever sleeps again was. What ended meanwhile took its count along.
    ///
    /// # Errors
    /// As [`of`](Self::of).
    pub fn woken_since(&self) -> Result<u64> {
        let now = Self::of(self.process)?.threads;
        let before = |thread| self.threads.get(thread).copied().unwrap_or(0);
        Ok(now.iter().map(|(thread, sleeps)| sleeps.saturating_sub(before(thread))).sum())
    }
}
