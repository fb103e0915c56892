//! Attempts: reading and pruning them. They are written with their executor, in `commit`.

use async_trait::async_trait;
use domain::{Attempt, AttemptId, ExecutorUid, OrganizationId, ReleaseId, RequestId, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::connection::Connection;
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::{Json, params};
use super::{PostgresStore, request, transact};
use crate::column::{EndingShape, ReportShape, actor_text, integer, limit};
use crate::error::Error;
use crate::executor::{AttemptStore, AttemptWrite};
use crate::mapping::{self, Columns as _};
use crate::page::Page;

macro_rules! columns {
    () => {
        "
SELECT id, executor, organization, executor_name, revision, release, from_version, generation, phase, refused,
    rollback_requested, outcome, outcome_source, ending, corrected, bytes_done, bytes_total, request_time, deliver_time,
    progress_time, apply_time, end_time, expire_time, requested_by, request_id
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

pub(super) const INSERT: &str = "
INSERT INTO novacula.attempts (
    id, executor, organization, executor_name, revision, release, from_version, generation, phase, refused,
    rollback_requested, outcome, outcome_source, ending, corrected, bytes_done, bytes_total, request_time, deliver_time,
    progress_time, apply_time, end_time, expire_time, requested_by, request_id, deadline
)
VALUES (
    :id, :executor, :organization, :executor_name, :revision, :release, :from_version, :generation, :phase, :refused,
    :rollback_requested, :outcome, :outcome_source, :ending, :corrected, :bytes_done, :bytes_total, :request_time, :deliver_time,
    :progress_time, :apply_time, :end_time, :expire_time, :requested_by, :request_id, :deadline
)
ON CONFLICT DO NOTHING";

// What was asked, and of whom, never changes; only how it goes.
pub(super) const UPDATE: &str = "
UPDATE novacula.attempts
SET revision = :revision,
    release = :release,
    from_version = :from_version,
    generation = :generation,
    phase = :phase,
    refused = :refused,
    rollback_requested = :rollback_requested,
    outcome = :outcome,
    outcome_source = :outcome_source,
    ending = :ending,
    corrected = :corrected,
    bytes_done = :bytes_done,
    bytes_total = :bytes_total,
    request_time = :request_time,
    deliver_time = :deliver_time,
    progress_time = :progress_time,
    apply_time = :apply_time,
    end_time = :end_time,
    expire_time = :expire_time,
    requested_by = :requested_by,
    deadline = :deadline
WHERE id = :id
AND executor = :executor
AND organization = :organization
AND executor_name = :executor_name
AND request_id IS NOT DISTINCT FROM :request_id
AND revision = :revision - 1";

fn read(row: &Row) -> Result<Attempt, Error> {
    mapping::attempt(RowColumns::of("attempt", row))
}

/// Runs `sql` with all columns of an attempt under its next revision; how many rows it wrote.
pub(super) async fn put(connection: &Connection, sql: &'static str, attempt: &AttemptWrite) -> Result<u64, Failure> {
    let AttemptWrite { attempt, deadline } = attempt;
    let number = |column, value| integer("attempt", attempt.id, column, value);
    let ending = attempt.ending.as_ref();
    let params = params! {
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
    };
    connection.write(sql, &params).await
}

/// One attempt.
pub(super) async fn get(connection: &Connection, id: AttemptId) -> Result<Option<Attempt>, Failure> {
    connection.first(GET, &params! { "id": id.as_uuid() }, read).await
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

    async fn attempt_find_by_request(
        &self,
        organization: &OrganizationId,
        request_id: &RequestId,
    ) -> Result<Option<Attempt>, Error> {
        let begin = std::time::Instant::now();
        let found = async {
            let connection = Connection::take(self.source()).await?;
            request::find(&connection, organization, request_id).await
        };
        self.observed("attempt_find_by_request", begin, found.await)
    }

    async fn attempt_note_request(&self, attempt: AttemptId, request_id: &RequestId) -> Result<(), Error> {
        transact!(self, "attempt_note_request", |tx| request::note(tx, attempt, request_id)).map(|_| ())
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
        page: Page<AttemptId>,
    ) -> Result<Vec<Attempt>, Error> {
        let params = params! {
            "release": release.to_string(),
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
