//! From commits to streams, without a poll in between.
//!
//! Inputs of its loop: the change feed (at once), a sweep of what changed since the last sweep (every 2 s: it heals lost
//! notifications, and costs what changed, not what exists), and the time to try again after the store was away.
//!
//! Order among executors means nothing, since each is read afresh. So a slice takes the newest wake-ups first and the oldest
//! for the rest: a single urgent change waits behind at most one slice of a fan-out, and nothing waits for ever.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::ExecutorUid;
use store::{Change, ChangeNumber};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;

use crate::app::App;
use crate::app::error::Error;
use crate::app::sync::Wanted;
use crate::observe;
use crate::session::close::Close;
use crate::session::outbox::Repeat;
use crate::session::registry::Registry;

/// How often lost notifications are looked for: inside the 5 s of rule 6, twice.
const SWEEP_EVERY: Duration = Duration::from_secs(2);

/// Changes read at once by a sweep.
const SWEEP_PAGE: usize = 1024;

/// Executors looked up together. Small enough that an urgent change waits a few milliseconds behind one slice.
const SLICE: usize = 64;

/// Of a slice, how many are the newest wake-ups; the rest are the oldest.
const NEWEST: usize = 48;

/// How long to wait when the store is away.
const TRY_AGAIN: Duration = Duration::from_millis(250);

/// The task.
#[derive(Debug)]
pub struct Dispatcher {
    app: Arc<App>,
    registry: Arc<Registry>,
    feed: broadcast::Receiver<Change>,
    listening: bool,
    waiting: Waiting,
    /// What the sweeps have seen; none: nothing yet.
    swept: Option<ChangeNumber>,
    next_sweep: Instant,
    /// The newest change that each executor with a session was read after, between two sweeps.
    handled: HashMap<ExecutorUid, ChangeNumber>,
}

/// Executors to look up, each once.
#[derive(Debug, Default)]
struct Waiting {
    order: VecDeque<ExecutorUid>,
    woken: HashMap<ExecutorUid, Woken>,
}

#[derive(Clone, Copy, Debug)]
struct Woken {
    number: ChangeNumber,
    /// When its first change was heard of.
    since: Instant,
}

// === impl Dispatcher ===

impl Dispatcher {
    /// Listens from now on.
    #[must_use]
    pub fn new(app: Arc<App>, registry: Arc<Registry>) -> Self {
        let feed = app.sync_changes();
        Self {
            app,
            registry,
            feed,
            listening: true,
            waiting: Waiting::default(),
            swept: None,
            next_sweep: Instant::now(),
            handled: HashMap::new(),
        }
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        loop {
            if Instant::now() >= self.next_sweep {
                self.sweep().await;
            }
            self.hear_all();
            if self.waiting.is_empty() {
                self.hear().await;
                continue;
            }
            self.slice().await;
            // Others on this thread get their turn: the bodies that were woken above all.
            tokio::task::yield_now().await;
        }
    }

    /// Waits for a change, or for the time to sweep.
    async fn hear(&mut self) {
        let change = if self.listening {
            tokio::time::timeout_at(self.next_sweep, self.feed.recv()).await
        } else {
            tokio::time::sleep_until(self.next_sweep).await;
            return;
        };
        match change {
            Ok(Ok(change)) => self.note(change, Instant::now()),
            Ok(Err(RecvError::Lagged(_))) => self.next_sweep = Instant::now(),
            // The sweep alone keeps the promise from here on.
            Ok(Err(RecvError::Closed)) => self.listening = false,
            Err(_) => {}
        }
    }

