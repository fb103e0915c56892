//! Executors: reading them. They are written in `commit` and `enrolment`.
//!
//! Lists walk the index of names from the last one seen; all else that a query says filters the rows of that walk. A rare label in a large organization therefore reads the whole of its index once, a page's worth at a time:
//! labels are for people's screens, and nothing that runs by itself asks for them.

use async_trait::async_trait;
use domain::{Channel, Executor, ExecutorId, ExecutorName, ExecutorUid, Kind, OrganizationId, Timestamp};
use rusqlite::{Connection, Row, ToSql, named_params};

use super::failure::Failure;
use super::row::{RowColumns, all, first, keys, micros, write};
use super::{SqliteStore, commit};
use crate::change::ChangeNumber;
use crate::column::{HoldShape, integer, json, limit, state_word};
use crate::error::Error;
use crate::executor::{Committed, ExecutorCommit, ExecutorCount, ExecutorQuery, ExecutorStore};
use crate::mapping;
use crate::page::Page;

macro_rules! columns {
    () => {
        "
SELECT uid, organization, name, revision, state, kind, version, platform, channel, channel_ceiling, labels, pinned, floor,
    holds, release_key_ids, generation, pending, open_attempt, duplicated_since, create_time"
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
AND (:held IS NULL OR (holds <> '[]') = :held)
AND (:name_contains IS NULL OR instr(name, :name_contains) > 0)
AND (:label IS NULL OR instr(labels, :label) > 0)
AND NOT EXISTS (
    SELECT 1
    FROM json_each(:labels) AS wanted
    WHERE NOT EXISTS (
        SELECT 1
        FROM json_each(executors.labels) AS own
        WHERE own.key = json_extract(wanted.value, '$[0]')
        AND own.value = json_extract(wanted.value, '$[1]')
    )
)"
    };
}

const GET: &str = concat!(
    columns!(),
    "
FROM executors
WHERE organization = :organization
AND name = :name
AND delete_time IS NULL"
);

const LIST_BY_UID: &str = concat!(
    columns!(),
    "
FROM executors
WHERE uid IN (SELECT value FROM json_each(:uids))
AND delete_time IS NULL"
);

const LIST_BY_NAME: &str = concat!(
    columns!(),
    "
FROM executors
WHERE organization = :organization
AND name IN (SELECT value FROM json_each(:names))
AND delete_time IS NULL"
);

const LIST: &str = concat!(
    columns!(),
    "
FROM executors
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
FROM executors INDEXED BY executors_by_name_everywhere
WHERE (name, organization) > (:after, :organization)
AND name <= :until
AND delete_time IS NULL",
    filters!(),
    "
ORDER BY name, organization
LIMIT :limit"
);

const COUNT: &str = "
SELECT kind, version, channel, count(*) AS executors
FROM executors
WHERE organization = :organization
AND delete_time IS NULL
GROUP BY kind, version, channel";

pub(super) const INSERT: &str = "
INSERT INTO executors (
    uid, organization, name, revision, state, kind, version, platform, channel, channel_ceiling, labels, pinned, floor,
    holds, release_key_ids, generation, pending, open_attempt, duplicated_since, create_time, change_number, delete_time
)
VALUES (
    :uid, :organization, :name, :revision, :state, :kind, :version, :platform, :channel, :channel_ceiling, :labels, :pinned, :floor,
    :holds, :release_key_ids, :generation, :pending, :open_attempt, :duplicated_since, :create_time, :change_number, :delete_time
)";

pub(super) const UPDATE: &str = "
UPDATE executors
SET organization = :organization,
    name = :name,
    revision = :revision,
    state = :state,
    kind = :kind,
    version = :version,
    platform = :platform,
    channel = :channel,
    channel_ceiling = :channel_ceiling,
    labels = :labels,
    pinned = :pinned,
    floor = :floor,
    holds = :holds,
    release_key_ids = :release_key_ids,
    generation = :generation,
    pending = :pending,
    open_attempt = :open_attempt,
    duplicated_since = :duplicated_since,
    create_time = :create_time,
    change_number = :change_number,
    delete_time = :delete_time
WHERE uid = :uid
AND revision = :revision - 1
AND delete_time IS NULL";

const EXISTS: &str = "
SELECT 1
FROM executors
WHERE uid = :uid
AND delete_time IS NULL";

const LIST_FORGOTTEN: &str = "
SELECT uid
FROM executors
WHERE delete_time < :deleted_before
AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.executor = executors.uid)
AND NOT EXISTS (SELECT 1 FROM certificates WHERE certificates.executor = executors.uid)
ORDER BY delete_time
LIMIT :limit";

