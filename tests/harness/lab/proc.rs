//! Processes, as the host sees them.

use std::{
    fs,
    process::{Command, Output},
};

use anyhow::{Context, Result, bail};

/// Runs a command of the host that must succeed, and returns what it printed, without the last line's end.
pub(super) fn run(command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let output = command.output().with_context(|| format!("start {shown}"))?;
    succeeded(&shown, &output)
}

/// What a successful command printed, or an error with everything there is to know.
pub(super) fn succeeded(shown: &str, output: &Output) -> Result<String> {
    let printed = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        bail!(
            "{shown}: {}\nstdout: {}\nstderr: {}",
            output.status,
            printed.trim_end(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(printed.trim_end_matches('\n').to_owned())
}

/// The processes whose parent is `parent`. The kernel may lack `/proc/*/children`, so all are looked at.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|&pid| parent_of(pid) == Some(parent))
        .collect()
}

/// Whether a process is the first of a PID namespace that the holder's namespace does not show: a machine's leader, not
/// one of nspawn's helpers.
pub(super) fn is_first_of_namespace(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    numbers.is_some_and(|numbers| numbers.split_whitespace().last() == Some("1"))
}

fn parent_of(pid: u32) -> Option<u32> {
    // `pid (name) state parent …`, where the name may hold anything.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
