//! One pooled connection, and the transaction on it.
//!
//! ```text
//! BEGIN, SET LOCAL timeouts → statements of the decision → tell (numbers, events, NOTIFY) + COMMIT, sent together
//! ```
//!
//! `tell` takes the lock that puts commits in order, so it is sent in one go with COMMIT: however long this process is
//! stopped, or its network is cut, the lock is not held while the server waits for us. Every round trip has a deadline; a
//! connection that missed one is closed, not pooled. A transaction that is dropped is rolled back.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use domain::{Event, ExecutorUid, Generation};
use futures_util::{FutureExt as _, TryStreamExt as _, future};
use tokio_postgres::Row;
use tokio_postgres::error::Severity;
use uuid::Uuid;

use super::failure::{Away, Engine, Failure};
use super::statement::{Json, Statements, Value, columns, params};
use crate::change::{Change, ChangeNumber};
use crate::column::{actor_text, details};
use crate::error::Error;
use crate::feeds::Told;

const TELL: &str = "
SELECT numbers, last_event
FROM novacula.tell(
    :origin, :executors, :generations, :kinds, :actors, :targets, :organizations, :times, :details
)";

const COMMIT: &str = "COMMIT";
const ROLLBACK: &str = "ROLLBACK";
const SAVEPOINT: &str = "SAVEPOINT part";
const RELEASE: &str = "RELEASE SAVEPOINT part";
const ROLLBACK_TO: &str = "ROLLBACK TO SAVEPOINT part";

/// What the server's own timeouts get before ours ends the connection.
const GRACE: Duration = Duration::from_secs(1);

/// Where connections come from, and what all of them share.
pub(super) struct Source {
    pub(super) pool: Pool,
    pub(super) statements: Statements,
    /// Tells this process's own notifications apart.
    pub(super) origin: Uuid,
    /// For one statement, on the server.
    pub(super) statement_timeout: Duration,
}

/// A connection of the pool.
pub(super) struct Connection {
    object: Option<Object>,
    source: Arc<Source>,
    broken: AtomicBool,
}

/// A transaction. Dropped without [`Self::commit`] it is rolled back.
pub(super) struct Tx {
    connection: Connection,
    open: bool,
    changes: Vec<(ExecutorUid, Generation)>,
    events: Vec<Event>,
}

/// Where a change of this transaction will be in what it is told with.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangeIndex(usize);

// === impl Connection ===

impl Connection {
    /// Takes a connection from the pool, or makes one.
    pub(super) async fn take(source: &Arc<Source>) -> Result<Self, Failure> {
        let object = source.pool.get().await.map_err(|error| Away::NoConnection(error.into()))?;
        Ok(Self { object: Some(object), source: Arc::clone(source), broken: AtomicBool::new(false) })
    }

