//! Sessions and the leases of replicas, by the store's clock.
//!
//! A session that another takes the place of is marked superseded and ended, so that the newest of an executor is found
//! by one look into an index, and everything that may be pruned stands in another.

use std::time::Duration;

use async_trait::async_trait;
use domain::{Epoch, Event, ExecutorUid, InstanceId, Timestamp};
use rusqlite::{Connection, Row, named_params};

use super::failure::Failure;
use super::row::{RowColumns, all, first, keys, write};
use super::write_tx::WriteTx;
use super::{SqliteStore, event, executor};
use crate::column::{integer, limit};
use crate::error::Error;
use crate::mapping;
use crate::session::{Presence, ReplicaId, SessionOpened, SessionRow, SessionStore};

/// What duels are judged by: three displacements are one, so these are ample.
const RECENT: i64 = 16;

const RENEW: &str = "
INSERT INTO replicas (id, renew_time, lease_end)
VALUES (:id, :now, :lease_end)
ON CONFLICT (id) DO UPDATE
SET renew_time = excluded.renew_time,
    lease_end = excluded.lease_end";

const LEASE: &str = "
SELECT id
FROM replicas
WHERE id = :id
AND lease_end > :now";

const END_LEASE: &str = "
UPDATE replicas
SET lease_end = min(lease_end, :now)
WHERE id = :id";

const END_SESSIONS: &str = "
UPDATE sessions
SET end_time = :now
WHERE replica = :id
AND end_time IS NULL";

const NEWEST: &str = "
SELECT executor, epoch, replica, instance, open_time, end_time
FROM sessions
WHERE executor = :executor
AND superseded = 0";

const LIST_NEWEST: &str = "
SELECT sessions.executor AS executor, sessions.epoch AS epoch, sessions.replica AS replica,
    sessions.instance AS instance, sessions.open_time AS open_time, sessions.end_time AS end_time
FROM json_each(:executors) AS wanted
JOIN sessions ON sessions.executor = wanted.value AND sessions.superseded = 0";

const SUPERSEDE: &str = "
UPDATE sessions
SET superseded = 1,
    end_time = coalesce(end_time, :now)
WHERE executor = :executor
AND superseded = 0";

const OPEN: &str = "
INSERT INTO sessions (executor, epoch, replica, instance, open_time, end_time, superseded)
VALUES (:executor, :epoch, :replica, :instance, :now, NULL, 0)";

const CLOSE: &str = "
UPDATE sessions
SET end_time = :now
WHERE executor = :executor
AND epoch = :epoch
AND superseded = 0
AND end_time IS NULL";

const END_NEWEST: &str = "
UPDATE sessions
SET end_time = :now
WHERE executor = :executor
AND superseded = 0
AND end_time IS NULL";

const PRESENCE: &str = "
SELECT sessions.executor AS executor, sessions.open_time AS open_time, sessions.end_time AS end_time,
    replicas.renew_time AS renew_time, replicas.lease_end AS lease_end
FROM json_each(:executors) AS wanted
JOIN sessions ON sessions.executor = wanted.value AND sessions.superseded = 0
JOIN replicas ON replicas.id = sessions.replica";

const LIST_RECENT: &str = "
SELECT executor, epoch, replica, instance, open_time, end_time
FROM sessions
WHERE executor = :executor
AND open_time >= :since
ORDER BY epoch DESC
LIMIT :limit";

const PRUNE: &str = "
DELETE FROM sessions
WHERE (executor, epoch) IN (
    SELECT executor, epoch
    FROM sessions
    WHERE superseded = 1
    AND end_time < :ended_before
    ORDER BY end_time
    LIMIT :limit
)";

const PRUNE_REPLICAS: &str = "
DELETE FROM replicas
WHERE lease_end < :ended_before
AND NOT EXISTS (
    SELECT 1
    FROM sessions
    WHERE sessions.replica = replicas.id
)";

fn read(row: &Row<'_>) -> Result<SessionRow, Failure> {
    Ok(mapping::session(RowColumns::of("session", row))?)
}

fn read_presence(row: &Row<'_>, now: Timestamp) -> Result<Presence, Failure> {
    Ok(mapping::presence(RowColumns::of("session", row), now)?)
}

fn open(
    tx: &WriteTx<'_>,
    replica: ReplicaId,
    executor: ExecutorUid,
    instance: InstanceId,
) -> Result<SessionOpened, Failure> {
    let key = executor.to_string();
    let previous = first(tx.connection(), NEWEST, named_params! { ":executor": key }, read)?;
    let epoch = previous.as_ref().map_or(Epoch(1), |previous| previous.epoch.next());
    let now = tx.now().as_micros();
    write(tx.connection(), SUPERSEDE, named_params! { ":executor": key, ":now": now })?;
    let params = named_params! {
        ":executor": key,
        ":epoch": integer("session", executor, "epoch", epoch.0)?,
        ":replica": replica.0.to_string(),
        ":instance": instance.to_string(),
        ":now": now,
    };
    write(tx.connection(), OPEN, params)?;
    Ok(SessionOpened { epoch, previous })
}

