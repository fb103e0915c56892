//! Request ids: the one that an attempt was made by is in its row, further ones that were answered with it are aliases.

use domain::{Attempt, AttemptId, OrganizationId, RequestId};
use rusqlite::{Connection, named_params};

use super::attempt;
use super::failure::Failure;
use super::row::{RowColumns, first, write};
use crate::mapping::Columns as _;

const FIND_ALIAS: &str = "
SELECT attempt
FROM request_aliases
WHERE organization = :organization
AND request_id = :request_id";

const INSERT_ALIAS: &str = "
INSERT INTO request_aliases (organization, request_id, attempt)
VALUES (:organization, :request_id, :attempt)";

/// The attempt that a request of this id made, or was answered with.
pub(super) fn find(
    connection: &Connection,
    organization: &OrganizationId,
    request_id: &RequestId,
) -> Result<Option<Attempt>, Failure> {
    if let Some(attempt) = attempt::find_by_request(connection, organization, request_id)? {
        return Ok(Some(attempt));
    }
    let params = named_params! { ":organization": organization.as_str(), ":request_id": request_id.as_str() };
    match first(connection, FIND_ALIAS, params, |row| Ok(RowColumns::of("request", row).text::<AttemptId>("attempt")?))?
    {
        Some(id) => attempt::get(connection, id),
        None => Ok(None),
    }
}

/// Notes that a request of this id was answered with the attempt.
pub(super) fn note(
    connection: &Connection,
    organization: &OrganizationId,
    id: AttemptId,
    request_id: &RequestId,
) -> Result<(), Failure> {
    let attempt = attempt::get(connection, id)?;
    if attempt.is_none_or(|attempt| attempt.executor_name.organization != *organization) {
        return Err(Failure::missing("attempt", id));
    }
    match find(connection, organization, request_id)? {
        Some(found) if found.id == id => Ok(()),
        Some(_) => Err(Failure::exists("request", request_id.as_str())),
        None => {
            let params = named_params! {
                ":organization": organization.as_str(),
                ":request_id": request_id.as_str(),
                ":attempt": id.to_string(),
            };
            write(connection, INSERT_ALIAS, params)?;
            Ok(())
        }
    }
}
