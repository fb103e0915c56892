//! At every start: what became of the attempt that the journal holds open, told by the disk.
//!
//! ```text
//! live = old, never started  → failed: interrupted before the swap
//! live = old                 → rolled_back: by a way back that was interrupted, or by hand
//! live = neither             → superseded: somebody installed another binary
//! live = new, says another version than was asked → roll back
//! live = new                 → go on to probation
//! ```
//!
//! A journal that cannot be read is replaced by the one before it, where that leaves nothing to guess; else it is told, and nothing
//! is done.

use domain::attempt::{ErrorCode, Report, Stage};
use domain::{AttemptId, Version};
use executor_sdk::clock;
use executor_sdk::journal::{self, Journal, OpenAttempt, RollbackCause, State, Step};
use executor_sdk::report::chain;

use crate::disk::{Content, Facts, remove_if_there};
use crate::layout::Layout;
use crate::rollback::put_back::{self, Done, by_hand};
use crate::rollback::steps::{self, Error, LOCK_PATIENCE, before_start, go_back};
use crate::rollback::{Verdict, verdict};
use crate::service_manager::ServiceManager;

/// How this process goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    /// It is the right one: run.
    Run,
    /// The old version was put in its place: let that one be started.
    Restart,
}

/// What the disk says about the open attempt, to the process of version `own` that runs now.
#[derive(Clone, Debug, PartialEq)]
enum Finding {
    Nothing,
    Close(Box<OpenAttempt>, Closing),
    WrongVersion(RollbackCause),
    Unconfirmed(AttemptId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    NeverSwapped,
    Back,
    ChangedLocally,
}

/// Finishes what a crash interrupted, counts this start if nobody has, and says how to go on.
///
/// # Errors
/// [`Error`] when the journal cannot be used: an agent that went on would forget the attempt.
pub async fn recover(
    layout: &Layout,
    manager: &impl ServiceManager,
    own: &Version,
    invocation: Option<&str>,
) -> Result<Recovered, Error> {
    mend(layout)?;
    if let Done::Back(version) = tolerate(before_start(layout, manager, invocation).await)? {
        tracing::warn!(%version, "the old version is back in place");
        return Ok(Recovered::Restart);
    }
    let journal = Journal::new(layout.state_dir());
    let state = journal.read().map_err(Error::Journal)?;
    if state.open.is_none() {
        // The usual start: no need to hash two binaries.
        tidy(layout);
        return Ok(Recovered::Run);
    }
    match find(state.open.as_ref(), &Facts::read(layout), own) {
        Finding::Nothing => tidy(layout),
        Finding::Close(open, closing) => {
            let report = report(&open, closing, own, manager).await;
            tracing::warn!(attempt = %open.attempt, outcome = report.outcome.as_str(), "an attempt is over: {}", report.message);
            let locked = journal.lock(LOCK_PATIENCE).map_err(Error::Journal)?;
            if closing == Closing::Back {
                put_back::last(layout);
            }
            put_back::close(&locked, &open, report, clock::wall()).map_err(Error::PutBack)?;
            tidy(layout);
        }
        Finding::WrongVersion(cause) => {
            // Its own word, so that the log tail of the attempt has it.
            tracing::error!("{}", cause.message);
            if let Done::Back(_) = tolerate(go_back(layout, manager, &cause).await.map(Some))? {
                return Ok(Recovered::Restart);
            }
        }
        Finding::Unconfirmed(attempt) => swapped(&journal, attempt)?,
    }
    Ok(Recovered::Run)
}

/// A journal that cannot be read, and one before it that leaves nothing to guess: no upgrade was open, and what is live is what was
/// confirmed, or `.prev` itself. So nothing can have been swapped since, and what the last write said is told or learned again.
fn mend(layout: &Layout) -> Result<(), Error> {
    let journal = Journal::new(layout.state_dir());
    let Err(journal::Error::Unusable { .. }) = journal.read() else {
        return Ok(());
    };
    let locked = journal.lock(LOCK_PATIENCE).map_err(Error::Journal)?;
    let (why, last) = match locked.read() {
        Err(error @ journal::Error::Unusable { .. }) => (chain(&error), last_good(error)),
        // Mended meanwhile, or told by whoever reads it next.
        Ok(_) | Err(_) => return Ok(()),
    };
    let facts = Facts::read(layout);
    let never_swapped = matches!(&facts.previous, Content::Is(previous) if facts.live.is(previous));
    let sure = |state: &State| {
        let confirmed = state.confirmed.as_ref().and_then(|confirmed| confirmed.sha256);
        state.open.is_none() && (never_swapped || confirmed.is_some_and(|sha256| facts.live.is(&sha256)))
    };
    if let Some(state) = last.filter(|state| sure(state)) {
        locked.replace_unusable(&state).map_err(Error::Journal)?;
        tracing::warn!(error = %why, "going on with the journal as it was before its last write");
    }
    Ok(())
}

fn last_good(error: journal::Error) -> Option<Box<State>> {
    match error {
        journal::Error::Unusable { last_good, .. } => last_good,
        _ => None,
    }
}

fn find(open: Option<&OpenAttempt>, facts: &Facts, own: &Version) -> Finding {
    let verdict = verdict(open, facts);
    let Some(open) = open.cloned().map(Box::new) else {
        return Finding::Nothing;
    };
    match verdict {
        Verdict::NothingOpen => Finding::Nothing,
        Verdict::NeverSwapped => Finding::Close(open, Closing::NeverSwapped),
        Verdict::AlreadyBack => Finding::Close(open, Closing::Back),
        Verdict::ChangedLocally => Finding::Close(open, Closing::ChangedLocally),
        Verdict::PutBack { .. } | Verdict::Unusable(_) if open.target_version != *own => {
            Finding::WrongVersion(RollbackCause {
                stage: Stage::Confirm,
                code: ErrorCode::WrongVersion,
                message: format!(
                    "version {} was asked for, and the new binary says that it is {own}",
                    open.target_version
                ),
            })
        }
        Verdict::PutBack { .. } | Verdict::Unusable(_) => Finding::Unconfirmed(open.attempt),
    }
}

async fn report(open: &OpenAttempt, closing: Closing, own: &Version, manager: &impl ServiceManager) -> Report {
    match closing {
        Closing::NeverSwapped => put_back::never_swapped(open),
        Closing::ChangedLocally => put_back::changed_locally(open, own.clone()),
        Closing::Back => {
            let log_tail = manager.log_tail(open.log_cursor.as_deref()).await;
            let cause = open.rollback.clone();
            let cause = cause.unwrap_or_else(|| by_hand("the old binary was put back on the host by hand"));
            put_back::rolled_back(open, cause, log_tail)
        }
    }
}

/// A `.prev` that cannot be used is told, and the new version goes on: that makes nothing worse.
fn tolerate(done: Result<Option<Done>, Error>) -> Result<Done, Error> {
    match done {
        Ok(done) => Ok(done.unwrap_or(Done::NothingOpen)),
        Err(Error::PutBack(error)) => {
            tracing::error!(error = %chain(&error), "the old version cannot be brought back");
            Ok(Done::NothingOpen)
        }
        Err(error @ (Error::Journal(_) | Error::Notes(_))) => Err(error),
    }
}

/// Notes that the swap was made, where a crash came before that. That the new version runs is noted when it has tried to connect
/// ([`steps::note_started`]): a version that hangs is told from one without a network by it.
fn swapped(journal: &Journal, attempt: AttemptId) -> Result<(), Error> {
    let noted = journal.update(steps::LOCK_PATIENCE, |state| {
        if let Some(open) = state.open.as_mut().filter(|open| open.attempt == attempt) {
            open.step = open.step.max(Step::Swapped);
        }
    });
    noted.map_err(Error::Journal)
}

/// Removes what an interrupted swap left beside the binary.
fn tidy(layout: &Layout) {
    for left in [layout.previous_new(), layout.back()] {
        if let Err(error) = remove_if_there(&left) {
            tracing::warn!(error = %chain(&error), "a leftover stays");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use domain::attempt::Outcome;
    use executor_sdk::journal::Confirmed;

    use super::*;
    use crate::disk;
    use crate::fixture::{Bench, version};
    use crate::service_manager::Manager;

    async fn start(bench: &Bench, own: &str) -> Recovered {
        recover(&bench.layout, &Manager::Nobody, &version(own), None).await.unwrap()
    }

    fn ended(bench: &Bench) -> (Outcome, Option<ErrorCode>) {
        let state = bench.state();
        assert_eq!(state.open, None);
        (state.unsent[0].report.outcome, state.unsent[0].report.error_code)
    }

    /// Version 1.1.0 was confirmed with the bytes that are live, and the journal written once more.
    fn confirmed(bench: &Bench) {
        let Content::Is(live) = disk::content(bench.layout.binary()) else { panic!("a binary") };
        let confirmed = Confirmed { version: version("1.1.0"), sha256: Some(live), previous_sha256: None };
        bench.lock().update(|state| state.confirmed = Some(confirmed)).unwrap();
        bench.lock().update(|state| state.saw(domain::Generation(3))).unwrap();
    }

    #[tokio::test]
    async fn a_spoilt_journal_is_replaced_by_the_one_before_where_nothing_can_have_been_swapped() {
        let bench = Bench::new("new");
        confirmed(&bench);
        fs::write(bench.layout.state_dir().join("journal.json"), "{").unwrap();
        assert_eq!(start(&bench, "1.1.0").await, Recovered::Run);
        assert_eq!(bench.state().confirmed.unwrap().version, version("1.1.0"));
        assert!(bench.layout.state_dir().join("journal.json.unusable").exists());

        let installed = Bench::new("first");
        fs::copy(installed.layout.binary(), installed.layout.previous()).unwrap();
        for n in [3, 4] {
            installed.lock().update(|state| state.saw(domain::Generation(n))).unwrap();
        }
        fs::write(installed.layout.state_dir().join("journal.json"), "").unwrap();
        assert_eq!(start(&installed, "1.0.0").await, Recovered::Run);
        assert_eq!(installed.state().generation, domain::Generation(3));
    }

    #[tokio::test]
    async fn a_spoilt_journal_stays_where_an_upgrade_may_be_open() {
        let spoilt = async |bench: &Bench| {
            fs::write(bench.layout.state_dir().join("journal.json"), "{").unwrap();
            let refused = recover(&bench.layout, &Manager::Nobody, &version("1.1.0"), Some("1")).await;
            assert!(matches!(refused, Err(Error::Journal(journal::Error::Unusable { .. }))), "{refused:?}");
            assert!(!bench.layout.state_dir().join("journal.json.unusable").exists());
        };
        let open = Bench::new("old");
        open.swap_in("new");
        spoilt(&open).await;
        let other = Bench::new("new");
        confirmed(&other);
        fs::write(other.layout.binary(), "another").unwrap();
        spoilt(&other).await;
        let nothing_known = Bench::new("new");
        nothing_known.lock().update(|state| state.saw(domain::Generation(3))).unwrap();
        nothing_known.lock().update(|state| state.saw(domain::Generation(4))).unwrap();
        spoilt(&nothing_known).await;
    }

    #[tokio::test]
    async fn the_new_version_goes_on_to_probation_and_is_counted() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        assert_eq!(start(&bench, "1.1.0").await, Recovered::Run);
        let open = bench.state().open.unwrap();
        assert_eq!((open.step, open.starts), (Step::Swapped, 1));
    }

    #[tokio::test]
    async fn a_version_that_is_another_than_asked_goes_back_by_itself() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        assert_eq!(start(&bench, "1.9.9").await, Recovered::Restart);
        assert_eq!(bench.live(), "old");
        assert_eq!(ended(&bench), (Outcome::RolledBack, Some(ErrorCode::WrongVersion)));
    }

    #[tokio::test]
    async fn an_attempt_interrupted_before_the_swap_failed() {
        let bench = Bench::new("old");
        let (path, _file) = bench.incoming("new");
        let open = bench.attempt_for(&path);
        bench.lock().update(|state| state.open = Some(open)).unwrap();
        fs::hard_link(bench.layout.binary(), bench.layout.previous_new()).unwrap();
        assert_eq!(start(&bench, "1.0.0").await, Recovered::Run);
        assert_eq!(ended(&bench).0, Outcome::Failed);
        assert!(!bench.layout.previous_new().exists());
    }

    #[tokio::test]
    async fn an_old_binary_put_back_by_hand_is_a_rollback() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        fs::copy(bench.layout.previous(), bench.layout.binary()).unwrap();
        assert_eq!(start(&bench, "1.0.0").await, Recovered::Run);
        assert_eq!(ended(&bench), (Outcome::RolledBack, Some(ErrorCode::ByHand)));
    }

    #[tokio::test]
    async fn a_third_binary_supersedes() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        fs::write(bench.layout.binary(), "mine").unwrap();
        assert_eq!(start(&bench, "3.0.0").await, Recovered::Run);
        assert_eq!(ended(&bench).0, Outcome::Superseded);
    }

    #[tokio::test]
    async fn a_wrong_version_without_a_way_back_goes_on_and_stays_open() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        fs::remove_file(bench.layout.previous()).unwrap();
        assert_eq!(start(&bench, "1.9.9").await, Recovered::Run);
        assert_eq!(bench.live(), "new");
        assert!(bench.state().open.is_some());
    }
}
