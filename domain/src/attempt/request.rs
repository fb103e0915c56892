//! Asking for an upgrade: rules 1 to 5 as one decision. (The caller's role is checked at the door, by [`crate::role`].)

use std::time::Duration;

use crate::attempt::state::Attempt;
use crate::executor::Executor;
use crate::id::{AttemptId, RequestId};
use crate::reason::{Reason, Refusal};
use crate::release::Release;
use crate::version::Version;

/// Default time to be picked up: 15 min (`PENDING_UPGRADE_TTL_MS`).
pub const DEFAULT_TTL: Duration = Duration::from_secs(15 * 60);

/// Longest time to be picked up: 24 h.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// What a person asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub target_version: Version,
    /// What the person believes the executor runs; a mismatch is refused.
    pub expected_version: Option<Version>,
    /// Time to be picked up.
    pub ttl: Duration,
    /// Whether another pending target may be replaced.
    pub replace: Replace,
    /// The caller's id for this request.
    pub request_id: Option<RequestId>,
}

/// Whether a request may take another's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replace {
    /// It supersedes another target.
    Yes,
    /// Another target is a refusal.
    No,
}

/// What the control plane knows at that moment.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The executor.
    pub executor: &'a Executor,
    /// Its open attempt, when it has one.
    pub open: Option<&'a Attempt>,
    /// Whether it has an open session, or was last seen less than 30 s ago (rule 2).
    pub online: bool,
    /// Every release of its kind, in any order.
    pub catalog: &'a [Release],
}

/// What to do about the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write a new attempt.
    Begin {
        /// From where.
        from_version: Version,
        /// The open attempt that it supersedes or, having been refused, follows.
        instead_of: Option<AttemptId>,
        /// Whether asking clears a hold on the target.
        clears_hold: bool,
    },
    /// The same was asked already: answer with that attempt.
    Same(AttemptId),
    /// Leave was given and the version it came from is asked: roll this attempt back ([`super::Input::RollBack`]).
    RollBack(AttemptId),
}

/// Decides a request.
///
/// # Errors
/// A [`Refusal`] with the reason code and the rule's values.
pub fn request(request: &Request, situation: Situation<'_>) -> Result<Decision, Refusal> {
    let _ = (request, situation);
    Err(Refusal::new(Reason::Unavailable, "not decided yet"))
}
