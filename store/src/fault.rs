//! A store that fails on demand, around one that does not: for tests of what stands on a store.
//!
//! ```text
//! call → rule that matches? → Before: refused, nothing written       → Error::Unavailable
//!                             After:  written, and the answer lost   → Error::Unavailable
//!                             Delay, PauseBefore, PauseAfter: later, or when told
//! ```
//!
//! It is deterministic: rules match in the order in which they were given, by count and not by chance. Wake-ups can be
//! lost too ([`Faults::mute_wakes`]), as they are when a replica's LISTEN breaks.

mod delegate;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, watch};

use crate::Store;
use crate::change::Change;
use crate::error::Error;

/// As many wake-ups as the embedded store keeps.
const CHANGES_KEPT: usize = 16 * 1024;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing is done, and the caller is told [`Error::Unavailable`].
    Before,
    /// It is done, and the caller is told [`Error::Unavailable`] all the same: the answer was lost.
    After,
    /// It is done later.
    Delay(Duration),
    /// It waits for [`Faults::resume`] before it is done.
    PauseBefore,
    /// It is done, and waits for [`Faults::resume`] before it answers.
    PauseAfter,
}

/// Which calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// All.
    Any,
    /// Those that only read.
    Reads,
    /// Those that write.
    Writes,
    /// Those of one method, by its name: `executor_commit`.
    Of(&'static str),
}

/// A fault that is waiting for its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which calls count.
    pub calls: Calls,
    /// How many of them pass first.
    pub skip: usize,
    /// How many of them it happens to.
    pub times: usize,
    /// What happens.
    pub fault: Fault,
}

/// The store that fails on demand. Cheap to clone.
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    faults: Faults,
    wakes: Arc<Wakes>,
}

/// The hand on the faults. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// How many calls are paused.
    paused: watch::Sender<usize>,
    /// Grows with each [`Faults::resume`].
    resumed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    calls: BTreeMap<&'static str, u64>,
    muted: bool,
}

/// What the inner store pushed, passed on after each write unless muted. The inner store pushes before it answers, so
/// that nothing is waiting when a write has returned, and no task is needed.
struct Wakes {
    changes: broadcast::Sender<Change>,
    event_head: watch::Sender<u64>,
    inner: Mutex<Inner>,
}

struct Inner {
    changes: broadcast::Receiver<Change>,
    event_head: watch::Receiver<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

#[derive(Debug, thiserror::Error)]
#[error("a fault was injected")]
struct Injected;

// === impl Fault ===

impl Fault {
    /// The next `n` of `calls` meet it.
    #[must_use]
    pub const fn next(self, n: usize, calls: Calls) -> Rule {
        Rule { calls, skip: 0, times: n, fault: self }
    }

    /// The `n`th of `calls` from now meets it; 1 is the next.
    #[must_use]
    pub const fn nth(self, n: usize, calls: Calls) -> Rule {
        Rule { calls, skip: n.saturating_sub(1), times: 1, fault: self }
    }

    /// All of `calls` meet it, until [`Faults::heal`].
    #[must_use]
    pub const fn always(self, calls: Calls) -> Rule {
        Rule { calls, skip: 0, times: usize::MAX, fault: self }
    }
}

impl Calls {
    fn matches(self, operation: &str, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::Reads => kind == Kind::Read,
            Self::Writes => kind == Kind::Write,
            Self::Of(name) => name == operation,
        }
    }
}

// === impl Faults ===

