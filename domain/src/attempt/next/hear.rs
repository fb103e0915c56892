//! What the executor says while an attempt is on its way: acknowledgement, progress, the question for leave, hello.

use crate::attempt::outcome::{Ending, Outcome, OutcomeSource};
use crate::attempt::state::Phase;
use crate::attempt::waiting::{Waiting, WaitingSince};
use crate::audit::EventKind;
use crate::id::{AttemptId, Generation};
use crate::reason::Reason;
use crate::version::Version;

use super::{Action, Conclusion, OutcomeWaiting, Step, report};

/// Whether the word was heard in time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    InTime,
    TooLate,
}

// === impl Step ===

impl Step<'_> {
    pub(super) fn acknowledged(&mut self, generation: Generation) {
        if generation == self.attempt.generation && self.listen() == Heard::InTime {
            self.deliver();
        }
    }

    pub(super) fn progress(&mut self, phase: Phase, bytes_done: u64, bytes_total: u64, waiting: Option<&Waiting>) {
        if self.listen() == Heard::TooLate {
            return;
        }
        if self.attempt.has_leave() {
            self.progress_after_leave(phase, waiting);
            return;
        }
        // A refused attempt is not begun again: not downloaded in a loop (rule 11). Phases that need leave are not the
        // executor's to say without it.
        if self.attempt.refused.is_some() || phase >= Phase::Applying {
            return;
        }
        self.deliver();
        // In an earlier phase, too: an executor that started anew looks at everything again. It moves no deadline.
        self.attempt.waiting = WaitingSince::after(self.attempt.waiting.as_ref(), waiting, self.now);
        if phase < Phase::Downloading {
            return;
        }
        let picked_up = self.attempt.phase < Phase::Downloading;
        // The most that was ever there: an executor that starts over again and again is no progress.
        let new_bytes = bytes_done > self.attempt.bytes_done;
        self.attempt.bytes_done = self.attempt.bytes_done.max(bytes_done);
        if bytes_total > 0 {
            self.attempt.bytes_total = bytes_total;
        }
        if picked_up || new_bytes {
            self.attempt.progress_time = Some(self.now);
        }
        self.enter(phase);
    }

    fn progress_after_leave(&mut self, phase: Phase, waiting: Option<&Waiting>) {
        if phase == Phase::Confirming {
            self.confirming();
        } else if phase >= self.attempt.phase {
            // Whoever watches over the version that comes up. It moves no deadline either.
            self.attempt.waiting = WaitingSince::after(self.attempt.waiting.as_ref(), waiting, self.now);
            self.enter(phase);
        }
    }

    pub(super) fn ready_to_swap(&mut self, generation: Generation) {
        if self.listen() == Heard::TooLate {
            return;
        }
        // An executor that asks under another generation is told what is desired now, and asks again.
        if generation != self.attempt.generation {
            return;
        }
        if self.attempt.refused.is_some() {
            self.actions.push(Action::Withdraw(Reason::AttemptEnded));
            return;
        }
        if self.attempt.has_leave() {
            // Its answer was lost. Leave is for one swap; that it is made once is the executor's journal's affair.
            // Once the way back was asked, whoever has not swapped yet need not.
            if self.attempt.phase < Phase::Confirming && !self.attempt.rollback_requested {
                self.actions.push(Action::Proceed);
            }
            return;
        }
        self.deliver();
        if self.attempt.bytes_total > 0 {
            self.attempt.bytes_done = self.attempt.bytes_total;
        }
        self.attempt.waiting = None;
        self.attempt.progress_time = Some(self.now);
        self.attempt.apply_time = Some(self.now);
        self.attempt.phase = Phase::Applying;
        self.emit(EventKind::AttemptLeaveGiven);
        self.actions.push(Action::Proceed);
    }

    pub(super) fn hello(&mut self, version: &Version, open_attempt: Option<AttemptId>, waiting: OutcomeWaiting) {
        if self.attempt.is_ended() {
            return;
        }
        let ours = open_attempt == Some(self.attempt.id);
        // The executor's own word about the end is on its way, and better than any conclusion from here.
        let may_conclude = waiting == OutcomeWaiting::No;
        if version == self.attempt.target_version() {
            // Without leave but with our attempt in its journal: leave was given and the database, restored, forgot it.
            if self.attempt.has_leave() || ours {
                self.confirming();
            } else if may_conclude {
                self.changed_locally();
            }
        } else if *version == self.attempt.from_version {
            // From confirming on, the target is known to have run: whoever is back without a word has lost its journal.
            // Before, the swap may never have been made: its report or a deadline tells.
            if self.attempt.phase == Phase::Confirming && !ours && may_conclude {
                self.came_back();
            }
        } else if may_conclude && !(self.attempt.has_leave() && ours) {
            // A third version. With our attempt in its journal it is the target that calls itself something else: its
            // probation fails, and the report says so.
            self.changed_locally();
        }
    }

    /// Deadlines first; then whether there is an attempt left to speak about.
    fn listen(&mut self) -> Heard {
        self.tick();
        let Some(ending) = &self.attempt.ending else {
            return Heard::InTime;
        };
        let reason = ending.reason.unwrap_or(Reason::AttemptEnded);
        self.actions.push(Action::Withdraw(reason));
        Heard::TooLate
    }

    /// The executor knows of it, by whatever word.
    fn deliver(&mut self) {
        if self.attempt.deliver_time.is_none() {
            self.attempt.deliver_time = Some(self.now);
            self.emit(EventKind::AttemptDelivered);
        }
        if self.attempt.phase == Phase::Requested {
            self.attempt.phase = Phase::Delivered;
        }
    }

    fn enter(&mut self, phase: Phase) {
        if self.attempt.phase != phase {
            self.attempt.phase = phase;
            self.emit(EventKind::AttemptPhaseChanged);
        }
    }

    /// The target runs: nothing more is desired, unless the way back is.
    fn confirming(&mut self) {
        if self.attempt.phase == Phase::Confirming {
            return;
        }
        self.deliver();
        if self.attempt.is_pending() && !self.attempt.rollback_requested {
            self.actions.push(Action::ClearPending);
        }
        self.attempt.waiting = None;
        self.attempt.apply_time = self.attempt.apply_time.or(Some(self.now));
        self.enter(Phase::Confirming);
    }

    fn changed_locally(&mut self) {
        let message = "the executor came to the version it runs by another way than this attempt";
        self.conclude(Conclusion::decided(Outcome::Superseded, Reason::ChangedLocally, message));
    }

    fn came_back(&mut self) {
        let cause = "the old version is back, and its journal says nothing of the attempt";
        let back = self.attempt.from_version.clone();
        self.end(Ending {
            outcome: Outcome::RolledBack,
            source: OutcomeSource::Inferred,
            reason: Some(report::rolled_back_reason(None, self.attempt.rollback_requested)),
            stage: None,
            error_code: None,
            message: cause.to_owned(),
            rolled_back_to: Some(back),
            log_tail: Vec::new(),
            time: self.now,
        });
        self.actions.push(Action::SetHold { cause: cause.to_owned() });
    }
}
