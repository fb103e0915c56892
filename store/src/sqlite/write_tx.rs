//! The transaction that a job of the writer thread writes in, and what is to be pushed once it is durable.

use std::cell::RefCell;

use domain::{ExecutorUid, Generation, Timestamp};
use rusqlite::Connection;

use super::failure::Failure;
use super::row::{first, write};
use super::writer::Feeds;
use crate::change::{Change, ChangeNumber};

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
    effects: RefCell<Effects>,
}

/// What is pushed once the transaction is durable.
#[derive(Debug, Default)]
pub(super) struct Effects {
    changes: Vec<Change>,
    event_head: Option<u64>,
}

// === impl WriteTx ===

impl<'c> WriteTx<'c> {
    pub(super) fn new(connection: &'c Connection, now: Timestamp) -> Self {
        Self { connection, now, effects: RefCell::default() }
    }

    pub(super) fn into_effects(self) -> Effects {
        self.effects.into_inner()
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
        self.effects.borrow_mut().changes.push(Change { number, executor, generation });
        Ok(number)
    }

    /// Tells after the commit that events up to `sequence` were written.
    pub(super) fn event_head(&self, sequence: u64) {
        self.effects.borrow_mut().event_head = Some(sequence);
    }

    /// Runs a part of the job that is undone alone when it fails.
    pub(super) fn part<T>(&self, work: impl FnOnce(&Self) -> Result<T, Failure>) -> Result<T, Failure> {
        let (n_changes, event_head) = {
            let effects = self.effects.borrow();
            (effects.changes.len(), effects.event_head)
        };
        write(self.connection, SAVEPOINT, [])?;
        let result = work(self);
        if result.is_err() {
            write(self.connection, ROLLBACK_TO, [])?;
            let mut effects = self.effects.borrow_mut();
            effects.changes.truncate(n_changes);
            effects.event_head = event_head;
        }
        write(self.connection, RELEASE, [])?;
        result
    }
}

// === impl Effects ===

impl Effects {
    pub(super) fn add(&mut self, later: Self) {
        self.changes.extend(later.changes);
        self.event_head = later.event_head.or(self.event_head);
    }

    pub(super) fn push(self, feeds: &Feeds) {
        for change in self.changes {
            // Nobody listening is no error.
            drop(feeds.changes.send(change));
        }
        if let Some(head) = self.event_head {
            feeds.event_head.send_replace(head);
        }
    }
}
