//! The transaction that a job of the writer thread writes in, and what is to be pushed once it is durable.

use std::cell::RefCell;

use domain::{ExecutorUid, Generation, Timestamp};
use rusqlite::Connection;

use super::failure::Failure;
use super::row::{first, write};
use crate::change::{Change, ChangeNumber};
use crate::feeds::Told;

const NEXT_CHANGE: &str = "
UPDATE counters
SET value = value + 1
WHERE name = 'change'
RETURNING value";

const SAVEPOINT: &str = "SAVEPOINT part";
const RELEASE: &str = "RELEASE part";
const ROLLBACK_TO: &str = "ROLLBACK TO part";

/// The transaction that a job writes in.
pub(super) struct WriteTx<'c> {
    connection: &'c Connection,
    now: Timestamp,
    told: RefCell<Told>,
}

// === impl WriteTx ===

impl<'c> WriteTx<'c> {
    pub(super) fn new(connection: &'c Connection, now: Timestamp) -> Self {
        Self { connection, now, told: RefCell::default() }
    }

    pub(super) fn into_told(self) -> Told {
        self.told.into_inner()
    }

    pub(super) const fn connection(&self) -> &Connection {
        self.connection
    }

    /// The store's clock, read once for the job.
    pub(super) const fn now(&self) -> Timestamp {
        self.now
    }

    /// Takes the next change number for `executor` and pushes it after the commit.
    pub(super) fn change(&self, executor: ExecutorUid, generation: Generation) -> Result<ChangeNumber, Failure> {
        let number = first(self.connection, NEXT_CHANGE, [], |row| Ok(row.get::<_, i64>(0)?))?;
        let number = number.and_then(|number| u64::try_from(number).ok());
        let number = number.ok_or_else(|| Failure::corrupt("counter", "change", "it is missing or negative"))?;
        let number = ChangeNumber(number);
        self.told.borrow_mut().changes.push(Change { number, executor, generation });
        Ok(number)
    }

    /// Tells after the commit that events up to `sequence` were written.
    pub(super) fn event_head(&self, sequence: u64) {
        self.told.borrow_mut().last_event = sequence;
    }

    /// Runs a part of the job that is undone alone when it fails.
    pub(super) fn part<T>(&self, work: impl FnOnce(&Self) -> Result<T, Failure>) -> Result<T, Failure> {
        let (n_changes, last_event) = {
            let told = self.told.borrow();
            (told.changes.len(), told.last_event)
        };
        write(self.connection, SAVEPOINT, [])?;
        let result = work(self);
        if result.is_err() {
            write(self.connection, ROLLBACK_TO, [])?;
            let mut told = self.told.borrow_mut();
            told.changes.truncate(n_changes);
            told.last_event = last_event;
        }
        write(self.connection, RELEASE, [])?;
        result
    }
}
