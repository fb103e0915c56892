//! Executors: reading them. They are written in `commit` and `enrolment`.
//!
//! Lists walk the index of names; all else that a query says filters the rows of that walk, as in the embedded store.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::{Channel, Executor, ExecutorId, ExecutorName, ExecutorUid, Kind, OrganizationId, Revision, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::{Connection, Tx};
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::{Json, Value, params};
use super::{PostgresStore, commit, transact};
use crate::column::{HoldShape, integer, limit, state_word};
use crate::error::Error;
use crate::executor::{Committed, ExecutorCommit, ExecutorCount, ExecutorQuery, ExecutorStore};
use crate::mapping::{self, Columns as _};
use crate::page::Page;

macro_rules! columns {
    () => {
        "
SELECT uid, organization, name, revision, state, kind, version, platform, channel, channel_ceiling, labels, pinned, floor,
    holds, release_key_ids, generation, pending, open_attempt, duplicated_since, create_time
FROM novacula.executors"
    };
}

macro_rules! filters {
    () => {
        "
AND (:version IS NULL OR version = :version)
AND (:kind IS NULL OR kind = :kind)
AND (:channel IS NULL OR channel = :channel)
AND (:state IS NULL OR state = :state)
AND (:pinned IS NULL OR (pinned IS NOT NULL) = :pinned)
AND (:held IS NULL OR (holds::text <> '[]') = :held)
AND (:name_contains IS NULL OR strpos(name, :name_contains) > 0)
AND NOT EXISTS (
    SELECT 1
    FROM unnest(:label_keys, :label_values) AS wanted (key, value)
    WHERE labels ->> wanted.key IS DISTINCT FROM wanted.value
)"
    };
}

const GET: &str = concat!(
    columns!(),
    "
WHERE organization = :organization
AND name = :name
AND delete_time IS NULL"
);

const LOCK_BY_NAME: &str = concat!(
    columns!(),
    "
WHERE organization = :organization
AND name = :name
AND delete_time IS NULL
FOR NO KEY UPDATE"
);

const LIST_BY_UID: &str = concat!(
    columns!(),
    "
WHERE uid = ANY (:uids)
AND delete_time IS NULL"
);

// A look into the index for each name, however many: `= ANY` of a thousand may be planned as a walk over all executors.
const LIST_BY_NAME: &str = concat!(
    "
SELECT found.*
FROM (SELECT DISTINCT name FROM unnest(:names) AS names (name)) AS asked
CROSS JOIN LATERAL (",
    columns!(),
    "
    WHERE organization = :organization
    AND executors.name = asked.name
    AND delete_time IS NULL
    LIMIT 1
) AS found"
);

const LIST: &str = concat!(
    columns!(),
    "
WHERE organization = :organization
AND name > :after
AND delete_time IS NULL",
    filters!(),
    "
ORDER BY name
LIMIT :limit"
);

const LIST_EVERYWHERE: &str = concat!(
    columns!(),
    "
WHERE (name, organization) > (:after, :organization)
AND name <= :until
AND delete_time IS NULL",
    filters!(),
    "
ORDER BY name, organization
LIMIT :limit"
);

macro_rules! written {
    () => {
        "uid, organization, name, revision, state, kind, version, platform, channel, channel_ceiling, labels, pinned, floor,
    holds, release_key_ids, generation, pending, open_attempt, duplicated_since, create_time"
    };
}

macro_rules! rows {
    () => {
        "unnest(
    :uid, :organization, :name, :revision, :state, :kind, :version, :platform, :channel, :channel_ceiling, :labels, :pinned, :floor,
    :holds, :release_key_ids, :generation, :pending, :open_attempt, :duplicated_since, :create_time
)"
    };
}

const COUNT: &str = "
SELECT kind, version, channel, count(*) AS executors
FROM novacula.executors
WHERE organization = :organization
AND delete_time IS NULL
GROUP BY kind, version, channel";

