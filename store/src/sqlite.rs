//! The embedded store: one process, one SQLite file.
//!
//! One thread writes, in groups (`writer`); a few read-only connections read on the blocking pool (`reader`): nothing
//! here blocks the async runtime. The store's clock is the one that is injected. A method whose future is dropped may still
//! have written. The SQL of a noun and the reading of its rows are in the file of its name.

mod connection;

mod failure;

mod lock;

mod migrate;

mod reader;

mod row;

mod write_tx;

mod writer;

mod organization;

mod token;

mod join_token;

mod executor;

mod attempt;

mod request;

mod commit;

mod enrolment;

mod authority;

mod certificate;

mod session;

mod node;

mod release;

mod event;

mod change;

mod backup;

pub(crate) mod source;

#[cfg(test)]
mod statements;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use domain::Timestamp;
use rusqlite::Connection;

use crate::clock::{Clock, StoreClock};
use crate::error::Error;
use crate::feeds::Feeds;
use crate::observe::Observer;

use self::failure::Failure;
use self::lock::Lock;
use self::reader::{READERS, Readers};
use self::write_tx::WriteTx;
use self::writer::Writer;

/// The embedded store. Cheap to clone; the file is closed and its lock given up when the last clone is dropped.
#[derive(Clone)]
pub struct SqliteStore {
    inner: Arc<Inner>,
    observer: Option<Observer>,
}

/// Fields are dropped in this order: readers first, so that the writer, closing last, folds the log into the file; then the lock.
struct Inner {
    readers: Readers,
    writer: Writer,
    clock: Arc<dyn Clock>,
    feeds: Feeds,
    path: PathBuf,
    _lock: Lock,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Opens the database at `path`, creating it (mode 0600) where there is none, and brings it to this build's schema.
    /// Blocks on the disk: call it at start, or on the blocking pool.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when another process holds it (it says which) or the file cannot be opened;
    /// [`Error::Corrupt`] when it is not a database of Novacula, or one that a newer build has migrated.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let path = path.as_ref();
        let unavailable =
            |source: Box<dyn std::error::Error + Send + Sync>| Error::Unavailable { operation: "store_open", source };
        let lock = Lock::take(path).map_err(|error| unavailable(error.into()))?;
        connection::create_private(path).map_err(|error| unavailable(error.into()))?;
        let mut writer = connection::open_writer(path).map_err(|error| open_error(path, error))?;
        migrate::migrate(&mut writer, migrate::MIGRATIONS, clock.now()).map_err(|error| migrate_error(path, error))?;
        let head = event::newest(&writer).map_err(|failure| failure.into_error("store_open"))?;
        let readers = (0..READERS).map(|_| connection::open_reader(path)).collect::<Result<Vec<_>, _>>();
        let readers = Readers::new(readers.map_err(|error| open_error(path, error))?);
        let feeds = Feeds::new(head);
        let writer =
            Writer::start(writer, Arc::clone(&clock), feeds.clone()).map_err(|error| unavailable(error.into()))?;
        let inner = Inner { readers, writer, clock, feeds, path: path.to_owned(), _lock: lock };
        Ok(Self { inner: Arc::new(inner), observer: None })
    }

    /// The same store, telling `observer` how long each operation takes.
    #[must_use]
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Where the database is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    async fn read<T, F>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        let begin = Instant::now();
        let result = self.inner.readers.read(operation, work).await;
        self.observe(operation, begin);
        result
    }

    async fn write<T, F>(&self, operation: &'static str, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&WriteTx<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let begin = Instant::now();
        let result = self.inner.writer.write(operation, work).await;
        self.observe(operation, begin);
        result
    }

    fn observe(&self, operation: &'static str, begin: Instant) {
        if let Some(observer) = &self.observer {
            observer(operation, begin.elapsed());
        }
    }
}

/// Damage does not mend itself; all else may.
fn open_error(path: &Path, error: connection::OpenError) -> Error {
    let damaged = matches!(
        &error,
        connection::OpenError::Open { source, .. }
            if matches!(source.sqlite_error_code(), Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt))
    );
    if damaged {
        Error::Corrupt { noun: "database", key: path.display().to_string(), source: Box::new(error) }
    } else {
        Error::Unavailable { operation: "store_open", source: Box::new(error) }
    }
}

fn migrate_error(path: &Path, error: migrate::MigrateError) -> Error {
    match &error {
        migrate::MigrateError::History(source) | migrate::MigrateError::Step { source, .. }
            if !matches!(
                source.sqlite_error_code(),
                Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt)
            ) =>
        {
            Error::Unavailable { operation: "store_open", source: Box::new(error) }
        }
        _ => Error::Corrupt { noun: "database", key: path.display().to_string(), source: Box::new(error) },
    }
}

#[async_trait]
impl StoreClock for SqliteStore {
    async fn store_now(&self) -> Result<Timestamp, Error> {
        Ok(self.inner.clock.now())
    }
}
