//! Named tasks: the only place of this crate that spawns. A task that dies is never a healthy-looking corpse: its end,
//! its error and its panic are seen here, and its error rule says whether the server goes on without it.
//!
//! Supervisors form the order of shutdown. `run` owns one per storey (listeners, sessions, background) and stops them one
//! after the other: stop accepting, end streams, finish use cases, stop background, close the store. Stopping one:
//!
//! ```text
//! running --stop()--> cancelled: Abort tasks end at once, Drain tasks see the token and finish
//!                        |-- all ended in time --> stopped
//!                        `-- limit passed ------> Drain tasks are aborted too --> stopped (overdue > 0)
//! ```

mod driven;

use std::any::Any;
use std::error::Error as StdError;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::CatchUnwind;
use pin_project_lite::pin_project;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// What a task may end with.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// What becomes of a task when its supervisor stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnCancel {
    /// Dropped at its next await point: it holds nothing that must be finished.
    Abort,
    /// Left to end by itself, since it watches [`Supervisor::cancelled`]; dropped when the limit of [`Supervisor::stop`] passes.
    Drain,
}

/// What a task's error (or panic) means to the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Written to the log; the others go on.
    Log,
    /// The server cannot go on without it: everything is shut down, and `run` answers with this error.
    Stop,
}

/// The task that brought everything down.
#[derive(Debug, thiserror::Error)]
#[error("task {task} failed")]
pub struct Failure {
    /// Its name.
    pub task: &'static str,
    /// Why.
    #[source]
    pub source: BoxError,
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Tasks that had not ended when the limit passed, and were aborted.
    pub overdue: usize,
}

/// Owns tasks. Cheap to clone; all clones own the same tasks.
#[derive(Clone, Debug)]
pub struct Supervisor {
    storey: Arc<Storey>,
    house: Arc<House>,
}

/// What all storeys share.
#[derive(Debug)]
struct House {
    shutdown: CancellationToken,
    failure: Mutex<Option<Failure>>,
}

#[derive(Debug)]
struct Storey {
    name: &'static str,
    tracker: TaskTracker,
    cancel: CancellationToken,
    abort: CancellationToken,
}

pin_project! {
    /// A task, until it ends or is cancelled.
    ///
    /// By hand, since an async block that takes a future in and then awaits it has room for both copies, for as long as it
    /// lives: half of what a connection costs.
    struct Supervised<F, E> {
        #[pin]
        cancelled: WaitForCancellationFutureOwned,
        #[pin]
        future: CatchUnwind<AssertUnwindSafe<F>>,
        ended: E,
    }
}

#[derive(Debug, thiserror::Error)]
#[error("panicked: {0}")]
struct Panicked(String);

// === impl Supervisor ===

impl Supervisor {
    /// The first storey of a house. `shutdown` is cancelled when a task of rule [`OnError::Stop`] fails in any storey.
    #[must_use]
    pub fn new(name: &'static str, shutdown: CancellationToken) -> Self {
        let house = House { shutdown, failure: Mutex::new(None) };
        Self { storey: Arc::new(Storey::new(name)), house: Arc::new(house) }
    }

    /// Another storey of the same house: stopped on its own, failing together.
    #[must_use]
    pub fn storey(&self, name: &'static str) -> Self {
        Self { storey: Arc::new(Storey::new(name)), house: Arc::clone(&self.house) }
    }

    /// Starts a task. Its end by error or panic is handled as `on_error` says; its end by `Ok` is silent.
    pub fn spawn<F>(&self, name: &'static str, on_cancel: OnCancel, on_error: OnError, future: F)
    where
        F: Future<Output = Result<(), BoxError>> + Send + 'static,
    {
        let cancel = match on_cancel {
            OnCancel::Abort => self.storey.cancel.clone(),
            OnCancel::Drain => self.storey.abort.clone(),
        };
        let house = Arc::clone(&self.house);
        let task = Supervised {
            cancelled: cancel.cancelled_owned(),
            future: AssertUnwindSafe(future).catch_unwind(),
            ended: move |error| house.ended(name, on_error, error),
        };
        // The tracker counts it until it ended, and everything it could say was handled above: the handle carries nothing more.
        drop(self.storey.tracker.spawn(task.in_current_span()));
    }

    /// Cancelled when this storey is being stopped.
    #[must_use]
    pub fn cancelled(&self) -> CancellationToken {
        self.storey.cancel.clone()
    }

    /// How many tasks run.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.storey.tracker.len()
    }

