//! Reads: a few read-only connections on the blocking pool. They never wait for the writer (WAL), and a write that was
//! answered is seen by every read that begins after.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::failure::Failure;
use crate::error::Error;

/// Connections that read at once. More than a small machine's cores gain nothing: pages come from the same cache.
pub(super) const READERS: usize = 4;

/// The read-only connections.
#[derive(Debug)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    places: Arc<Semaphore>,
}

#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error("the store is closed")]
    Closed,
    #[error("the read panicked or its runtime is shutting down")]
    Task(#[source] tokio::task::JoinError),
}

/// Gives a connection back, also when a read panics.
struct Borrowed {
    connection: Option<Connection>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(super) fn new(connections: Vec<Connection>) -> Self {
        let places = Arc::new(Semaphore::new(connections.len()));
        Self { idle: Arc::new(Mutex::new(connections)), places }
    }

    /// Runs `work` on one snapshot of the store.
    pub(super) async fn read<T, F>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let lost = |why: Lost| Error::Unavailable { operation, source: Box::new(why) };
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| lost(Lost::Closed))?;
        let idle = Arc::clone(&self.idle);
        let read = tokio::task::spawn_blocking(move || {
            let result = Borrowed::take(idle).map_or(Err(None), |borrowed| borrowed.run(work).map_err(Some));
            drop(place);
            result
        });
        match read.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Some(failure))) => Err(failure.into_error(operation)),
            Ok(Err(None)) => Err(lost(Lost::Closed)),
            Err(error) => Err(lost(Lost::Task(error))),
        }
    }
}

impl Borrowed {
    fn take(idle: Arc<Mutex<Vec<Connection>>>) -> Option<Self> {
        let connection = idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        Some(Self { connection: Some(connection), idle })
    }

    fn run<T>(&self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let connection = self.connection.as_ref().expect("it is given back only when dropped");
        // One snapshot for all statements of one read.
        let tx = connection.unchecked_transaction()?;
        let result = work(&tx);
        drop(tx);
        result
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}