    /// Takes in what the feed holds already.
    fn hear_all(&mut self) {
        while self.listening {
            match self.feed.try_recv() {
                Ok(change) => self.note(change, Instant::now()),
                Err(TryRecvError::Lagged(_)) => self.next_sweep = Instant::now(),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Closed) => self.listening = false,
            }
        }
    }

    /// An executor without a session here reads afresh when it opens one.
    fn note(&mut self, change: Change, now: Instant) {
        if self.registry.find(change.executor).is_some() {
            self.waiting.add(change, now);
        }
    }

    /// Takes in what changed since the last sweep and was not handled meanwhile.
    async fn sweep(&mut self) {
        self.next_sweep = Instant::now() + SWEEP_EVERY;
        if let Err(error) = self.try_sweep().await {
            tracing::warn!(error = observe::chain(&error), "changes cannot be looked for");
        }
    }

    async fn try_sweep(&mut self) -> Result<(), Error> {
        let Some(mut seen) = self.swept else {
            // Sessions that were opened before now are none: this is the first thing that happens.
            self.swept = Some(self.app.sync_change_head().await?);
            return Ok(());
        };
        loop {
            let changes = self.app.sync_changes_since(seen, SWEEP_PAGE).await?;
            let full = changes.len() == SWEEP_PAGE;
            let now = Instant::now();
            for change in changes {
                seen = seen.max(change.number);
                let handled = self.handled.get(&change.executor);
                if handled.is_none_or(|handled| *handled < change.number) {
                    self.note(change, now);
                }
            }
            self.swept = Some(seen);
            if !full {
                break;
            }
        }
        self.handled.retain(|_, handled| *handled > seen);
        Ok(())
    }

    /// Looks one slice of executors up, and says what is desired of them.
    async fn slice(&mut self) {
        let slice = self.waiting.take_slice();
        let uids: Vec<ExecutorUid> = slice.iter().map(|(uid, _)| *uid).collect();
        match self.app.sync_desired(&uids).await {
            Ok(wanted) => {
                self.say(slice.clone(), wanted);
                self.give_way(slice, &uids).await;
            }
            // One row that cannot be read must not keep the others waiting.
            Err(error) if !is_retryable(&error) && slice.len() > 1 => {
                for one in slice {
                    match self.app.sync_desired(&[one.0]).await {
                        Ok(wanted) => self.say(vec![one], wanted),
                        Err(error) => self.fail(vec![one], &error).await,
                    }
                }
            }
            Err(error) => self.fail(slice, &error).await,
        }
    }

    /// Closes the sessions whose executor has a newer one at another replica: a hello there is a change here. After what is
    /// desired was said, which waits for nothing.
    async fn give_way(&mut self, slice: Vec<(ExecutorUid, Woken)>, uids: &[ExecutorUid]) {
        match self.app.sync_epochs(uids).await {
            Ok(newest) => newest.into_iter().for_each(|(uid, epoch)| self.registry.displace(uid, epoch)),
            Err(error) => self.fail(slice, &error).await,
        }
    }

    fn say(&mut self, slice: Vec<(ExecutorUid, Woken)>, mut wanted: HashMap<ExecutorUid, Wanted>) {
        for (uid, woken) in slice {
            self.handled.insert(uid, woken.number);
            let (Some(wanted), Some(outbox)) = (wanted.remove(&uid), self.registry.find(uid)) else {
                continue;
            };
            match wanted {
                Wanted::Desired { desired, rollback_to } => {
                    outbox.desire(desired, rollback_to, Some(woken.since), Repeat::No)
                }
                Wanted::Withheld => {}
                Wanted::Gone(refusal) => outbox.close(Close::Refused(refusal)),
            }
        }
    }

    async fn fail(&mut self, slice: Vec<(ExecutorUid, Woken)>, error: &Error) {
        let executors = slice.len();
        if is_retryable(error) {
            tracing::warn!(error = observe::chain(error), executors, "what is desired cannot be read; trying again");
            self.waiting.put_back(slice);
            tokio::time::sleep(TRY_AGAIN).await;
        } else {
            tracing::error!(error = observe::chain(error), executors, "what is desired cannot be read");
        }
    }
}

fn is_retryable(error: &Error) -> bool {
    match error {
        Error::Store(error) => error.retryable(),
        Error::Refused(_) | Error::Invalid(_) | Error::Internal { .. } => false,
    }
}

// === impl Waiting ===

impl Waiting {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    fn add(&mut self, change: Change, now: Instant) {
        match self.woken.entry(change.executor) {
            Entry::Occupied(mut woken) => {
                let woken = woken.get_mut();
                woken.number = woken.number.max(change.number);
            }
            Entry::Vacant(vacant) => {
                vacant.insert(Woken { number: change.number, since: now });
                self.order.push_back(change.executor);
            }
        }
    }

    fn take_slice(&mut self) -> Vec<(ExecutorUid, Woken)> {
        let mut slice = Vec::with_capacity(SLICE.min(self.order.len()));
        while slice.len() < SLICE {
            let next = if slice.len() < NEWEST { self.order.pop_back() } else { self.order.pop_front() };
            let Some(uid) = next else { break };
            if let Some(woken) = self.woken.remove(&uid) {
                slice.push((uid, woken));
            }
        }
        slice
    }

    fn put_back(&mut self, slice: Vec<(ExecutorUid, Woken)>) {
        for (uid, woken) in slice {
            self.order.push_front(uid);
            self.woken.insert(uid, woken);
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::Generation;
    use uuid::Uuid;

    use super::*;

    fn change(n: u64) -> Change {
        Change {
            number: ChangeNumber(n),
            executor: ExecutorUid::new(Uuid::from_u128(u128::from(n))),
            generation: Generation(1),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_urgent_change_waits_behind_at_most_one_slice_of_a_fan_out() {
        let mut waiting = Waiting::default();
        for n in 1..=1000 {
            waiting.add(change(n), Instant::now());
        }
        let first = waiting.take_slice();
        assert_eq!(first.len(), SLICE);
        waiting.add(change(5000), Instant::now());
        let second = waiting.take_slice();
        assert!(second.iter().any(|(_, woken)| woken.number == ChangeNumber(5000)));
        let oldest = second.iter().map(|(_, woken)| woken.number).min();
        assert!(oldest <= Some(ChangeNumber(32)), "the oldest get their turn too");
    }

    #[tokio::test(start_paused = true)]
    async fn each_executor_waits_once_with_its_newest_change() {
        let mut waiting = Waiting::default();
        let newer = Change { number: ChangeNumber(9), ..change(1) };
        for change in [change(1), newer, change(2)] {
            waiting.add(change, Instant::now());
        }
        let slice = waiting.take_slice();
        let numbers: Vec<u64> = slice.iter().map(|(_, woken)| woken.number.0).collect();
        assert_eq!(numbers, [2, 9]);
        waiting.put_back(slice);
        assert_eq!(waiting.take_slice().len(), 2);
        assert!(waiting.is_empty());
    }
}
