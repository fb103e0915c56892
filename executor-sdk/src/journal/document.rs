//! The journal's form on disk: JSON that people may read, and that releases before and after this one read too.
//!
//! Texts stand for ids, versions and codes; they are parsed on the way in, and one that does not parse makes the whole file
//! unusable: half a journal is worse than none. What does not decide anything (an error code or stage of a later release)
//! is read leniently instead.

use std::time::Duration;

use domain::attempt::{self, ErrorCode, Report, Stage};
use domain::sync::AttemptReport;
use domain::{AttemptId, Generation, Hold, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::FORMAT;
use super::state::{Confirmed, OpenAttempt, RollbackCause, State, Step, SwapTime};

/// Fields of other releases, kept as they are.
pub(super) type Unknown = Map<String, Value>;

#[derive(Deserialize, Serialize)]
struct Document {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uid: Option<String>,
    #[serde(default)]
    generation: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    open_attempt: Option<OpenDocument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unsent_outcomes: Vec<OutcomeDocument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    finished_attempts: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remembered_outcomes: Vec<OutcomeDocument>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    holds: Vec<HoldDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    confirmed: Option<ConfirmedDocument>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize, Serialize)]
struct OpenDocument {
    attempt: String,
    #[serde(default)]
    generation: u64,
    from_version: String,
    target_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    old_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    new_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    floor: Option<String>,
    step: String,
    #[serde(default)]
    starts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    log_cursor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    swap: Option<SwapDocument>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probation_millis: Option<u64>,
    #[serde(default)]
    windows: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rollback: Option<CauseDocument>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Deserialize, Serialize)]
struct SwapDocument {
    wall_micros: i64,
    boot_id: String,
    since_boot_millis: u64,
}

#[derive(Deserialize, Serialize)]
struct CauseDocument {
    stage: String,
    code: String,
    message: String,
}

