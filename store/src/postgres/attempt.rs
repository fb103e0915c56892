//! Attempts: reading and pruning them. They are written with their executor, in `commit`.

use std::collections::HashMap;
use std::time::Instant;

use async_trait::async_trait;
use domain::{Attempt, AttemptId, ExecutorUid, OrganizationId, ReleaseId, RequestId, Revision, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::Connection;
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::{Json, Value, params};
use super::{PostgresStore, request, transact};
use crate::column::{EndingShape, ReportShape, WaitingShape, actor_text, integer, limit};
use crate::error::Error;
use crate::executor::{AttemptStore, AttemptWrite};
use crate::mapping::{self, Columns as _};
use crate::page::Page;

macro_rules! columns {
    () => {
        "
SELECT id, executor, organization, executor_name, revision, release, from_version, generation, phase, refused,
    rollback_requested, outcome, outcome_source, ending, corrected, bytes_done, bytes_total, request_time, deliver_time,
    progress_time, apply_time, end_time, expire_time, requested_by, request_id, waiting
FROM novacula.attempts"
    };
}

const GET: &str = concat!(
    columns!(),
    "
WHERE id = :id"
);

const LIST_BY_ID: &str = concat!(
    columns!(),
    "
WHERE id = ANY (:ids)"
);

const LIST: &str = concat!(
    columns!(),
    "
WHERE executor = :executor
AND (:after IS NULL OR id < :after)
ORDER BY id DESC
LIMIT :limit"
);

const LIST_BY_ORGANIZATION: &str = concat!(
    columns!(),
    "
WHERE organization = :organization
AND (:after IS NULL OR id < :after)
ORDER BY id DESC
LIMIT :limit"
);

const LIST_OPEN_BY_RELEASE: &str = concat!(
    columns!(),
    "
WHERE release = :release
AND outcome IS NULL
AND (:organization IS NULL OR organization = :organization)
AND (:after IS NULL OR id > :after)
ORDER BY id
LIMIT :limit"
);

const LIST_DUE: &str = concat!(
    columns!(),
    "
WHERE deadline <= :now
ORDER BY deadline, id
LIMIT :limit"
);

const COUNT_PENDING: &str = "
SELECT count(*) AS number
FROM novacula.executors
WHERE pending IS NOT NULL
AND delete_time IS NULL";

const PRUNE: &str = "
DELETE FROM novacula.attempts
WHERE id IN (
    SELECT attempts.id
    FROM novacula.attempts
    JOIN novacula.executors ON executors.uid = attempts.executor
    WHERE attempts.end_time < :older_than
    AND attempts.outcome IS NOT NULL
    AND executors.pending IS DISTINCT FROM attempts.id
    AND executors.open_attempt IS DISTINCT FROM attempts.id
    ORDER BY attempts.end_time, attempts.id
    LIMIT :limit
    FOR UPDATE OF attempts SKIP LOCKED
)";

const STANDING: &str = "
SELECT id, executor, revision
FROM novacula.attempts
WHERE id = ANY (:ids)";

macro_rules! written {
    () => {
        "id, executor, organization, executor_name, revision, release, from_version, generation, phase, refused,
    rollback_requested, outcome, outcome_source, ending, corrected, bytes_done, bytes_total, request_time, deliver_time,
    progress_time, apply_time, end_time, expire_time, requested_by, request_id, deadline, waiting"
    };
}

macro_rules! rows {
    () => {
        "unnest(
    :id, :executor, :organization, :executor_name, :revision, :release, :from_version, :generation, :phase, :refused,
    :rollback_requested, :outcome, :outcome_source, :ending, :corrected, :bytes_done, :bytes_total, :request_time, :deliver_time,
    :progress_time, :apply_time, :end_time, :expire_time, :requested_by, :request_id, :deadline, :waiting
)"
    };
}

