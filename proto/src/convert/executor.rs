//! Executors as the API shows them: the row, whether it is there, and what is pending.

use domain::{Attempt, AttemptId, AttemptName, Executor, ExecutorName, Spec, Timestamp, Version};

use crate::convert::{Error, field, text, vocabulary};
use crate::v1;

/// Whether an executor is there, as a rule of the control plane has judged it (rule 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// It has an open session, or was last seen less than 30 s ago.
    pub online: bool,
    /// When it was last seen.
    pub last_seen: Option<Timestamp>,
}

/// What goes into the message beside the row.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings<'a> {
    /// Whether it is there.
    pub presence: Presence,
    /// The control plane's own version: what out of support is measured by.
    pub control_plane: &'a Version,
    /// The attempt behind the pending upgrade, and its spec when there still is one.
    pub pending: Option<(&'a Attempt, Option<&'a Spec>)>,
}

/// To the wire.
#[must_use]
pub fn executor(executor: &Executor, around: Surroundings<'_>) -> v1::Executor {
    let attempt_name = |id: AttemptId| AttemptName { executor: executor.name.clone(), attempt: id }.to_string();
    let pinned_reason = executor.pinned.as_deref().map(|why| text::line(why, text::NOTE_MAX_BYTES));
    v1::Executor {
        name: executor.name.to_string(),
        uid: executor.uid.to_string(),
        kind: vocabulary::number(executor.kind.map(v1::Kind::from)),
        version: field::text(executor.version.as_ref()),
        platform: field::text(executor.platform.as_ref()),
        channel: v1::Channel::from(executor.channel).into(),
        labels: executor.labels.clone().into_iter().collect(),
        online: around.presence.online,
        last_seen_time: around.presence.last_seen.map(field::to_timestamp),
        state: v1::executor::State::from(executor.state).into(),
        out_of_support: executor
            .version
            .as_ref()
            .is_some_and(|version| version.is_out_of_support(around.control_plane)),
        pinned: pinned_reason.is_some(),
        pinned_reason: pinned_reason.unwrap_or_default(),
        pending_upgrade: around.pending.map(|(attempt, spec)| pending(attempt, spec)),
        holds: executor
            .holds
            .iter()
            .map(|hold| v1::Hold {
                version: hold.version.to_string(),
                attempt: attempt_name(hold.attempt),
                cause: text::line(&hold.cause, text::MESSAGE_MAX_BYTES),
                since: Some(field::to_timestamp(hold.since)),
            })
            .collect(),
        floor: field::text(executor.floor.as_ref()),
        generation: executor.generation.0,
        create_time: Some(field::to_timestamp(executor.create_time)),
        channel_ceiling: vocabulary::number(executor.channel_ceiling.map(v1::Channel::from)),
        duplicated_since_time: executor.duplicated_since.map(field::to_timestamp),
        open_attempt: executor.open_attempt.map(attempt_name).unwrap_or_default(),
        release_key_ids: executor.release_key_ids.clone(),
        etag: executor.revision.to_string(),
    }
}

fn pending(attempt: &Attempt, spec: Option<&Spec>) -> v1::PendingUpgrade {
    let refused = attempt.refused.as_ref();
    v1::PendingUpgrade {
        attempt: attempt.name().to_string(),
        spec: spec.cloned().map(|spec| match spec {
            Spec::Agent(spec) => v1::pending_upgrade::Spec::Agent(spec.into()),
            Spec::Operator(spec) => v1::pending_upgrade::Spec::Operator(spec.into()),
        }),
        expire_time: Some(field::to_timestamp(attempt.expire_time)),
        refused_error_code: refused
            .map(|report| report.error_code.map_or("OTHER", domain::attempt::ErrorCode::as_str).to_owned())
            .unwrap_or_default(),
    }
}

/// An executor's resource name.
///
/// # Errors
/// [`Error`] when it is not of the form `organizations/{organization}/executors/{executor}`.
pub fn name(field: &'static str, value: &str) -> Result<ExecutorName, Error> {
    field::required(field, value)
}

/// An attempt's resource name.
///
/// # Errors
/// [`Error`] when it is not of the form `organizations/{organization}/executors/{executor}/attempts/{uuid}`.
pub fn attempt_name(field: &'static str, value: &str) -> Result<AttemptName, Error> {
    field::required(field, value)
}
