//! Fault points: named places between two writes where a test kills the process or freezes it for a power cut.
//!
//! In a build without the feature `fault-points` [`reach`] is nothing. The feature is enabled by the tests crate only, and
//! `build.rs` refuses it in the `dist` profile, so that no variable can stop a shipped binary.
//!
//! `NOVACULA_FAULT_POINT=[<scope>/]<name>[:<n>]` names the point and which passage of it counts (default 1): since the
//! process began, or since it last passed the point `<scope>`. `NOVACULA_FAULT_FILE` names a file that holds such a line
//! instead; it is read at every point, so that a process that runs already is armed by writing it, and every passage is
//! logged. `NOVACULA_FAULT_ACTION=kill|freeze` says what happens: `kill` sends SIGKILL to this process; `freeze` sends
//! SIGSTOP, so that a harness sees the process stopped (state `T`) and kills it or cuts the power; or empties the file and
//! sends SIGCONT, after it has broken something.

#[cfg(feature = "fault-points")]
pub mod misbehaviour;

/// In the journal's write: the present content is linked to the name that will keep it.
pub const JOURNAL_KEPT_LINKED: &str = "journal-kept-linked";

/// In the journal's write: the present content has its second name.
pub const JOURNAL_KEPT: &str = "journal-kept";

/// In the journal's write: before the new content shows.
pub const JOURNAL_BEFORE_WRITE: &str = "journal-before-write";

/// In the journal's write: the new content is durable.
pub const JOURNAL_AFTER_WRITE: &str = "journal-after-write";

/// In every atomic write: the new file exists and is empty.
pub const DISK_CREATED: &str = "disk-created";

/// In every atomic write: the new file has its bytes, not synced.
pub const DISK_WRITTEN: &str = "disk-written";

/// In every atomic write: the new file is synced and not yet in place.
pub const DISK_SYNCED: &str = "disk-synced";

/// In every atomic write: the new file is in place, the directory not synced.
pub const DISK_RENAMED: &str = "disk-renamed";

/// The downloaded file exists and is empty.
pub const DOWNLOAD_CREATED: &str = "download-created";

/// The downloaded file has its bytes, neither synced nor proven.
pub const DOWNLOAD_WRITTEN: &str = "download-written";

/// The downloaded file is proven and executable.
pub const DOWNLOAD_PROVEN: &str = "download-proven";

/// Probation is over; the confirmation is not in the journal.
pub const CONFIRM_BEGUN: &str = "confirm-begun";

/// The confirmation is in the journal, and was told to nobody.
pub const CONFIRM_JOURNALLED: &str = "confirm-journalled";

/// The fault points of one write of the journal, in order.
pub const JOURNAL_WRITE: &[&str] = &[
    JOURNAL_KEPT_LINKED,
    JOURNAL_KEPT,
    JOURNAL_BEFORE_WRITE,
    DISK_CREATED,
    DISK_WRITTEN,
    DISK_SYNCED,
    DISK_RENAMED,
    JOURNAL_AFTER_WRITE,
];

/// The fault points of a download, in order.
pub const DOWNLOAD_POINTS: &[&str] = &[DOWNLOAD_CREATED, DOWNLOAD_WRITTEN, DOWNLOAD_PROVEN];

/// The fault points around the journal's write of a confirmation, in order.
pub const CONFIRM_POINTS: &[&str] = &[CONFIRM_BEGUN, CONFIRM_JOURNALLED];

/// Passes the fault point `name`.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub const fn reach(name: &'static str) {
    let _ = name;
}

/// Passes the fault point `name`; does not come back when the environment says so.
#[cfg(feature = "fault-points")]
pub fn reach(name: &'static str) {
    use std::sync::{Mutex, PoisonError};

    use rustix::process::{Signal, getpid, kill_process};

    /// Every point that this process has passed.
    static PASSED: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());

    let Some(wanted) = wanted() else {
        return;
    };
    tracing::info!(point = name, "fault point passed");
    let is_now = {
        let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
        passed.push(name);
        is_passage(&wanted, &passed)
    };
    if !is_now {
        return;
    }
    let freeze = std::env::var("NOVACULA_FAULT_ACTION").is_ok_and(|action| action == "freeze");
    // A process may always signal itself; if not, the test that asked for the fault fails by its missing effect.
    let _ = kill_process(getpid(), if freeze { Signal::STOP } else { Signal::KILL });
    // The signal may reach another thread first: this one takes no further step until the harness takes back what it asked
    // for and lets the process go on.
    while self::wanted().is_some_and(|now| now == wanted) {
        std::thread::park_timeout(AGAIN);
    }
}

/// How often a thread that was frozen looks whether it may go on. Only a harness that has just said so waits for it.
#[cfg(feature = "fault-points")]
const AGAIN: std::time::Duration = std::time::Duration::from_millis(10);

/// What the environment asks for; empty: nothing now, and perhaps something later.
#[cfg(feature = "fault-points")]
fn wanted() -> Option<String> {
    if let Ok(wanted) = std::env::var("NOVACULA_FAULT_POINT") {
        return Some(wanted);
    }
    let file = std::env::var_os("NOVACULA_FAULT_FILE")?;
    let text = std::fs::read_to_string(file).unwrap_or_default();
    Some(text.trim().to_owned())
}

/// Whether the last of the points `passed` is the passage `wanted`.
#[cfg(feature = "fault-points")]
fn is_passage(wanted: &str, passed: &[&str]) -> bool {
    let (scope, rest) = match wanted.split_once('/') {
        Some((scope, rest)) => (Some(scope), rest),
        None => (None, wanted),
    };
    let (point, nth) = rest.split_once(':').unwrap_or((rest, "1"));
    let since = match scope {
        None => passed,
        Some(scope) => match passed.iter().rposition(|point| *point == scope) {
            Some(at) => &passed[at..],
            None => return false,
        },
    };
    let times = since.iter().filter(|passed| **passed == point).count();
    since.last() == Some(&point) && nth.parse() == Ok(times)
}

#[cfg(all(test, feature = "fault-points"))]
mod tests {
    use super::*;

    #[test]
    fn a_passage_is_counted_from_the_start_or_from_its_scope() {
        let passed = ["b", "a", "b", "a", "b"];
        for (wanted, is) in
            [("b:3", true), ("b", false), ("b:2", false), ("a/b", true), ("b/b", true), ("c/b", false), ("", false)]
        {
            assert_eq!(is_passage(wanted, &passed), is, "{wanted:?}");
        }
        assert!(is_passage("a", &["a"]));
        assert!(!is_passage("a", &["a", "b"]));
    }
}