impl Faults {
    /// Adds a rule. The first that matches a call and has passed its `skip` is the one that happens.
    pub fn inject(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Forgets all rules, lets the paused go on and wake-ups pass. Those that were lost stay lost.
    pub fn heal(&self) {
        let mut state = self.lock();
        state.rules.clear();
        state.muted = false;
        drop(state);
        self.resume();
    }

    /// From now on nobody is woken, neither by changes nor by events.
    pub fn mute_wakes(&self) {
        self.lock().muted = true;
    }

    /// Lets the paused calls go on.
    pub fn resume(&self) {
        self.0.resumed.send_modify(|resumed| *resumed += 1);
    }

    /// Waits until at least `n` calls are paused.
    pub async fn paused(&self, n: usize) {
        let mut paused = self.0.paused.subscribe();
        // The sender lives in `self`, so waiting ends only when the condition holds.
        drop(paused.wait_for(|paused| *paused >= n).await);
    }

    /// How often a method was called, whatever became of it.
    #[must_use]
    pub fn n_calls(&self, operation: &str) -> u64 {
        self.lock().calls.get(operation).copied().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call; what happens to it.
    fn meet(&self, operation: &'static str, kind: Kind) -> Option<Fault> {
        let mut state = self.lock();
        *state.calls.entry(operation).or_default() += 1;
        let mut met = None;
        for rule in state.rules.iter_mut().filter(|rule| rule.calls.matches(operation, kind)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if met.is_none() && rule.times > 0 {
                rule.times = if rule.times == usize::MAX { usize::MAX } else { rule.times - 1 };
                met = Some(rule.fault);
            }
        }
        state.rules.retain(|rule| rule.times > 0);
        met
    }

    async fn pause(&self) {
        let mut resumed = self.0.resumed.subscribe();
        resumed.mark_unchanged();
        let _counted = Counted::new(&self.0.paused);
        drop(resumed.changed().await);
    }
}

/// Counts a paused call, also when its caller gives up.
struct Counted<'a>(&'a watch::Sender<usize>);

impl<'a> Counted<'a> {
    fn new(paused: &'a watch::Sender<usize>) -> Self {
        paused.send_modify(|paused| *paused += 1);
        Self(paused)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|paused| *paused -= 1);
    }
}

// === impl FaultStore ===

impl std::fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultStore").field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl FaultStore {
    /// Wraps a store, faultless at first. All writes have to go through the wrapper: it passes on wake-ups.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>) -> Self {
        let pushed = Inner { changes: inner.change_subscribe(), event_head: inner.event_head() };
        let head = *pushed.event_head.borrow();
        let wakes = Wakes {
            changes: broadcast::channel(CHANGES_KEPT).0,
            event_head: watch::channel(head).0,
            inner: Mutex::new(pushed),
        };
        let shared = Shared { state: Mutex::default(), paused: watch::channel(0).0, resumed: watch::channel(0).0 };
        Self { inner, faults: Faults(Arc::new(shared)), wakes: Arc::new(wakes) }
    }

    /// The hand on its faults.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }

    async fn call<T: Send>(
        &self,
        operation: &'static str,
        kind: Kind,
        work: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, Error> {
        let fault = self.faults.meet(operation, kind);
        let lost = || Error::Unavailable { operation, source: Box::new(Injected) };
        match fault {
            Some(Fault::Before) => return Err(lost()),
            Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::PauseBefore) => self.faults.pause().await,
            Some(Fault::After | Fault::PauseAfter) | None => {}
        }
        let result = work.await;
        if kind == Kind::Write {
            self.pass_on();
        }
        match fault {
            Some(Fault::After) => result.and_then(|_| Err(lost())),
            Some(Fault::PauseAfter) => {
                self.faults.pause().await;
                result
            }
            Some(Fault::Before | Fault::Delay(_) | Fault::PauseBefore) | None => result,
        }
    }

    fn pass_on(&self) {
        let muted = self.faults.lock().muted;
        let mut inner = self.wakes.inner.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match inner.changes.try_recv() {
                // Nobody listening is no error.
                Ok(change) if !muted => drop(self.wakes.changes.send(change)),
                // Who is behind heals by number, as with any store.
                Ok(_) | Err(broadcast::error::TryRecvError::Lagged(_)) => {}
                Err(broadcast::error::TryRecvError::Empty | broadcast::error::TryRecvError::Closed) => break,
            }
        }
        if !muted && inner.event_head.has_changed().unwrap_or(false) {
            let head = *inner.event_head.borrow_and_update();
            self.wakes.event_head.send_replace(head);
        }
    }
}
