//! An enrolment: the join token's use, the new executor, its first certificate and the events, or nothing of it.

use domain::{AttemptId, ExecutorUid, Generation};
use rusqlite::{Connection, named_params};

use super::commit::write_attempt;
use super::failure::{Failure, is_dangling, is_duplicate, refused_row};
use super::row::{RowColumns, first, write};
use super::write_tx::WriteTx;
use super::{certificate, event, executor, join_token, node, session};
use crate::certificate::EnrolmentCommit;
use crate::column::integer;
use crate::mapping::Columns as _;

const DELETE_REPLACED: &str = "
UPDATE executors
SET revision = revision + 1,
    delete_time = :time,
    change_number = :change_number
WHERE uid = :uid";

const OPEN_ATTEMPT: &str = "
SELECT id
FROM attempts
WHERE executor = :executor
AND outcome IS NULL
LIMIT 1";

const GENERATION: &str = "
SELECT uid, generation
FROM executors
WHERE uid = :uid";

/// Writes one enrolment.
pub(super) fn commit_in_tx(tx: &WriteTx<'_>, commit: &EnrolmentCommit) -> Result<(), Failure> {
    let EnrolmentCommit { executor, .. } = commit;
    if let Some(token) = &commit.vouched {
        join_token::insert(tx.connection(), token)?;
    }
    join_token::use_in_tx(tx.connection(), &commit.join_token, &executor.name, commit.time)?;
    let holder = executor::get(tx.connection(), &executor.name)?.map(|holder| holder.uid);
    match (holder, commit.replaces) {
        (None, None) => {}
        (Some(holder), Some(replaced)) if holder == replaced => delete_replaced(tx, replaced, commit)?,
        (Some(_), _) => return Err(Failure::exists("executor", &executor.name)),
        // It was deleted since: whether the name may still be taken is to be decided again.
        (None, Some(replaced)) => return Err(Failure::stale("executor", replaced)),
    }
    let change = tx.change(executor.uid, executor.generation)?;
    match executor::put(tx.connection(), executor::INSERT, executor, change, None)? {
        Ok(_) => {}
        Err(error) if is_duplicate(&error) => {
            return Err(Failure::exists("executor", executor.uid));
        }
        Err(error) if is_dangling(&error) => {
            return Err(Failure::missing("organization", &executor.name.organization));
        }
        Err(error) => return Err(refused_row("executor", executor.uid)(error)),
    }
    certificate::insert(tx.connection(), &commit.certificate)?;
    event::insert_in_tx(tx, &commit.events)
}

fn delete_replaced(tx: &WriteTx<'_>, replaced: ExecutorUid, commit: &EnrolmentCommit) -> Result<(), Failure> {
    let time = commit.time;
    for attempt in &commit.replaced_attempts {
        write_attempt(tx, replaced, attempt)?;
    }
    let open = first(tx.connection(), OPEN_ATTEMPT, named_params! { ":executor": replaced.to_string() }, |row| {
        Ok(RowColumns::of("attempt", row).text::<AttemptId>("id")?)
    })?;
    if let Some(open) = open {
        return Err(Failure::stale("attempt", open));
    }
    let change = tx.change(replaced, generation(tx.connection(), replaced)?)?;
    let params = named_params! {
        ":uid": replaced.to_string(),
        ":time": time.as_micros(),
        ":change_number": integer("executor", replaced, "change_number", change.0)?,
    };
    write(tx.connection(), DELETE_REPLACED, params)?;
    certificate::revoke_all(tx.connection(), replaced, time)?;
    session::end_newest(tx.connection(), replaced, time)?;
    node::remove_all(tx.connection(), replaced)
}

fn generation(connection: &Connection, uid: ExecutorUid) -> Result<Generation, Failure> {
    let found = first(connection, GENERATION, named_params! { ":uid": uid.to_string() }, |row| {
        let mut row = RowColumns::of("executor", row);
        row.string("uid")?;
        Ok(row.number("generation")?)
    })?;
    Ok(Generation(found.unwrap_or_default()))
}