pub(super) const INSERT: &str = concat!(
    "
INSERT INTO novacula.attempts (",
    written!(),
    ")
SELECT *
FROM ",
    rows!(),
    "
ON CONFLICT DO NOTHING
RETURNING id"
);

// What was asked, and of whom, never changes; only how it goes.
pub(super) const UPDATE: &str = concat!(
    "
UPDATE novacula.attempts
SET revision = new.revision,
    release = new.release,
    from_version = new.from_version,
    generation = new.generation,
    phase = new.phase,
    refused = new.refused,
    rollback_requested = new.rollback_requested,
    outcome = new.outcome,
    outcome_source = new.outcome_source,
    ending = new.ending,
    corrected = new.corrected,
    bytes_done = new.bytes_done,
    bytes_total = new.bytes_total,
    request_time = new.request_time,
    deliver_time = new.deliver_time,
    progress_time = new.progress_time,
    apply_time = new.apply_time,
    end_time = new.end_time,
    expire_time = new.expire_time,
    requested_by = new.requested_by,
    deadline = new.deadline,
    waiting = new.waiting
FROM ",
    rows!(),
    " AS new (",
    written!(),
    ")
WHERE attempts.id = new.id
AND attempts.executor = new.executor
AND attempts.organization = new.organization
AND attempts.executor_name = new.executor_name
AND attempts.request_id IS NOT DISTINCT FROM new.request_id
AND attempts.revision = new.revision - 1
RETURNING attempts.id"
);

fn read(row: &Row) -> Result<Attempt, Error> {
    mapping::attempt(RowColumns::of("attempt", row))
}

/// Runs `sql` with all columns of attempts, each under its next revision; how many rows it wrote.
pub(super) async fn put(
    connection: &Connection,
    sql: &'static str,
    attempts: &[&AttemptWrite],
) -> Result<usize, Failure> {
    let rows = attempts.iter().map(|attempt| row(attempt)).collect::<Result<Vec<_>, Error>>()?;
    connection.write_set(sql, rows).await
}

/// Whose these attempts are, and at which revision each is.
pub(super) async fn standing(
    connection: &Connection,
    ids: Vec<Uuid>,
) -> Result<HashMap<AttemptId, (ExecutorUid, Revision)>, Failure> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let read = |row: &Row| {
        let mut columns = RowColumns::of("attempt", row);
        Ok((columns.text("id")?, (columns.text("executor")?, Revision(columns.number("revision")?))))
    };
    Ok(connection.all(STANDING, &params! { "ids": ids }, read).await?.into_iter().collect())
}

