//! Puts the old version back: a copy of `.prev`, so that `.prev` stays the last known good, renamed over the binary. Where the disk
//! is too full for a copy, another name for `.prev` does: a version that fills disks is one to come back from.
//!
//! The decision is journalled first and the attempt closed last, so that a crash in between is finished by whoever looks
//! next. Nothing is touched unless [`verdict`] says that exactly the old version would be in place afterwards.

use std::fs;
use std::io;
use std::path::Path;

use domain::attempt::{ErrorCode, Outcome, Report, Stage};
use domain::{Hold, Sha256, Timestamp, Version};
use executor_sdk::disk::sync_directory;
use executor_sdk::journal::{self, Locked, OpenAttempt, RollbackCause, Step};

use crate::disk::{self, Content, Facts, copy_executable, during, remove_if_there};
use crate::fault::{self, reach};
use crate::layout::Layout;
use crate::rollback::{Unusable, Verdict, verdict};

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// The old version is in place, and the attempt has its outcome.
    Back(Version),
    /// The old version was in place already; the attempt has its outcome.
    WasBack(Version),
    /// No attempt is open: nothing was touched.
    NothingOpen,
    /// Somebody put another binary in place: it was left alone, and the attempt has its outcome.
    ChangedLocally,
}

/// Why the old version is not back; the new one is in place as before.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `.prev` is not the old version.
    #[error("bring the old version back: {0}")]
    Unusable(Unusable),
    /// The journal could not be read or written.
    #[error("use the journal")]
    Journal(#[source] journal::Error),
    /// The disk refused a step.
    #[error("copy the old binary back")]
    Disk(#[source] disk::Error),
    /// There is no room for a copy, and no other way.
    #[error(
        "the disk is full, and the old binary cannot be linked into place either ({link}): make room beside it; nothing was changed"
    )]
    Full {
        /// Why not.
        link: io::Error,
        /// What a copy came to.
        #[source]
        copy: disk::Error,
    },
    /// The rename may not last.
    #[error("make the old binary's place last")]
    Sync(#[source] executor_sdk::disk::Error),
}

/// Brings the old version back for `cause` and closes the attempt with what the failing version last said. Holds the lock
/// throughout.
///
/// # Errors
/// [`Error`]; calling again goes on where this ended.
pub fn put_back(
    layout: &Layout,
    locked: &Locked,
    cause: &RollbackCause,
    log_tail: Vec<String>,
    now: Timestamp,
) -> Result<Done, Error> {
    reach(fault::BACK_BEGUN);
    let state = locked.read().map_err(Error::Journal)?;
    let facts = Facts::read(layout);
    let (Some(open), verdict) = (state.open.as_ref(), verdict(state.open.as_ref(), &facts)) else {
        return Ok(Done::NothingOpen);
    };
    // What was decided first is the cause; whoever finishes it only finishes.
    let cause = open.rollback.clone().unwrap_or_else(|| cause.clone());
    let back = open.from_version.clone();
    match verdict {
        Verdict::NothingOpen => Ok(Done::NothingOpen),
        Verdict::PutBack { old } => {
            decide(locked, &cause)?;
            let closed = match exchange(layout, old) {
                Ok(()) => close(locked, open, rolled_back(open, cause, log_tail), now),
                Err(error @ Error::Sync(_)) => Err(error),
                Err(error) => return Err(error),
            };
            // It is in place: whoever called has to start it, or the version that failed would run on. That start finishes this.
            if let Err(error) = closed {
                tracing::error!(error = %executor_sdk::report::chain(&error), "the old version is in place; its start has to end the attempt");
            }
            Ok(Done::Back(back))
        }
        Verdict::AlreadyBack => {
            last(layout);
            close(locked, open, rolled_back(open, cause, log_tail), now)?;
            Ok(Done::WasBack(back))
        }
        Verdict::NeverSwapped => {
            close(locked, open, never_swapped(open), now)?;
            Ok(Done::WasBack(back))
        }
        Verdict::ChangedLocally => {
            close(locked, open, changed_locally(open, open.target_version.clone()), now)?;
            Ok(Done::ChangedLocally)
        }
        Verdict::Unusable(unusable) => Err(Error::Unusable(unusable)),
    }
}

/// Whoever put the old version in place may have been interrupted before its name lasted: an attempt that is closed is not
/// looked at again.
pub(crate) fn last(layout: &Layout) {
    if let Err(error) = sync_directory(layout.directory()) {
        tracing::error!(error = %executor_sdk::report::chain(&error), "the old version's place may not survive a power cut");
    }
}

