//! What people and the catalog decide: cancel, replace, roll back, yank, deactivate, delete.

use crate::attempt::outcome::Outcome;
use crate::audit::EventKind;
use crate::reason::Reason;

use super::{Action, Conclusion, Step};

// === impl Step ===

impl Step<'_> {
    pub(super) fn cancel(&mut self) {
        self.tick();
        if let Some(ending) = &self.attempt.ending {
            // Asked twice, or refused by the executor and cleared by a person: it is as the person wants it.
            if !matches!(ending.outcome, Outcome::Cancelled | Outcome::Refused) {
                self.actions.push(Action::Refuse(Reason::AttemptEnded));
            }
        } else if self.attempt.has_leave() {
            self.actions.push(Action::Refuse(Reason::AttemptApplying));
        } else {
            let reason = Reason::CancelledByRequest;
            self.conclude(Conclusion::decided(Outcome::Cancelled, reason, "a person cancelled it"));
        }
    }

    pub(super) fn replace(&mut self) {
        self.tick();
        if self.attempt.is_ended() {
            return;
        }
        if self.attempt.has_leave() {
            self.actions.push(Action::Refuse(Reason::AttemptApplying));
        } else {
            let reason = Reason::ReplacedByRequest;
            self.conclude(Conclusion::decided(Outcome::Superseded, reason, "another request took its place"));
        }
    }

    pub(super) fn roll_back(&mut self) {
        if self.attempt.is_ended() {
            self.actions.push(Action::Refuse(Reason::AttemptEnded));
        } else if !self.attempt.has_leave() {
            // Nothing was changed yet: what it came from runs.
            self.actions.push(Action::Refuse(Reason::AlreadyRunning));
        } else if !self.attempt.rollback_requested {
            self.attempt.rollback_requested = true;
            self.actions.push(Action::DesireAgain);
            self.emit(EventKind::AttemptRollbackRequested);
        }
    }

    pub(super) fn yank(&mut self) {
        let message = "the release was yanked before leave was given";
        self.cancel_before_leave(Reason::ReleaseYanked, message);
    }

    pub(super) fn deactivate(&mut self) {
        self.cancel_before_leave(Reason::ExecutorDeactivated, "the executor was deactivated before leave was given");
    }

    /// Ends it unless leave was given: then it goes on as if nothing had been said.
    fn cancel_before_leave(&mut self, reason: Reason, message: &'static str) {
        self.tick();
        if !self.attempt.is_ended() && !self.attempt.has_leave() {
            self.conclude(Conclusion::decided(Outcome::Cancelled, reason, message));
        }
    }

    /// Ends it in any phase: nobody is left who could report.
    pub(super) fn delete(&mut self) {
        if !self.attempt.is_ended() {
            let reason = Reason::ExecutorDeleted;
            self.conclude(Conclusion::decided(Outcome::Cancelled, reason, "the executor was deleted"));
        }
    }
}
