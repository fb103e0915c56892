//! Request ids, and the attempts that they were answered with. A request id is claimed by one row, whichever replica it
//! reached.

use domain::{Attempt, AttemptId, OrganizationId, RequestId};
use tokio_postgres::Row;

use super::attempt;
use super::connection::{Connection, Tx};
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use crate::error::Error;
use crate::mapping::Columns as _;

const FIND: &str = "
SELECT attempt
FROM novacula.requests
WHERE organization = :organization
AND request_id = :request_id";

const CLAIM: &str = "
INSERT INTO novacula.requests (organization, request_id, attempt)
VALUES (:organization, :request_id, :attempt)
ON CONFLICT DO NOTHING";

fn read(row: &Row) -> Result<AttemptId, Error> {
    RowColumns::of("request", row).text("attempt")
}

/// The attempt that a request of this id made, or was answered with.
pub(super) async fn find(
    connection: &Connection,
    organization: &OrganizationId,
    request_id: &RequestId,
) -> Result<Option<Attempt>, Failure> {
    let params = params! { "organization": organization.as_str(), "request_id": request_id.as_str() };
    match connection.first(FIND, &params, read).await? {
        Some(id) => attempt::get(connection, id).await,
        None => Ok(None),
    }
}

/// Answers a request of this id with the attempt, from now on.
pub(super) async fn claim(
    connection: &Connection,
    organization: &OrganizationId,
    request_id: &RequestId,
    attempt: AttemptId,
) -> Result<(), Failure> {
    let params = params! {
        "organization": organization.as_str(),
        "request_id": request_id.as_str(),
        "attempt": attempt.as_uuid(),
    };
    match connection.write(CLAIM, &params).await {
        Ok(0) => Err(Failure::exists("request", request_id.as_str())),
        Ok(_) => Ok(()),
        Err(failure) if failure.is_dangling() => Err(Failure::missing("attempt", attempt)),
        Err(failure) => Err(failure),
    }
}

/// Notes that a request of this id was answered with the attempt.
pub(super) async fn note(tx: &Tx, id: AttemptId, request_id: &RequestId) -> Result<(), Failure> {
    let connection = tx.connection();
    let attempt = attempt::get(connection, id).await?.ok_or_else(|| Failure::missing("attempt", id))?;
    let organization = &attempt.executor_name.organization;
    match claim(connection, organization, request_id, id).await {
        Err(Failure::Told(Error::Exists { .. })) => match find(connection, organization, request_id).await? {
            Some(found) if found.id == id => Ok(()),
            _ => Err(Failure::exists("request", request_id.as_str())),
        },
        result => result,
    }
}
