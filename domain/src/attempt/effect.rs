//! What decisions do to the executor's row: one aggregate, written together with its attempt.
//!
//! `pending` and `generation` move here and nowhere else, so that the generation grows with everything that changes what
//! is desired, and what is desired is always one attempt or nothing.

use std::time::Duration;

use crate::attempt::next::{Action, Next};
use crate::attempt::state::{Attempt, Phase};
use crate::audit::Actor;
use crate::executor::Executor;
use crate::hold::Hold;
use crate::id::{AttemptId, Generation, ReleaseId, RequestId, Revision};
use crate::time::Timestamp;
use crate::version::Version;

/// What a new attempt is made of, besides its executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// A fresh id (UUIDv7 of `now`).
    pub id: AttemptId,
    /// Where to.
    pub release: ReleaseId,
    /// From where, as [`super::Decision::Begin`] says it.
    pub from_version: Version,
    /// Whether asking clears a hold, likewise.
    pub clears_hold: bool,
    /// Bytes to fetch; 0: unknown or none.
    pub bytes_total: u64,
    /// Time to be picked up.
    pub ttl: Duration,
    /// Who asked.
    pub requested_by: Actor,
    /// The caller's id for the request.
    pub request_id: Option<RequestId>,
}

/// Begins an attempt: it is desired from here on, under a new generation.
#[must_use]
pub fn begin(executor: &Executor, beginning: Beginning, now: Timestamp) -> (Executor, Attempt) {
    let mut executor = executor.clone();
    executor.generation = executor.generation.next();
    executor.pending = Some(beginning.id);
    executor.open_attempt = Some(beginning.id);
    if beginning.clears_hold {
        executor
            .holds
            .retain(|hold| hold.version != beginning.release.version);
    }
    let attempt = Attempt {
        id: beginning.id,
        executor: executor.uid,
        executor_name: executor.name.clone(),
        revision: Revision::default(),
        release: beginning.release,
        from_version: beginning.from_version,
        generation: executor.generation,
        phase: Phase::Requested,
        refused: None,
        rollback_requested: false,
        ending: None,
        corrected: false,
        bytes_done: 0,
        bytes_total: beginning.bytes_total,
        request_time: now,
        deliver_time: None,
        progress_time: None,
        apply_time: None,
        end_time: None,
        expire_time: now.plus(beginning.ttl),
        requested_by: beginning.requested_by,
        request_id: beginning.request_id,
    };
    (executor, attempt)
}

/// Carries a decision over to the executor's row. `floor` is what the release's manifest says, for
/// [`Action::RaiseFloor`]. Answers and feed rows are the caller's.
#[must_use]
pub fn apply(
    executor: &Executor,
    next: Next,
    floor: Option<&Version>,
    now: Timestamp,
) -> (Executor, Attempt) {
    let mut executor = executor.clone();
    let Next {
        mut attempt,
        actions,
    } = next;
    for action in actions {
        match action {
            Action::ClearPending => {
                if executor.pending == Some(attempt.id) {
                    executor.pending = None;
                    executor.generation = executor.generation.next();
                }
            }
            Action::DesireAgain => {
                executor.pending = Some(attempt.id);
                executor.generation = executor.generation.next();
                attempt.generation = executor.generation;
            }
            Action::Close => {
                if executor.open_attempt == Some(attempt.id) {
                    executor.open_attempt = None;
                }
            }
            Action::SetHold { cause } => {
                let version = attempt.target_version().clone();
                executor.holds.retain(|hold| hold.version != version);
                executor.holds.push(Hold {
                    version,
                    attempt: attempt.id,
                    cause,
                    since: now,
                });
            }
            Action::ClearHold => executor
                .holds
                .retain(|hold| hold.version != *attempt.target_version()),
            Action::RaiseFloor => executor.floor = executor.floor.max(floor.cloned()),
            Action::Proceed
            | Action::Withdraw(_)
            | Action::Acknowledge
            | Action::Refuse(_)
            | Action::Emit(_) => {}
        }
    }
    (executor, attempt)
}

/// Goes on above what the executor has seen (rule 6): a database that was restored never runs backwards. `pending` is the
/// attempt behind the pending upgrade. None: the executor has seen nothing newer than what is stored.
#[must_use]
pub fn catch_up(
    executor: &Executor,
    pending: Option<&Attempt>,
    told: Generation,
) -> Option<(Executor, Option<Attempt>)> {
    if told <= executor.generation {
        return None;
    }
    let mut executor = executor.clone();
    executor.generation = told.next();
    let attempt = pending
        .filter(|attempt| executor.pending == Some(attempt.id))
        .map(|attempt| {
            let mut attempt = attempt.clone();
            attempt.generation = executor.generation;
            attempt
        });
    Some((executor, attempt))
}
