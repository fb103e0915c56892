//! Sessions and the leases of replicas, by the database's clock.
//!
//! A session that another takes the place of is marked superseded and ended, so that the newest of an executor is found
//! by one look into an index, and everything that may be pruned stands in another. A batch is opened set by set: a
//! reconnect storm costs a handful of statements for each batch, not for each stream.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use async_trait::async_trait;
use domain::{Epoch, Event, ExecutorUid, InstanceId, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::{Connection, Tx};
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use super::{PostgresStore, executor, transact};
use crate::column::{integer, limit};
use crate::error::Error;
use crate::mapping::{self, Columns as _};
use crate::session::{Presence, ReplicaId, SessionOpened, SessionRow, SessionStore};

/// What duels are judged by: three displacements are one, so these are ample.
const RECENT: i64 = 16;

const RENEW: &str = "
INSERT INTO novacula.replicas AS replicas (id, renew_time, lease_end)
SELECT :id, now.now, now.now + :lease * interval '1 microsecond'
FROM novacula.store_now() AS now (now)
ON CONFLICT (id) DO UPDATE
SET renew_time = excluded.renew_time,
    lease_end = excluded.lease_end
RETURNING replicas.id, replicas.lease_end";

const END_LEASE: &str = "
UPDATE novacula.replicas
SET lease_end = least(lease_end, novacula.store_now())
WHERE id = :id";

const END_SESSIONS: &str = "
UPDATE novacula.sessions
SET end_time = novacula.store_now()
WHERE replica = :id
AND end_time IS NULL";

const LEASE: &str = "
SELECT id
FROM novacula.replicas
WHERE id = :id
AND lease_end > novacula.store_now()";

const HOLDS: &str = "
SELECT jobs.name
FROM novacula.jobs
JOIN novacula.replicas ON replicas.id = jobs.replica
WHERE jobs.name = :job
AND jobs.replica = :replica
AND replicas.lease_end > novacula.store_now()";

const CLAIM: &str = "
INSERT INTO novacula.jobs AS held (name, replica)
SELECT :job, replicas.id
FROM novacula.replicas
WHERE replicas.id = :replica
AND replicas.lease_end > novacula.store_now()
ON CONFLICT (name) DO UPDATE
SET replica = excluded.replica
WHERE NOT EXISTS (
    SELECT 1
    FROM novacula.replicas
    WHERE replicas.id = held.replica
    AND replicas.lease_end > novacula.store_now()
)
RETURNING held.name";

const NEWEST: &str = "
SELECT executor, epoch, replica, instance, open_time, end_time
FROM novacula.sessions
WHERE executor = ANY (:executors)
AND NOT superseded";

const SUPERSEDE: &str = "
UPDATE novacula.sessions
SET superseded = true,
    end_time = coalesce(end_time, novacula.store_now())
WHERE executor = ANY (:executors)
AND NOT superseded";

const OPEN: &str = "
INSERT INTO novacula.sessions (executor, epoch, replica, instance, open_time, end_time, superseded)
SELECT opened.executor, opened.epoch, :replica, opened.instance, novacula.store_now(), NULL, false
FROM unnest(:executors, :epochs, :instances) AS opened (executor, epoch, instance)";

const CLOSE: &str = "
UPDATE novacula.sessions
SET end_time = novacula.store_now()
WHERE executor = :executor
AND epoch = :epoch
AND NOT superseded
AND end_time IS NULL";

const END_NEWEST: &str = "
UPDATE novacula.sessions
SET end_time = :time
WHERE executor = :executor
AND NOT superseded
AND end_time IS NULL";

const PRESENCE: &str = "
SELECT sessions.executor, sessions.open_time, sessions.end_time, replicas.renew_time, replicas.lease_end,
    novacula.store_now() AS now
FROM novacula.sessions
JOIN novacula.replicas ON replicas.id = sessions.replica
WHERE sessions.executor = ANY (:executors)
AND NOT sessions.superseded";

const LIST_RECENT: &str = "
SELECT executor, epoch, replica, instance, open_time, end_time
FROM novacula.sessions
WHERE executor = :executor
AND open_time >= :since
ORDER BY epoch DESC
LIMIT :limit";

const PRUNE: &str = "
DELETE FROM novacula.sessions
WHERE (executor, epoch) IN (
    SELECT executor, epoch
    FROM novacula.sessions
    WHERE superseded
    AND end_time < :ended_before
    ORDER BY end_time, executor, epoch
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)";

const PRUNE_REPLICAS: &str = "
DELETE FROM novacula.replicas
WHERE lease_end < :ended_before
AND NOT EXISTS (
    SELECT 1
    FROM novacula.sessions
    WHERE sessions.replica = replicas.id
)";

fn read(row: &Row) -> Result<SessionRow, Error> {
    mapping::session(RowColumns::of("session", row))
}

fn read_presence(row: &Row) -> Result<Presence, Error> {
    let now = RowColumns::of("session", row).time("now")?;
    mapping::presence(RowColumns::of("session", row), now)
}

/// Opens sessions of different executors.
async fn open_set(
    tx: &Tx,
    replica: ReplicaId,
    sessions: &[(ExecutorUid, InstanceId)],
) -> Result<Vec<SessionOpened>, Failure> {
    let connection = tx.connection();
    let executors: Vec<Uuid> = sessions.iter().map(|(executor, _)| executor.as_uuid()).collect();
    // Opens of one executor take turns, on whichever replicas they are.
    let locked = executor::lock_all(connection, sessions.iter().map(|(executor, _)| *executor)).await?;
    if let Some((unknown, _)) = sessions.iter().find(|(executor, _)| !locked.contains_key(executor)) {
        return Err(Failure::missing("executor", unknown));
    }
    if connection.first(LEASE, &params! { "id": replica.0 }, |_| Ok(())).await?.is_none() {
        return Err(Failure::missing("lease", replica.0));
    }
    let newest = connection.all(NEWEST, &params! { "executors": executors.clone() }, read).await?;
    let mut newest: HashMap<ExecutorUid, SessionRow> = newest.into_iter().map(|row| (row.executor, row)).collect();
    if !newest.is_empty() {
        connection.write(SUPERSEDE, &params! { "executors": executors.clone() }).await?;
    }
    let opened: Vec<SessionOpened> = sessions
        .iter()
        .map(|(executor, _)| {
            let previous = newest.remove(executor);
            SessionOpened { epoch: previous.as_ref().map_or(Epoch(1), |previous| previous.epoch.next()), previous }
        })
        .collect();
    let epochs = opened.iter().zip(sessions);
    let epochs = epochs.map(|(opened, (executor, _))| integer("session", executor, "epoch", opened.epoch.0));
    let params = params! {
        "executors": executors,
        "epochs": epochs.collect::<Result<Vec<_>, _>>()?,
        "replica": replica.0,
        "instances": sessions.iter().map(|(_, instance)| instance.as_uuid()).collect::<Vec<_>>(),
    };
    connection.write(OPEN, &params).await?;
    Ok(opened)
}

/// Opens sessions in order. Those of one executor come one after another; a batch seldom holds any.
async fn open(
    tx: &Tx,
    replica: ReplicaId,
    sessions: &[(ExecutorUid, InstanceId)],
) -> Result<Vec<SessionOpened>, Failure> {
    let mut answers: Vec<Option<SessionOpened>> = sessions.iter().map(|_| None).collect();
    let mut waiting: Vec<usize> = (0..sessions.len()).collect();
    while !waiting.is_empty() {
        let mut seen = HashSet::new();
        let (now, later): (Vec<usize>, Vec<usize>) = waiting.into_iter().partition(|at| seen.insert(sessions[*at].0));
        let set: Vec<_> = now.iter().map(|at| sessions[*at]).collect();
        for (at, opened) in now.into_iter().zip(open_set(tx, replica, &set).await?) {
            answers[at] = Some(opened);
        }
        waiting = later;
    }
    Ok(answers.into_iter().flatten().collect())
}

async fn close(tx: &mut Tx, executor: ExecutorUid, epoch: Epoch, events: &[Event]) -> Result<bool, Failure> {
    let params = params! {
        "executor": executor.as_uuid(),
        "epoch": integer("session", executor, "epoch", epoch.0)?,
    };
    let ended = tx.connection().write(CLOSE, &params).await? > 0;
    if ended {
        tx.tell(events);
    }
    Ok(ended)
}

async fn end_replica(tx: &Tx, replica: ReplicaId) -> Result<(), Failure> {
    tx.connection().write(END_LEASE, &params! { "id": replica.0 }).await?;
    tx.connection().write(END_SESSIONS, &params! { "id": replica.0 }).await?;
    Ok(())
}

/// Ends the newest session of an executor that is replaced.
pub(super) async fn end_newest(connection: &Connection, executor: ExecutorUid, time: Timestamp) -> Result<(), Failure> {
    let params = params! { "executor": executor.as_uuid(), "time": time };
    connection.write(END_NEWEST, &params).await.map(|_| ())
}

#[async_trait]
impl SessionStore for PostgresStore {
    async fn replica_renew(&self, replica: ReplicaId, lease: Duration) -> Result<Timestamp, Error> {
        let lease = i64::try_from(lease.as_micros()).unwrap_or(i64::MAX);
        let params = params! { "id": replica.0, "lease": lease };
        let end = self.first("replica_renew", RENEW, &params, |row| RowColumns::of("replica", row).time("lease_end"));
        end.await?.ok_or_else(|| Error::Missing { noun: "replica", key: replica.0.to_string() })
    }

    async fn replica_end(&self, replica: ReplicaId) -> Result<(), Error> {
        transact!(self, "replica_end", |tx| end_replica(tx, replica)).map(|_| ())
    }

    async fn replica_claim(&self, replica: ReplicaId, job: &'static str) -> Result<bool, Error> {
        // Whoever has it asks often, and writes nothing.
        for sql in [HOLDS, CLAIM] {
            let params = params! { "job": job, "replica": replica.0 };
            if self.first("replica_claim", sql, &params, |_| Ok(())).await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn session_open_batch(
        &self,
        replica: ReplicaId,
        sessions: &[(ExecutorUid, InstanceId)],
    ) -> Result<Vec<SessionOpened>, Error> {
        transact!(self, "session_open_batch", |tx| open(tx, replica, sessions)).map(|(opened, _)| opened)
    }

    async fn session_close(&self, executor: ExecutorUid, epoch: Epoch, events: &[Event]) -> Result<bool, Error> {
        transact!(self, "session_close", |tx| close(tx, executor, epoch, events)).map(|(ended, _)| ended)
    }

    async fn presence_list(&self, executors: &[ExecutorUid]) -> Result<Vec<Presence>, Error> {
        let executors: Vec<Uuid> = executors.iter().map(|executor| executor.as_uuid()).collect();
        self.all("presence_list", PRESENCE, &params! { "executors": executors }, read_presence).await
    }

    async fn session_list_newest(&self, executors: &[ExecutorUid]) -> Result<Vec<SessionRow>, Error> {
        let executors: Vec<Uuid> = executors.iter().map(|executor| executor.as_uuid()).collect();
        self.all("session_list_newest", NEWEST, &params! { "executors": executors }, read).await
    }

    async fn session_list_recent(&self, executor: ExecutorUid, since: Timestamp) -> Result<Vec<SessionRow>, Error> {
        let params = params! { "executor": executor.as_uuid(), "since": since, "limit": RECENT };
        self.all("session_list_recent", LIST_RECENT, &params, read).await
    }

    async fn session_prune(&self, ended_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        let params = params! { "ended_before": ended_before, "limit": limit(at_most) };
        let n_pruned = self.prune("session_prune", PRUNE, &params).await?;
        self.write("session_prune", PRUNE_REPLICAS, &params! { "ended_before": ended_before }).await?;
        Ok(n_pruned)
    }
}