/// A deleted executor and what only it means.
const PRUNE: [&str; 3] = [
    "
DELETE FROM sessions
WHERE executor IN (SELECT value FROM json_each(:uids))",
    "
DELETE FROM nodes
WHERE executor IN (SELECT value FROM json_each(:uids))",
    "
DELETE FROM executors
WHERE uid IN (SELECT value FROM json_each(:uids))",
];

pub(super) fn read(row: &Row<'_>) -> Result<Executor, Failure> {
    Ok(mapping::executor(RowColumns::of("executor", row))?)
}

/// Runs `sql` with all columns of an executor under its next revision; how many rows it wrote.
pub(super) fn put(
    connection: &Connection,
    sql: &str,
    executor: &Executor,
    change: ChangeNumber,
    delete_time: Option<domain::Timestamp>,
) -> Result<Result<usize, rusqlite::Error>, Failure> {
    let uid = executor.uid.to_string();
    let holds: Vec<HoldShape> = executor.holds.iter().map(HoldShape::from).collect();
    let params = named_params! {
        ":uid": uid,
        ":organization": executor.name.organization.as_str(),
        ":name": executor.name.executor.as_str(),
        ":revision": integer("executor", &uid, "revision", executor.revision.next().0)?,
        ":state": state_word(executor.state),
        ":kind": executor.kind.map(Kind::as_str),
        ":version": executor.version.as_ref().map(ToString::to_string),
        ":platform": executor.platform.as_ref().map(ToString::to_string),
        ":channel": executor.channel.as_str(),
        ":channel_ceiling": executor.channel_ceiling.map(Channel::as_str),
        ":labels": json(&executor.labels),
        ":pinned": executor.pinned,
        ":floor": executor.floor.as_ref().map(ToString::to_string),
        ":holds": json(&holds),
        ":release_key_ids": json(&executor.release_key_ids),
        ":generation": integer("executor", &uid, "generation", executor.generation.0)?,
        ":pending": executor.pending.map(|id| id.to_string()),
        ":open_attempt": executor.open_attempt.map(|id| id.to_string()),
        ":duplicated_since": micros(executor.duplicated_since),
        ":create_time": executor.create_time.as_micros(),
        ":change_number": integer("executor", &uid, "change_number", change.0)?,
        ":delete_time": micros(delete_time),
    };
    Ok(write(connection, sql, params))
}

/// The executor of this name.
pub(super) fn get(connection: &Connection, name: &ExecutorName) -> Result<Option<Executor>, Failure> {
    let params = named_params! { ":organization": name.organization.as_str(), ":name": name.executor.as_str() };
    first(connection, GET, params, read)
}

/// [`Error::Missing`] unless the executor exists and is not deleted.
pub(super) fn require(connection: &Connection, uid: ExecutorUid) -> Result<(), Failure> {
    let found = first(connection, EXISTS, named_params! { ":uid": uid.to_string() }, |_| Ok(()))?;
    found.ok_or_else(|| Failure::missing("executor", uid))
}

/// Executors by uid.
pub(super) fn list_by_uid(connection: &Connection, uids: &[ExecutorUid]) -> Result<Vec<Executor>, Failure> {
    all(connection, LIST_BY_UID, named_params! { ":uids": keys(uids) }, read)
}

fn prune(connection: &Connection, deleted_before: Timestamp, at_most: usize) -> Result<usize, Failure> {
    let params = named_params! { ":deleted_before": deleted_before.as_micros(), ":limit": limit(at_most) };
    let uids: Vec<String> = all(connection, LIST_FORGOTTEN, params, |row| Ok(row.get("uid")?))?;
    let uids = keys(&uids);
    let mut pruned = 0;
    for sql in PRUNE {
        pruned = write(connection, sql, named_params! { ":uids": uids })?;
    }
    Ok(pruned)
}

fn list(connection: &Connection, query: &ExecutorQuery, page: &Page<ExecutorId>) -> Result<Vec<Executor>, Failure> {
    let filters = Filters::of(query);
    let after = page.after.as_ref().map_or("", ExecutorId::as_str);
    let Some(organization) = &query.organization else {
        return list_everywhere(connection, &filters, after, page.limit);
    };
    let limit = limit(page.limit);
    let params = named_params! { ":organization": organization.as_str(), ":after": after, ":limit": limit };
    all(connection, LIST, filters.and(params).as_slice(), read)
}

