//! What decisions do to the executor's row: one aggregate, written together with its attempt.
//!
//! `pending` and `generation` move here and nowhere else, so that the generation grows with everything that changes what
//! is desired, and what is desired is always one attempt or nothing.

use std::time::Duration;

use crate::attempt::next::{Action, Next};
use crate::attempt::state::{Attempt, Phase};
use crate::audit::Actor;
use crate::executor::Executor;
use crate::hold::{HOLDS_MAX, Hold};
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
        executor.holds.retain(|hold| hold.version != beginning.release.version);
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
        waiting: None,
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
pub fn apply(executor: &Executor, next: Next, floor: Option<&Version>, now: Timestamp) -> (Executor, Attempt) {
    let mut executor = executor.clone();
    let Next { mut attempt, actions } = next;
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
                executor.holds.push(Hold { version, attempt: attempt.id, cause, since: now });
                forget_oldest(&mut executor.holds);
            }
            Action::ClearHold => executor.holds.retain(|hold| hold.version != *attempt.target_version()),
            Action::RaiseFloor => executor.floor = executor.floor.max(floor.cloned()),
            Action::Proceed | Action::Withdraw(_) | Action::Acknowledge | Action::Refuse(_) | Action::Emit(_) => {}
        }
    }
    (executor, attempt)
}

fn forget_oldest(holds: &mut Vec<Hold>) {
    while holds.len() > HOLDS_MAX {
        let oldest = holds.iter().enumerate().min_by_key(|(_, hold)| hold.since);
        let Some((oldest, _)) = oldest else { return };
        holds.remove(oldest);
    }
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
    let attempt = pending.filter(|attempt| executor.pending == Some(attempt.id)).map(|attempt| {
        let mut attempt = attempt.clone();
        attempt.generation = executor.generation;
        attempt
    });
    Some((executor, attempt))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::{Input, Policy, next};
    use crate::executor::Kind;
    use crate::fixture::{at, attempt_id, executor, hold, version};

    fn beginning(n: u128) -> Beginning {
        Beginning {
            id: attempt_id(n),
            release: ReleaseId { kind: Kind::Agent, version: version("1.2.0") },
            from_version: version("1.1.0"),
            clears_hold: true,
            bytes_total: 100,
            ttl: Duration::from_secs(900),
            requested_by: Actor::Console,
            request_id: None,
        }
    }

    #[test]
    fn an_attempt_begins_under_a_new_generation_and_clears_the_hold() {
        let mut idle = executor("1.1.0");
        idle.holds = vec![hold("1.2.0"), hold("1.0.0")];
        let (executor, attempt) = begin(&idle, beginning(1), at(5));
        assert_eq!((executor.generation, attempt.generation), (Generation(1), Generation(1)));
        assert_eq!((executor.pending, executor.open_attempt), (Some(attempt.id), Some(attempt.id)));
        assert_eq!((attempt.request_time, attempt.expire_time), (at(5), at(905)));
        assert_eq!(executor.holds, [hold("1.0.0")]);
    }

    #[test]
    fn the_oldest_holds_go_when_there_are_too_many() {
        let mut executor = executor("1.1.0");
        let last = HOLDS_MAX + 10;
        for n in 1..=last {
            let now = at(n as u64);
            let (begun, attempt) = begin(&executor, beginning(n as u128), now);
            let attempt =
                Attempt { release: ReleaseId { kind: Kind::Agent, version: version(&format!("1.2.{n}")) }, ..attempt };
            let held = Next { attempt, actions: vec![super::Action::SetHold { cause: "because".to_owned() }] };
            executor = apply(&begun, held, None, now).0;
        }
        assert_eq!(executor.holds.len(), HOLDS_MAX);
        assert!(executor.hold_on(&version("1.2.10")).is_none(), "the oldest went");
        assert!(executor.hold_on(&version("1.2.11")).is_some());
        assert!(executor.hold_on(&version(&format!("1.2.{last}"))).is_some(), "the newest is kept");
    }

    #[test]
    fn a_late_end_leaves_the_newer_attempt_on_the_row() {
        let (executor, first) = begin(&executor("1.1.0"), beginning(1), at(0));
        let (executor, second) = begin(&executor, beginning(2), at(1));
        let ended = next(&first, &Input::Cancel, &Policy::default(), at(2));
        let (after, first) = apply(&executor, ended, None, at(2));
        assert!(first.is_ended());
        assert_eq!((after.pending, after.open_attempt), (Some(second.id), Some(second.id)));
        assert_eq!(after.generation, executor.generation);
    }

    #[test]
    fn a_restored_database_goes_on_above_what_the_executor_has_seen() {
        let (executor, attempt) = begin(&executor("1.1.0"), beginning(1), at(0));
        assert_eq!(catch_up(&executor, Some(&attempt), Generation(1)), None);
        let (executor, attempt) = catch_up(&executor, Some(&attempt), Generation(7)).expect("told a newer one");
        assert_eq!(executor.generation, Generation(8));
        assert_eq!(attempt.map(|attempt| attempt.generation), Some(Generation(8)));
    }
}
