//! Bearer tokens and join tokens.

use domain::{OrganizationId, Role};

use super::Columns;
use crate::error::Error;
use crate::token::{JoinTokenRecord, TokenRecord};

/// Reads a bearer token.
pub(crate) fn token(mut row: impl Columns) -> Result<TokenRecord, Error> {
    let id = row.text("id")?;
    let secret_sha256 = row.text("secret_sha256")?;
    let role = row.string("role")?;
    let organization: Option<OrganizationId> = row.text_or_null("organization")?;
    let role = Role::parse(&role, organization)
        .ok_or_else(|| row.refuse("role", format!("{role:?} is no role, or not one of where it is")))?;
    Ok(TokenRecord {
        id,
        secret_sha256,
        role,
        display_name: row.string("display_name")?,
        create_time: row.time("create_time")?,
        expire_time: row.time("expire_time")?,
        revoke_time: row.time_or_null("revoke_time")?,
        signed_in_by: row.text_or_null("signed_in_by")?,
    })
}

/// Reads a join token.
pub(crate) fn join_token(mut row: impl Columns) -> Result<JoinTokenRecord, Error> {
    Ok(JoinTokenRecord {
        id: row.text("id")?,
        organization: row.text("organization")?,
        secret_sha256: row.text("secret_sha256")?,
        executor: row.text_or_null("executor")?,
        replace: row.flag("replace")?,
        max_uses: row.number("max_uses")?,
        uses: row.number("uses")?,
        create_time: row.time("create_time")?,
        expire_time: row.time("expire_time")?,
        revoke_time: row.time_or_null("revoke_time")?,
    })
}
