//! How values of the domain are written into columns, alike in every backend: words for enums, JSON for what is only ever
//! read and written whole. The shapes here are a format on disk: fields are added with a default, never renamed.
//!
//! A word that only describes (an error code, a stage, a reason) and that this build does not know becomes "other" or
//! nothing, so that the release before can still list attempts that the release after wrote. A word that decides is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use domain::attempt::{Ending, ErrorCode, Outcome, OutcomeSource, Report, Stage, Waiting, WaitingSince};
use domain::executor::State;
use domain::release::{Location, Status};
use domain::{Actor, Artifact, Event, Hold, Reason, Sha256, Timestamp, Version};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::mapping::{Cause, Defect};

/// Most names of system jobs that are remembered; this build has a handful, and a file that holds more is not ours.
const SYSTEM_NAMES_MAX: usize = 256;

/// A column's text is not what it should be.
#[derive(Debug, thiserror::Error)]
#[error("{what} {value:?} is not known to this build")]
pub(crate) struct Unknown {
    what: &'static str,
    value: String,
}

fn unknown(what: &'static str, value: &str) -> Cause {
    Box::new(Unknown { what, value: value.chars().take(80).collect() })
}

/// A page's or a batch's limit as engines count.
pub(crate) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// A counter as engines keep it. 63 bits are more than any honest counter needs, so a greater one is refused, not cut.
pub(crate) fn integer(noun: &'static str, key: impl ToString, column: &'static str, value: u64) -> Result<i64, Error> {
    let range = |_| Error::Corrupt { noun, key: key.to_string(), source: Box::new(Defect::Range { column, value }) };
    i64::try_from(value).map_err(range)
}

/// Whole values that are written as JSON.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("maps with text keys, lists, text and numbers always have a JSON form")
}

/// An event's facts.
pub(crate) fn details(event: &Event) -> BTreeMap<&str, &str> {
    event.details.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// `tokens/x`, `executors/<uid>`, `system/<job>` or `console`.
pub(crate) fn actor_text(actor: &Actor) -> String {
    match actor {
        Actor::Token(id) => format!("tokens/{id}"),
        Actor::Executor(uid) => format!("executors/{uid}"),
        Actor::System(job) => format!("system/{job}"),
        Actor::Console => "console".to_owned(),
    }
}

/// The actor that [`actor_text`] wrote.
pub(crate) fn actor_parse(text: &str) -> Result<Actor, Cause> {
    match text.split_once('/') {
        None if text == "console" => Ok(Actor::Console),
        Some(("tokens", id)) => Ok(Actor::Token(id.parse()?)),
        Some(("executors", uid)) => Ok(Actor::Executor(uid.parse()?)),
        Some(("system", job)) => Ok(Actor::System(system_name(job)?)),
        _ => Err(unknown("actor", text)),
    }
}

/// The domain knows jobs by names of the program's own, which live for ever; a name read from a disk is kept as long.
fn system_name(job: &str) -> Result<&'static str, Cause> {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(name) = names.get(job) {
        return Ok(name);
    }
    if names.len() >= SYSTEM_NAMES_MAX || job.len() > 80 {
        return Err(unknown("system job", job));
    }
    let name: &'static str = Box::leak(job.to_owned().into_boxed_str());
    names.insert(name);
    Ok(name)
}

/// The word for an executor's state.
pub(crate) const fn state_word(state: State) -> &'static str {
    match state {
        State::Active => "active",
        State::Deactivated => "deactivated",
    }
}

/// The state that [`state_word`] wrote.
pub(crate) fn state_parse(word: &str) -> Option<State> {
    [State::Active, State::Deactivated].into_iter().find(|state| state_word(*state) == word)
}

/// The status of a release, from its name.
pub(crate) fn status_parse(word: &str) -> Option<Status> {
    [Status::Draft, Status::Published, Status::Yanked].into_iter().find(|status| status.as_str() == word)
}

/// A hold on disk.
#[derive(Serialize, Deserialize)]
pub(crate) struct HoldShape {
    version: String,
    attempt: String,
    cause: String,
    since: i64,
}

impl From<&Hold> for HoldShape {
    fn from(hold: &Hold) -> Self {
        Self {
            version: hold.version.to_string(),
            attempt: hold.attempt.to_string(),
            cause: hold.cause.clone(),
            since: hold.since.as_micros(),
        }
    }
}

impl TryFrom<HoldShape> for Hold {
    type Error = Cause;

    fn try_from(shape: HoldShape) -> Result<Self, Cause> {
        Ok(Self {
            version: shape.version.parse()?,
            attempt: shape.attempt.parse()?,
            cause: shape.cause,
            since: Timestamp::from_micros(shape.since),
        })
    }
}

/// What an executor refused an attempt for, on disk.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReportShape {
    outcome: String,
    stage: Option<String>,
    error_code: Option<String>,
    message: String,
    running_version: String,
    rolled_back_to: Option<String>,
    log_tail: Vec<String>,
}

