//! The agent's own fault points: between any two writes of a swap and of the way back. See [`executor_sdk::fault`].

pub use executor_sdk::fault::{CONFIRM_BEGUN, CONFIRM_JOURNALLED, DOWNLOAD_CREATED, JOURNAL_WRITE};

pub(crate) use executor_sdk::fault::reach;

/// Leave and lock are in hand, nothing was written.
pub const SWAP_BEGUN: &str = "swap-begun";
/// The attempt is in the journal, nothing else was changed.
pub const SWAP_JOURNALLED: &str = "swap-journalled";
/// The artifact's bytes are on disk.
pub const SWAP_ARTIFACT_SYNCED: &str = "swap-artifact-synced";
/// `.prev.new` is a link to the live binary.
pub const SWAP_LINKED: &str = "swap-linked";
/// `.prev` is the live binary; the directory is not synced.
pub const SWAP_PREVIOUS_RENAMED: &str = "swap-previous-renamed";
/// `.prev` is durable.
pub const SWAP_PREVIOUS_SYNCED: &str = "swap-previous-synced";
/// The artifact is the live binary; the directory is not synced.
pub const SWAP_RENAMED: &str = "swap-renamed";
/// The swap is durable; the journal does not say so yet.
pub const SWAP_SYNCED: &str = "swap-synced";
/// The journal says so; no restart was asked for.
pub const SWAP_NOTED: &str = "swap-noted";
/// The restart is about to be asked for.
pub const SWAP_RESTARTING: &str = "swap-restarting";

/// The lock is in hand, nothing was written.
pub const BACK_BEGUN: &str = "back-begun";
/// The journal says that and why the old version is put back.
pub const BACK_JOURNALLED: &str = "back-journalled";
/// An empty file lies beside the binary.
pub const COPY_CREATED: &str = "copy-created";
/// It has the bytes of `.prev`, not synced.
pub const COPY_WRITTEN: &str = "copy-written";
/// A synced copy of `.prev` lies beside the binary.
pub const BACK_COPIED: &str = "back-copied";
/// The copy is the live binary; the directory is not synced.
pub const BACK_RENAMED: &str = "back-renamed";
/// The old version is in place, durably; the attempt is still open.
pub const BACK_SYNCED: &str = "back-synced";
/// The attempt has its outcome; no restart was asked for.
pub const BACK_CLOSED: &str = "back-closed";

/// Every fault point of a swap, in order.
pub const SWAP_POINTS: &[&str] = &[
    SWAP_BEGUN,
    SWAP_JOURNALLED,
    SWAP_ARTIFACT_SYNCED,
    SWAP_LINKED,
    SWAP_PREVIOUS_RENAMED,
    SWAP_PREVIOUS_SYNCED,
    SWAP_RENAMED,
    SWAP_SYNCED,
    SWAP_NOTED,
    SWAP_RESTARTING,
];

/// Every fault point of the way back, in order.
pub const BACK_POINTS: &[&str] =
    &[BACK_BEGUN, BACK_JOURNALLED, COPY_CREATED, COPY_WRITTEN, BACK_COPIED, BACK_RENAMED, BACK_SYNCED, BACK_CLOSED];

/// Points at which a write of the journal has just ended: its own points come right before.
const AFTER_JOURNAL: &[&str] = &[SWAP_JOURNALLED, SWAP_NOTED, BACK_JOURNALLED, BACK_CLOSED, CONFIRM_JOURNALLED];

/// One passage of a fault point: the `nth` since `scope` was passed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Passage {
    /// Where counting begins.
    pub scope: &'static str,
    /// The point.
    pub point: &'static str,
    /// Which of its passages, from 1.
    pub nth: u32,
}

impl std::fmt::Display for Passage {
    /// As `NOVACULA_FAULT_POINT` has it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.scope, self.point, self.nth)
    }
}

/// Everything that is passed between download and restart, the journal's own points included, in order. The one place that
/// the crash matrix is made from; its rehearsal compares this with what a real agent passes.
#[must_use]
pub fn apply_passages() -> Vec<Passage> {
    let mut passages = scoped(DOWNLOAD_CREATED, executor_sdk::fault::DOWNLOAD_POINTS);
    passages.extend(scoped(SWAP_BEGUN, SWAP_POINTS));
    passages
}

/// The same, of a way back.
#[must_use]
pub fn back_passages() -> Vec<Passage> {
    scoped(BACK_BEGUN, BACK_POINTS)
}

/// The same, of a confirmation.
#[must_use]
pub fn confirm_passages() -> Vec<Passage> {
    scoped(CONFIRM_BEGUN, executor_sdk::fault::CONFIRM_POINTS)
}

/// Puts the journal's points where it is written, and counts.
fn scoped(scope: &'static str, points: &[&'static str]) -> Vec<Passage> {
    let mut passages: Vec<Passage> = Vec::new();
    for point in points {
        let journal = if AFTER_JOURNAL.contains(point) { JOURNAL_WRITE } else { &[] };
        for point in journal.iter().chain([point]) {
            let before = passages.iter().filter(|passage| passage.point == *point).count();
            let nth = u32::try_from(before + 1).unwrap_or(u32::MAX);
            passages.push(Passage { scope, point, nth });
        }
    }
    passages
}

/// Where faults are asked for, one thread makes all the calls that block: so the nth call of a kind is the same one each time.
#[cfg(feature = "fault-points")]
pub(crate) fn in_one_order(runtime: &mut tokio::runtime::Builder) {
    if std::env::var_os("NOVACULA_FAULT_FILE").is_some() {
        runtime.max_blocking_threads(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_write_shows_all_its_points_before_the_one_that_ends_it() {
        let shown: Vec<_> = confirm_passages().iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), JOURNAL_WRITE.len() + 2);
        assert_eq!(shown[0], "confirm-begun/confirm-begun:1");
        assert_eq!(shown[1], "confirm-begun/journal-kept-linked:1");
        let second = format!("swap-begun/{}:2", JOURNAL_WRITE[0]);
        assert!(apply_passages().iter().any(|passage| passage.to_string() == second));
    }
}
