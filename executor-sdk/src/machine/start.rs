//! The first moment of a process: what its journal and the live binary say of an attempt that was under way.
//!
//! | live | journal | this process | then |
//! | --- | --- | --- | --- |
//! | old | swap intended | | failed: the swap was interrupted before it was made |
//! | old | swap made | | rolled back, by hand |
//! | old | rollback decided | | rolled back, for its cause |
//! | new | | the target | probation |
//! | new | | what ran before | another process takes over: watch over it |
//! | new | | another version | rolled back: wrong version |
//! | new | rollback decided | | the rollback goes on |
//! | other | | | superseded: somebody else was here |

use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Stage as ErrorStage};

use super::end::{Verdict, report};
use super::stage::{Confirming, Remembered, Stage, Trial, Unsent};
use super::{Action, Cause, Facts, Job, Live, Log, Machine, Open, Swap};

impl Machine {
    /// Starts with what the process found. What was desired before is forgotten: it waits for a fresh word.
    #[must_use]
    pub fn start(facts: Facts, now: Duration) -> (Self, Vec<Action>) {
        let unsent = facts.unsent.into_iter().map(|report| Unsent { report, sent: None });
        let remembered = facts.remembered.into_iter().map(|report| Remembered { report, since: now });
        let mut machine = Self {
            running: facts.running,
            generation: facts.generation,
            heard: None,
            stage: Stage::Idle,
            queued: None,
            withdrawn: None,
            unsent: unsent.collect(),
            remembered: remembered.collect(),
            finished: facts.finished,
            link: None,
            last_job: Job(0),
        };
        let mut actions = Vec::new();
        if let Some(open) = facts.open {
            machine.resume(open, now, &mut actions);
        }
        (machine, actions)
    }

    fn resume(&mut self, open: Open, now: Duration, actions: &mut Vec<Action>) {
        let trial = Trial {
            attempt: open.attempt,
            generation: open.generation,
            from_version: open.from_version,
            target_version: open.target_version,
        };
        match (open.live, open.rollback) {
            (Live::Old, Some(cause)) => self.came_back(&trial, cause, actions),
            (Live::Old, None) => match open.swap {
                Swap::Made => {
                    let message = "the version that ran before was brought back by hand";
                    self.came_back(&trial, by_hand(ErrorStage::Rollback, message), actions);
                }
                Swap::Intended => {
                    let verdict = Verdict::new(Outcome::Failed, ErrorStage::Swap, ErrorCode::Io)
                        .saying("the swap was interrupted before it was made; ask again");
                    self.finish(report(&trial, &self.running, verdict), Log::None, actions);
                }
            },
            (Live::New, Some(cause)) => self.roll_back(trial, cause, actions),
            (Live::New, None) if self.running == trial.target_version => {
                let confirming = Confirming::From(now);
                self.stage = Stage::Confirming { trial, lived: Duration::ZERO, counted: None, confirming };
            }
            (Live::New, None) if self.running == trial.from_version => self.watch(trial, actions),
            (Live::New, None) => {
                let message = format!(
                    "{} was asked for, and the new binary says that it is {}",
                    trial.target_version, self.running
                );
                let cause = Cause { stage: ErrorStage::Confirm, code: ErrorCode::WrongVersion, message };
                self.roll_back(trial, cause, actions);
            }
            (Live::Other, _) => {
                let unknown = "what is live is neither what ran before nor the target: it was changed on the host";
                let verdict = Verdict::new(Outcome::Superseded, ErrorStage::Swap, ErrorCode::Other)
                    .saying(open.changed_by.unwrap_or_else(|| unknown.to_owned()));
                self.finish(report(&trial, &self.running, verdict), Log::None, actions);
            }
        }
    }

    pub(super) fn came_back(&mut self, trial: &Trial, cause: Cause, actions: &mut Vec<Action>) {
        let verdict = Verdict::new(Outcome::RolledBack, cause.stage, cause.code).saying(cause.message);
        let mut report = report(trial, &self.running, verdict);
        report.report.rolled_back_to = Some(trial.from_version.clone());
        self.finish(report, Log::Tail, actions);
    }
}

/// The way back, because a person wants it.
pub(super) fn by_hand(stage: ErrorStage, message: &str) -> Cause {
    Cause { stage, code: ErrorCode::ByHand, message: message.to_owned() }
}
