//! An embedded store as the source of an import: held against servers by its lock, read in one snapshot, never written.
//!
//! A table is read by the blocking pool, batch by batch, no further ahead of its reader than [`AHEAD`].

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row as SqliteRow};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::failure::Failure;
use super::lock::Lock;
use super::row::all;
use super::{connection, migrate};
use crate::import::catalog::Catalog;
use crate::import::datum::{Datum, Row, key_of};
use crate::import::table::Table;
use crate::mapping::Cause;

/// Rows in a batch. The largest rows, attempts with the tail of a log, are some kilobytes.
const BATCH: usize = 500;

/// Batches that are read before they are asked for.
const AHEAD: usize = 2;

const CATALOG: &str = "
SELECT tables.name, columns.name, columns.type
FROM sqlite_schema AS tables
JOIN pragma_table_info(tables.name) AS columns
WHERE tables.type = 'table'
AND tables.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";

/// The newest number of each kind that was given out: changes, then events.
const NUMBERS: &str = "
SELECT coalesce((SELECT value FROM counters WHERE name = 'change'), 0),
    coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)";

/// Why a source is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    #[error("no embedded store is there")]
    Missing,
    #[error(transparent)]
    Held(Cause),
    #[error("it cannot be opened")]
    Open(#[source] Cause),
    #[error("its schema is not one that this release imports")]
    Schema(#[source] Cause),
    #[error(
        "its schema has taken {found} of {known} steps: run this release's `novacula-server migrate` on its data directory once, \
         without a database URL, and import again"
    )]
    Behind { found: usize, known: usize },
    #[error("it cannot be read")]
    Engine(#[source] Cause),
    #[error("column {column} of {table} {key} {rule}")]
    Value { table: &'static str, key: String, column: &'static str, rule: &'static str },
}

/// An open source.
pub(crate) struct Source {
    inner: Arc<Inner>,
}

/// The connection is closed before the lock is given up.
struct Inner {
    connection: Mutex<Connection>,
    _lock: Lock,
}

/// A table being read.
pub(crate) struct Scan {
    batches: mpsc::Receiver<Vec<Row>>,
    task: Option<JoinHandle<Result<(), SourceError>>>,
}

impl From<rusqlite::Error> for SourceError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error.into())
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Engine(error) => error.into(),
            Failure::Told(error) => Self::Engine(error.into()),
        }
    }
}

// === impl Source ===

impl Source {
    /// Opens the database at `path` for as long as this lives. Blocks on the disk.
    pub(crate) fn open(path: &Path) -> Result<Self, SourceError> {
        if !path.is_file() {
            return Err(SourceError::Missing);
        }
        let lock = Lock::take(path).map_err(|error| SourceError::Held(error.into()))?;
        let connection = connection::open_reader(path).map_err(|error| SourceError::Open(error.into()))?;
        // One snapshot for everything: from the first read until the connection is closed.
        connection.execute_batch("BEGIN").map_err(|error| SourceError::Open(error.into()))?;
        let steps = migrate::MIGRATIONS;
        let found = migrate::applied(&connection, steps).map_err(|error| SourceError::Schema(error.into()))?;
        if found < steps.len() {
            return Err(SourceError::Behind { found, known: steps.len() });
        }
        Ok(Self { inner: Arc::new(Inner { connection: Mutex::new(connection), _lock: lock }) })
    }

    /// Every column there is. Blocks on the disk.
    pub(crate) fn catalog(&self) -> Result<Catalog, SourceError> {
        let connection = self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let read = |row: &SqliteRow<'_>| Ok(((row.get(0)?, row.get(1)?), row.get(2)?));
        Ok(all(&connection, CATALOG, [], read)?.into_iter().collect())
    }

    /// The newest change and event numbers that were ever given out. Blocks on the disk.
    pub(crate) fn numbers(&self) -> Result<[i64; 2], SourceError> {
        let connection = self.inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(connection.query_row(NUMBERS, [], |row| Ok([row.get(0)?, row.get(1)?]))?)
    }

    /// Reads a table, in order of its key.
    pub(crate) fn scan(&self, table: &'static Table) -> Scan {
        let inner = Arc::clone(&self.inner);
        let (sender, batches) = mpsc::channel(AHEAD);
        let task = tokio::task::spawn_blocking(move || {
            let connection = inner.connection.lock().unwrap_or_else(PoisonError::into_inner);
            read(&connection, table, &sender)
        });
        Scan { batches, task: Some(task) }
    }
}

fn read(connection: &Connection, table: &'static Table, sender: &mpsc::Sender<Vec<Row>>) -> Result<(), SourceError> {
    let mut statement = connection.prepare(&table.source_sql())?;
    let mut rows = statement.query([])?;
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(row) = rows.next()? {
        batch.push(row_of(table, row)?);
        if batch.len() == BATCH {
            let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH));
            if sender.blocking_send(full).is_err() {
                // Whoever asked has failed, and says why.
                return Ok(());
            }
        }
    }
    if !batch.is_empty() {
        drop(sender.blocking_send(batch));
    }
    Ok(())
}

fn row_of(table: &'static Table, row: &SqliteRow<'_>) -> Result<Row, SourceError> {
    let mut values = Vec::with_capacity(table.columns.len());
    for (at, column) in table.columns.iter().enumerate() {
        let value = match row.get_ref(at)? {
            ValueRef::Null => Ok(Datum::Null),
            ValueRef::Integer(number) => Datum::of_integer(column.kind, number),
            ValueRef::Text(text) => {
                std::str::from_utf8(text).map_err(|_| "is not UTF-8").and_then(|text| Datum::of_text(column.kind, text))
            }
            ValueRef::Real(_) | ValueRef::Blob(_) => Err("is neither text nor a whole number"),
        };
        let value = value.map_err(|rule| {
            let key = key_of(table, &values);
            SourceError::Value { table: table.name, key, column: column.name, rule }
        });
        values.push(value?);
    }
    Ok(values)
}

// === impl Scan ===

impl Scan {
    /// The next rows; none: there are no more.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Row>>, SourceError> {
        if let Some(batch) = self.batches.recv().await {
            return Ok(Some(batch));
        }
        // The end of the rows is the end of the table only when the reader says so.
        match self.task.take() {
            Some(task) => task.await.map_err(|error| SourceError::Engine(error.into()))?.map(|()| None),
            None => Ok(None),
        }
    }
}
