//! Attempts: reading and pruning them. They are written with their executor, in `commit`.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::{Attempt, AttemptId, ExecutorUid, OrganizationId, ReleaseId, RequestId, Timestamp};
use rusqlite::{Connection, Row, named_params};

use super::failure::Failure;
use super::row::{RowColumns, all, first, keys, micros, write};
use super::{SqliteStore, request};
use crate::column::{EndingShape, ReportShape, WaitingShape, actor_text, integer, json, limit};
use crate::error::Error;
use crate::executor::{AttemptStore, AttemptWrite};
use crate::mapping;
use crate::page::Page;

macro_rules! columns {
    () => {
        "
SELECT id, executor, organization, executor_name, revision, release, from_version, generation, phase, refused,
    rollback_requested, outcome, outcome_source, ending, corrected, bytes_done, bytes_total, request_time, deliver_time,
    progress_time, apply_time, end_time, expire_time, requested_by, request_id, waiting
FROM attempts"
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
WHERE id IN (SELECT value FROM json_each(:ids))"
);

const FIND_BY_REQUEST: &str = concat!(
    columns!(),
    "
WHERE organization = :organization
AND request_id = :request_id"
);

const LIST: &str = concat!(
    columns!(),
    "
WHERE executor = :executor
AND id < :after
ORDER BY id DESC
LIMIT :limit"
);

const LIST_BY_ORGANIZATION: &str = concat!(
    columns!(),
    "
WHERE organization = :organization
AND id < :after
ORDER BY id DESC
LIMIT :limit"
);

const LIST_OPEN_BY_RELEASE: &str = concat!(
    columns!(),
    "
WHERE release = :release
AND outcome IS NULL
AND (:organization IS NULL OR organization = :organization)
AND id > :after
ORDER BY id
LIMIT :limit"
);

const LIST_DUE: &str = concat!(
    columns!(),
    "
WHERE deadline <= :now
ORDER BY deadline
LIMIT :limit"
);

// Any text is greater than the empty one: this is `IS NOT NULL`, in words that let the partial index be searched.
const COUNT_PENDING: &str = "
SELECT count(*)
FROM executors
WHERE pending > ''
AND delete_time IS NULL";

const PRUNE: &str = "
DELETE FROM attempts
WHERE id IN (
    SELECT attempts.id
    FROM attempts
    JOIN executors ON executors.uid = attempts.executor
    WHERE attempts.end_time < :older_than
    AND attempts.outcome IS NOT NULL
    AND executors.pending IS NOT attempts.id
    AND executors.open_attempt IS NOT attempts.id
    ORDER BY attempts.end_time
    LIMIT :limit
)";

pub(super) const INSERT: &str = "
INSERT INTO attempts (
    id, executor, organization, executor_name, revision, release, from_version, generation, phase, refused,
    rollback_requested, outcome, outcome_source, ending, corrected, bytes_done, bytes_total, request_time, deliver_time,
    progress_time, apply_time, end_time, expire_time, requested_by, request_id, deadline, waiting
)
VALUES (
    :id, :executor, :organization, :executor_name, :revision, :release, :from_version, :generation, :phase, :refused,
    :rollback_requested, :outcome, :outcome_source, :ending, :corrected, :bytes_done, :bytes_total, :request_time, :deliver_time,
    :progress_time, :apply_time, :end_time, :expire_time, :requested_by, :request_id, :deadline, :waiting
)";

// What was asked, and of whom, never changes; only how it goes.
pub(super) const UPDATE: &str = "
UPDATE attempts
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
    deadline = :deadline,
    waiting = :waiting
WHERE id = :id
AND executor = :executor
AND organization = :organization
AND executor_name = :executor_name
AND request_id IS :request_id
AND revision = :revision - 1";

fn read(row: &Row<'_>) -> Result<Attempt, Failure> {
    Ok(mapping::attempt(RowColumns::of("attempt", row))?)
}

/// Runs `sql` with all columns of an attempt under its next revision; how many rows it wrote.
pub(super) fn put(connection: &Connection, sql: &str, attempt: &AttemptWrite) -> Result<usize, Failure> {
    let AttemptWrite { attempt, deadline } = attempt;
    let id = attempt.id.to_string();
    let number = |column, value| integer("attempt", &id, column, value);
    let params = named_params! {
        ":id": id,
        ":executor": attempt.executor.to_string(),
        ":organization": attempt.executor_name.organization.as_str(),
        ":executor_name": attempt.executor_name.executor.as_str(),
        ":revision": number("revision", attempt.revision.next().0)?,
        ":release": attempt.release.to_string(),
        ":from_version": attempt.from_version.to_string(),
        ":generation": number("generation", attempt.generation.0)?,
        ":phase": attempt.phase.as_str(),
        ":refused": attempt.refused.as_ref().map(|report| json(&ReportShape::from(report))),
        ":rollback_requested": attempt.rollback_requested,
        ":outcome": attempt.ending.as_ref().map(|ending| ending.outcome.as_str()),
        ":outcome_source": attempt.ending.as_ref().map(|ending| ending.source.as_str()),
        ":ending": attempt.ending.as_ref().map(|ending| json(&EndingShape::from(ending))),
        ":corrected": attempt.corrected,
        ":bytes_done": number("bytes_done", attempt.bytes_done)?,
        ":bytes_total": number("bytes_total", attempt.bytes_total)?,
        ":request_time": attempt.request_time.as_micros(),
        ":deliver_time": micros(attempt.deliver_time),
        ":progress_time": micros(attempt.progress_time),
        ":apply_time": micros(attempt.apply_time),
        ":end_time": micros(attempt.end_time),
        ":expire_time": attempt.expire_time.as_micros(),
        ":requested_by": actor_text(&attempt.requested_by),
        ":request_id": attempt.request_id.as_ref().map(RequestId::as_str),
        ":deadline": micros(*deadline),
        ":waiting": attempt.waiting.as_ref().map(|kept| json(&WaitingShape::from(kept))),
    };
    Ok(write(connection, sql, params)?)
}

/// One attempt.
pub(super) fn get(connection: &Connection, id: AttemptId) -> Result<Option<Attempt>, Failure> {
    first(connection, GET, named_params! { ":id": id.to_string() }, read)
}

/// The attempt that a request of this id made.
pub(super) fn find_by_request(
    connection: &Connection,
    organization: &OrganizationId,
    request_id: &RequestId,
) -> Result<Option<Attempt>, Failure> {
    let params = named_params! { ":organization": organization.as_str(), ":request_id": request_id.as_str() };
    first(connection, FIND_BY_REQUEST, params, read)
}

/// The key to begin before: greater than every id's text when there is none.
fn before(after: Option<AttemptId>) -> String {
    after.map_or_else(|| "~".to_owned(), |id| id.to_string())
}

#[async_trait]
impl AttemptStore for SqliteStore {
    async fn attempt_get(&self, id: AttemptId) -> Result<Option<Attempt>, Error> {
        self.read("attempt_get", move |connection| get(connection, id)).await
    }

    async fn attempt_list_by_id(&self, ids: &[AttemptId]) -> Result<Vec<Attempt>, Error> {
        let ids = keys(ids);
        self.read("attempt_list_by_id", move |connection| {
            all(connection, LIST_BY_ID, named_params! { ":ids": ids }, read)
        })
        .await
    }

    async fn attempt_list_by_request(
        &self,
        organization: &OrganizationId,
        request_ids: &[RequestId],
    ) -> Result<HashMap<RequestId, Attempt>, Error> {
        let (organization, request_ids) = (organization.clone(), request_ids.to_vec());
        self.read("attempt_list_by_request", move |connection| {
            let found = request_ids.into_iter().map(|id| {
                let attempt = request::find(connection, &organization, &id)?;
                Ok(attempt.map(|attempt| (id, attempt)))
            });
            found.filter_map(Result::transpose).collect()
        })
        .await
    }

    async fn attempt_note_requests(
        &self,
        organization: &OrganizationId,
        notes: &[(AttemptId, RequestId)],
    ) -> Result<Vec<Result<(), Error>>, Error> {
        let (organization, notes) = (organization.clone(), notes.to_vec());
        self.write("attempt_note_requests", move |tx| {
            let each = notes.iter().map(|(attempt, request_id)| {
                match request::note(tx.connection(), &organization, *attempt, request_id) {
                    Ok(()) => Ok(Ok(())),
                    Err(Failure::Told(error)) => Ok(Err(error)),
                    Err(engine) => Err(engine),
                }
            });
            each.collect()
        })
        .await
    }

    async fn attempt_list(&self, executor: ExecutorUid, page: Page<AttemptId>) -> Result<Vec<Attempt>, Error> {
        self.read("attempt_list", move |connection| {
            let params = named_params! {
                ":executor": executor.to_string(),
                ":after": before(page.after),
                ":limit": limit(page.limit),
            };
            all(connection, LIST, params, read)
        })
        .await
    }

    async fn attempt_list_by_organization(
        &self,
        organization: &OrganizationId,
        page: Page<AttemptId>,
    ) -> Result<Vec<Attempt>, Error> {
        let organization = organization.clone();
        self.read("attempt_list_by_organization", move |connection| {
            let params = named_params! {
                ":organization": organization.as_str(),
                ":after": before(page.after),
                ":limit": limit(page.limit),
            };
            all(connection, LIST_BY_ORGANIZATION, params, read)
        })
        .await
    }

    async fn attempt_list_open_by_release(
        &self,
        release: &ReleaseId,
        organization: Option<&OrganizationId>,
        page: Page<AttemptId>,
    ) -> Result<Vec<Attempt>, Error> {
        let (release, organization) = (release.to_string(), organization.cloned());
        self.read("attempt_list_open_by_release", move |connection| {
            let params = named_params! {
                ":release": release,
                ":organization": organization.as_ref().map(OrganizationId::as_str),
                ":after": page.after.map_or_else(String::new, |id| id.to_string()),
                ":limit": limit(page.limit),
            };
            all(connection, LIST_OPEN_BY_RELEASE, params, read)
        })
        .await
    }

    async fn attempt_list_due(&self, now: Timestamp, at_most: usize) -> Result<Vec<Attempt>, Error> {
        self.read("attempt_list_due", move |connection| {
            let params = named_params! { ":now": now.as_micros(), ":limit": limit(at_most) };
            all(connection, LIST_DUE, params, read)
        })
        .await
    }

    async fn attempt_count_pending(&self) -> Result<u64, Error> {
        self.read("attempt_count_pending", |connection| {
            let count = first(connection, COUNT_PENDING, [], |row| Ok(row.get::<_, i64>(0)?))?;
            Ok(u64::try_from(count.unwrap_or_default()).unwrap_or_default())
        })
        .await
    }

    async fn attempt_prune(&self, older_than: Timestamp, at_most: usize) -> Result<usize, Error> {
        self.write("attempt_prune", move |tx| {
            let params = named_params! { ":older_than": older_than.as_micros(), ":limit": limit(at_most) };
            Ok(write(tx.connection(), PRUNE, params)?)
        })
        .await
    }
}
