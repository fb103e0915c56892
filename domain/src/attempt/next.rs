//! The state machine of an attempt, on the control plane's side: state, input, now → state, actions.
//!
//! ```text
//! requested → delivered → downloading → verifying → ready_to_swap ─leave→ applying → restarting → confirming
//! └─ until expire_time ─┘ └─ a new byte every progress_deadline ─┘        │ leave_deadline      │ confirm_deadline, both from leave
//! ```
//!
//! Who may say what:
//! - **The executor** moves the phase on; a message that is lost is made good by the next one, a repeated or late one
//!   changes nothing. Before it is heard, deadlines are looked at: what comes after the time to be picked up begins
//!   nothing, whether or not the sweep has been by.
//! - **Leave** is given once, in answer to the question under the attempt's own generation, and repeated to whoever asks
//!   again under it. Cancel, replace, expiry, yank and deactivation win before it and lose after it (rule 8).
//! - **A report** ends the attempt. A second one changes nothing. What the control plane concluded by itself (inferred) may
//!   be corrected once, by a report; what a person or a yank decided before leave is corrected only by a report that the
//!   binary changed all the same, which happens when the database was restored to before leave was given.
//! - **A refusal** before leave does not end it: the pending upgrade stays, marked, until its time is over (rule 11), and
//!   then ends as refused in the executor's words, whoever ends it.
//! - **A hello** is evidence of what runs, not of why. It starts the confirming phase, or shows that somebody changed the
//!   version by hand; whether probation was passed only a report can say.
//!
//! The caller hands in the outcomes that a hello carries (as [`Input::Reported`], each to its attempt) before the hello
//! itself, carries out the actions in the transaction that writes the attempt ([`super::effect::apply`]), and answers only
//! after the commit.

mod deadline;

mod hear;

mod person;

mod report;

use std::time::Duration;

use crate::attempt::outcome::{Ending, ErrorCode, Outcome, OutcomeSource, Report, Stage};
use crate::attempt::state::{Attempt, Phase};
use crate::attempt::waiting::Waiting;
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
        /// What it waits out; counts before leave.
        waiting: Option<Waiting>,
    },
    /// The executor asks for leave.
    ReadyToSwap {
        /// Under the number that it saw.
        generation: Generation,
    },
    /// The executor reports the end.
    Reported(Report),
    /// The executor opened a stream. (Not for operators' standby pods: one process speaks for an executor.)
    Hello {
        /// What it runs.
        version: Version,
        /// The attempt that its journal holds open.
        open_attempt: Option<AttemptId>,
        /// Whether its own word about the end will come ([`outcome_waiting`]).
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

/// Whether the executor's own word about the end is to be waited for: then a hello ends nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeWaiting {
    /// It will come.
    Yes,
    /// There is none: what runs is all the evidence.
    No,
}

/// Whether to wait for the executor's own word about `attempt`. `told` is the generation that its hello names, `stored` the
/// executor's row's before catching up; `in_hello` whether the hello carries an outcome of this attempt.
///
/// Besides the outcomes in the hello there are those that were acknowledged before the database was restored: an executor
/// that has seen a newer generation than is stored, or runs the target of an attempt that it has seen and that has no
/// leave, may have finished it long ago. It says so again when the attempt is desired of it again.
#[must_use]
pub fn outcome_waiting(
    attempt: &Attempt,
    running: &Version,
    told: Generation,
    stored: Generation,
    in_hello: OutcomeWaiting,
) -> OutcomeWaiting {
    let has_seen = told >= attempt.generation;
    let may_be_finished = running == attempt.target_version() && !attempt.has_leave() && has_seen;
    if told > stored || may_be_finished { OutcomeWaiting::Yes } else { in_hello }
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
    /// Answer the executor: withdrawn. Only in answer to its own word; a change that it did not ask about reaches it as a
    /// newer `desired`.
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
    let mut step = Step { attempt: attempt.clone(), actions: Vec::new(), policy, now };
    match input {
        Input::Acknowledged { generation } => step.acknowledged(*generation),
        Input::Progress { phase, bytes_done, bytes_total, waiting } => {
            step.progress(*phase, *bytes_done, *bytes_total, waiting.as_ref());
        }
        Input::ReadyToSwap { generation } => step.ready_to_swap(*generation),
        Input::Reported(report) => step.reported(report),
        Input::Hello { version, open_attempt, has_unsent_outcome } => {
            step.hello(version, *open_attempt, *has_unsent_outcome);
        }
        Input::Cancel => step.cancel(),
        Input::Replace => step.replace(),
        Input::RollBack => step.roll_back(),
        Input::Yank => step.yank(),
        Input::Deactivate => step.deactivate(),
        Input::Delete => step.delete(),
        Input::Tick => step.tick(),
    }
    Next { attempt: step.attempt, actions: step.actions }
}

