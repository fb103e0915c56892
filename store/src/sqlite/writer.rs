//! The one thread that writes. Jobs queue; whatever queued during the last fsync becomes the next transaction, so that a
//! thousand callers cost a handful of fsyncs and one caller waits for nothing but its own.
//!
//! ```text
//! queue → BEGIN IMMEDIATE → (SAVEPOINT → job → RELEASE | ROLLBACK TO)* → COMMIT → push changes → answer callers
//! ```
//!
//! What must stay true:
//! - nobody is answered, and nothing is pushed, before the commit is durable;
//! - a job that is refused, fails or panics undoes only itself;
//! - when the transaction is lost (disk full, I/O error), every job in it is told that nothing was written, the refused ones
//!   too: they were judged by writes that never happened.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::failure::Failure;
use super::row::write;
use super::write_tx::WriteTx;
use crate::clock::Clock;
use crate::error::Error;
use crate::feeds::{Feeds, Told};

/// Jobs that may wait. Each is a caller that waits for its answer, so the bound is against a stuck disk, not for speed.
const QUEUE: usize = 4096;

/// Most jobs in one transaction: bounds how long the first of a group waits for the last, and the size of the log's tail.
const GROUP_MAX: usize = 256;

/// How long a caller waits for a place in a full queue before it is told that the store is too busy.
const QUEUE_DEADLINE: Duration = Duration::from_secs(5);

const BEGIN: &str = "BEGIN IMMEDIATE";
const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";
const SAVEPOINT: &str = "SAVEPOINT job";
const RELEASE: &str = "RELEASE job";
// Also undoes and ends savepoints that were begun in it, such as the part of a job that panicked.
const ROLLBACK_TO: &str = "ROLLBACK TO job";

/// The way to the writer thread.
#[derive(Debug)]
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the transaction was not committed")]
struct NotCommitted(#[source] Arc<rusqlite::Error>);

#[derive(Debug, thiserror::Error)]
#[error("the write panicked: {0}")]
struct Panicked(String);

#[derive(Debug, thiserror::Error)]
enum Queue {
    #[error("too many writes are waiting")]
    Full,
    #[error("the store is closed")]
    Closed,
}

trait Job: Send {
    fn run(&mut self, tx: &WriteTx<'_>) -> Verdict;
    fn answer(self: Box<Self>, lost: Option<&Arc<rusqlite::Error>>);
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Undo,
}

struct Task<T, F> {
    operation: &'static str,
    work: Option<F>,
    result: Option<Result<T, Error>>,
    reply: oneshot::Sender<Result<T, Error>>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn start(connection: Connection, clock: Arc<dyn Clock>, feeds: Feeds) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_groups(&connection, jobs, &*clock, &feeds))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Runs `work` in a transaction and answers once it is durable. Dropping the future does not take back what was queued.
    pub(super) async fn write<T, F>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTx<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let unavailable = |why: Queue| Error::Unavailable { operation, source: Box::new(why) };
        let (reply, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Task { operation, work: Some(work), result: None, reply });
        let queue = self.queue.as_ref().ok_or_else(|| unavailable(Queue::Closed))?;
        match queue.try_send(job) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(unavailable(Queue::Closed)),
            // The timer exists only on this path, so that paused clocks in tests never meet it.
            Err(mpsc::error::TrySendError::Full(job)) => {
                let sent = tokio::time::timeout(QUEUE_DEADLINE, queue.send(job)).await;
                sent.map_err(|_| unavailable(Queue::Full))?.map_err(|_| unavailable(Queue::Closed))?;
            }
        }
        answer.await.unwrap_or_else(|_| Err(unavailable(Queue::Closed)))
    }
}

impl Drop for Writer {
    /// Takes no more jobs, finishes those that wait, and closes the file: whoever opens it next finds it free.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A writer that panicked outside a job has already logged it; there is nobody left to tell.
            drop(thread.join());
        }
    }
}

// === impl Task ===

impl<T, F> Job for Task<T, F>
where
    T: Send,
    F: FnOnce(&WriteTx<'_>) -> Result<T, Failure> + Send,
{
    fn run(&mut self, tx: &WriteTx<'_>) -> Verdict {
        let Some(work) = self.work.take() else {
            return Verdict::Undo;
        };
        let result = match catch_unwind(AssertUnwindSafe(|| work(tx))) {
            Ok(result) => result.map_err(|failure| failure.into_error(self.operation)),
            Err(panic) => {
                let source = Box::new(Panicked(panic_text(&*panic)));
                tracing::error!(operation = self.operation, error = %source, "a write panicked and was undone");
                Err(Error::Unavailable { operation: self.operation, source })
            }
        };
        let verdict = if result.is_ok() { Verdict::Keep } else { Verdict::Undo };
        self.result = Some(result);
        verdict
    }

    fn answer(self: Box<Self>, lost: Option<&Arc<rusqlite::Error>>) {
        let Self { operation, result, reply, .. } = *self;
        let answer = match (lost, result) {
            (None, Some(result)) => result,
            (Some(why), _) => Err(Failure::Engine(clone_of(why)).into_error(operation)).map_err(|error| match error {
                Error::Unavailable { .. } => {
                    Error::Unavailable { operation, source: Box::new(NotCommitted(Arc::clone(why))) }
                }
                lasting => lasting,
            }),
            (None, None) => Err(Error::Unavailable { operation, source: Box::new(Queue::Closed) }),
        };
        // Whoever asked may be gone; the write stands all the same.
        drop(reply.send(answer));
    }
}

/// The engine's error is not `Clone`; what callers decide by is its code.
fn clone_of(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => rusqlite::Error::SqliteFailure(*code, message.clone()),
        other => rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ABORT),
            Some(other.to_string()),
        ),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no text)".to_owned())
}

