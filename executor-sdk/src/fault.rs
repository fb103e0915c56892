//! Fault points: named places between two writes where a test kills the process or freezes it for a power cut.
//!
//! In a build without the feature `fault-points` [`reach`] is nothing. The feature is enabled by the tests crate only, and
//! `build.rs` refuses it in the `dist` profile, so that no variable can stop a shipped binary.
//!
//! `NOVACULA_FAULT_POINT=<name>[:<n>]` names the point and which passage of it counts (default 1);
//! `NOVACULA_FAULT_ACTION=kill|freeze` what happens: `kill` sends SIGKILL to this process; `freeze` sends SIGSTOP, so that a
//! harness sees the process stopped (state `T`) and cuts the power.

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

/// The fault points of the SDK; an executor adds its own.
pub const POINTS: &[&str] =
    &[JOURNAL_BEFORE_WRITE, DISK_CREATED, DISK_WRITTEN, DISK_SYNCED, DISK_RENAMED, JOURNAL_AFTER_WRITE];

/// Passes the fault point `name`.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub const fn reach(name: &'static str) {
    let _ = name;
}

/// Passes the fault point `name`; does not come back when the environment says so.
#[cfg(feature = "fault-points")]
pub fn reach(name: &'static str) {
    use std::collections::BTreeMap;
    use std::sync::{Mutex, PoisonError};

    use rustix::process::{Signal, getpid, kill_process};

    static PASSAGES: Mutex<BTreeMap<&'static str, u32>> = Mutex::new(BTreeMap::new());

    let Ok(wanted) = std::env::var("NOVACULA_FAULT_POINT") else {
        return;
    };
    let (point, passage) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    let passed = {
        let mut passages = PASSAGES.lock().unwrap_or_else(PoisonError::into_inner);
        let count = passages.entry(name).or_default();
        *count += 1;
        *count
    };
    if point != name || passage.parse() != Ok(passed) {
        return;
    }
    let signal = match std::env::var("NOVACULA_FAULT_ACTION").as_deref() {
        Ok("freeze") => Signal::STOP,
        _ => Signal::KILL,
    };
    // A process may always signal itself; if not, the test that asked for the fault fails by its missing effect.
    let _ = kill_process(getpid(), signal);
}
