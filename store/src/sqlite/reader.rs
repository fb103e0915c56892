//! Reads: a few read-only connections on the blocking pool. They never wait for the writer (WAL), and a write that was
//! answered is seen by every read that begins after.
//!
//! ```text
//! read -> queue -> an idle connection, or the next one that is done -> answer, if somebody still waits for it
//! ```
//!
//! A read goes on by itself, whoever polls: it waits in the queue, not in its caller. A caller that is left in the middle of
//! a read (a stream whose peer takes nothing) holds no connection, and keeps nobody from one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::failure::Failure;
use crate::error::Error;

/// Connections that read at once. More than a small machine's cores gain nothing: pages come from the same cache.
pub(super) const READERS: usize = 4;

/// The read-only connections.
#[derive(Debug)]
pub(super) struct Readers {
    desk: Arc<Mutex<Desk>>,
}

/// What waits, and what it waits for. One of the two is empty.
struct Desk {
    idle: Vec<Connection>,
    waiting: VecDeque<Job>,
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// A connection at work; it is given back however the work ends.
struct Worker {
    connection: Option<Connection>,
    desk: Arc<Mutex<Desk>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the read panicked, or its runtime is shutting down")]
struct Lost;

// === impl Readers ===

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let desk = Desk { idle: connections, waiting: VecDeque::new() };
        Self { desk: Arc::new(Mutex::new(desk)) }
    }

    /// Runs `work` on one snapshot of the store.
    pub(super) async fn read<T, F>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.queue(Box::new(move |connection| {
            // Whoever went away while it waited costs nothing more.
            if !reply.is_closed() {
                drop(reply.send(on_snapshot(connection, work)));
            }
        }));
        match answer.await {
            Ok(read) => read.map_err(|failure| failure.into_error(operation)),
            Err(_) => Err(Error::Unavailable { operation, source: Box::new(Lost) }),
        }
    }

    fn queue(&self, job: Job) {
        let mut desk = lock(&self.desk);
        desk.waiting.push_back(job);
        if let Some(connection) = desk.idle.pop() {
            let worker = Worker { connection: Some(connection), desk: Arc::clone(&self.desk) };
            drop(desk);
            // It answers by the job's own channel.
            drop(tokio::task::spawn_blocking(move || worker.work()));
        }
    }
}

fn lock(desk: &Mutex<Desk>) -> MutexGuard<'_, Desk> {
    desk.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One snapshot for all statements of one read.
fn on_snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
    let tx = connection.unchecked_transaction()?;
    work(&tx)
}

// === impl Worker ===

impl Worker {
    /// Does what waits, until nothing does.
    fn work(mut self) {
        while let Some(connection) = self.connection.take() {
            let mut desk = lock(&self.desk);
            let Some(job) = desk.waiting.pop_front() else {
                desk.idle.push(connection);
                return;
            };
            drop(desk);
            // The hook of panics has told it, and the caller is told by the channel that closes.
            drop(catch_unwind(AssertUnwindSafe(|| job(&connection))));
            self.connection = Some(connection);
        }
    }
}

impl Drop for Worker {
    /// Never begun, since the runtime is shutting down: whoever waits is told so.
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let mut desk = lock(&self.desk);
            desk.idle.push(connection);
            let lost = std::mem::take(&mut desk.waiting);
            drop(desk);
            drop(lost);
        }
    }
}

// === impl Desk ===

impl std::fmt::Debug for Desk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("idle", &self.idle.len()).field("waiting", &self.waiting.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::task::{Context, Waker};

    use super::*;

    fn readers(n: usize) -> Readers {
        Readers::new((0..n).map(|_| Connection::open_in_memory().expect("a database")).collect())
    }

    #[tokio::test]
    async fn reads_that_nobody_polls_keep_nobody_waiting() {
        let readers = readers(2);
        let mut left: Vec<_> = (0..64).map(|_| Box::pin(readers.read("left", |_| Ok(())))).collect();
        for read in &mut left {
            // Begun, and then left as a stream is whose peer takes nothing.
            assert!(read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        for n in 0..8 {
            assert_eq!(readers.read("asked", move |_| Ok(n)).await.expect("an answer"), n);
        }
        for read in left {
            read.await.expect("it was answered meanwhile");
        }
    }

    #[tokio::test]
    async fn a_read_that_panics_loses_only_itself() {
        let readers = readers(1);
        let panicked = readers.read("panics", |_| -> Result<(), Failure> { panic!("by a test") }).await;
        assert!(matches!(panicked, Err(Error::Unavailable { operation: "panics", .. })), "{panicked:?}");
        assert_eq!(readers.read("asked", |_| Ok(7)).await.expect("an answer"), 7);
    }

    #[tokio::test]
    async fn a_read_whose_caller_went_away_is_not_begun() {
        let readers = readers(1);
        let (go, gate) = std::sync::mpsc::sync_channel::<()>(1);
        let slow = readers.read("slow", move |_| Ok(gate.recv().is_ok()));
        let mut slow = Box::pin(slow);
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(slow.as_mut().poll(cx).is_pending());
        let mut gone = Box::pin(readers.read("gone", |_| -> Result<(), Failure> { panic!("nobody asks") }));
        assert!(gone.as_mut().poll(cx).is_pending());
        drop(gone);
        go.send(()).expect("it waits");
        assert!(slow.await.expect("an answer"));
        assert!(readers.read("asked", |_| Ok(true)).await.expect("an answer"));
    }

    #[tokio::test]
    async fn what_waits_for_a_worker_that_was_never_begun_is_told() {
        let readers = readers(1);
        let connection = lock(&readers.desk).idle.pop();
        let mut waits = Box::pin(readers.read("waits", |_| Ok(())));
        assert!(waits.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        // As a runtime does that shuts down.
        drop(Worker { connection, desk: Arc::clone(&readers.desk) });
        let lost = waits.await;
        assert!(matches!(lost, Err(Error::Unavailable { operation: "waits", .. })), "{lost:?}");
    }
}