// === the thread ===

fn write_groups(connection: &Connection, mut jobs: mpsc::Receiver<Box<dyn Job>>, clock: &dyn Clock, feeds: &Feeds) {
    while let Some(job) = jobs.blocking_recv() {
        write_group(connection, job, &mut jobs, clock, feeds);
    }
}

fn write_group(
    connection: &Connection,
    job: Box<dyn Job>,
    jobs: &mut mpsc::Receiver<Box<dyn Job>>,
    clock: &dyn Clock,
    feeds: &Feeds,
) {
    let mut done = Vec::new();
    let mut told = Told::default();
    let mut next = Some(job);
    let mut lost = write(connection, BEGIN, []).err();
    while let Some(mut job) = next.take() {
        if lost.is_none() {
            match run_job(connection, &mut *job, clock) {
                Ok(later) => told.add(later),
                Err(error) => lost = Some(error),
            }
        }
        done.push(job);
        if lost.is_none() && done.len() < GROUP_MAX {
            next = jobs.try_recv().ok();
        }
    }
    if lost.is_none() {
        lost = write(connection, COMMIT, []).err();
    }
    let lost = lost.map(Arc::new);
    match &lost {
        None => feeds.push(&told),
        Some(error) => {
            tracing::error!(n_writes = done.len(), error = %error, "a group of writes was lost; their callers are told");
            if !connection.is_autocommit()
                && let Err(error) = write(connection, ROLLBACK, [])
            {
                tracing::error!(error = %error, "rolling the lost group back failed");
            }
        }
    }
    for job in done {
        job.answer(lost.as_ref());
    }
}

/// Runs one job in its savepoint. An error here is the transaction's, not the job's.
fn run_job(connection: &Connection, job: &mut dyn Job, clock: &dyn Clock) -> Result<Told, rusqlite::Error> {
    let tx = WriteTx::new(connection, clock.now());
    write(connection, SAVEPOINT, [])?;
    let verdict = job.run(&tx);
    // SQLite gives up the whole transaction by itself on some errors (disk full, I/O): the savepoint is gone with it,
    // and so is what the jobs before this one wrote.
    if verdict == Verdict::Undo {
        write(connection, ROLLBACK_TO, [])?;
    }
    write(connection, RELEASE, [])?;
    Ok(if verdict == Verdict::Keep { tx.into_told() } else { Told::default() })
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use domain::audit::EventKind;
    use domain::{Actor, Event, Timestamp};

    use super::super::{SqliteStore, event};
    use crate::{Error, EventQuery, EventStore, ManualClock};

    fn open(directory: &Path) -> SqliteStore {
        let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
        SqliteStore::open(directory.join("novacula.db"), clock).expect("opens")
    }

    fn told(target: &str) -> [Event; 1] {
        [Event {
            kind: EventKind::ReleaseCreated,
            actor: Actor::Console,
            target: target.to_owned(),
            organization: None,
            time: Timestamp::EPOCH,
            details: Vec::new(),
        }]
    }

    async fn append(store: &SqliteStore, target: &str) -> Result<(), Error> {
        store.event_append(&told(target)).await
    }

    async fn targets(store: &SqliteStore) -> Vec<String> {
        let query = EventQuery { limit: 100, ..EventQuery::default() };
        let rows = store.event_list(&query).await.expect("a list");
        rows.into_iter().map(|row| row.target).collect()
    }

    #[tokio::test]
    async fn a_panic_undoes_its_job_and_the_thread_goes_on() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        let panicked = store.write("panicking", |tx| {
            event::insert_in_tx(tx, &told("before"))?;
            // In the middle of a part, whose savepoint is then still open.
            tx.part(|tx| {
                event::insert_in_tx(tx, &told("inside"))?;
                if tx.now() == Timestamp::EPOCH {
                    panic!("on purpose");
                }
                Ok(())
            })
        });
        let (panicked, other) = tokio::join!(panicked, append(&store, "other"));
        assert!(matches!(panicked, Err(Error::Unavailable { operation: "panicking", .. })), "{panicked:?}");
        other.expect("its neighbour in the group is not hurt");
        append(&store, "later").await.expect("the thread goes on");
        assert_eq!(targets(&store).await, ["other", "later"]);
    }

    #[tokio::test]
    async fn a_lost_group_is_told_to_all_of_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        append(&store, "kept").await.expect("a write");
        let head = store.event_head();
        // What SQLite does by itself when the disk is full: the transaction is gone under the jobs.
        let losing = store.write("losing", |tx| {
            tx.connection().execute_batch("ROLLBACK")?;
            Ok(())
        });
        let (first, losing, last) = tokio::join!(append(&store, "first"), losing, append(&store, "last"));
        assert!(losing.is_err());
        // Whether a neighbour was in the same group is up to the timing; whoever was answered is written.
        let mut expected = vec!["kept"];
        expected.extend(first.is_ok().then_some("first"));
        expected.extend(last.is_ok().then_some("last"));
        assert_eq!(targets(&store).await, expected);
        assert_eq!(*head.borrow() > 1, expected.len() > 1, "nobody heard of what was lost");
        append(&store, "later").await.expect("the thread goes on");
    }

    #[tokio::test]
    async fn a_read_that_panics_gives_its_connection_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = open(directory.path());
        for _ in 0..2 * super::super::reader::READERS {
            let lost: Result<(), Error> = store.read("panicking", |_| panic!("on purpose")).await;
            assert!(matches!(lost, Err(Error::Unavailable { operation: "panicking", .. })));
        }
        assert_eq!(targets(&store).await, [""; 0]);
    }
}
