//! The write that everything turns on: one decision about an executor, with its attempts, its events and its change
//! number, in one transaction, or nothing of it.
//!
//! Locks are taken in one order, so that decisions do not wait for each other in a ring: the executor's row, the release's, then
//! the attempts (which only their executor's holder writes), then `tell`. A batch first takes all its
//! executors, by uid.

mod batch;

use domain::{ExecutorUid, RequestId};

use super::connection::{ChangeIndex, Tx};
use super::failure::Failure;
use super::{attempt, certificate, executor, node, release, request};
use crate::executor::{AttemptWrite, ExecutorCommit, ExecutorFate};

pub(super) use self::batch::commit_batch_in_tx;

/// Writes one decision.
pub(super) async fn commit_in_tx(tx: &mut Tx, commit: &ExecutorCommit) -> Result<ChangeIndex, Failure> {
    let ExecutorCommit { executor, attempts, events, fate, while_published } = commit;
    let uid = executor.uid;
    let written = executor::put(tx.connection(), executor::UPDATE, &[executor]).await;
    if written.map_err(|failure| failure.of_row("executor", uid))? == 0 {
        executor::require(tx.connection(), uid).await?;
        return Err(Failure::stale("executor", uid));
    }
    if let Some(release) = while_published
        && release::published(tx.connection(), [release]).await?.is_empty()
    {
        return Err(Failure::stale("release", release));
    }
    for attempt in attempts {
        write_attempt(tx, uid, attempt).await?;
    }
    if *fate == ExecutorFate::Delete {
        let deleted = executor::delete(tx.connection(), uid).await?;
        certificate::revoke_all(tx.connection(), uid, deleted).await?;
        node::remove_all(tx.connection(), uid).await?;
    }
    tx.tell(events);
    Ok(tx.change(uid, executor.generation))
}

/// Writes many decisions, one after the other; one that is refused undoes only itself.
async fn commit_each_in_tx(
    tx: &mut Tx,
    commits: &[ExecutorCommit],
) -> Result<Vec<Result<ChangeIndex, crate::Error>>, Failure> {
    executor::lock_all(tx.connection(), commits.iter().map(|commit| commit.executor.uid)).await?;
    let mut results = Vec::with_capacity(commits.len());
    for commit in commits {
        results.push(commit_alone(tx, commit).await?);
    }
    Ok(results)
}

/// Writes one decision of many; refused, it undoes only itself.
async fn commit_alone(tx: &mut Tx, commit: &ExecutorCommit) -> Result<Result<ChangeIndex, crate::Error>, Failure> {
    let part = tx.begin_part().await?;
    let result = match commit_in_tx(tx, commit).await {
        Ok(index) => Ok(index),
        Err(Failure::Told(refusal)) => Err(refusal),
        // The server's failures are not about one decision: nothing of the batch is written.
        Err(engine) => return Err(engine),
    };
    tx.end_part(part, &result).await?;
    Ok(result)
}

/// Writes an attempt of `executor`, whose row this transaction holds.
pub(super) async fn write_attempt(tx: &Tx, executor: ExecutorUid, write: &AttemptWrite) -> Result<(), Failure> {
    let connection = tx.connection();
    let new = &write.attempt;
    if new.executor != executor {
        return Err(Failure::corrupt("attempt", new.id, "it is another executor's"));
    }
    if !write.is_new() {
        if attempt::put(connection, attempt::UPDATE, &[write]).await? > 0 {
            return Ok(());
        }
        return Err(if attempt::list(connection, [new.id]).await?.is_empty() {
            Failure::missing("attempt", new.id)
        } else {
            Failure::stale("attempt", new.id)
        });
    }
    // Before the attempt itself: a repeated request is told apart from a taken id, and waits for the one that is under way.
    let organization = &new.executor_name.organization;
    let taken = |request_id: &RequestId| Failure::exists("request", request_id.as_str());
    if let Some(request_id) = &new.request_id
        && !request::find(connection, organization, &[request_id]).await?.is_empty()
    {
        return Err(taken(request_id));
    }
    if attempt::put(connection, attempt::INSERT, &[write]).await? == 0 {
        return Err(Failure::stale("attempt", new.id));
    }
    match &new.request_id {
        Some(request_id) if request::claim(connection, &[(organization, request_id, new.id)]).await? == 0 => {
            Err(taken(request_id))
        }
        Some(_) | None => Ok(()),
    }
}
