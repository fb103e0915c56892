//! Sessions.

use domain::{Epoch, Timestamp};
use uuid::Uuid;

use super::Columns;
use crate::error::Error;
use crate::session::{Presence, ReplicaId, SessionRow};

/// Reads a session.
pub(crate) fn session(mut row: impl Columns) -> Result<SessionRow, Error> {
    Ok(SessionRow {
        executor: row.text("executor")?,
        epoch: Epoch(row.number("epoch")?),
        replica: ReplicaId(row.text::<Uuid>("replica")?),
        instance: row.text("instance")?,
        open_time: row.time("open_time")?,
        end_time: row.time_or_null("end_time")?,
    })
}

/// Reads a newest session with its replica's lease, as what they say of the executor at `now`.
pub(crate) fn presence(mut row: impl Columns, now: Timestamp) -> Result<Presence, Error> {
    let executor = row.text("executor")?;
    let open_time = row.time("open_time")?;
    let end_time = row.time_or_null("end_time")?;
    let renew_time = row.time("renew_time")?;
    let lease_end = row.time("lease_end")?;
    Ok(Presence {
        executor,
        connected: end_time.is_none() && lease_end > now,
        last_seen: Some(end_time.unwrap_or_else(|| renew_time.max(open_time))),
    })
}