pub(super) const INSERT: &str = concat!(
    "
INSERT INTO novacula.executors (",
    written!(),
    ")
SELECT *
FROM ",
    rows!(),
    "
ON CONFLICT DO NOTHING
RETURNING uid"
);

pub(super) const UPDATE: &str = concat!(
    "
UPDATE novacula.executors
SET organization = new.organization,
    name = new.name,
    revision = new.revision,
    state = new.state,
    kind = new.kind,
    version = new.version,
    platform = new.platform,
    channel = new.channel,
    channel_ceiling = new.channel_ceiling,
    labels = new.labels,
    pinned = new.pinned,
    floor = new.floor,
    holds = new.holds,
    release_key_ids = new.release_key_ids,
    generation = new.generation,
    pending = new.pending,
    open_attempt = new.open_attempt,
    duplicated_since = new.duplicated_since,
    create_time = new.create_time
FROM ",
    rows!(),
    " AS new (",
    written!(),
    ")
WHERE executors.uid = new.uid
AND executors.revision = new.revision - 1
AND executors.delete_time IS NULL
RETURNING executors.uid"
);

// Whoever deletes it waits for this transaction, and the other way round.
const REQUIRE: &str = "
SELECT uid
FROM novacula.executors
WHERE uid = :uid
AND delete_time IS NULL
FOR SHARE";

// In one order, whatever order a batch came in.
const LOCK_ALL: &str = "
SELECT uid, revision
FROM novacula.executors
WHERE uid = ANY (:uids)
AND delete_time IS NULL
ORDER BY uid
FOR NO KEY UPDATE";

const DELETE: &str = "
UPDATE novacula.executors
SET delete_time = novacula.store_now()
WHERE uid = :uid
RETURNING delete_time";

/// A deleted executor and what only it means.
const PRUNE: &str = "
WITH forgotten AS (
    SELECT uid
    FROM novacula.executors
    WHERE delete_time < :deleted_before
    AND NOT EXISTS (SELECT 1 FROM novacula.attempts WHERE attempts.executor = executors.uid)
    AND NOT EXISTS (SELECT 1 FROM novacula.certificates WHERE certificates.executor = executors.uid)
    ORDER BY delete_time, uid
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
),
of_sessions AS (DELETE FROM novacula.sessions WHERE executor IN (SELECT uid FROM forgotten)),
of_nodes AS (DELETE FROM novacula.nodes WHERE executor IN (SELECT uid FROM forgotten)),
of_changes AS (DELETE FROM novacula.changes WHERE executor IN (SELECT uid FROM forgotten))
DELETE FROM novacula.executors
WHERE uid IN (SELECT uid FROM forgotten)";

pub(super) fn read(row: &Row) -> Result<Executor, Error> {
    mapping::executor(RowColumns::of("executor", row))
}

/// Runs `sql` with all columns of executors, each under its next revision; how many rows it wrote.
pub(super) async fn put(connection: &Connection, sql: &'static str, executors: &[&Executor]) -> Result<usize, Failure> {
    let rows = executors.iter().map(|executor| row(executor)).collect::<Result<Vec<_>, Error>>()?;
    connection.write_set(sql, rows).await
}

fn row(executor: &Executor) -> Result<[(&'static str, Value); 20], Error> {
    let uid = executor.uid;
    let holds: Vec<HoldShape> = executor.holds.iter().map(HoldShape::from).collect();
    Ok(params! {
        "uid": uid.as_uuid(),
        "organization": executor.name.organization.as_str(),
        "name": executor.name.executor.as_str(),
        "revision": integer("executor", uid, "revision", executor.revision.next().0)?,
        "state": state_word(executor.state),
        "kind": executor.kind.map(Kind::as_str),
        "version": executor.version.as_ref().map(ToString::to_string),
        "platform": executor.platform.as_ref().map(ToString::to_string),
        "channel": executor.channel.as_str(),
        "channel_ceiling": executor.channel_ceiling.map(Channel::as_str),
        "labels": Json::of(&executor.labels),
        "pinned": executor.pinned.as_deref(),
        "floor": executor.floor.as_ref().map(ToString::to_string),
        "holds": Json::of(&holds),
        "release_key_ids": Json::of(&executor.release_key_ids),
        "generation": integer("executor", uid, "generation", executor.generation.0)?,
        "pending": executor.pending.map(domain::AttemptId::as_uuid),
        "open_attempt": executor.open_attempt.map(domain::AttemptId::as_uuid),
        "duplicated_since": executor.duplicated_since,
        "create_time": executor.create_time,
    })
}

/// Marks an executor deleted, now: when that is.
pub(super) async fn delete(connection: &Connection, uid: ExecutorUid) -> Result<Timestamp, Failure> {
    let read = |row: &Row| RowColumns::of("executor", row).time("delete_time");
    let deleted = connection.first(DELETE, &params! { "uid": uid.as_uuid() }, read).await?;
    deleted.ok_or_else(|| Failure::missing("executor", uid))
}

/// Locks the executors that there are until the transaction ends, and says at which revision each is.
pub(super) async fn lock_all(
    connection: &Connection,
    uids: impl IntoIterator<Item = ExecutorUid>,
) -> Result<HashMap<ExecutorUid, Revision>, Failure> {
    let uids: Vec<Uuid> = uids.into_iter().map(ExecutorUid::as_uuid).collect();
    let read = |row: &Row| {
        let mut columns = RowColumns::of("executor", row);
        Ok((columns.text("uid")?, Revision(columns.number("revision")?)))
    };
    Ok(connection.all(LOCK_ALL, &params! { "uids": uids }, read).await?.into_iter().collect())
}

/// The executor of this name, locked until the transaction ends.
pub(super) async fn lock_by_name(connection: &Connection, name: &ExecutorName) -> Result<Option<Executor>, Failure> {
    connection.first(LOCK_BY_NAME, &named(name), read).await
}

fn named(name: &ExecutorName) -> [(&'static str, Value); 2] {
    params! { "organization": name.organization.as_str(), "name": name.executor.as_str() }
}

/// [`Error::Missing`] unless the executor exists and is not deleted, which it then stays until the transaction ends.
pub(super) async fn require(connection: &Connection, uid: ExecutorUid) -> Result<(), Failure> {
    let found = connection.first(REQUIRE, &params! { "uid": uid.as_uuid() }, |_| Ok(())).await?;
    found.ok_or_else(|| Failure::missing("executor", uid))
}

impl PostgresStore {
    pub(super) async fn executors_by_uid(
        &self,
        operation: &'static str,
        uids: &[ExecutorUid],
    ) -> Result<Vec<Executor>, Error> {
        let uids: Vec<Uuid> = uids.iter().map(|uid| uid.as_uuid()).collect();
        self.all(operation, LIST_BY_UID, &params! { "uids": uids }, read).await
    }

    /// A page takes all executors of its last name, as many as there are: its key is a name, and organizations share names.
    async fn list_everywhere(&self, query: &ExecutorQuery, page: &Page<ExecutorId>) -> Result<Vec<Executor>, Error> {
        // Greater than every name and organization: their alphabet ends at 'z'.
        const LAST: &str = "~";
        let walk = async |after: &str, organization: &str, until: &str, at_most: i64| {
            let mut params = filters(query);
            params.extend(params! { "after": after, "organization": organization, "until": until, "limit": at_most });
            self.all("executor_list", LIST_EVERYWHERE, &params, read).await
        };
        let mut found = walk(page.after.as_ref().map_or("", ExecutorId::as_str), LAST, LAST, limit(page.limit)).await?;
        if let Some(last) = found.last().filter(|_| found.len() == page.limit) {
            let (name, organization) = (last.name.executor.clone(), last.name.organization.clone());
            found.extend(walk(name.as_str(), organization.as_str(), name.as_str(), i64::MAX).await?);
        }
        Ok(found)
    }
}

fn filters(query: &ExecutorQuery) -> Vec<(&'static str, Value)> {
    Vec::from(params! {
        "version": query.version.as_deref(),
        "kind": query.kind.map(Kind::as_str),
        "channel": query.channel.map(Channel::as_str),
        "state": query.state.map(state_word),
        "pinned": query.pinned,
        "held": query.held,
        "name_contains": query.name_contains.as_deref(),
        "label_keys": query.labels.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>(),
        "label_values": query.labels.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>(),
    })
}

async fn counts(tx: &mut Tx, organization: &OrganizationId) -> Result<Vec<ExecutorCount>, Failure> {
    let count = |row: &Row| mapping::executor_count(RowColumns::of("executor count", row));
    tx.connection().all(COUNT, &params! { "organization": organization.as_str() }, count).await
}

#[async_trait]
impl ExecutorStore for PostgresStore {
    async fn executor_get(&self, name: &ExecutorName) -> Result<Option<Executor>, Error> {
        self.first("executor_get", GET, &named(name), read).await
    }

    async fn executor_list_by_uid(&self, uids: &[ExecutorUid]) -> Result<Vec<Executor>, Error> {
        self.executors_by_uid("executor_list_by_uid", uids).await
    }

    async fn executor_list_by_name(
        &self,
        organization: &OrganizationId,
        names: &[ExecutorId],
    ) -> Result<Vec<Executor>, Error> {
        let names: Vec<&str> = names.iter().map(ExecutorId::as_str).collect();
        let params = params! { "organization": organization.as_str(), "names": names };
        self.all("executor_list_by_name", LIST_BY_NAME, &params, read).await
    }

    async fn executor_list(&self, query: &ExecutorQuery, page: Page<ExecutorId>) -> Result<Vec<Executor>, Error> {
        let Some(organization) = &query.organization else {
            return self.list_everywhere(query, &page).await;
        };
        let mut params = filters(query);
        params.extend(params! {
            "organization": organization.as_str(),
            "after": page.after.as_ref().map_or("", ExecutorId::as_str),
            "limit": limit(page.limit),
        });
        self.all("executor_list", LIST, &params, read).await
    }

    async fn executor_count(&self, organization: &OrganizationId) -> Result<Vec<ExecutorCount>, Error> {
        // A transaction, for what it says of plans: the index holds all that is counted, and the rows are wide.
        transact!(self, "executor_count", |tx| counts(tx, organization)).map(|(counts, _)| counts)
    }

    async fn executor_commit(&self, commit: ExecutorCommit) -> Result<Committed, Error> {
        let committed = transact!(self, "executor_commit", |tx| commit::commit_in_tx(tx, &commit));
        committed.map(|(index, told)| Committed { change: index.number(&told) })
    }

    async fn executor_commit_batch(
        &self,
        commits: Vec<ExecutorCommit>,
    ) -> Result<Vec<Result<Committed, Error>>, Error> {
        let each = transact!(self, "executor_commit_batch", |tx| commit::commit_batch_in_tx(tx, &commits));
        each.map(|(each, told)| {
            let each = each.into_iter();
            each.map(|one| one.map(|index| Committed { change: index.number(&told) })).collect()
        })
    }

    async fn executor_prune(&self, deleted_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        self.prune("executor_prune", PRUNE, &params! { "deleted_before": deleted_before, "limit": limit(at_most) })
            .await
    }
}