/// Names are unique only inside an organization, and the page's key is a name: a page that ended between two executors of
/// one name would lose the rest of them. So it takes them all, and may be longer than asked by as many.
fn list_everywhere(
    connection: &Connection,
    filters: &Filters<'_>,
    after: &str,
    at_most: usize,
) -> Result<Vec<Executor>, Failure> {
    // Greater than every name and organization: their alphabet ends at 'z'.
    const LAST: &str = "~";
    let walk = |after: &str, organization: &str, until: &str, at_most: i64| {
        let params =
            named_params! { ":after": after, ":organization": organization, ":until": until, ":limit": at_most };
        all(connection, LIST_EVERYWHERE, filters.and(params).as_slice(), read)
    };
    let mut found = walk(after, LAST, LAST, limit(at_most))?;
    if let Some(last) = found.last().filter(|_| found.len() == at_most) {
        let name = last.name.clone();
        found.extend(walk(name.executor.as_str(), name.organization.as_str(), name.executor.as_str(), i64::MAX)?);
    }
    Ok(found)
}

/// What `filters!` is given.
struct Filters<'q> {
    query: &'q ExecutorQuery,
    kind: Option<&'static str>,
    channel: Option<&'static str>,
    state: Option<&'static str>,
    labels: String,
    /// The first wanted label as the column has it. To look for a text is a tenth of reading a row's labels, and spares that where
    /// it is not found.
    label: Option<String>,
}

impl<'q> Filters<'q> {
    fn of(query: &'q ExecutorQuery) -> Self {
        Self {
            query,
            kind: query.kind.map(Kind::as_str),
            channel: query.channel.map(Channel::as_str),
            state: query.state.map(state_word),
            labels: json(&query.labels),
            label: query.labels.first().map(|(key, value)| format!("{}:{}", json(key), json(value))),
        }
    }

    fn and<'p>(&'p self, params: &[(&'static str, &'p dyn ToSql)]) -> Vec<(&'static str, &'p dyn ToSql)> {
        let own = named_params! {
            ":version": self.query.version,
            ":name_contains": self.query.name_contains,
            ":kind": self.kind,
            ":channel": self.channel,
            ":state": self.state,
            ":pinned": self.query.pinned,
            ":held": self.query.held,
            ":labels": self.labels,
            ":label": self.label,
        };
        [own, params].concat()
    }
}

#[async_trait]
impl ExecutorStore for SqliteStore {
    async fn executor_get(&self, name: &ExecutorName) -> Result<Option<Executor>, Error> {
        let name = name.clone();
        self.read("executor_get", move |connection| get(connection, &name)).await
    }

    async fn executor_list_by_uid(&self, uids: &[ExecutorUid]) -> Result<Vec<Executor>, Error> {
        let uids = uids.to_vec();
        self.read("executor_list_by_uid", move |connection| list_by_uid(connection, &uids)).await
    }

    async fn executor_list_by_name(
        &self,
        organization: &OrganizationId,
        names: &[ExecutorId],
    ) -> Result<Vec<Executor>, Error> {
        let (organization, names) = (organization.clone(), keys(names));
        self.read("executor_list_by_name", move |connection| {
            let params = named_params! { ":organization": organization.as_str(), ":names": names };
            all(connection, LIST_BY_NAME, params, read)
        })
        .await
    }

    async fn executor_list(&self, query: &ExecutorQuery, page: Page<ExecutorId>) -> Result<Vec<Executor>, Error> {
        let query = query.clone();
        self.read("executor_list", move |connection| list(connection, &query, &page)).await
    }

    async fn executor_count(&self, organization: &OrganizationId) -> Result<Vec<ExecutorCount>, Error> {
        let organization = organization.clone();
        self.read("executor_count", move |connection| {
            let count = |row: &Row<'_>| Ok(mapping::executor_count(RowColumns::of("executor count", row))?);
            all(connection, COUNT, named_params! { ":organization": organization.as_str() }, count)
        })
        .await
    }

    async fn executor_commit(&self, commit: ExecutorCommit) -> Result<Committed, Error> {
        self.write("executor_commit", move |tx| commit::commit_in_tx(tx, &commit)).await
    }

    async fn executor_commit_batch(
        &self,
        commits: Vec<ExecutorCommit>,
    ) -> Result<Vec<Result<Committed, Error>>, Error> {
        self.write("executor_commit_batch", move |tx| commit::commit_each_in_tx(tx, &commits)).await
    }
    async fn executor_prune(&self, deleted_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        self.write("executor_prune", move |tx| prune(tx.connection(), deleted_before, at_most)).await
    }
}