impl From<&Report> for ReportShape {
    fn from(report: &Report) -> Self {
        Self {
            outcome: report.outcome.as_str().to_owned(),
            stage: report.stage.map(|stage| stage.as_str().to_owned()),
            error_code: report.error_code.map(|code| code.as_str().to_owned()),
            message: report.message.clone(),
            running_version: report.running_version.to_string(),
            rolled_back_to: report.rolled_back_to.as_ref().map(ToString::to_string),
            log_tail: report.log_tail.clone(),
        }
    }
}

impl TryFrom<ReportShape> for Report {
    type Error = Cause;

    fn try_from(shape: ReportShape) -> Result<Self, Cause> {
        Ok(Self {
            outcome: Outcome::parse(&shape.outcome).ok_or_else(|| unknown("outcome", &shape.outcome))?,
            stage: shape.stage.as_deref().and_then(Stage::parse),
            error_code: shape.error_code.as_deref().map(error_code),
            message: shape.message,
            running_version: shape.running_version.parse()?,
            rolled_back_to: version(shape.rolled_back_to)?,
            log_tail: shape.log_tail,
        })
    }
}

/// What an executor waits out, on disk.
#[derive(Serialize, Deserialize)]
pub(crate) struct WaitingShape {
    error_code: String,
    message: String,
    since: i64,
}

impl From<&WaitingSince> for WaitingShape {
    fn from(kept: &WaitingSince) -> Self {
        let Waiting { error_code, message } = &kept.waiting;
        Self { error_code: error_code.as_str().to_owned(), message: message.clone(), since: kept.since.as_micros() }
    }
}

impl From<WaitingShape> for WaitingSince {
    fn from(shape: WaitingShape) -> Self {
        let waiting = Waiting { error_code: error_code(&shape.error_code), message: shape.message };
        Self { waiting, since: Timestamp::from_micros(shape.since) }
    }
}

/// An ending on disk, but for outcome and source, which have columns of their own.
#[derive(Serialize, Deserialize)]
pub(crate) struct EndingShape {
    reason: Option<String>,
    stage: Option<String>,
    error_code: Option<String>,
    message: String,
    rolled_back_to: Option<String>,
    log_tail: Vec<String>,
    time: i64,
}

impl From<&Ending> for EndingShape {
    fn from(ending: &Ending) -> Self {
        Self {
            reason: ending.reason.map(|reason| reason.as_str().to_owned()),
            stage: ending.stage.map(|stage| stage.as_str().to_owned()),
            error_code: ending.error_code.map(|code| code.as_str().to_owned()),
            message: ending.message.clone(),
            rolled_back_to: ending.rolled_back_to.as_ref().map(ToString::to_string),
            log_tail: ending.log_tail.clone(),
            time: ending.time.as_micros(),
        }
    }
}

impl EndingShape {
    /// The ending, with what its own columns say.
    pub(crate) fn with(self, outcome: Outcome, source: OutcomeSource) -> Result<Ending, Cause> {
        Ok(Ending {
            outcome,
            source,
            reason: self.reason.as_deref().and_then(Reason::parse),
            stage: self.stage.as_deref().and_then(Stage::parse),
            error_code: self.error_code.as_deref().map(error_code),
            message: self.message,
            rolled_back_to: version(self.rolled_back_to)?,
            log_tail: self.log_tail,
            time: Timestamp::from_micros(self.time),
        })
    }
}

fn error_code(word: &str) -> ErrorCode {
    ErrorCode::parse(word).unwrap_or(ErrorCode::Other)
}

fn version(text: Option<String>) -> Result<Option<Version>, Cause> {
    Ok(text.map(|text| text.parse()).transpose()?)
}

/// An artifact on disk.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum ArtifactShape {
    Agent {
        platform: String,
        file: String,
        size: u64,
        sha256: String,
        /// None: in the control plane's own storage.
        external_url: Option<String>,
        signatures: Vec<String>,
    },
    Operator {
        image: String,
        digest: String,
        signatures: Vec<String>,
    },
}

impl From<&Artifact> for ArtifactShape {
    fn from(artifact: &Artifact) -> Self {
        match artifact {
            Artifact::Agent { platform, file, size, sha256, location, signatures } => Self::Agent {
                platform: platform.to_string(),
                file: file.clone(),
                size: *size,
                sha256: sha256.to_string(),
                external_url: match location {
                    Location::Stored => None,
                    Location::External(url) => Some(url.clone()),
                },
                signatures: signatures.clone(),
            },
            Artifact::Operator { image, digest, signatures } => {
                Self::Operator { image: image.clone(), digest: digest.to_string(), signatures: signatures.clone() }
            }
        }
    }
}

impl TryFrom<ArtifactShape> for Artifact {
    type Error = Cause;

    fn try_from(shape: ArtifactShape) -> Result<Self, Cause> {
        Ok(match shape {
            ArtifactShape::Agent { platform, file, size, sha256, external_url, signatures } => Self::Agent {
                platform: platform.parse()?,
                file,
                size,
                sha256: sha256.parse::<Sha256>()?,
                location: external_url.map_or(Location::Stored, Location::External),
                signatures,
            },
            ArtifactShape::Operator { image, digest, signatures } => {
                Self::Operator { image, digest: digest.parse::<Sha256>()?, signatures }
            }
        })
    }
}
