//! Attempts, and who asked for them.

use domain::{Actor, Attempt, OrganizationId};

use crate::convert::{field, text};
use crate::v1;

/// Whether the failing version's last lines go along: they are long, and only Get and Watch carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTail {
    /// They do.
    With,
    /// They stay behind.
    Without,
}

/// To the wire. An attempt that was refused and still is pending says for what.
#[must_use]
pub fn attempt(attempt: &Attempt, log_tail: LogTail) -> v1::Attempt {
    let mut wire = v1::Attempt {
        name: attempt.name().to_string(),
        executor: attempt.executor_name.to_string(),
        kind: v1::Kind::from(attempt.release.kind).into(),
        from_version: attempt.from_version.to_string(),
        target_version: attempt.target_version().to_string(),
        phase: v1::Phase::from(attempt.phase).into(),
        bytes_done: attempt.bytes_done,
        bytes_total: attempt.bytes_total,
        request_time: Some(field::to_timestamp(attempt.request_time)),
        deliver_time: attempt.deliver_time.map(field::to_timestamp),
        apply_time: attempt.apply_time.map(field::to_timestamp),
        end_time: attempt.end_time.map(field::to_timestamp),
        expire_time: Some(field::to_timestamp(attempt.expire_time)),
        requested_by: actor(&attempt.requested_by, Some(&attempt.executor_name.organization)),
        refused: attempt.refused.is_some(),
        generation: attempt.generation.0,
        rollback_requested: attempt.rollback_requested,
        waiting: attempt.waits().map(v1::Waiting::from),
        ..v1::Attempt::default()
    };
    let tail = |lines: &[String]| match log_tail {
        LogTail::With => text::log_tail(lines.iter().map(String::as_str)),
        LogTail::Without => Vec::new(),
    };
    if let Some(ending) = &attempt.ending {
        wire.outcome = v1::Outcome::from(ending.outcome).into();
        wire.outcome_source = v1::OutcomeSource::from(ending.source).into();
        wire.reason = ending.reason.map(|reason| reason.as_str().to_owned()).unwrap_or_default();
        wire.stage = ending.stage.map(|stage| stage.as_str().to_owned()).unwrap_or_default();
        wire.error_code = ending.error_code.map(|code| code.as_str().to_owned()).unwrap_or_default();
        wire.message = text::line(&ending.message, text::MESSAGE_MAX_BYTES);
        wire.rolled_back_to = field::text(ending.rolled_back_to.as_ref());
        wire.log_tail = tail(&ending.log_tail);
    } else if let Some(report) = &attempt.refused {
        wire.stage = report.stage.map(|stage| stage.as_str().to_owned()).unwrap_or_default();
        wire.error_code = report.error_code.map(|code| code.as_str().to_owned()).unwrap_or_default();
        wire.message = text::line(&report.message, text::MESSAGE_MAX_BYTES);
        wire.log_tail = tail(&report.log_tail);
    }
    wire
}

/// Who did it, as a resource name: `organizations/acme/tokens/x`, `tokens/x` (of the installation, when no organization is
/// given), `executors/<uid>`, `system/<job>` or `console`.
#[must_use]
pub fn actor(actor: &Actor, organization: Option<&OrganizationId>) -> String {
    match (actor, organization) {
        (Actor::Token(token), Some(organization)) => {
            format!("organizations/{organization}/tokens/{token}")
        }
        (Actor::Token(token), None) => format!("tokens/{token}"),
        (Actor::Executor(uid), _) => format!("executors/{uid}"),
        (Actor::System(job), _) => format!("system/{job}"),
        (Actor::Console, _) => "console".to_owned(),
    }
}
