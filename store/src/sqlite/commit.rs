//! The write that everything turns on: one decision about an executor, with its attempts, its events and its change
//! number, in one transaction, or nothing of it.

use domain::ExecutorUid;

use super::failure::{Failure, refused_row};
use super::write_tx::WriteTx;
use super::{attempt, certificate, event, executor, node, release, request};
use crate::executor::{AttemptWrite, Committed, ExecutorCommit, ExecutorFate};

/// Writes one decision.
pub(super) fn commit_in_tx(tx: &WriteTx<'_>, commit: &ExecutorCommit) -> Result<Committed, Failure> {
    let ExecutorCommit { executor, attempts, events, fate, while_published } = commit;
    let delete_time = match fate {
        ExecutorFate::Keep => None,
        ExecutorFate::Delete => Some(tx.now()),
    };
    let change = tx.change(executor.uid, executor.generation)?;
    let written = executor::put(tx.connection(), executor::UPDATE, executor, change, delete_time)?
        .map_err(refused_row("executor", executor.uid))?;
    if written == 0 {
        executor::require(tx.connection(), executor.uid)?;
        return Err(Failure::stale("executor", executor.uid));
    }
    if let Some(release) = while_published
        && !release::is_published(tx.connection(), release)?
    {
        return Err(Failure::stale("release", release));
    }
    for attempt in attempts {
        write_attempt(tx, executor.uid, attempt)?;
    }
    if delete_time.is_some() {
        certificate::revoke_all(tx.connection(), executor.uid, tx.now())?;
        node::remove_all(tx.connection(), executor.uid)?;
    }
    event::insert_in_tx(tx, events)?;
    Ok(Committed { change })
}

/// Writes many decisions; one that is refused undoes only itself.
pub(super) fn commit_each_in_tx(
    tx: &WriteTx<'_>,
    commits: &[ExecutorCommit],
) -> Result<Vec<Result<Committed, crate::Error>>, Failure> {
    let each = commits.iter().map(|commit| match tx.part(|tx| commit_in_tx(tx, commit)) {
        Ok(committed) => Ok(Ok(committed)),
        Err(Failure::Told(refusal)) => Ok(Err(refusal)),
        // The engine's failures are not about one decision: nothing of the batch is written.
        Err(engine) => Err(engine),
    });
    each.collect()
}

/// Writes an attempt of `executor`.
pub(super) fn write_attempt(tx: &WriteTx<'_>, executor: ExecutorUid, write: &AttemptWrite) -> Result<(), Failure> {
    let new = &write.attempt;
    if new.executor != executor {
        return Err(Failure::corrupt("attempt", new.id, "it is another executor's"));
    }
    if !write.is_new() {
        if attempt::put(tx.connection(), attempt::UPDATE, write)? > 0 {
            return Ok(());
        }
        return Err(match attempt::get(tx.connection(), new.id)? {
            Some(_) => Failure::stale("attempt", new.id),
            None => Failure::missing("attempt", new.id),
        });
    }
    if let Some(request_id) = &new.request_id
        && request::find(tx.connection(), &new.executor_name.organization, request_id)?.is_some()
    {
        return Err(Failure::exists("request", request_id.as_str()));
    }
    if attempt::get(tx.connection(), new.id)?.is_some() {
        return Err(Failure::stale("attempt", new.id));
    }
    attempt::put(tx.connection(), attempt::INSERT, write)?;
    Ok(())
}
