//! What a decision tells: the facts of its feed rows, and what is counted of it.

use domain::attempt::{ErrorCode, Phase, Stage};
use domain::audit::EventKind;
use domain::{Attempt, AttemptName, Executor, ExecutorName, Hold, Reason, warning};

use crate::observe::metrics::{self, Metric};

/// Attempts that a draft ends, by kind and outcome.
#[derive(Debug)]
pub struct Endings(pub(super) Vec<(&'static str, &'static str)>);

/// What an attempt's feed row is about: the attempt, or, when the alarm is raised, what the alarm is about.
pub(super) fn about(kind: EventKind, attempt: &Attempt) -> String {
    if kind == EventKind::ArtifactRefused { attempt.release.resource_name() } else { attempt.name().to_string() }
}

/// The facts of a row that says a hold is cleared: what is forgotten with it.
pub(crate) fn cleared(executor: &ExecutorName, hold: &Hold) -> [(&'static str, String); 2] {
    let held_by = AttemptName { executor: executor.clone(), attempt: hold.attempt };
    [("held_by", held_by.to_string()), ("cause", hold.cause.clone())]
}

/// The facts of an attempt's feed row.
pub(super) fn details(kind: EventKind, attempt: &Attempt, executor: &Executor) -> Vec<(&'static str, String)> {
    let mut details = vec![("target_version", attempt.target_version().to_string())];
    let ended = matches!(kind, EventKind::AttemptEnded | EventKind::AttemptCorrected);
    if kind == EventKind::ArtifactRefused {
        details.push(("attempt", attempt.name().to_string()));
        details.push(("executor", attempt.executor_name.to_string()));
        let platform = warning::artifact_platform(executor).map(ToString::to_string);
        push(&mut details, "platform", platform.as_deref());
    }
    let refused = matches!(kind, EventKind::AttemptRefused | EventKind::ArtifactRefused);
    match (&attempt.ending, &attempt.refused) {
        (Some(ending), _) if ended => {
            details.push(("outcome", ending.outcome.as_str().to_owned()));
            details.push(("outcome_source", ending.source.as_str().to_owned()));
            let reason = ending.reason.map(Reason::as_str);
            let stage = ending.stage.map(Stage::as_str);
            let code = ending.error_code.map(ErrorCode::as_str);
            push(&mut details, "reason", reason);
            push(&mut details, "stage", stage);
            push(&mut details, "error_code", code);
            push(&mut details, "message", Some(ending.message.as_str()));
            if let Some(version) = &ending.rolled_back_to {
                details.push(("rolled_back_to", version.to_string()));
            }
        }
        (_, Some(report)) if refused => {
            let stage = report.stage.map(Stage::as_str);
            let code = report.error_code.map(ErrorCode::as_str);
            push(&mut details, "stage", stage);
            push(&mut details, "error_code", code);
            push(&mut details, "message", Some(report.message.as_str()));
        }
        (_, _) => details.push(("phase", Phase::as_str(attempt.phase).to_owned())),
    }
    details
}

fn push(details: &mut Vec<(&'static str, String)>, name: &'static str, value: Option<&str>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        details.push((name, value.to_owned()));
    }
}

// === impl Endings ===

impl Endings {
    /// Counts them: they are durable.
    pub fn count(&self) {
        for (kind, outcome) in &self.0 {
            metrics::count(Metric::Attempts, &[("kind", kind), ("outcome", outcome)]);
        }
    }
}
