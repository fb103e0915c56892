//! What the control plane says: welcome, desired, proceed, withdrawn.

use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Stage as ErrorStage};
use domain::sync::Request;
use domain::{AttemptId, Desired, Generation, Want};

use super::end::{Verdict, report};
use super::stage::{Link, Order, Stage, Step, Trial, Work};
use super::{Action, Log, Machine, TELL_AGAIN_AFTER};

// === impl Machine ===

impl Machine {
    pub(super) fn connected(&mut self, heartbeat_interval: Duration, probation: Duration, now: Duration) {
        let heartbeat_due = now.saturating_add(heartbeat_interval);
        self.link = Some(Link {
            heartbeat_interval,
            heartbeat_due,
            probation,
            tell_again: Some(now.saturating_add(TELL_AGAIN_AFTER)),
        });
        // What a new stream says is desired is meant, whatever an older one withdrew.
        self.withdrawn = None;
        for unsent in &mut self.unsent {
            unsent.sent = None;
        }
        if let Stage::Working(Work { step: Step::Ready { asked }, .. }) = &mut self.stage {
            *asked = None;
        }
        // What was said of it last may have fallen with the stream before.
        if let Some(waits) = self.stage.waits_mut().filter(|waits| waits.now.is_some()) {
            waits.said = None;
        }
    }

    pub(super) fn desired(&mut self, desired: Desired, now: Duration, actions: &mut Vec<Action>) {
        if desired.generation >= self.generation {
            let repeated = self.heard.as_ref().is_some_and(|heard| is_same(heard, &desired));
            if !repeated {
                self.withdrawn = None;
            }
            if desired.generation > self.generation {
                self.generation = desired.generation;
                actions.push(Action::NoteGeneration(self.generation));
            }
            self.heard = Some(desired.clone());
            self.converge(desired, now, actions);
        }
        // The acknowledgement; to an older word, that a newer one was seen.
        actions.push(Action::Say(Box::new(Request::Heartbeat { generation: self.generation })));
    }

    /// Makes of what is desired what is to be done. Said twice, it changes nothing.
    fn converge(&mut self, desired: Desired, now: Duration, actions: &mut Vec<Action>) {
        let generation = desired.generation;
        match desired.want {
            Want::Nothing => {
                self.queued = None;
                self.drop_work(actions);
            }
            Want::Upgrade { attempt, spec, .. } if self.finished.contains(&attempt) => {
                self.queued = None;
                self.drop_work(actions);
                self.report_again(attempt, Some(spec.target_version()));
            }
            Want::Upgrade { attempt, .. } if self.stage.attempt() == Some(attempt) => self.renumber(generation),
            Want::Upgrade { attempt, spec, remaining_ttl } => {
                let pick_up_by = now.saturating_add(remaining_ttl);
                if self.withdrawn != Some(attempt) {
                    self.order(Order { attempt, generation, spec: Box::new(spec), pick_up_by }, now, actions);
                }
            }
            Want::RollBack { attempt } => self.go_back(attempt, generation, actions),
        }
    }

    /// The attempt in hand is desired under a new number: leave is asked under that one.
    fn renumber(&mut self, generation: Generation) {
        self.queued = None;
        if let Stage::Working(work) = &mut self.stage
            && work.order.generation != generation
        {
            work.order.generation = generation;
            if let Step::Ready { asked } = &mut work.step {
                *asked = None;
            }
        }
    }

    fn order(&mut self, order: Order, now: Duration, actions: &mut Vec<Action>) {
        match &self.stage {
            Stage::Idle | Stage::Working(_) => {
                self.drop_work(actions);
                self.begin(order, now, actions);
            }
            Stage::Swapping { .. }
            | Stage::Restarting { .. }
            | Stage::Confirming { .. }
            | Stage::RollingBack { .. }
            | Stage::Finishing { .. } => {
                // The same one again keeps the time it had, if that is shorter: a repetition prolongs nothing.
                let known = self.queued.take().filter(|queued| queued.attempt == order.attempt);
                let pick_up_by = known.map_or(order.pick_up_by, |queued| queued.pick_up_by.min(order.pick_up_by));
                self.queued = Some(Order { pick_up_by, ..order });
            }
        }
    }

