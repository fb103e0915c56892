//! An enrolment: the join token's use, the new executor, its first certificate and the events, or nothing of it.

use domain::{AttemptId, Executor, Generation};
use tokio_postgres::Row;

use super::commit::write_attempt;
use super::connection::Tx;
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use super::{certificate, executor, join_token, node, session};
use crate::certificate::EnrolmentCommit;
use crate::error::Error;
use crate::mapping::Columns as _;

const DELETE_REPLACED: &str = "
UPDATE novacula.executors
SET revision = revision + 1,
    delete_time = :time
WHERE uid = :uid";

const OPEN_ATTEMPT: &str = "
SELECT id
FROM novacula.attempts
WHERE executor = :executor
AND outcome IS NULL
LIMIT 1";

/// Writes one enrolment.
pub(super) async fn commit_in_tx(tx: &mut Tx, commit: &EnrolmentCommit) -> Result<(), Failure> {
    let EnrolmentCommit { executor, .. } = commit;
    if let Some(token) = &commit.vouched {
        join_token::insert(tx, token, &[]).await?;
    }
    join_token::use_in_tx(tx, &commit.join_token, &executor.name, commit.time).await?;
    let holder = executor::lock_by_name(tx.connection(), &executor.name).await?;
    match (holder, commit.replaces) {
        (None, None) => {}
        (Some(holder), Some(replaced)) if holder.uid == replaced => delete_replaced(tx, &holder, commit).await?,
        (Some(_), _) => return Err(Failure::exists("executor", &executor.name)),
        // It was deleted since: whether the name may still be taken is to be decided again.
        (None, Some(replaced)) => return Err(Failure::stale("executor", replaced)),
    }
    match executor::put(tx.connection(), executor::INSERT, &[executor]).await {
        // Of the name, when another enrolment took it since it was looked for.
        Ok(0) => return Err(Failure::exists("executor", executor.uid)),
        Ok(_) => {}
        Err(failure) if failure.is_dangling() => {
            return Err(Failure::missing("organization", &executor.name.organization));
        }
        Err(failure) => return Err(failure.of_row("executor", executor.uid)),
    }
    tx.change(executor.uid, executor.generation);
    certificate::insert(tx.connection(), &commit.certificate).await?;
    tx.tell(&commit.events);
    Ok(())
}

async fn delete_replaced(tx: &mut Tx, replaced: &Executor, commit: &EnrolmentCommit) -> Result<(), Failure> {
    let (uid, time) = (replaced.uid, commit.time);
    for attempt in &commit.replaced_attempts {
        write_attempt(tx, uid, attempt).await?;
    }
    let read = |row: &Row| -> Result<AttemptId, Error> { RowColumns::of("attempt", row).text("id") };
    if let Some(open) = tx.connection().first(OPEN_ATTEMPT, &params! { "executor": uid.as_uuid() }, read).await? {
        return Err(Failure::stale("attempt", open));
    }
    tx.connection().write(DELETE_REPLACED, &params! { "uid": uid.as_uuid(), "time": time }).await?;
    tx.change(uid, Generation(replaced.generation.0));
    certificate::revoke_all(tx.connection(), uid, time).await?;
    session::end_newest(tx.connection(), uid, time).await?;
    node::remove_all(tx.connection(), uid).await
}
