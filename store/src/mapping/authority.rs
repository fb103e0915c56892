//! Certificate authorities.

use domain::ExecutorName;

use super::Columns;
use crate::authority::{AuthorityRecord, AuthorityUse};
use crate::error::Error;

/// Reads an authority.
pub(crate) fn authority(mut row: impl Columns) -> Result<AuthorityRecord, Error> {
    Ok(AuthorityRecord {
        number: row.number("number")?,
        public_key_sha256: row.text("public_key_sha256")?,
        certificate_pem: row.string("certificate_pem")?,
        sealed_key: row.string("sealed_key")?,
        create_time: row.time("create_time")?,
        sign_time: row.time("sign_time")?,
        retire_time: row.time_or_null("retire_time")?,
    })
}

/// Reads how many executors hold a certificate of one.
pub(crate) fn authority_use(mut row: impl Columns) -> Result<AuthorityUse, Error> {
    Ok(AuthorityUse { authority: row.text_or_null("authority")?, executors: row.number("executors")? })
}

/// Reads an executor's name.
pub(crate) fn executor_name(mut row: impl Columns) -> Result<ExecutorName, Error> {
    Ok(ExecutorName { organization: row.text("organization")?, executor: row.text("name")? })
}
