//! What falls due, and when to look again.

use std::time::Duration;

use domain::sync::Request;

use super::stage::{Confirming, Stage, Step, Waits, Work};
use super::{ASK_AGAIN, Action, Machine, REPORT_AGAIN};

// === impl Machine ===

impl Machine {
    /// When [`super::Input::Tick`] is due next, by CLOCK_BOOTTIME; none: only when something else comes in.
    #[must_use]
    pub fn next_wake(&self) -> Option<Duration> {
        let mut wake = Wake(None);
        match &self.stage {
            Stage::Working(Work { step: Step::Preflight, order, .. }) => wake.at(order.pick_up_by),
            Stage::Working(Work { step: Step::Ready { asked }, .. }) if self.link.is_some() => {
                wake.at(again(*asked, ASK_AGAIN));
            }
            Stage::Confirming { lived, counted: Some(counted), confirming: Confirming::From(from), .. } => {
                if let Some(link) = &self.link {
                    let left = link.probation.saturating_sub(*lived);
                    wake.at(counted.saturating_add(left).max(*from));
                }
            }
            _ => {}
        }
        if let Some(order) = &self.queued {
            wake.at(order.pick_up_by);
        }
        if let Some(link) = &self.link {
            wake.at(link.heartbeat_due);
            if let Some(due) = self.stage.waits().and_then(Waits::due) {
                wake.at(due);
            }
            if let Some(due) = link.tell_again.filter(|_| !self.remembered.is_empty()) {
                wake.at(due);
            }
            for unsent in &self.unsent {
                wake.at(again(unsent.sent, REPORT_AGAIN));
            }
        }
        wake.0
    }

    /// Counts probation: the time that this process has had its stream up.
    pub(super) fn live_on(&mut self, now: Duration) {
        let connected = self.link.is_some();
        if let Stage::Confirming { lived, counted, .. } = &mut self.stage {
            if let Some(since) = counted.take() {
                *lived = lived.saturating_add(now.saturating_sub(since));
            }
            *counted = connected.then_some(now);
        }
    }

    pub(super) fn look_at_the_time(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if let Stage::Working(work @ Work { step: Step::Preflight, order, .. }) = &self.stage
            && now >= order.pick_up_by
        {
            let work = work.clone();
            self.drop_work(actions);
            self.expire(&work, actions);
        }
        // The control plane, whose count began earlier, has ended it already.
        self.queued.take_if(|order| now >= order.pick_up_by);
        let Some(link) = &mut self.link else { return };
        if now >= link.heartbeat_due {
            link.heartbeat_due = now.saturating_add(link.heartbeat_interval);
            actions.push(Action::Say(Box::new(Request::Heartbeat { generation: self.generation })));
        }
        let probation = link.probation;
        if link.tell_again.take_if(|due| now >= *due).is_some() {
            self.tell_again(now);
        }
        for unsent in &mut self.unsent {
            if now >= again(unsent.sent, REPORT_AGAIN) {
                unsent.sent = Some(now);
                actions.push(Action::Say(Box::new(Request::Report(Box::new(unsent.report.clone())))));
            }
        }
        if self.stage.waits().and_then(Waits::due).is_some_and(|due| now >= due) {
            actions.extend(self.stage.progress(now, self.link.as_ref()));
        }
        self.ask_or_confirm(probation, now, actions);
    }

    /// What a stream that is up allows: the question for leave, and the end of probation.
    fn ask_or_confirm(&mut self, probation: Duration, now: Duration, actions: &mut Vec<Action>) {
        if let Stage::Working(Work { step: Step::Ready { asked }, order, .. }) = &mut self.stage
            && now >= again(*asked, ASK_AGAIN)
        {
            *asked = Some(now);
            let (attempt, generation) = (order.attempt, order.generation);
            actions.push(Action::Say(Box::new(Request::ReadyToSwap { attempt, generation })));
        }
        if let Stage::Confirming { lived, confirming: Confirming::From(from), .. } = &self.stage
            && *lived >= probation
            && now >= *from
        {
            self.confirm(actions);
        }
    }
}

/// When what was last done at `last` is due again; never done: at once.
fn again(last: Option<Duration>, after: Duration) -> Duration {
    last.map_or(Duration::ZERO, |last| last.saturating_add(after))
}

/// The earliest of several times.
struct Wake(Option<Duration>);

impl Wake {
    fn at(&mut self, time: Duration) {
        self.0 = Some(self.0.map_or(time, |earliest| earliest.min(time)));
    }
}
