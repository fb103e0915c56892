//! The ways back as steps that a unit, the supervising parent or a person takes: read journal and disk, decide, do.
//!
//! Each may be repeated and may be interrupted. None restarts anything; they say whether a restart is due.

use std::time::Duration;

use domain::Version;
use executor_sdk::journal::{self, Journal, Locked, OpenAttempt, RollbackCause, State, Step};
use executor_sdk::{clock, disk};

use crate::clock::Moment;
use crate::disk::Facts;
use crate::layout::Layout;
use crate::notes::{Notes, Watch};
use crate::rollback::dead_man::{self, Action, Look, Probed};
use crate::rollback::put_back::{self, Done, put_back};
use crate::rollback::starts::{self, Counted};
use crate::rollback::{Verdict, verdict};
use crate::service_manager::ServiceManager;

/// Waiting for whoever swaps, confirms or rolls back: a copy and some syncs on a slow disk.
pub const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// A step could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal could not be used.
    #[error("use the journal")]
    Journal(#[source] journal::Error),
    /// What is remembered beside it could not be written.
    #[error("remember the dead-man window")]
    Notes(#[source] disk::Error),
    /// The old version could not be brought back.
    #[error("roll back")]
    PutBack(#[source] put_back::Error),
}

/// What a look of the dead man came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Nothing to do now.
    Nothing,
    /// The new version has to be restarted: it gets one more window.
    Wake,
    /// The old version is in place and has to be started.
    Back(Version),
}

/// Brings the old version back for `cause`, with the failing version's last words.
///
/// # Errors
/// [`Error`]; then nothing was made worse.
pub async fn go_back(layout: &Layout, manager: &impl ServiceManager, cause: &RollbackCause) -> Result<Done, Error> {
    go_back_if(layout, manager, cause, |_| true).await
}

/// The same, if the open attempt is still as whoever decided saw it: asked under the lock.
async fn go_back_if(
    layout: &Layout,
    manager: &impl ServiceManager,
    cause: &RollbackCause,
    still: impl Fn(&OpenAttempt) -> bool,
) -> Result<Done, Error> {
    let journal = Journal::new(layout.state_dir());
    let open = journal.read().map_err(Error::Journal)?.open;
    let log_tail = match &open {
        Some(open) => manager.log_tail(open.log_cursor.as_deref()).await,
        None => Vec::new(),
    };
    let locked = lock(layout)?;
    if read(&locked)?.open.is_some_and(|open| still(&open)) {
        put_back(layout, &locked, cause, log_tail, clock::wall()).map_err(Error::PutBack)
    } else {
        Ok(Done::NothingOpen)
    }
}

/// Before a start: finishes a rollback that was interrupted, and counts the start of an unconfirmed version; one too many
/// brings the old version back in its place.
///
/// # Errors
/// [`Error`]; the start goes on with the binary that is in place.
pub async fn before_start(
    layout: &Layout,
    manager: &impl ServiceManager,
    invocation: Option<&str>,
) -> Result<Option<Done>, Error> {
    let Some(cause) = count(layout, invocation)? else {
        return Ok(None);
    };
    go_back(layout, manager, &cause).await.map(Some)
}

/// Counts under the lock; says why to roll back, when that is due.
fn count(layout: &Layout, invocation: Option<&str>) -> Result<Option<RollbackCause>, Error> {
    let locked = lock(layout)?;
    let Some(mut open) = unconfirmed(layout, &read(&locked)?) else {
        return Ok(None);
    };
    if let Some(cause) = open.rollback {
        return Ok(Some(cause));
    }
    let mut notes = Notes::read(layout.state_dir(), open.attempt);
    let counted = starts::count(&mut open, &mut notes, invocation);
    let attempt = open.attempt;
    // The journal first: a start counted twice is found sooner, one not counted later.
    set_open(&locked, open)?;
    if let Err(error) = notes.write(&locked, layout.state_dir(), attempt) {
        tracing::warn!(error = %executor_sdk::report::chain(&error), "a start may be counted twice");
    }
    match counted {
        Counted::Through => Ok(None),
        Counted::TooMany(cause) => Ok(Some(cause)),
    }
}

/// One look of the dead man. `probe` asks with this process's own code whether the control plane can be reached.
///
/// # Errors
/// [`Error`]; the next look tries again.
pub async fn look(
    layout: &Layout,
    manager: &impl ServiceManager,
    window: Duration,
    probe: impl AsyncFnOnce() -> Probed,
) -> Result<Looked, Error> {
    let Some(open) = unconfirmed(layout, &Journal::new(layout.state_dir()).read().map_err(Error::Journal)?) else {
        return Ok(Looked::Nothing);
    };
    if let Some(cause) = &open.rollback {
        return back(layout, manager, cause, |_| true).await;
    }
    let watch = Notes::read(layout.state_dir(), open.attempt).watch;
    let watch = match dead_man::look(&open, watch, Moment::now(), window) {
        Look::Wait(watch) => {
            remember(layout, &open, watch)?;
            return Ok(Looked::Nothing);
        }
        Look::Probe(watch) => watch,
    };
    let probed = probe().await;
    match dead_man::answer(&open, watch, probed, Moment::now(), window) {
        Action::Wait(watch) => {
            remember(layout, &open, watch)?;
            Ok(Looked::Nothing)
        }
        Action::Wake(watch) => Ok(if wake(layout, &open, watch)? { Looked::Wake } else { Looked::Nothing }),
        Action::RollBack(cause) => {
            // It may have connected while it was being probed for.
            let silent = |found: &OpenAttempt| found.attempt == open.attempt && found.step != Step::Connected;
            back(layout, manager, &cause, silent).await
        }
    }
}

async fn back(
    layout: &Layout,
    manager: &impl ServiceManager,
    cause: &RollbackCause,
    still: impl Fn(&OpenAttempt) -> bool,
) -> Result<Looked, Error> {
    match go_back_if(layout, manager, cause, still).await? {
        Done::Back(version) | Done::WasBack(version) => Ok(Looked::Back(version)),
        Done::NothingOpen | Done::ChangedLocally => Ok(Looked::Nothing),
    }
}

/// The new version says that it runs and has tried to connect, whatever came of it.
///
/// # Errors
/// [`Error::Journal`].
pub fn note_started(layout: &Layout) -> Result<(), Error> {
    let noted = Journal::new(layout.state_dir()).update(LOCK_PATIENCE, |state| {
        if let Some(open) = state.open.as_mut() {
            open.step = open.step.max(Step::Started);
        }
    });
    noted.map_err(Error::Journal)
}

/// Notes the window that runs, if the attempt is still open.
fn remember(layout: &Layout, open: &OpenAttempt, watch: Watch) -> Result<(), Error> {
    let same = |notes: &Notes| notes.watch == Some(watch);
    if same(&Notes::read(layout.state_dir(), open.attempt)) {
        return Ok(());
    }
    let locked = lock(layout)?;
    if read(&locked)?.open.is_some_and(|found| found.attempt == open.attempt) {
        // Read again under the lock: a start may have been counted since, and the count is not the dead man's to write.
        let notes = Notes { watch: Some(watch), ..Notes::read(layout.state_dir(), open.attempt) };
        notes.write(&locked, layout.state_dir(), open.attempt).map_err(Error::Notes)?;
    }
    Ok(())
}

/// Notes that the new version is woken and takes its step back, so that its next connection is news. Says whether it has to be
/// woken still.
fn wake(layout: &Layout, open: &OpenAttempt, watch: Watch) -> Result<bool, Error> {
    let locked = lock(layout)?;
    let Some(mut now_open) = read(&locked)?.open.filter(|found| found.attempt == open.attempt) else {
        return Ok(false);
    };
    if now_open.step == Step::Connected {
        if open.step != Step::Connected {
            // It connected while it was being probed for: no reason to disturb it.
            return Ok(false);
        }
        now_open.step = Step::Started;
        set_open(&locked, now_open)?;
    }
    let notes = Notes::read(layout.state_dir(), open.attempt);
    let notes = Notes { watch: Some(watch), wakes: notes.wakes.saturating_add(1), ..notes };
    notes.write(&locked, layout.state_dir(), open.attempt).map_err(Error::Notes)?;
    Ok(true)
}

/// The open attempt, if its new version is in place.
fn unconfirmed(layout: &Layout, state: &State) -> Option<OpenAttempt> {
    let open = state.open.as_ref()?;
    match verdict(Some(open), &Facts::read(layout)) {
        Verdict::PutBack { .. } | Verdict::Unusable(_) => Some(open.clone()),
        Verdict::NothingOpen | Verdict::NeverSwapped | Verdict::AlreadyBack | Verdict::ChangedLocally => None,
    }
}

fn lock(layout: &Layout) -> Result<Locked, Error> {
    Journal::new(layout.state_dir()).lock(LOCK_PATIENCE).map_err(Error::Journal)
}

fn read(locked: &Locked) -> Result<State, Error> {
    locked.read().map_err(Error::Journal)
}

fn set_open(locked: &Locked, open: OpenAttempt) -> Result<(), Error> {
    locked.update(|state| state.open = Some(open)).map_err(Error::Journal)
}

#[cfg(test)]
mod tests {
    use domain::attempt::{ErrorCode, Outcome, Stage};

    use super::*;
    use crate::fixture::{Bench, version};
    use crate::service_manager::Manager;

    const WINDOW: Duration = Duration::from_secs(300);

    /// Sets the clock of the open attempt back by letting its window begin at boot.
    fn long_ago(bench: &Bench) {
        let locked = bench.lock();
        let mut open = bench.state().open.unwrap();
        open.swap = Some(journal::SwapTime {
            wall: domain::Timestamp::EPOCH,
            boot_id: clock::boot_id(),
            since_boot: Duration::ZERO,
        });
        locked.update(|state| state.open = Some(open)).unwrap();
    }

    async fn looked(bench: &Bench, window: Duration, probed: Probed) -> Looked {
        look(&bench.layout, &Manager::Nobody, window, async || probed).await.unwrap()
    }

    #[tokio::test]
    async fn nothing_open_means_nothing_is_asked_or_counted() {
        let bench = Bench::new("old");
        let asked = async || -> Probed { panic!("asked") };
        assert_eq!(look(&bench.layout, &Manager::Nobody, WINDOW, asked).await.unwrap(), Looked::Nothing);
        assert_eq!(before_start(&bench.layout, &Manager::Nobody, Some("1")).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_silent_version_is_woken_and_then_rolled_back_and_an_outage_does_neither() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        long_ago(&bench);
        let window = Duration::from_nanos(1);
        assert_eq!(looked(&bench, window, Probed::NotReached).await, Looked::Nothing);
        assert_eq!(looked(&bench, window, Probed::Reached).await, Looked::Wake);
        assert_eq!(looked(&bench, window, Probed::Reached).await, Looked::Back(version("1.0.0")));
        assert_eq!(bench.live(), "old");
        assert_eq!(bench.state().unsent[0].report.error_code, Some(ErrorCode::Hang));
        assert_eq!(looked(&bench, window, Probed::Reached).await, Looked::Nothing);
    }

    /// A start is counted by the unit's pre-start step and asked for again by the process itself.
    async fn started(bench: &Bench, invocation: &str) -> u32 {
        for _ in 0..2 {
            assert_eq!(before_start(&bench.layout, &Manager::Nobody, Some(invocation)).await.unwrap(), None);
        }
        bench.state().open.unwrap().starts
    }

    #[tokio::test]
    async fn a_start_in_the_midst_of_a_look_counts_once() {
        for (probed, looked) in [(Probed::Reached, Looked::Wake), (Probed::NotReached, Looked::Nothing)] {
            let bench = Bench::new("old");
            bench.swap_in("new");
            long_ago(&bench);
            assert_eq!(started(&bench, "1").await, 1);
            let probe = async || {
                before_start(&bench.layout, &Manager::Nobody, Some("2")).await.unwrap();
                probed
            };
            let window = Duration::from_nanos(1);
            assert_eq!(look(&bench.layout, &Manager::Nobody, window, probe).await.unwrap(), looked);
            assert_eq!(started(&bench, "2").await, 2, "{probed:?}");
        }
    }

    #[tokio::test]
    async fn a_version_that_connects_in_the_midst_of_the_last_look_stays() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        long_ago(&bench);
        let window = Duration::from_nanos(1);
        assert_eq!(looked(&bench, window, Probed::Reached).await, Looked::Wake);
        let probe = async || {
            let connected = |state: &mut State| state.open.as_mut().unwrap().step = Step::Connected;
            bench.lock().update(connected).unwrap();
            Probed::Reached
        };
        assert_eq!(look(&bench.layout, &Manager::Nobody, window, probe).await.unwrap(), Looked::Nothing);
        assert_eq!(bench.live(), "new");
    }

    #[tokio::test]
    async fn the_fourth_start_puts_the_old_version_in_place_of_the_new() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        for n in ["1", "1", "2", "3"] {
            assert_eq!(before_start(&bench.layout, &Manager::Nobody, Some(n)).await.unwrap(), None);
        }
        let done = before_start(&bench.layout, &Manager::Nobody, Some("4")).await.unwrap();
        assert_eq!(done, Some(Done::Back(version("1.0.0"))));
        let report = bench.state().unsent[0].report.clone();
        assert_eq!((report.outcome, report.error_code), (Outcome::RolledBack, Some(ErrorCode::TooManyStarts)));
        assert_eq!(bench.live(), "old");
    }

    #[tokio::test]
    async fn a_decided_rollback_is_finished_before_the_next_start() {
        let bench = Bench::new("old");
        bench.swap_in("new");
        let cause = RollbackCause { stage: Stage::Connect, code: ErrorCode::NoConnection, message: "x".to_owned() };
        let mut open = bench.state().open.unwrap();
        open.step = Step::RollingBack;
        open.rollback = Some(cause);
        bench.lock().update(|state| state.open = Some(open)).unwrap();
        before_start(&bench.layout, &Manager::Nobody, Some("1")).await.unwrap();
        assert_eq!(bench.live(), "old");
        assert_eq!(bench.state().unsent[0].report.error_code, Some(ErrorCode::NoConnection));
    }
}