fn decide(locked: &Locked, cause: &RollbackCause) -> Result<(), Error> {
    let decided = locked.update(|state| {
        if let Some(open) = state.open.as_mut() {
            open.step = Step::RollingBack;
            open.rollback.get_or_insert_with(|| cause.clone());
        }
    });
    decided.map_err(Error::Journal)?;
    reach(fault::BACK_JOURNALLED);
    Ok(())
}

/// Makes what `.prev` holds, which has to be `old`, the live binary.
pub(crate) fn exchange(layout: &Layout, old: Sha256) -> Result<(), Error> {
    exchange_by(layout, old, copy_executable)
}

fn exchange_by(
    layout: &Layout,
    old: Sha256,
    copy: impl FnOnce(&Path, &Path) -> Result<Sha256, disk::Error>,
) -> Result<(), Error> {
    let (binary, previous, back) = (layout.binary(), layout.previous(), layout.back());
    let found = copy(&previous, &back).map(Content::Is).or_else(|error| {
        // The copy's own error is the one to tell.
        let _ = remove_if_there(&back);
        if is_full(&error.source) { link(&previous, &back, error) } else { Err(Error::Disk(error)) }
    })?;
    if !found.is(&old) {
        remove_if_there(&back).map_err(Error::Disk)?;
        return Err(Error::Unusable(unusable(found, old)));
    }
    reach(fault::BACK_COPIED);
    fs::rename(&back, binary).map_err(during("rename to", binary)).map_err(Error::Disk)?;
    reach(fault::BACK_RENAMED);
    sync_directory(layout.directory()).map_err(Error::Sync)?;
    reach(fault::BACK_SYNCED);
    Ok(())
}

