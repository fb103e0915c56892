//! Executors, their certificates and their changes.

use domain::{Channel, Executor, ExecutorName, Generation, Hold, Kind, Platform, Revision};

use super::{Columns, read_all};
use crate::certificate::{CertificateRecord, Restore};
use crate::change::{Change, ChangeNumber};
use crate::column::{HoldShape, state_parse};
use crate::error::Error;
use crate::executor::ExecutorCount;

/// Reads an executor.
pub(crate) fn executor(mut row: impl Columns) -> Result<Executor, Error> {
    Ok(Executor {
        uid: row.text("uid")?,
        name: ExecutorName { organization: row.text("organization")?, executor: row.text("name")? },
        revision: Revision(row.number("revision")?),
        state: row.word("state", state_parse)?,
        kind: row.text_or_null::<Kind>("kind")?,
        version: row.text_or_null("version")?,
        platform: row.text_or_null::<Platform>("platform")?,
        channel: row.text::<Channel>("channel")?,
        channel_ceiling: row.text_or_null::<Channel>("channel_ceiling")?,
        labels: row.json("labels")?,
        pinned: row.string_or_null("pinned")?,
        floor: row.text_or_null("floor")?,
        holds: {
            let shapes: Vec<HoldShape> = row.json("holds")?;
            read_all::<_, Hold>(shapes).map_err(|error| row.refuse("holds", error))?
        },
        release_key_ids: row.json("release_key_ids")?,
        generation: Generation(row.number("generation")?),
        pending: row.text_or_null("pending")?,
        open_attempt: row.text_or_null("open_attempt")?,
        duplicated_since: row.time_or_null("duplicated_since")?,
        create_time: row.time("create_time")?,
    })
}

/// Reads a count of executors.
pub(crate) fn executor_count(mut row: impl Columns) -> Result<ExecutorCount, Error> {
    Ok(ExecutorCount {
        kind: row.text_or_null::<Kind>("kind")?,
        version: row.text_or_null("version")?,
        channel: row.text::<Channel>("channel")?,
        executors: row.number("executors")?,
    })
}

/// Reads a certificate.
pub(crate) fn certificate(mut row: impl Columns) -> Result<CertificateRecord, Error> {
    Ok(CertificateRecord {
        fingerprint: row.text("fingerprint")?,
        serial: row.string("serial")?,
        executor: row.text("executor")?,
        authority: row.text_or_null("authority")?,
        public_key_sha256: row.text("public_key_sha256")?,
        join_token: row.text_or_null("join_token")?,
        chain_pem: row.string("chain_pem")?,
        not_before: row.time("not_before")?,
        not_after: row.time("not_after")?,
        use_time: row.time_or_null("use_time")?,
        revoke_time: row.time_or_null("revoke_time")?,
    })
}

/// Reads when a backup was restored.
pub(crate) fn restore(mut row: impl Columns) -> Result<Restore, Error> {
    Ok(Restore { time: row.time("time")?, known_until: row.time("known_until")? })
}

/// Reads the newest change of an executor.
pub(crate) fn change(mut row: impl Columns) -> Result<Change, Error> {
    Ok(Change {
        executor: row.text("uid")?,
        number: ChangeNumber(row.number("change_number")?),
        generation: Generation(row.number("generation")?),
    })
}
