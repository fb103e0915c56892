//! What the ways back remember in /run, which works when the disk is full and is forgotten at reboot: crash loops in a row, and
//! which failure was settled.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// A crash loop this long after the last one is a new one.
const FORGET_AFTER: Duration = Duration::from_secs(3600);

const CRASH_LOOPS: &str = "crash-loops";

const BEGUN: &str = "begun";

const SETTLED: &str = "settled";

/// How many crash loops came before this one.
pub(super) fn count_crash_loop(runtime: &Path) -> u32 {
    let path = runtime.join(CRASH_LOOPS);
    let recent = fs::metadata(&path)
        .and_then(|meta| meta.modified())
        .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < FORGET_AFTER));
    let before = if recent {
        fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    } else {
        0u32
    };
    if let Err(error) = fs::write(&path, before.saturating_add(1).to_string()) {
        tracing::warn!(%error, "crash loops cannot be counted");
    }
    before
}

pub(super) fn forget_crash_loops(runtime: &Path) {
    // Nothing to forget is as good.
    let _ = fs::remove_file(runtime.join(CRASH_LOOPS));
}

/// Whether a process of this same start of the rollback unit has taken the failure on.
pub(super) fn is_begun(runtime: &Path, invocation: Option<&str>) -> bool {
    is_marked(runtime, BEGUN, invocation)
}

/// Says so to the processes of this start that follow.
pub(super) fn begin(runtime: &Path, invocation: Option<&str>) {
    mark(runtime, BEGUN, invocation);
}

/// Whether a process of this same start of the rollback unit came to its end with the failure.
pub(super) fn is_settled(runtime: &Path, invocation: Option<&str>) -> bool {
    is_marked(runtime, SETTLED, invocation)
}

/// Says so to the processes of this start that follow.
pub(super) fn settle(runtime: &Path, invocation: Option<&str>) {
    mark(runtime, SETTLED, invocation);
}

fn is_marked(runtime: &Path, name: &str, invocation: Option<&str>) -> bool {
    let marked = fs::read_to_string(runtime.join(name)).ok();
    marked.is_some() && marked.as_deref() == invocation
}

fn mark(runtime: &Path, name: &str, invocation: Option<&str>) {
    let Some(invocation) = invocation else {
        return;
    };
    if let Err(error) = fs::write(runtime.join(name), invocation) {
        tracing::debug!(%error, "the next process looks for itself");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crash_loops_are_counted_and_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!([0; 3].map(|_| count_crash_loop(dir.path())), [0, 1, 2]);
        forget_crash_loops(dir.path());
        assert_eq!(count_crash_loop(dir.path()), 0);
        assert_eq!(count_crash_loop(&dir.path().join("absent")), 0);
    }

    #[test]
    fn a_failure_is_settled_for_its_own_start_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_settled(dir.path(), Some("a")) && !is_settled(dir.path(), None));
        begin(dir.path(), Some("a"));
        assert!(is_begun(dir.path(), Some("a")) && !is_settled(dir.path(), Some("a")));
        settle(dir.path(), Some("a"));
        assert!(is_settled(dir.path(), Some("a")));
        assert!(!is_settled(dir.path(), Some("b")) && !is_settled(dir.path(), None));
    }
}