/// A second name needs no room. One file under both names is what a swap leaves, too: nobody writes into either.
fn link(previous: &Path, back: &Path, copy: disk::Error) -> Result<Content, Error> {
    match fs::hard_link(previous, back) {
        Ok(()) => {
            tracing::warn!("the disk is full: the old binary is linked into place, not copied");
            Ok(disk::content(back))
        }
        Err(link) => Err(Error::Full { link, copy }),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn unusable(found: Content, expected: Sha256) -> Unusable {
    match found {
        Content::Is(found) => Unusable::Changed { found, expected },
        Content::Missing => Unusable::Missing,
        Content::Unreadable(why) => Unusable::Unreadable(why),
    }
}

/// Gives the open attempt its outcome; a version that ran and failed is held.
pub(crate) fn close(locked: &Locked, open: &OpenAttempt, report: Report, now: Timestamp) -> Result<(), Error> {
    let hold = (report.outcome == Outcome::RolledBack).then(|| Hold {
        version: open.target_version.clone(),
        attempt: open.attempt,
        cause: report.message.clone(),
        since: now,
    });
    let outcome = open.outcome(report);
    let closed = locked.update(|state| {
        if let Some(hold) = hold {
            state.hold(hold);
        }
        state.finish(outcome);
    });
    closed.map_err(Error::Journal)?;
    reach(fault::BACK_CLOSED);
    Ok(())
}

/// The report of an attempt whose old version is back.
pub(crate) fn rolled_back(open: &OpenAttempt, cause: RollbackCause, log_tail: Vec<String>) -> Report {
    Report {
        outcome: Outcome::RolledBack,
        stage: Some(cause.stage),
        error_code: Some(cause.code),
        message: cause.message,
        running_version: open.from_version.clone(),
        rolled_back_to: Some(open.from_version.clone()),
        log_tail,
    }
}

/// The report of an attempt that was interrupted before the swap.
pub(crate) fn never_swapped(open: &OpenAttempt) -> Report {
    Report {
        outcome: Outcome::Failed,
        stage: Some(Stage::Swap),
        error_code: Some(ErrorCode::Io),
        message: "the agent was interrupted before the swap; the old version was never replaced".to_owned(),
        running_version: open.from_version.clone(),
        rolled_back_to: None,
        log_tail: Vec::new(),
    }
}

/// The report of an attempt in whose midst somebody installed another binary.
pub(crate) fn changed_locally(open: &OpenAttempt, running: Version) -> Report {
    Report {
        outcome: Outcome::Superseded,
        stage: None,
        error_code: None,
        message: format!(
            "the binary on the host is neither version {} nor {}: somebody installed another one",
            open.from_version, open.target_version
        ),
        running_version: running,
        rolled_back_to: None,
        log_tail: Vec::new(),
    }
}

/// The cause when a person, or the control plane for a person, wants the old version.
#[must_use]
pub fn by_hand(message: impl Into<String>) -> RollbackCause {
    RollbackCause { stage: Stage::Rollback, code: ErrorCode::ByHand, message: message.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{Bench, version};

    fn cause() -> RollbackCause {
        by_hand("asked")
    }

    fn back(bench: &Bench) -> Result<Done, Error> {
        put_back(&bench.layout, &bench.lock(), &cause(), vec!["last words".to_owned()], Timestamp::EPOCH)
    }

    #[test]
    fn the_old_version_is_back_held_and_reported_with_the_last_words() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        assert_eq!(back(&bench).unwrap(), Done::Back(version("1.0.0")));
        assert_eq!(bench.live(), "old");
        assert_eq!(fs::read_to_string(bench.layout.previous()).unwrap(), "old");
        let state = bench.state();
        assert_eq!((state.open, state.holds[0].version.clone()), (None, version("1.1.0")));
        let report = &state.unsent[0].report;
        assert_eq!(
            (report.outcome, report.log_tail.as_slice()),
            (Outcome::RolledBack, ["last words".to_owned()].as_slice())
        );
        assert_eq!(report.rolled_back_to, Some(version("1.0.0")));
        assert_eq!(back(&bench).unwrap(), Done::NothingOpen);
    }

    #[test]
    fn a_missing_or_changed_previous_makes_nothing_worse() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        fs::write(bench.layout.previous(), "scribble").unwrap();
        let said = back(&bench).unwrap_err();
        assert!(matches!(said, Error::Unusable(Unusable::Changed { .. })), "{said}");
        assert_eq!(bench.live(), "new");
        fs::remove_file(bench.layout.previous()).unwrap();
        assert!(matches!(back(&bench), Err(Error::Unusable(Unusable::Missing))));
        assert_eq!(bench.live(), "new");
        assert!(bench.state().open.is_some(), "the attempt stays open, so that putting .prev back by hand helps");
    }

    /// As on a disk that has room for a part.
    fn no_room(_: &Path, to: &Path) -> Result<Sha256, disk::Error> {
        fs::write(to, "a pa").unwrap();
        Err(during("write", to)(io::ErrorKind::StorageFull.into()))
    }

    #[test]
    fn a_full_disk_does_not_keep_the_old_version_from_coming_back() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        let old = bench.state().open.unwrap().old_sha256.unwrap();
        exchange_by(&bench.layout, old, no_room).unwrap();
        assert_eq!(bench.live(), "old");
        assert_eq!(fs::read_to_string(bench.layout.previous()).unwrap(), "old");
        assert!(!bench.layout.back().exists());
        // The journal had room: the attempt ends, and the next one is swapped and put back as any other.
        assert_eq!(back(&bench).unwrap(), Done::WasBack(version("1.0.0")));
        bench.swap_in("newer");
        assert_eq!(back(&bench).unwrap(), Done::Back(version("1.0.0")));
        assert_eq!(bench.live(), "old");
    }

    #[test]
    fn a_full_disk_without_links_is_said_and_makes_nothing_worse() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        let old = bench.state().open.unwrap().old_sha256.unwrap();
        fs::remove_file(bench.layout.previous()).unwrap();
        let said = exchange_by(&bench.layout, old, no_room).unwrap_err();
        assert!(matches!(&said, Error::Full { .. }) && said.to_string().contains("nothing was changed"), "{said}");
        assert_eq!(bench.live(), "new");
        assert!(!bench.layout.back().exists());
    }

    #[test]
    fn a_previous_that_was_written_on_is_not_linked_either() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        let old = bench.state().open.unwrap().old_sha256.unwrap();
        fs::write(bench.layout.previous(), "scribble").unwrap();
        let said = exchange_by(&bench.layout, old, no_room).unwrap_err();
        assert!(matches!(said, Error::Unusable(Unusable::Changed { .. })), "{said}");
        assert_eq!(bench.live(), "new");
        assert!(!bench.layout.back().exists());
    }

    #[test]
    fn a_binary_that_somebody_installed_is_left_alone() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        fs::write(bench.layout.binary(), "mine").unwrap();
        assert_eq!(back(&bench).unwrap(), Done::ChangedLocally);
        assert_eq!(bench.live(), "mine");
        assert_eq!(bench.state().unsent[0].report.outcome, Outcome::Superseded);
    }

    #[test]
    fn the_first_cause_counts_however_often_it_is_taken_up() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        let first = RollbackCause { stage: Stage::Start, code: ErrorCode::CrashLoop, message: "first".to_owned() };
        decide(&bench.lock(), &first).unwrap();
        back(&bench).unwrap();
        assert_eq!(bench.state().unsent[0].report.error_code, Some(ErrorCode::CrashLoop));
    }
}