/// Ends the newest session of an executor that goes away.
pub(super) fn end_newest(connection: &Connection, executor: ExecutorUid, time: Timestamp) -> Result<(), Failure> {
    write(connection, END_NEWEST, named_params! { ":executor": executor.to_string(), ":now": time.as_micros() })?;
    Ok(())
}

#[async_trait]
impl SessionStore for SqliteStore {
    async fn replica_renew(&self, replica: ReplicaId, lease: Duration) -> Result<Timestamp, Error> {
        self.write("replica_renew", move |tx| {
            let lease_end = tx.now().plus(lease);
            let params = named_params! {
                ":id": replica.0.to_string(),
                ":now": tx.now().as_micros(),
                ":lease_end": lease_end.as_micros(),
            };
            write(tx.connection(), RENEW, params)?;
            Ok(lease_end)
        })
        .await
    }

    async fn replica_end(&self, replica: ReplicaId) -> Result<(), Error> {
        self.write("replica_end", move |tx| {
            let (id, now) = (replica.0.to_string(), tx.now().as_micros());
            write(tx.connection(), END_LEASE, named_params! { ":id": id, ":now": now })?;
            write(tx.connection(), END_SESSIONS, named_params! { ":id": id, ":now": now })?;
            Ok(())
        })
        .await
    }

    async fn replica_claim(&self, _: ReplicaId, _: &'static str) -> Result<bool, Error> {
        // The file's lock is one process's: there is nobody to share with.
        Ok(true)
    }

    async fn session_open_batch(
        &self,
        replica: ReplicaId,
        sessions: &[(ExecutorUid, InstanceId)],
    ) -> Result<Vec<SessionOpened>, Error> {
        let sessions = sessions.to_vec();
        self.write("session_open_batch", move |tx| {
            sessions.iter().try_for_each(|(executor, _)| executor::require(tx.connection(), *executor))?;
            let lease = named_params! { ":id": replica.0.to_string(), ":now": tx.now().as_micros() };
            if !sessions.is_empty() && first(tx.connection(), LEASE, lease, |_| Ok(()))?.is_none() {
                return Err(Failure::missing("lease", replica.0));
            }
            sessions.iter().map(|(executor, instance)| open(tx, replica, *executor, *instance)).collect()
        })
        .await
    }

    async fn session_close(&self, executor: ExecutorUid, epoch: Epoch, events: &[Event]) -> Result<bool, Error> {
        let events = events.to_vec();
        self.write("session_close", move |tx| {
            let params = named_params! {
                ":executor": executor.to_string(),
                ":epoch": integer("session", executor, "epoch", epoch.0)?,
                ":now": tx.now().as_micros(),
            };
            let ended = write(tx.connection(), CLOSE, params)? > 0;
            if ended {
                event::insert_in_tx(tx, &events)?;
            }
            Ok(ended)
        })
        .await
    }

    async fn presence_list(&self, executors: &[ExecutorUid]) -> Result<Vec<Presence>, Error> {
        let (executors, now) = (keys(executors), self.inner.clock.now());
        self.read("presence_list", move |connection| {
            all(connection, PRESENCE, named_params! { ":executors": executors }, |row| read_presence(row, now))
        })
        .await
    }

    async fn session_list_newest(&self, executors: &[ExecutorUid]) -> Result<Vec<SessionRow>, Error> {
        let executors = keys(executors);
        self.read("session_list_newest", move |connection| {
            all(connection, LIST_NEWEST, named_params! { ":executors": executors }, read)
        })
        .await
    }

    async fn session_list_recent(&self, executor: ExecutorUid, since: Timestamp) -> Result<Vec<SessionRow>, Error> {
        self.read("session_list_recent", move |connection| {
            let params =
                named_params! { ":executor": executor.to_string(), ":since": since.as_micros(), ":limit": RECENT };
            all(connection, LIST_RECENT, params, read)
        })
        .await
    }

    async fn session_prune(&self, ended_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        self.write("session_prune", move |tx| {
            let ended_before = ended_before.as_micros();
            let params = named_params! { ":ended_before": ended_before, ":limit": limit(at_most) };
            let pruned = write(tx.connection(), PRUNE, params)?;
            write(tx.connection(), PRUNE_REPLICAS, named_params! { ":ended_before": ended_before })?;
            Ok(pruned)
        })
        .await
    }
}
