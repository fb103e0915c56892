//! What a decision tells: the facts of its feed rows, and what is counted of it.

use domain::attempt::{ErrorCode, Phase, Stage};
use domain::audit::EventKind;
use domain::{Attempt, Reason};

use crate::observe::metrics::{self, Metric};

/// Attempts that a draft ends, by kind and outcome.
#[derive(Debug)]
pub struct Endings(pub(super) Vec<(&'static str, &'static str)>);

/// The facts of an attempt's feed row.
pub(super) fn details(kind: EventKind, attempt: &Attempt) -> Vec<(&'static str, String)> {
    let mut details = vec![("target_version", attempt.target_version().to_string())];
    let ended = matches!(kind, EventKind::AttemptEnded | EventKind::AttemptCorrected);
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
