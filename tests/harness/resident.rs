//! What a process holds in memory.

use anyhow::{Context as _, Result};

/// Resident memory of a process in KiB (`VmRSS` of `proc_pid_status(5)`).
///
/// # Errors
/// It does not run.
pub fn kib(process: u32) -> Result<u64> {
    field(process, "VmRSS:")
}

/// The part of it that is pages of files, in KiB (`RssFile`): of the program and its libraries, which others that run the same share.
///
/// # Errors
/// As [`kib`].
pub fn of_files_kib(process: u32) -> Result<u64> {
    field(process, "RssFile:")
}

fn field(process: u32, name: &str) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("{name} in {path}"))?;
    line.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("{name} in {path}"))
}
