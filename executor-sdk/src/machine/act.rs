//! How jobs went.

use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Phase, Stage as ErrorStage, Waiting};
use domain::sync::{Progress, Request};

use super::end::{Verdict, report};
use super::stage::{Confirming, Link, Stage, Step, Trial, Waits, Watch, Work};
use super::start::by_hand;
use super::{Action, Applied, CONFIRM_AGAIN, Cause, Done, Failure, Job, Judgement, Log, Machine, PROGRESS_EVERY};

// === impl Machine ===

impl Machine {
    pub(super) fn job_done(&mut self, job: Job, done: Done, now: Duration, actions: &mut Vec<Action>) {
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Working(work) if work.job == job => self.work_done(work, done, now, actions),
            Stage::Swapping { trial, job: own } if own == job => match done {
                Done::Swapped(applied) => self.swapped(trial, applied, actions),
                Done::Failed(failure) => {
                    let report = report(&trial, &self.running, failure.into());
                    self.finish(report, Log::None, actions);
                }
                _ => self.stage = Stage::Swapping { trial, job },
            },
            Stage::RollingBack { trial, job: own, cause } if own == job => match done {
                // This process is what was brought back: it never went.
                Done::RolledBack(Applied::Elsewhere) if self.running == trial.from_version => {
                    self.came_back(&trial, *cause, actions);
                }
                Done::RolledBack(applied) => {
                    self.stage = Stage::Restarting { trial, watch: None };
                    if applied == Applied::Restart {
                        actions.push(Action::Exit);
                    }
                }
                Done::Failed(failure) => self.not_rolled_back(trial, cause.code, failure, now, actions),
                _ => self.stage = Stage::RollingBack { trial, job, cause },
            },
            Stage::Restarting { trial, watch: Some(mut watch) } if watch.job == job => match done {
                Done::Judged(Judgement::Failed(cause)) => self.roll_back(trial, cause, actions),
                Done::Judged(Judgement::Superseded(message)) => {
                    let verdict =
                        Verdict::new(Outcome::Superseded, ErrorStage::Start, ErrorCode::Other).saying(message);
                    let report = report(&trial, &self.running, verdict);
                    self.finish(report, Log::None, actions);
                }
                // The watch itself broke: nothing is known, so it begins anew.
                Done::Failed(_) => self.watch(trial, actions),
                done => {
                    if let Done::Waits(waiting) = done {
                        // Said as soon as it may be: `look_at_the_time`.
                        watch.waits.now = waiting;
                    }
                    self.stage = Stage::Restarting { trial, watch: Some(watch) };
                }
            },
            Stage::Confirming { trial, lived, counted, confirming: Confirming::Under(own) } if own == job => {
                // It is done when the journal says so, which comes as `Finished`; this is that it could not be written.
                let failed = matches!(done, Done::Failed(_));
                let confirming =
                    if failed { Confirming::From(now.saturating_add(CONFIRM_AGAIN)) } else { Confirming::Under(own) };
                self.stage = Stage::Confirming { trial, lived, counted, confirming };
                if failed {
                    self.look_back(actions);
                }
            }
            // The answer of a job that was dropped.
            stage => self.stage = stage,
        }
    }

    fn work_done(&mut self, mut work: Work, done: Done, now: Duration, actions: &mut Vec<Action>) {
        match (work.step, done) {
            (_, Done::Failed(failure)) => {
                let report = report(&work.order.trial(&self.running), &self.running, failure.into());
                self.finish(report, Log::None, actions);
                return;
            }
            (Step::Preflight, Done::Fit { bytes_total }) => {
                if now >= work.order.pick_up_by {
                    self.expire(&work, actions);
                    return;
                }
                work.waits.now = None;
                work.bytes_total = bytes_total;
                work.step = Step::Downloading;
                work.job = self.next_job();
                actions.push(Action::Download { job: work.job, attempt: work.order.attempt });
            }
            (Step::Downloading, Done::Fetched { bytes_done }) => {
                work.bytes_done = bytes_done;
                work.waits.now = None;
                if now < work.waits.said_at.saturating_add(PROGRESS_EVERY) {
                    self.stage = Stage::Working(work);
                    return;
                }
            }
            (Step::Preflight | Step::Downloading, Done::Waits(waiting)) => {
                // Said as soon as it may be: `look_at_the_time`.
                work.waits.now = waiting;
                self.stage = Stage::Working(work);
                return;
            }
            (Step::Downloading, Done::Downloaded) => {
                work.waits.now = None;
                work.bytes_done = work.bytes_total;
                work.step = Step::Verifying;
                work.job = self.next_job();
                actions.push(Action::Verify { job: work.job, attempt: work.order.attempt });
            }
            (Step::Verifying, Done::Verified) => {
                // Asked at once, or as soon as there is a stream: `look_at_the_time`.
                work.step = Step::Ready { asked: None };
            }
            // A step answers only for itself.
            (_, Done::Fit { .. } | Done::Fetched { .. } | Done::Waits(_) | Done::Downloaded | Done::Verified) => {}
            (_, Done::Swapped(_) | Done::RolledBack(_) | Done::Judged(_)) => {}
        }
        if matches!(work.step, Step::Ready { .. }) {
            work.waits.said_at = now;
        } else {
            actions.push(work.progress(now, self.link.as_ref()));
        }
        self.stage = Stage::Working(work);
    }

    fn swapped(&mut self, trial: Trial, applied: Applied, actions: &mut Vec<Action>) {
        actions.push(restarting(&trial, None));
        match applied {
            Applied::Restart => {
                self.stage = Stage::Restarting { trial, watch: None };
                actions.push(Action::Exit);
            }
            Applied::Elsewhere => {
                self.watch(trial, actions);
                self.look_back(actions);
            }
        }
    }

    /// Nothing is worse than before: what ran, runs on.
    fn not_rolled_back(
        &mut self,
        trial: Trial,
        why: ErrorCode,
        failure: Failure,
        now: Duration,
        actions: &mut Vec<Action>,
    ) {
        if self.running == trial.from_version {
            self.watch(trial, actions);
        } else if self.running == trial.target_version && why == ErrorCode::ByHand {
            // Probation goes on from its beginning: the journal holds no decision against it any more. The way back is tried again
            // when it is desired on the next stream.
            let confirming = Confirming::From(now);
            self.stage = Stage::Confirming { trial, lived: Duration::ZERO, counted: None, confirming };
        } else {
            let verdict = Verdict::new(Outcome::Failed, ErrorStage::Rollback, failure.code).saying(failure.message);
            let report = report(&trial, &self.running, verdict);
            self.finish(report, Log::Tail, actions);
        }
    }

    /// Brings back what ran before the attempt in hand, if that is what is desired now.
    pub(super) fn look_back(&mut self, actions: &mut Vec<Action>) {
        let wanted = self.heard.as_ref().is_some_and(
            |heard| matches!(heard.want, domain::Want::RollBack { attempt } if self.stage.attempt() == Some(attempt)),
        );
        if !wanted {
            return;
        }
        match std::mem::replace(&mut self.stage, Stage::Idle) {
            Stage::Restarting { trial, .. } | Stage::Confirming { trial, confirming: Confirming::From(_), .. } => {
                let message = "the version that ran before was asked for";
                self.roll_back(trial, by_hand(ErrorStage::Confirm, message), actions);
            }
            stage => self.stage = stage,
        }
    }

    pub(super) fn roll_back(&mut self, trial: Trial, cause: Cause, actions: &mut Vec<Action>) {
        let (job, attempt, cause) = (self.next_job(), trial.attempt, Box::new(cause));
        self.stage = Stage::RollingBack { trial, job, cause: cause.clone() };
        actions.push(Action::RollBack { job, attempt, cause });
    }

    /// Another version takes over elsewhere, and this process sees to it.
    pub(super) fn watch(&mut self, trial: Trial, actions: &mut Vec<Action>) {
        let (job, attempt) = (self.next_job(), trial.attempt);
        let watch = Watch { job, waits: Waits::default() };
        self.stage = Stage::Restarting { trial, watch: Some(watch) };
        actions.push(Action::Watch { job, attempt });
    }

    pub(super) fn next_job(&mut self) -> Job {
        self.last_job = Job(self.last_job.0.saturating_add(1));
        self.last_job
    }
}

// === impl Stage ===

impl Stage {
    /// Progress of what waits out something, said now.
    pub(super) fn progress(&mut self, now: Duration, link: Option<&Link>) -> Option<Action> {
        match self {
            Self::Working(work) => Some(work.progress(now, link)),
            Self::Restarting { trial, watch: Some(watch) } => Some(restarting(trial, watch.waits.say(now, link))),
            _ => None,
        }
    }
}

// === impl Work ===

impl Work {
    /// Progress, said now.
    pub(super) fn progress(&mut self, now: Duration, link: Option<&Link>) -> Action {
        let waiting = self.waits.say(now, link);
        Action::Say(Box::new(Request::Progress(Progress {
            attempt: self.order.attempt,
            generation: self.order.generation,
            phase: self.phase(),
            bytes_done: self.bytes_done,
            bytes_total: self.bytes_total,
            waiting,
        })))
    }
}

fn restarting(trial: &Trial, waiting: Option<Waiting>) -> Action {
    Action::Say(Box::new(Request::Progress(Progress {
        attempt: trial.attempt,
        generation: trial.generation,
        phase: Phase::Restarting,
        bytes_done: 0,
        bytes_total: 0,
        waiting,
    })))
}
