//! What a process holds in memory.

use anyhow::{Context as _, Result};

/// Resident memory of a process in KiB (`VmRSS` of `proc_pid_status(5)`).
///
/// # Errors
/// It does not run.
pub fn kib(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).with_context(|| format!("VmRSS in {path}"))?;
    line.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("VmRSS in {path}"))
}