    pub(super) fn begin(&mut self, order: Order, now: Duration, actions: &mut Vec<Action>) {
        if now >= order.pick_up_by {
            self.expire(&Work::new(order, self.last_job, now), actions);
            return;
        }
        if *order.spec.target_version() == self.running {
            let verdict = Verdict::new(Outcome::Superseded, ErrorStage::Preflight, ErrorCode::Other)
                .saying("the target runs already, and not by this attempt");
            let report = report(&order.trial(&self.running), &self.running, verdict);
            self.finish(report, Log::None, actions);
            return;
        }
        let job = self.next_job();
        let (attempt, generation, spec) = (order.attempt, order.generation, order.spec.clone());
        self.stage = Stage::Working(Work::new(order, job, now));
        actions.push(Action::Preflight { job, attempt, generation, spec });
    }

    /// Lets go of an attempt that has no leave.
    pub(super) fn drop_work(&mut self, actions: &mut Vec<Action>) {
        if let Stage::Working(work) = &self.stage {
            actions.push(Action::Abort { attempt: work.order.attempt });
            self.stage = Stage::Idle;
        }
    }

    /// A person wants what ran before this attempt.
    fn go_back(&mut self, attempt: AttemptId, generation: Generation, actions: &mut Vec<Action>) {
        self.queued = None;
        if self.finished.contains(&attempt) {
            self.drop_work(actions);
            self.report_again(attempt, None);
            return;
        }
        let trial = match &self.stage {
            Stage::Working(work) if work.order.attempt == attempt => work.order.trial(&self.running),
            // Leave was given, and this process knows nothing of it: it was lost before anything was journalled.
            Stage::Idle | Stage::Working(_) => {
                let version = self.running.clone();
                Trial { attempt, generation, from_version: version.clone(), target_version: version }
            }
            Stage::Swapping { .. }
            | Stage::Restarting { .. }
            | Stage::Confirming { .. }
            | Stage::RollingBack { .. }
            | Stage::Finishing { .. } => {
                self.look_back(actions);
                return;
            }
        };
        let known = trial.target_version != trial.from_version;
        self.drop_work(actions);
        let verdict = Verdict::new(Outcome::Failed, ErrorStage::Leave, ErrorCode::ByHand)
            .saying("the version that runs was asked for before the swap was made");
        let mut report = report(&trial, &self.running, verdict);
        if !known {
            report.target_version = None;
        }
        self.finish(report, Log::None, actions);
    }

    pub(super) fn proceed(&mut self, attempt: AttemptId, generation: Generation, actions: &mut Vec<Action>) {
        let Stage::Working(work) = &self.stage else {
            return;
        };
        let asked = matches!(work.step, Step::Ready { .. });
        if !asked || work.order.attempt != attempt || work.order.generation != generation {
            return;
        }
        let trial = work.order.trial(&self.running);
        let job = self.next_job();
        self.stage = Stage::Swapping { trial, job };
        actions.push(Action::Swap { job, attempt, generation });
    }

    pub(super) fn withdraw(&mut self, attempt: AttemptId, actions: &mut Vec<Action>) {
        // A late word about an attempt that is not wanted any more must not unsay one about the attempt that is.
        let wanted = self.heard.as_ref().and_then(|heard| heard.want.attempt());
        if wanted == Some(attempt) {
            self.withdrawn = wanted;
        }
        self.queued.take_if(|order| order.attempt == attempt);
        if matches!(&self.stage, Stage::Working(work) if work.order.attempt == attempt) {
            self.drop_work(actions);
        }
    }
}

/// Whether it is the same word: the time that is left goes by, and says nothing new.
fn is_same(one: &Desired, other: &Desired) -> bool {
    let is_rollback = |want: &Want| matches!(want, Want::RollBack { .. });
    one.generation == other.generation
        && one.want.attempt() == other.want.attempt()
        && is_rollback(&one.want) == is_rollback(&other.want)
}