/// When [`Input::Tick`] would next change this attempt: not before, and surely then. None once it ended. The sweep is
/// O(due), by this time.
#[must_use]
pub fn next_deadline(attempt: &Attempt, policy: &Policy) -> Option<Timestamp> {
    deadline::of(attempt, policy).map(|(time, _)| time)
}

/// How long the executor may still take to begin, as `desired` says it. Once it was picked up it may begin again until
/// the deadline that counts then: an executor that restarts in the middle of a download does not come too late.
#[must_use]
pub fn remaining_ttl(attempt: &Attempt, policy: &Policy, now: Timestamp) -> Duration {
    next_deadline(attempt, policy).map_or(Duration::ZERO, |deadline| deadline.since(now))
}

/// One decision in the making.
struct Step<'a> {
    attempt: Attempt,
    actions: Vec<Action>,
    policy: &'a Policy,
    now: Timestamp,
}

/// An end that no report made.
struct Conclusion {
    outcome: Outcome,
    reason: Reason,
    message: &'static str,
    /// In which stage the executor fell silent, when silence is what ended it.
    stage: Option<Stage>,
    /// What the executor last waited out, when a deadline came meanwhile: that is why.
    waited: Option<Waiting>,
}

// === impl Conclusion ===

impl Conclusion {
    const fn decided(outcome: Outcome, reason: Reason, message: &'static str) -> Self {
        Self { outcome, reason, message, stage: None, waited: None }
    }

    const fn silent(stage: Stage, reason: Reason, message: &'static str) -> Self {
        Self { outcome: Outcome::Failed, reason, message, stage: Some(stage), waited: None }
    }
}

// === impl Step ===

impl Step<'_> {
    fn emit(&mut self, kind: EventKind) {
        self.actions.push(Action::Emit(kind));
    }

    /// Ends it by the control plane's own conclusion or decision. A refusal that was heard before stays the truth.
    fn conclude(&mut self, conclusion: Conclusion) {
        let waited = conclusion.waited.as_ref();
        let ending = match &self.attempt.refused {
            Some(report) => report::ending(report, &self.attempt, self.now),
            None => Ending {
                outcome: conclusion.outcome,
                source: OutcomeSource::Inferred,
                reason: Some(conclusion.reason),
                stage: conclusion.stage,
                error_code: waited
                    .map(|waiting| waiting.error_code)
                    .or_else(|| conclusion.stage.map(|_| ErrorCode::NoWord)),
                message: waited
                    .map_or_else(|| conclusion.message.to_owned(), |waiting| waiting.end_of(conclusion.message)),
                rolled_back_to: None,
                log_tail: Vec::new(),
                time: self.now,
            },
        };
        self.end(ending);
    }

    /// Writes the end, clears what is desired, and closes the attempt on the executor's row.
    fn end(&mut self, ending: Ending) {
        if self.attempt.is_pending() {
            self.actions.push(Action::ClearPending);
        }
        self.attempt.waiting = None;
        self.attempt.end_time = Some(ending.time);
        self.attempt.ending = Some(ending);
        self.actions.push(Action::Close);
        self.emit(EventKind::AttemptEnded);
    }
}

#[cfg(test)]
mod tests;