#[derive(Deserialize, Serialize)]
struct ConfirmedDocument {
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous_sha256: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct HoldDocument {
    version: String,
    attempt: String,
    cause: String,
    since_micros: i64,
}

#[derive(Deserialize, Serialize)]
struct OutcomeDocument {
    attempt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target_version: Option<String>,
    outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_code: Option<String>,
    #[serde(default)]
    message: String,
    running_version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rolled_back_to: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log_tail: Vec<String>,
}

/// Only the format, so that a later one is named as such whatever the rest looks like.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

pub(super) fn parse(bytes: &[u8]) -> Result<State, String> {
    if bytes.is_empty() {
        return Err("it is empty".to_owned());
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| format!("it is not a journal: {error}"))?;
    if head.format != FORMAT {
        return Err(format!("it has format {}, and this release reads format {FORMAT}", head.format));
    }
    let document: Document = serde_json::from_slice(bytes).map_err(|error| format!("it is not a journal: {error}"))?;
    let open = document.open_attempt.map(open).transpose()?;
    let mut state = State {
        uid: document.uid.as_deref().map(|uid| parsed("uid", uid)).transpose()?,
        generation: Generation(document.generation),
        open,
        unsent: document.unsent_outcomes.into_iter().map(outcome).collect::<Result<_, _>>()?,
        finished: document
            .finished_attempts
            .iter()
            .map(|id| parsed("finished_attempts", id))
            .collect::<Result<_, _>>()?,
        remembered: document.remembered_outcomes.into_iter().map(outcome).collect::<Result<_, _>>()?,
        holds: document.holds.into_iter().map(hold).collect::<Result<_, _>>()?,
        floor: optional("floor", document.floor.as_deref())?,
        confirmed: document.confirmed.map(confirmed).transpose()?,
        unknown: document.unknown,
    };
    state.bound();
    Ok(state)
}

pub(super) fn print(state: &State) -> Vec<u8> {
    let document = Document {
        format: FORMAT,
        uid: state.uid.map(|uid| uid.to_string()),
        generation: state.generation.0,
        open_attempt: state.open.as_ref().map(open_document),
        unsent_outcomes: state.unsent.iter().map(outcome_document).collect(),
        finished_attempts: state.finished.iter().map(AttemptId::to_string).collect(),
        remembered_outcomes: state.remembered.iter().map(outcome_document).collect(),
        holds: state.holds.iter().map(hold_document).collect(),
        floor: state.floor.as_ref().map(ToString::to_string),
        confirmed: state.confirmed.as_ref().map(|confirmed| ConfirmedDocument {
            version: confirmed.version.to_string(),
            sha256: confirmed.sha256.map(|sha256| sha256.to_string()),
            previous_sha256: confirmed.previous_sha256.map(|sha256| sha256.to_string()),
        }),
        unknown: state.unknown.clone(),
    };
    let mut bytes = serde_json::to_vec_pretty(&document).expect("texts, numbers and maps with text keys always print");
    bytes.push(b'\n');
    bytes
}

fn open(document: OpenDocument) -> Result<OpenAttempt, String> {
    let step = &document.step;
    Ok(OpenAttempt {
        attempt: parsed("open_attempt.attempt", &document.attempt)?,
        generation: Generation(document.generation),
        from_version: parsed("open_attempt.from_version", &document.from_version)?,
        target_version: parsed("open_attempt.target_version", &document.target_version)?,
        old_sha256: optional("open_attempt.old_sha256", document.old_sha256.as_deref())?,
        new_sha256: optional("open_attempt.new_sha256", document.new_sha256.as_deref())?,
        floor: optional("open_attempt.floor", document.floor.as_deref())?,
        step: Step::parse(step).ok_or_else(|| format!("open_attempt.step {step:?} is not known to this release"))?,
        starts: document.starts,
        log_cursor: document.log_cursor,
        swap: document.swap.map(|swap| SwapTime {
            wall: Timestamp::from_micros(swap.wall_micros),
            boot_id: swap.boot_id,
            since_boot: Duration::from_millis(swap.since_boot_millis),
        }),
        probation: document.probation_millis.map(Duration::from_millis),
        windows: document.windows,
        rollback: document.rollback.map(|cause| RollbackCause {
            stage: Stage::parse(&cause.stage).unwrap_or(Stage::Rollback),
            code: ErrorCode::parse(&cause.code).unwrap_or(ErrorCode::Other),
            message: cause.message,
        }),
        unknown: document.unknown,
    })
}

fn open_document(open: &OpenAttempt) -> OpenDocument {
    OpenDocument {
        attempt: open.attempt.to_string(),
        generation: open.generation.0,
        from_version: open.from_version.to_string(),
        target_version: open.target_version.to_string(),
        old_sha256: open.old_sha256.map(|sha256| sha256.to_string()),
        new_sha256: open.new_sha256.map(|sha256| sha256.to_string()),
        floor: open.floor.as_ref().map(ToString::to_string),
        step: open.step.as_str().to_owned(),
        starts: open.starts,
        log_cursor: open.log_cursor.clone(),
        swap: open.swap.as_ref().map(|swap| SwapDocument {
            wall_micros: swap.wall.as_micros(),
            boot_id: swap.boot_id.clone(),
            since_boot_millis: millis(swap.since_boot),
        }),
        probation_millis: open.probation.map(millis),
        windows: open.windows,
        rollback: open.rollback.as_ref().map(|cause| CauseDocument {
            stage: cause.stage.as_str().to_owned(),
            code: cause.code.as_str().to_owned(),
            message: cause.message.clone(),
        }),
        unknown: open.unknown.clone(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn outcome(document: OutcomeDocument) -> Result<AttemptReport, String> {
    let how = &document.outcome;
    Ok(AttemptReport {
        attempt: parsed("unsent_outcomes.attempt", &document.attempt)?,
        from_version: optional("unsent_outcomes.from_version", document.from_version.as_deref())?,
        target_version: optional("unsent_outcomes.target_version", document.target_version.as_deref())?,
        report: Report {
            outcome: attempt::Outcome::parse(how)
                .ok_or_else(|| format!("unsent_outcomes.outcome {how:?} is not known to this release"))?,
            stage: document.stage.as_deref().and_then(Stage::parse),
            error_code: document.error_code.map(|code| ErrorCode::parse(&code).unwrap_or(ErrorCode::Other)),
            message: document.message,
            running_version: parsed("unsent_outcomes.running_version", &document.running_version)?,
            rolled_back_to: optional("unsent_outcomes.rolled_back_to", document.rolled_back_to.as_deref())?,
            log_tail: document.log_tail,
        },
    })
}

fn outcome_document(outcome: &AttemptReport) -> OutcomeDocument {
    let report = &outcome.report;
    OutcomeDocument {
        attempt: outcome.attempt.to_string(),
        from_version: outcome.from_version.as_ref().map(ToString::to_string),
        target_version: outcome.target_version.as_ref().map(ToString::to_string),
        outcome: report.outcome.as_str().to_owned(),
        stage: report.stage.map(|stage| stage.as_str().to_owned()),
        error_code: report.error_code.map(|code| code.as_str().to_owned()),
        message: report.message.clone(),
        running_version: report.running_version.to_string(),
        rolled_back_to: report.rolled_back_to.as_ref().map(ToString::to_string),
        log_tail: report.log_tail.clone(),
    }
}

fn hold(document: HoldDocument) -> Result<Hold, String> {
    Ok(Hold {
        version: parsed("holds.version", &document.version)?,
        attempt: parsed("holds.attempt", &document.attempt)?,
        cause: document.cause,
        since: Timestamp::from_micros(document.since_micros),
    })
}

fn hold_document(hold: &Hold) -> HoldDocument {
    HoldDocument {
        version: hold.version.to_string(),
        attempt: hold.attempt.to_string(),
        cause: hold.cause.clone(),
        since_micros: hold.since.as_micros(),
    }
}

fn confirmed(document: ConfirmedDocument) -> Result<Confirmed, String> {
    Ok(Confirmed {
        version: parsed("confirmed.version", &document.version)?,
        sha256: optional("confirmed.sha256", document.sha256.as_deref())?,
        previous_sha256: optional("confirmed.previous_sha256", document.previous_sha256.as_deref())?,
    })
}

fn optional<T>(field: &str, text: Option<&str>) -> Result<Option<T>, String>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.map(|text| parsed(field, text)).transpose()
}

fn parsed<T>(field: &str, text: &str) -> Result<T, String>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| format!("{field}: {error}"))
}