    /// Stops this storey: cancels, waits for at most `limit`, aborts what is left, waits for that.
    pub async fn stop(&self, limit: Duration) -> Stopped {
        self.storey.cancel.cancel();
        self.storey.tracker.close();
        if tokio::time::timeout(limit, self.storey.tracker.wait()).await.is_ok() {
            return Stopped { overdue: 0 };
        }
        let overdue = self.tasks();
        tracing::warn!(storey = self.storey.name, overdue, "tasks did not end in time, and are aborted");
        self.storey.abort.cancel();
        self.storey.tracker.wait().await;
        Stopped { overdue }
    }

    /// The failure that shut the house down, once.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.house.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

// === impl Supervised ===

impl<F, E> Future for Supervised<F, E>
where
    F: Future<Output = Result<(), BoxError>>,
    E: FnMut(BoxError),
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // The supervisor stops: whatever the task was at is dropped.
        if this.cancelled.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let end = ready!(this.future.poll(cx));
        if let Err(error) = end.unwrap_or_else(|panic| Err(Panicked::new(panic.as_ref()).into())) {
            (this.ended)(error);
        }
        Poll::Ready(())
    }
}

impl Storey {
    fn new(name: &'static str) -> Self {
        Self { name, tracker: TaskTracker::new(), cancel: CancellationToken::new(), abort: CancellationToken::new() }
    }
}

impl House {
    fn ended(&self, task: &'static str, on_error: OnError, source: BoxError) {
        let error = crate::observe::chain(source.as_ref());
        match on_error {
            OnError::Log => tracing::warn!(task, error, "task failed"),
            OnError::Stop => {
                tracing::error!(task, error, "task failed, and the server cannot go on without it");
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                failure.get_or_insert(Failure { task, source });
                self.shutdown.cancel();
            }
        }
    }
}

impl Panicked {
    fn new(panic: &(dyn Any + Send)) -> Self {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Self(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_failing_task_that_counts_shuts_the_house_down() {
        let shutdown = CancellationToken::new();
        let first = Supervisor::new("first", shutdown.clone());
        let second = first.storey("second");
        second.spawn("pillar", OnCancel::Abort, OnError::Stop, async { Err("gone".into()) });
        shutdown.cancelled().await;
        assert_eq!(first.failure().map(|failure| failure.task), Some("pillar"));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_like_any_other() {
        let shutdown = CancellationToken::new();
        let supervisor = Supervisor::new("only", shutdown.clone());
        supervisor.spawn("pillar", OnCancel::Abort, OnError::Stop, async { panic!("by a test") });
        shutdown.cancelled().await;
        let failure = supervisor.failure().expect("a failure");
        assert_eq!(failure.source.to_string(), "panicked: by a test");
    }

    #[tokio::test]
    async fn an_unimportant_failure_is_survived() {
        let shutdown = CancellationToken::new();
        let supervisor = Supervisor::new("only", shutdown.clone());
        supervisor.spawn("guest", OnCancel::Abort, OnError::Log, async { Err("gone".into()) });
        assert_eq!(supervisor.stop(LIMIT).await, Stopped { overdue: 0 });
        assert!(!shutdown.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn drain_is_waited_for_and_abort_is_not() {
        let supervisor = Supervisor::new("only", CancellationToken::new());
        let cancelled = supervisor.cancelled();
        supervisor.spawn("endless", OnCancel::Abort, OnError::Log, std::future::pending());
        supervisor.spawn("polite", OnCancel::Drain, OnError::Log, async move {
            cancelled.cancelled().await;
            Ok(())
        });
        assert_eq!(supervisor.stop(LIMIT).await, Stopped { overdue: 0 });
        let supervisor = Supervisor::new("only", CancellationToken::new());
        supervisor.spawn("deaf", OnCancel::Drain, OnError::Log, std::future::pending());
        assert_eq!(supervisor.stop(LIMIT).await, Stopped { overdue: 1 });
    }
}