fn row(write: &AttemptWrite) -> Result<[(&'static str, Value); 27], Error> {
    let AttemptWrite { attempt, deadline } = write;
    let number = |column, value| integer("attempt", attempt.id, column, value);
    let ending = attempt.ending.as_ref();
    Ok(params! {
        "id": attempt.id.as_uuid(),
        "executor": attempt.executor.as_uuid(),
        "organization": attempt.executor_name.organization.as_str(),
        "executor_name": attempt.executor_name.executor.as_str(),
        "revision": number("revision", attempt.revision.next().0)?,
        "release": attempt.release.to_string(),
        "from_version": attempt.from_version.to_string(),
        "generation": number("generation", attempt.generation.0)?,
        "phase": attempt.phase.as_str(),
        "refused": attempt.refused.as_ref().map(|report| Json::of(&ReportShape::from(report))),
        "rollback_requested": attempt.rollback_requested,
        "outcome": ending.map(|ending| ending.outcome.as_str()),
        "outcome_source": ending.map(|ending| ending.source.as_str()),
        "ending": ending.map(|ending| Json::of(&EndingShape::from(ending))),
        "corrected": attempt.corrected,
        "bytes_done": number("bytes_done", attempt.bytes_done)?,
        "bytes_total": number("bytes_total", attempt.bytes_total)?,
        "request_time": attempt.request_time,
        "deliver_time": attempt.deliver_time,
        "progress_time": attempt.progress_time,
        "apply_time": attempt.apply_time,
        "end_time": attempt.end_time,
        "expire_time": attempt.expire_time,
        "requested_by": actor_text(&attempt.requested_by),
        "request_id": attempt.request_id.as_ref().map(RequestId::as_str),
        "deadline": *deadline,
        "waiting": attempt.waiting.as_ref().map(|kept| Json::of(&WaitingShape::from(kept))),
    })
}

/// Those of these attempts that there are.
pub(super) async fn list(
    connection: &Connection,
    ids: impl IntoIterator<Item = AttemptId>,
) -> Result<Vec<Attempt>, Failure> {
    let ids: Vec<Uuid> = ids.into_iter().map(AttemptId::as_uuid).collect();
    connection.all(LIST_BY_ID, &params! { "ids": ids }, read).await
}

fn key(after: Option<AttemptId>) -> Option<Uuid> {
    after.map(AttemptId::as_uuid)
}

#[async_trait]
impl AttemptStore for PostgresStore {
    async fn attempt_get(&self, id: AttemptId) -> Result<Option<Attempt>, Error> {
        self.first("attempt_get", GET, &params! { "id": id.as_uuid() }, read).await
    }

    async fn attempt_list_by_id(&self, ids: &[AttemptId]) -> Result<Vec<Attempt>, Error> {
        let ids: Vec<Uuid> = ids.iter().map(|id| id.as_uuid()).collect();
        self.all("attempt_list_by_id", LIST_BY_ID, &params! { "ids": ids }, read).await
    }

    async fn attempt_list_by_request(
        &self,
        organization: &OrganizationId,
        request_ids: &[RequestId],
    ) -> Result<HashMap<RequestId, Attempt>, Error> {
        let begin = Instant::now();
        let found = async {
            let connection = Connection::take(self.source()).await?;
            let answers = request::find(&connection, organization, &request_ids.iter().collect::<Vec<_>>()).await?;
            if answers.is_empty() {
                return Ok(HashMap::new());
            }
            let attempts = list(&connection, answers.values().copied()).await?;
            let attempts: HashMap<AttemptId, Attempt> =
                attempts.into_iter().map(|attempt| (attempt.id, attempt)).collect();
            let answers = answers.into_iter();
            Ok(answers.filter_map(|(request_id, id)| Some((request_id, attempts.get(&id)?.clone()))).collect())
        };
        self.observed("attempt_list_by_request", begin, found.await)
    }

    async fn attempt_note_requests(
        &self,
        organization: &OrganizationId,
        notes: &[(AttemptId, RequestId)],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let noted = transact!(self, "attempt_note_requests", |tx| request::note(tx, organization, notes));
        noted.map(|(each, _)| each)
    }

    async fn attempt_list(&self, executor: ExecutorUid, page: Page<AttemptId>) -> Result<Vec<Attempt>, Error> {
        let params = params! {
            "executor": executor.as_uuid(),
            "after": key(page.after),
            "limit": limit(page.limit),
        };
        self.all("attempt_list", LIST, &params, read).await
    }

    async fn attempt_list_by_organization(
        &self,
        organization: &OrganizationId,
        page: Page<AttemptId>,
    ) -> Result<Vec<Attempt>, Error> {
        let params = params! {
            "organization": organization.as_str(),
            "after": key(page.after),
            "limit": limit(page.limit),
        };
        self.all("attempt_list_by_organization", LIST_BY_ORGANIZATION, &params, read).await
    }

    async fn attempt_list_open_by_release(
        &self,
        release: &ReleaseId,
        organization: Option<&OrganizationId>,
        page: Page<AttemptId>,
    ) -> Result<Vec<Attempt>, Error> {
        let params = params! {
            "release": release.to_string(),
            "organization": organization.map(OrganizationId::as_str),
            "after": key(page.after),
            "limit": limit(page.limit),
        };
        self.all("attempt_list_open_by_release", LIST_OPEN_BY_RELEASE, &params, read).await
    }

    async fn attempt_list_due(&self, now: Timestamp, at_most: usize) -> Result<Vec<Attempt>, Error> {
        self.all("attempt_list_due", LIST_DUE, &params! { "now": now, "limit": limit(at_most) }, read).await
    }

    async fn attempt_count_pending(&self) -> Result<u64, Error> {
        let count = self
            .first("attempt_count_pending", COUNT_PENDING, &[], |row| RowColumns::of("count", row).number("number"));
        Ok(count.await?.unwrap_or_default())
    }

    async fn attempt_prune(&self, older_than: Timestamp, at_most: usize) -> Result<usize, Error> {
        let params = params! { "older_than": older_than, "limit": limit(at_most) };
        self.prune("attempt_prune", PRUNE, &params).await
    }
}
