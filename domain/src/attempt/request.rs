//! Asking for an upgrade: rules 1 to 5 as one decision. (The caller's role is checked at the door, by [`crate::role`].)
//!
//! ```text
//! executor takes requests at all? → open attempt: same target → the same attempt (unless it was refused: a new one)
//!                                               leave given   → only the version it came from: the rollback
//!                                               other target  → only with replace
//!                                 → runs what was expected? online? → target::direct → begin
//! ```
//!
//! Three things are the caller's:
//! - deadlines first: [`super::next()`] with [`super::Input::Tick`] on the open attempt, so that a pending upgrade whose
//!   time is over does not answer for a new one;
//! - a `request_id` that was used before answers with its attempt, ended or not (AIP-155), before this is asked;
//! - [`Decision::Begin`] with `instead_of` ends that attempt by [`super::Input::Replace`] in the same transaction. When
//!   leave was given in between, the write is stale, and the question is asked again.
//!
//! Whoever asks for what is pending already gets the same attempt even when the executor has gone offline meanwhile:
//! nothing is written, so rule 2 has nothing to protect.

use std::time::Duration;

use crate::attempt::state::Attempt;
use crate::executor::Executor;
use crate::id::{AttemptId, RequestId};
use crate::reason::{Reason, Refusal};
use crate::release::Release;
use crate::target;
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
    check_ttl(request.ttl)?;
    // A pin holds against new upgrades. It must not keep a person from bringing back what ran before.
    let admitted = target::admission(situation.executor);
    if let Err(refusal) = &admitted
        && refusal.reason != Reason::ExecutorPinned
    {
        return Err(refusal.clone());
    }
    let open = situation.open.filter(|attempt| !attempt.is_ended());
    let instead_of = match open {
        None => None,
        Some(attempt) => match beside(request, situation, attempt)? {
            Beside::Answer(decision) => return Ok(decision),
            Beside::InsteadOf => Some(attempt),
        },
    };
    admitted?;
    check_expected(request, situation.executor.version.as_ref())?;
    check_online(situation)?;
    let release = match target::direct(situation.executor, situation.catalog, &request.target_version) {
        Err(refusal) if refusal.reason == Reason::AlreadyRunning => {
            return Err(already_running(refusal, instead_of));
        }
        judged => judged?,
    };
    Ok(Decision::Begin {
        from_version: running(situation.executor)?.clone(),
        instead_of: instead_of.map(|attempt| attempt.id),
        clears_hold: situation.executor.hold_on(&release.id.version).is_some(),
    })
}

/// What an open attempt makes of a request.
enum Beside {
    /// It answers.
    Answer(Decision),
    /// A new attempt may take its place, when the rest of the rules agree.
    InsteadOf,
}

fn beside(request: &Request, situation: Situation<'_>, open: &Attempt) -> Result<Beside, Refusal> {
    let same = request.target_version == *open.target_version();
    if open.has_leave() {
        if same {
            check_expected_of(request, situation, open)?;
            return Ok(Beside::Answer(Decision::Same(open.id)));
        }
        if request.target_version != open.from_version {
            return Err(applying(open));
        }
        if !open.rollback_requested {
            check_online(situation)?;
        }
        return Ok(Beside::Answer(Decision::RollBack(open.id)));
    }
    match (same, open.refused.is_some(), request.replace) {
        (true, false, _) => {
            check_expected_of(request, situation, open)?;
            Ok(Beside::Answer(Decision::Same(open.id)))
        }
        (true, true, _) | (false, _, Replace::Yes) => Ok(Beside::InsteadOf),
        (false, _, Replace::No) => Err(pending(request, open)),
    }
}

fn check_ttl(ttl: Duration) -> Result<(), Refusal> {
    if !ttl.is_zero() && ttl <= MAX_TTL {
        return Ok(());
    }
    let message = format!("ttl {} s is not more than 0 and at most {} s (24 h)", ttl.as_secs_f64(), MAX_TTL.as_secs());
    Err(Refusal::new(Reason::InvalidArgument, message).with("field", "ttl").with("max_ttl_seconds", MAX_TTL.as_secs()))
}

fn check_expected(request: &Request, running: Option<&Version>) -> Result<(), Refusal> {
    match (&request.expected_version, running) {
        (Some(expected), Some(running)) if expected != running => {
            let message = format!(
                "the request expects version {expected}, and the executor runs {running}; look again and decide"
            );
            Err(Refusal::new(Reason::VersionMismatch, message)
                .with("expected_version", expected)
                .with("running_version", running))
        }
        (_, _) => Ok(()),
    }
}

/// A repeated request may find the executor on the new version already: what it expected then is as good as what runs now.
fn check_expected_of(request: &Request, situation: Situation<'_>, open: &Attempt) -> Result<(), Refusal> {
    if request.expected_version.as_ref() == Some(&open.from_version) {
        return Ok(());
    }
    check_expected(request, situation.executor.version.as_ref())
}

fn check_online(situation: Situation<'_>) -> Result<(), Refusal> {
    if situation.online {
        return Ok(());
    }
    let name = &situation.executor.name;
    let message =
        format!("{name} is offline: no open session, and last seen 30 s ago or more; ask again when it is back");
    Err(Refusal::new(Reason::ExecutorOffline, message).with("executor", name))
}

fn running(executor: &Executor) -> Result<&Version, Refusal> {
    let message = "the executor has not synced yet: its version is unknown";
    executor.version.as_ref().ok_or_else(|| Refusal::new(Reason::ExecutorNeverSynced, message))
}

fn applying(open: &Attempt) -> Refusal {
    let message = format!(
        "the executor has leave to apply {} and cannot be stopped any more; the one request it takes now is {}, the version it came from",
        open.target_version(),
        open.from_version
    );
    Refusal::new(Reason::AttemptApplying, message)
        .with("attempt", open.id)
        .with("pending_version", open.target_version())
        .with("from_version", &open.from_version)
}

fn pending(request: &Request, open: &Attempt) -> Refusal {
    let message = format!(
        "an upgrade to {} is pending; cancel it first, or ask for {} with replace",
        open.target_version(),
        request.target_version
    );
    Refusal::new(Reason::UpgradePending, message)
        .with("attempt", open.id)
        .with("pending_version", open.target_version())
}

fn already_running(mut refusal: Refusal, open: Option<&Attempt>) -> Refusal {
    if let Some(open) = open {
        refusal.message =
            format!("{}; to stay there, cancel the pending upgrade to {}", refusal.message, open.target_version());
    }
    refusal
}

#[cfg(test)]
mod tests;
