//! What the executor reports: the end in its own words, once.

use crate::attempt::outcome::{Ending, ErrorCode, LOG_TAIL_MAX_BYTES, Outcome, OutcomeSource, Report};
use crate::attempt::state::Attempt;
use crate::audit::EventKind;
use crate::reason::Reason;
use crate::time::Timestamp;

use super::{Action, Step};

// === impl Step ===

impl Step<'_> {
    /// Takes a report. Whatever it changes, it is acknowledged: the executor keeps it until then.
    pub(super) fn reported(&mut self, report: &Report) {
        match &self.attempt.ending {
            None => self.first_word(report),
            Some(ended) if may_correct(ended, self.attempt.corrected, report) => self.correct(report),
            Some(_) => {
                // Too late to be the outcome, and still an alarm.
                if report.outcome == Outcome::Refused {
                    self.mark_refused(report);
                }
            }
        }
        self.actions.push(Action::Acknowledge);
    }

    fn first_word(&mut self, report: &Report) {
        if report.outcome == Outcome::Refused {
            self.mark_refused(report);
            let stays = !self.attempt.has_leave() && self.now < self.attempt.expire_time;
            if stays {
                return;
            }
        }
        let ending = ending(report, &self.attempt, self.now);
        let outcome = ending.outcome;
        self.end(ending);
        self.consequences(outcome, report);
    }

    fn correct(&mut self, report: &Report) {
        if report.outcome == Outcome::Refused {
            self.mark_refused(report);
        }
        let before = self.attempt.ending.take();
        let ended = before.as_ref().map_or(self.now, |ending| ending.time);
        let mut ending = ending(report, &self.attempt, self.now);
        ending.time = ended;
        let outcome = ending.outcome;
        self.attempt.ending = Some(ending);
        self.attempt.corrected = true;
        if before.is_none_or(|before| before.outcome != outcome) {
            self.emit(EventKind::AttemptCorrected);
        }
        self.consequences(outcome, report);
    }

    /// Marks it as refused, once, and raises the alarm when the artifact is to blame.
    fn mark_refused(&mut self, report: &Report) {
        if self.attempt.refused.is_some() {
            return;
        }
        self.attempt.refused = Some(report.clone());
        self.attempt.waiting = None;
        self.emit(EventKind::AttemptRefused);
        if report.error_code.is_some_and(ErrorCode::blames_artifact) {
            self.emit(EventKind::ArtifactRefused);
        }
        self.actions.push(Action::SetHold { cause: cause(report) });
    }

    fn consequences(&mut self, outcome: Outcome, report: &Report) {
        match outcome {
            Outcome::Succeeded => self.actions.extend([Action::ClearHold, Action::RaiseFloor]),
            Outcome::RolledBack => self.actions.push(Action::SetHold { cause: cause(report) }),
            // Held when it was marked.
            Outcome::Refused => {}
            Outcome::Failed | Outcome::Expired | Outcome::Cancelled | Outcome::Superseded => {}
        }
    }
}

/// Whether a report may take the place of an end that is written.
fn may_correct(ended: &Ending, corrected: bool, report: &Report) -> bool {
    let changed_the_binary = matches!(report.outcome, Outcome::Succeeded | Outcome::RolledBack);
    ended.source == OutcomeSource::Inferred && !corrected && (!is_decision(ended) || changed_the_binary)
}

/// Whether somebody decided this end, as opposed to the control plane concluding it from silence or from a hello.
fn is_decision(ended: &Ending) -> bool {
    matches!(
        ended.reason,
        Some(
            Reason::CancelledByRequest
                | Reason::ReplacedByRequest
                | Reason::ReleaseYanked
                | Reason::ExecutorDeactivated
                | Reason::ExecutorDeleted
        )
    )
}

/// The end that a report makes.
pub(crate) fn ending(report: &Report, attempt: &Attempt, now: Timestamp) -> Ending {
    let mut error_code = report.error_code;
    let outcome = match report.outcome {
        // Whatever it says of itself: a success is that the target runs.
        Outcome::Succeeded if report.running_version != *attempt.target_version() => {
            error_code = Some(ErrorCode::WrongVersion);
            Outcome::Failed
        }
        // To cancel is not the executor's to say.
        Outcome::Cancelled => Outcome::Failed,
        said => said,
    };
    let reason = match outcome {
        Outcome::Succeeded => None,
        Outcome::RolledBack => Some(rolled_back_reason(error_code, attempt.rollback_requested)),
        Outcome::Failed if attempt.rollback_requested => Some(Reason::RollbackRequested),
        Outcome::Failed | Outcome::Refused => error_code.and_then(ErrorCode::reason),
        Outcome::Expired => Some(Reason::TtlExpired),
        Outcome::Superseded => Some(Reason::ChangedLocally),
        Outcome::Cancelled => Some(Reason::CancelledByRequest),
    };
    Ending {
        outcome,
        source: OutcomeSource::Reported,
        reason,
        stage: report.stage,
        error_code,
        message: report.message.clone(),
        rolled_back_to: report.rolled_back_to.clone(),
        log_tail: tail(&report.log_tail),
        time: now,
    }
}

/// Why the old version runs again.
pub(super) fn rolled_back_reason(error_code: Option<ErrorCode>, requested: bool) -> Reason {
    match error_code {
        _ if requested => Reason::RollbackRequested,
        Some(ErrorCode::ByHand) => Reason::RolledBackByHand,
        Some(_) | None => Reason::RolledBack,
    }
}

/// The last lines that fit; the newest say most. Reports are cut by their sender, but a sender may be anybody's build.
fn tail(lines: &[String]) -> Vec<String> {
    let mut room = LOG_TAIL_MAX_BYTES;
    let fits = |line: &&String| match room.checked_sub(line.len()) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    let mut kept: Vec<String> = lines.iter().rev().take_while(fits).cloned().collect();
    kept.reverse();
    kept
}

/// What a hold says.
fn cause(report: &Report) -> String {
    let mut cause = report.outcome.as_str().replace('_', " ");
    if let Some(stage) = report.stage {
        cause.push_str(&format!(" in stage {}", stage.as_str()));
    }
    if let Some(code) = report.error_code {
        cause.push_str(&format!(" ({})", code.as_str()));
    }
    if !report.message.is_empty() {
        cause.push_str(&format!(": {}", report.message));
    }
    cause
}
