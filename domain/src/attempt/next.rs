//! The state machine of an attempt, on the control plane's side: state, input, now → state, actions.

use std::time::Duration;

use crate::attempt::outcome::Report;
use crate::attempt::state::{Attempt, Phase};
use crate::audit::EventKind;
use crate::id::{AttemptId, Generation};
use crate::reason::Reason;
use crate::time::Timestamp;
use crate::version::Version;

/// How long each silence is borne.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// No new byte for this long after pick-up: failed. Default 10 min (rule 5).
    pub progress_deadline: Duration,
    /// Leave was given and nothing was heard of the swap for this long: failed, `LEAVE_EXPIRED`. Default 10 min.
    pub leave_deadline: Duration,
    /// No confirmation and no rollback for this long after leave: failed, `UNCONFIRMED`, inferred. Default 60 min: three
    /// dead-man windows and a reboot fit in it.
    pub confirm_deadline: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            progress_deadline: Duration::from_secs(10 * 60),
            leave_deadline: Duration::from_secs(10 * 60),
            confirm_deadline: Duration::from_secs(60 * 60),
        }
    }
}

/// What is said about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The executor has seen this generation.
    Acknowledged {
        /// Which.
        generation: Generation,
    },
    /// The executor says how far it is. Phases from applying on are the executor's to say only after leave.
    Progress {
        /// Where it is.
        phase: Phase,
        /// Bytes fetched.
        bytes_done: u64,
        /// Bytes in all.
        bytes_total: u64,
    },
    /// The executor asks for leave.
    ReadyToSwap {
        /// Under the number that it saw.
        generation: Generation,
    },
    /// The executor reports the end.
    Reported(Report),
    /// The executor opened a stream.
    Hello {
        /// What it runs.
        version: Version,
        /// The attempt that its journal holds open.
        open_attempt: Option<AttemptId>,
        /// Whether its journal holds an outcome of this attempt that it has yet to report.
        has_unsent_outcome: OutcomeWaiting,
    },
    /// A person cancels.
    Cancel,
    /// A person asks for another target and says replace.
    Replace,
    /// A person asks, after leave, for the version it came from.
    RollBack,
    /// The release was yanked.
    Yank,
    /// The executor was deactivated.
    Deactivate,
    /// The executor was deleted.
    Delete,
    /// Time passed: deadlines are looked at.
    Tick,
}

/// Whether a report is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeWaiting {
    /// The executor's journal holds one.
    Yes,
    /// It holds none.
    No,
}

/// What has to be done, in the transaction that writes the attempt or after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing is desired any more: clear the pending upgrade under a new generation.
    ClearPending,
    /// Something else is desired of the same attempt (the rollback): a new generation.
    DesireAgain,
    /// The attempt is over for the executor's row: it is no longer its open attempt.
    Close,
    /// Hold the target version on this executor.
    SetHold {
        /// Why, for people.
        cause: String,
    },
    /// The target is good after all: forget its hold.
    ClearHold,
    /// Raise the executor's floor to what the confirmed release's manifest says (the caller knows the release).
    RaiseFloor,
    /// Answer the executor: proceed.
    Proceed,
    /// Answer the executor: withdrawn.
    Withdraw(Reason),
    /// Answer the executor: the report is durable.
    Acknowledge,
    /// Refuse the person who asked.
    Refuse(Reason),
    /// Write a row into the feed.
    Emit(EventKind),
}

/// The answer of [`next`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// The attempt as it is now; equal to what it was when nothing changed.
    pub attempt: Attempt,
    /// What to do. Answers and refusals come after the write has committed.
    pub actions: Vec<Action>,
}

/// Decides what an input makes of an attempt.
#[must_use]
pub fn next(attempt: &Attempt, input: &Input, policy: &Policy, now: Timestamp) -> Next {
    let _ = (input, policy, now);
    Next {
        attempt: attempt.clone(),
        actions: Vec::new(),
    }
}

/// When [`Input::Tick`] would next change this attempt; none once it ended. The sweep is O(due), by this time.
#[must_use]
pub fn next_deadline(attempt: &Attempt, policy: &Policy) -> Option<Timestamp> {
    let _ = policy;
    (!attempt.is_ended()).then_some(attempt.expire_time)
}
