//! Request ids, and the attempts that they were answered with. A request id is claimed by one row, whichever replica it
//! reached.

use std::collections::{HashMap, HashSet};

use domain::{AttemptId, OrganizationId, RequestId};
use tokio_postgres::Row;

use super::attempt;
use super::connection::{Connection, Tx};
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use crate::error::Error;
use crate::mapping::Columns as _;

const FIND: &str = "
SELECT request_id, attempt
FROM novacula.requests
WHERE organization = :organization
AND request_id = ANY (:request_ids)";

const CLAIM: &str = "
INSERT INTO novacula.requests (organization, request_id, attempt)
SELECT *
FROM unnest(:organization, :request_id, :attempt)
ON CONFLICT DO NOTHING
RETURNING request_id";

/// The attempts that requests of these ids made, or were answered with.
pub(super) async fn find(
    connection: &Connection,
    organization: &OrganizationId,
    request_ids: &[&RequestId],
) -> Result<HashMap<RequestId, AttemptId>, Failure> {
    let ids: Vec<&str> = request_ids.iter().map(|id| id.as_str()).collect();
    let params = params! { "organization": organization.as_str(), "request_ids": ids };
    let read = |row: &Row| {
        let mut columns = RowColumns::of("request", row);
        let id = columns.string("request_id")?;
        let id = RequestId::new(&id).map_err(|error| columns.refuse("request_id", error))?;
        Ok((id, columns.text("attempt")?))
    };
    Ok(connection.all(FIND, &params, read).await?.into_iter().collect())
}

/// Answers requests with attempts, from now on; how many of the ids were free.
pub(super) async fn claim(
    connection: &Connection,
    claims: &[(&OrganizationId, &RequestId, AttemptId)],
) -> Result<usize, Failure> {
    let rows = claims.iter().map(|(organization, request_id, attempt)| {
        params! {
            "organization": organization.as_str(),
            "request_id": request_id.as_str(),
            "attempt": attempt.as_uuid(),
        }
    });
    connection.write_set(CLAIM, rows.collect()).await
}

/// Notes that requests of these ids were answered with these attempts of one organization.
pub(super) async fn note(
    tx: &Tx,
    organization: &OrganizationId,
    notes: &[(AttemptId, RequestId)],
) -> Result<Vec<Result<(), Error>>, Failure> {
    let connection = tx.connection();
    let there = attempt::list(connection, notes.iter().map(|(id, _)| *id)).await?;
    let there: HashSet<AttemptId> = there
        .into_iter()
        .filter(|attempt| attempt.executor_name.organization == *organization)
        .map(|attempt| attempt.id)
        .collect();
    let known = notes.iter().filter(|(id, _)| there.contains(id));
    let claims: Vec<_> = known.map(|(id, request_id)| (organization, request_id, *id)).collect();
    claim(connection, &claims).await?;
    // Whoever was first, this call or another: the row says what the id was answered with.
    let request_ids: Vec<&RequestId> = claims.iter().map(|(_, request_id, _)| *request_id).collect();
    let answered = find(connection, organization, &request_ids).await?;
    let each = notes.iter().map(|(id, request_id)| match answered.get(request_id) {
        _ if !there.contains(id) => Err(Error::missing("attempt", id)),
        Some(answer) if answer == id => Ok(()),
        _ => Err(Error::exists("request", request_id.as_str())),
    });
    Ok(each.collect())
}