    /// All rows of a statement.
    pub(super) async fn all<T>(
        &self,
        sql: &'static str,
        params: &[(&'static str, Value)],
        map: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Vec<T>, Failure> {
        let (rows, _) = self.run(sql, params).await?;
        Ok(rows.iter().map(map).collect::<Result<_, _>>()?)
    }

    /// The first row of a statement.
    pub(super) async fn first<T>(
        &self,
        sql: &'static str,
        params: &[(&'static str, Value)],
        map: impl Fn(&Row) -> Result<T, Error>,
    ) -> Result<Option<T>, Failure> {
        let (rows, _) = self.run(sql, params).await?;
        Ok(rows.first().map(map).transpose()?)
    }

    /// Runs a statement that writes; how many rows it wrote.
    pub(super) async fn write(&self, sql: &'static str, params: &[(&'static str, Value)]) -> Result<u64, Failure> {
        self.run(sql, params).await.map(|(_, n_rows)| n_rows)
    }

    /// Runs a statement that writes a set of rows with `unnest` and returns each that it wrote; how many. Nothing is said of none.
    pub(super) async fn write_set<const N: usize>(
        &self,
        sql: &'static str,
        rows: Vec<[(&'static str, Value); N]>,
    ) -> Result<usize, Failure> {
        if rows.is_empty() {
            return Ok(0);
        }
        Ok(self.run(sql, &columns(rows)).await?.0.len())
    }

    async fn run(&self, sql: &'static str, params: &[(&'static str, Value)]) -> Result<(Vec<Row>, u64), Failure> {
        let statement = self.source.statements.get(sql);
        let bound = statement.bind(params);
        self.answered(async {
            let stream = self.object().query_typed_raw(&statement.sql, bound).await?;
            let mut stream = std::pin::pin!(stream);
            let mut rows = Vec::new();
            while let Some(row) = stream.try_next().await? {
                rows.push(row);
            }
            let n_rows = stream.rows_affected().unwrap_or_default();
            Ok::<_, tokio_postgres::Error>((rows, n_rows))
        })
        .await?
        .map_err(Failure::from)
    }

    async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.answered(self.object().batch_execute(sql)).await?.map_err(Failure::from)
    }

    /// Waits for an answer as long as an answer may take.
    async fn answered<T>(&self, answer: impl Future<Output = T>) -> Result<T, Failure> {
        let deadline = self.source.statement_timeout + GRACE;
        match tokio::time::timeout(deadline, answer).await {
            Ok(answer) => Ok(answer),
            Err(_) => {
                self.broken.store(true, Ordering::Relaxed);
                Err(Away::Silent(deadline).into())
            }
        }
    }

    fn object(&self) -> &Object {
        self.object.as_ref().expect("it is taken only when the connection is dropped")
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.object.take()
            && self.broken.load(Ordering::Relaxed)
        {
            // Out of the pool, and closed.
            drop(Object::take(object));
        }
    }
}

// === impl Tx ===

impl Tx {
    /// Begins a transaction. READ COMMITTED: every write names the revision that it stands on, or locks the row first.
    pub(super) async fn begin(source: &Arc<Source>) -> Result<Self, Failure> {
        let connection = Connection::take(source).await?;
        let timeout = source.statement_timeout.as_millis();
        // Local to the transaction, so that they hold through a pooler, too. A session that we leave open by dying
        // holds its rows no longer than a statement may take. Every statement finds its rows by a key: neither old
        // statistics nor a long batch may talk the planner into reading a fleet for them.
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = {timeout}; \
             SET LOCAL idle_in_transaction_session_timeout = {timeout}; SET LOCAL enable_seqscan = off; \
             SET LOCAL jit = off"
        );
        let mut tx = Self { connection, open: true, changes: Vec::new(), events: Vec::new() };
        if let Err(failure) = tx.connection.batch(&begin).await {
            tx.rollback();
            return Err(failure);
        }
        Ok(tx)
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Gives `executor` the commit's next number.
    pub(super) fn change(&mut self, executor: ExecutorUid, generation: Generation) -> ChangeIndex {
        self.changes.push((executor, generation));
        ChangeIndex(self.changes.len() - 1)
    }

    /// Writes events with what they tell about.
    pub(super) fn tell(&mut self, events: &[Event]) {
        self.events.extend_from_slice(events);
    }

    /// Begins a part that is undone alone when it fails; where it began.
    pub(super) async fn begin_part(&self) -> Result<(usize, usize), Failure> {
        self.connection.batch(SAVEPOINT).await?;
        Ok((self.changes.len(), self.events.len()))
    }

    /// Ends a part: kept, or undone.
    pub(super) async fn end_part<T, E>(&mut self, began: (usize, usize), result: &Result<T, E>) -> Result<(), Failure> {
        if result.is_ok() {
            return self.connection.batch(RELEASE).await;
        }
        self.changes.truncate(began.0);
        self.events.truncate(began.1);
        self.connection.batch(ROLLBACK_TO).await
    }

    /// Commits; answers once it is durable.
    pub(super) async fn commit(mut self) -> Result<Told, Failure> {
        // From here on there is nothing to roll back: COMMIT ends the transaction, one way or the other.
        self.open = false;
        let told = if self.changes.is_empty() && self.events.is_empty() {
            self.connection.batch(COMMIT).await.map(|()| Told::default())
        } else {
            self.tell_and_commit().await
        };
        told.map_err(|failure| self.in_doubt(failure))
    }

    async fn tell_and_commit(&self) -> Result<Told, Failure> {
        let source = &self.connection.source;
        let statement = source.statements.get(TELL);
        let params = tell_params(source.origin, &self.changes, &self.events);
        let object = self.connection.object();
        let bound = statement.bind(&params);
        let tell = object.query_typed(&statement.sql, &bound);
        let (told, committed) = self.connection.answered(future::join(tell, object.batch_execute(COMMIT))).await?;
        // When the first fails, the second has rolled back, which is no failure to the server.
        let rows = told?;
        committed?;
        let row = rows.first().ok_or_else(|| Failure::corrupt("commit", "tell", "it answered nothing"))?;
        let numbers: Vec<i64> = row.try_get("numbers")?;
        let last_event: i64 = row.try_get("last_event")?;
        let changes = self.changes.iter().zip(numbers).map(|((executor, generation), number)| Change {
            number: ChangeNumber(number.unsigned_abs()),
            executor: *executor,
            generation: *generation,
        });
        Ok(Told { changes: changes.collect(), last_event: last_event.unsigned_abs() })
    }

    /// A connection that broke while COMMIT was under way leaves it open whether it was written; so does a server whose last
    /// word on it was that it ends the session.
    fn in_doubt(&self, failure: Failure) -> Failure {
        match failure {
            Failure::Engine(Engine::Said(error)) if is_last_word(&error) => Away::InDoubt(error.into()).into(),
            Failure::Engine(Engine::Away(away)) => Away::InDoubt(away.into()).into(),
            told => told,
        }
    }

    fn rollback(&mut self) {
        if self.open {
            self.open = false;
            // The first poll sends it, and whatever is sent on this connection later comes after it.
            drop(self.connection.object().batch_execute(ROLLBACK).now_or_never());
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        self.rollback();
    }
}

/// Whether nothing more is heard on the connection. An ERROR is the server's word that it rolled back; FATAL and PANIC end the
/// session, which may come after COMMIT was done (it waited for a standby, say).
fn is_last_word(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_none_or(|said| matches!(said.parsed_severity(), Some(Severity::Fatal | Severity::Panic)))
}

fn tell_params(origin: Uuid, changes: &[(ExecutorUid, Generation)], events: &[Event]) -> Vec<(&'static str, Value)> {
    let organizations = events.iter().map(|event| event.organization.as_ref().map(ToString::to_string));
    Vec::from(params! {
        "origin": origin,
        "executors": changes.iter().map(|(executor, _)| executor.as_uuid()).collect::<Vec<_>>(),
        // Numbers past 63 bits were refused when the row was written.
        "generations": changes.iter().map(|(_, generation)| generation.0.cast_signed()).collect::<Vec<_>>(),
        "kinds": events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(),
        "actors": events.iter().map(|event| actor_text(&event.actor)).collect::<Vec<_>>(),
        "targets": events.iter().map(|event| event.target.clone()).collect::<Vec<_>>(),
        "organizations": organizations.collect::<Vec<_>>(),
        "times": events.iter().map(|event| event.time).collect::<Vec<_>>(),
        "details": events.iter().map(|event| Json::of(&details(event))).collect::<Vec<_>>(),
    })
}

// === impl ChangeIndex ===

impl ChangeIndex {
    /// The number that the change was given.
    pub(super) fn number(self, told: &Told) -> ChangeNumber {
        told.changes.get(self.0).map_or(ChangeNumber::default(), |change| change.number)
    }
}
