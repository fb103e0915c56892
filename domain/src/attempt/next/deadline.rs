//! Silence: what is concluded from it, and when.

use crate::attempt::outcome::{Outcome, Stage};
use crate::attempt::state::{Attempt, Phase};
use crate::reason::Reason;
use crate::time::Timestamp;

use super::{Conclusion, Policy, Step};

/// What a passed deadline means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nobody picked it up, or it was refused and its time is over.
    NotPickedUp,
    /// No new byte.
    Stalled,
    /// Leave was given, and nothing was heard of the swap.
    NotSwapped,
    /// The swap was made or may have been, and nobody confirmed or rolled back.
    Unconfirmed,
}

/// The one deadline that counts now; none once it ended.
pub(super) fn of(attempt: &Attempt, policy: &Policy) -> Option<(Timestamp, Silence)> {
    if attempt.is_ended() {
        return None;
    }
    if let Some(leave) = attempt.apply_time {
        let confirm = (leave.plus(policy.confirm_deadline), Silence::Unconfirmed);
        let swap = (leave.plus(policy.leave_deadline), Silence::NotSwapped);
        let early = attempt.phase <= Phase::Applying && swap.0 <= confirm.0;
        return Some(if early { swap } else { confirm });
    }
    if attempt.refused.is_some() || attempt.phase < Phase::Downloading {
        return Some((attempt.expire_time, Silence::NotPickedUp));
    }
    let heard = attempt.progress_time.or(attempt.deliver_time).unwrap_or(attempt.request_time);
    Some((heard.plus(policy.progress_deadline), Silence::Stalled))
}

// === impl Step ===

impl Step<'_> {
    /// Ends the attempt when its deadline has come.
    pub(super) fn tick(&mut self) {
        let Some((time, silence)) = of(&self.attempt, self.policy) else {
            return;
        };
        if self.now < time {
            return;
        }
        let conclusion = match silence {
            Silence::NotPickedUp => {
                let message = "the executor did not begin to download in time";
                Conclusion::decided(Outcome::Expired, Reason::TtlExpired, message)
            }
            Silence::Stalled => {
                let message = "no new byte was reported for the progress deadline";
                Conclusion::silent(Stage::Download, Reason::ProgressStalled, message)
            }
            Silence::NotSwapped => {
                let message = "leave was given, and nothing was heard of the swap";
                Conclusion::silent(Stage::Swap, Reason::LeaveExpired, message)
            }
            Silence::Unconfirmed => {
                let stage = if self.attempt.phase == Phase::Confirming { Stage::Confirm } else { Stage::Start };
                let message = "neither a confirmation nor a rollback was heard by the confirm deadline";
                Conclusion::silent(stage, Reason::Unconfirmed, message)
            }
        };
        let waited = self.attempt.waits().map(|kept| kept.waiting.clone());
        self.conclude(Conclusion { waited, ..conclusion });
    }
}
