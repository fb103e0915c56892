//! How attempts end here: into the journal first, then said until it is acknowledged, and again when it is asked again.

use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Report, Stage as ErrorStage};
use domain::sync::AttemptReport;
use domain::{AttemptId, Version};

use super::stage::{Confirming, Remembered, Stage, Trial, Unsent, Work};
use super::{Action, FINISHED_MAX, Failure, Log, Machine, TELL_AGAIN_FOR};

/// Most outcomes remembered after they were acknowledged: each is told again on each stream.
const REMEMBERED_MAX: usize = 4;

/// How an attempt ends, before it is put into a report.
pub(super) struct Verdict {
    outcome: Outcome,
    stage: Option<ErrorStage>,
    code: Option<ErrorCode>,
    message: String,
}

// === impl Verdict ===

impl Verdict {
    pub(super) fn new(outcome: Outcome, stage: ErrorStage, code: ErrorCode) -> Self {
        Self { outcome, stage: Some(stage), code: Some(code), message: String::new() }
    }

    fn succeeded() -> Self {
        Self { outcome: Outcome::Succeeded, stage: None, code: None, message: String::new() }
    }

    pub(super) fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }
}

impl From<Failure> for Verdict {
    fn from(failure: Failure) -> Self {
        // A job ends an attempt only by not being able or not being willing.
        let outcome = if failure.outcome == Outcome::Refused { Outcome::Refused } else { Outcome::Failed };
        Self::new(outcome, failure.stage, failure.code).saying(failure.message)
    }
}

/// What is reported of an attempt by a process of version `running`.
pub(super) fn report(trial: &Trial, running: &Version, verdict: Verdict) -> AttemptReport {
    AttemptReport {
        attempt: trial.attempt,
        target_version: Some(trial.target_version.clone()),
        from_version: Some(trial.from_version.clone()),
        report: Report {
            outcome: verdict.outcome,
            stage: verdict.stage,
            error_code: verdict.code,
            message: verdict.message,
            running_version: running.clone(),
            rolled_back_to: None,
            log_tail: Vec::new(),
        },
    }
}

// === impl Machine ===

impl Machine {
    /// Its time to be picked up is over. What was waited out meanwhile is why.
    pub(super) fn expire(&mut self, work: &Work, actions: &mut Vec<Action>) {
        let message = "its time to be picked up was over before the download could begin";
        let (code, message) = match &work.waits.now {
            None => (ErrorCode::SpecExpired, message.to_owned()),
            Some(waiting) => (waiting.error_code, waiting.end_of(message)),
        };
        let verdict = Verdict::new(Outcome::Expired, ErrorStage::Preflight, code).saying(message);
        let report = report(&work.order.trial(&self.running), &self.running, verdict);
        self.finish(report, Log::None, actions);
    }

    pub(super) fn confirm(&mut self, actions: &mut Vec<Action>) {
        let job = self.next_job();
        if let Stage::Confirming { trial, confirming, .. } = &mut self.stage {
            *confirming = Confirming::Under(job);
            let report = Box::new(report(trial, &self.running, Verdict::succeeded()));
            actions.push(Action::Confirm { job, report });
        }
    }

    pub(super) fn finish(&mut self, report: AttemptReport, log: Log, actions: &mut Vec<Action>) {
        self.stage = Stage::Finishing { attempt: report.attempt };
        actions.push(Action::Finish { report: Box::new(report), log });
    }

    /// The outcome is in the journal: it is sent until it is acknowledged, and the next attempt may begin.
    pub(super) fn finished(&mut self, report: AttemptReport, now: Duration, actions: &mut Vec<Action>) {
        let attempt = report.attempt;
        let still_runs = report.report.running_version == self.running;
        if !self.finished.contains(&attempt) {
            self.finished.push(attempt);
            self.finished.drain(..self.finished.len().saturating_sub(FINISHED_MAX));
            self.unsent.push(Unsent { report, sent: None });
        }
        if self.stage.attempt() == Some(attempt) {
            match std::mem::replace(&mut self.stage, Stage::Idle) {
                Stage::Working(_) => actions.push(Action::Abort { attempt }),
                // This process is over: another version takes its place, and begins what comes next.
                Stage::Restarting { trial, .. }
                | Stage::Swapping { trial, .. }
                | Stage::Confirming { trial, .. }
                | Stage::RollingBack { trial, .. }
                    if !still_runs =>
                {
                    self.stage = Stage::Restarting { trial, watch: None };
                }
                _ => {}
            }
        }
        if self.stage == Stage::Idle
            && let Some(order) = self.queued.take()
        {
            self.begin(order, now, actions);
        }
    }

    /// A control plane that desires what is finished lost the report, or the whole memory of it: it is told again.
    pub(super) fn report_again(&mut self, attempt: AttemptId, target: Option<&Version>) {
        if let Some(unsent) = self.unsent.iter_mut().find(|unsent| unsent.report.attempt == attempt) {
            unsent.sent = None;
            return;
        }
        let known = self.remembered.iter().find(|known| known.report.attempt == attempt);
        let known = known.map(|known| known.report.clone());
        let report = known.unwrap_or_else(|| self.reconstruct(attempt, target));
        self.unsent.push(Unsent { report, sent: None });
    }

    /// The best that can be said of an attempt whose outcome was acknowledged and forgotten: what runs is the evidence.
    fn reconstruct(&self, attempt: AttemptId, target: Option<&Version>) -> AttemptReport {
        let verdict = if target == Some(&self.running) {
            Verdict::succeeded()
        } else {
            Verdict::new(Outcome::Failed, ErrorStage::Preflight, ErrorCode::Other)
        };
        let verdict = verdict.saying("it ended here before; how, was acknowledged and forgotten");
        let trial = Trial {
            attempt,
            generation: self.generation,
            from_version: self.running.clone(),
            target_version: target.unwrap_or(&self.running).clone(),
        };
        AttemptReport { from_version: None, target_version: target.cloned(), ..report(&trial, &self.running, verdict) }
    }

    pub(super) fn acknowledged(&mut self, attempt: AttemptId, now: Duration, actions: &mut Vec<Action>) {
        let of = |unsent: &Unsent| unsent.report.attempt == attempt;
        let Some(at) = self.unsent.iter().position(of) else {
            return;
        };
        let mut report = self.unsent.remove(at).report;
        report.report.log_tail.clear();
        if !self.remembered.iter().any(|known| known.report.attempt == attempt) {
            self.remembered.push(Remembered { report, since: now });
            self.remembered.drain(..self.remembered.len().saturating_sub(REMEMBERED_MAX));
        }
        actions.push(Action::Forget { attempt });
    }

    /// Tells acknowledged outcomes again, unasked.
    pub(super) fn tell_again(&mut self, now: Duration) {
        let recent = |known: &&Remembered| now.saturating_sub(known.since) < TELL_AGAIN_FOR;
        let recent = self.remembered.iter().filter(recent);
        let attempts: Vec<AttemptId> = recent.map(|known| known.report.attempt).collect();
        for attempt in attempts {
            self.report_again(attempt, None);
        }
    }
}
