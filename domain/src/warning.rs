//! What a person who asks for an upgrade is told beside the answer: a hold that asking clears, and what other executors
//! said of the artifact (rule 11).
//!
//! A warning refuses nothing. One executor's word must not stop the rest for good, and each checks for itself; so a single
//! request is told and accepted. What holds back a rollout is decided from the same facts ([`Refusals::standing`]).
//!
//! ```text
//! hold on this executor                                    → HELD_BEFORE
//! refusals of this release's artifact for this platform
//!   − the executor's own (its hold says that)
//!   − of executors that run it now (they took it after all)
//!   − older than ALARM_LASTS                               → ARTIFACT_REFUSED, when any is left
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::attempt::{Attempt, ErrorCode};
use crate::executor::{Executor, Kind, Platform};
use crate::hold::Hold;
use crate::id::{AttemptName, ExecutorName, ReleaseId};
use crate::time::Timestamp;

/// How long a refused artifact is spoken of: 7 days, so that whoever is on call next week still hears of it. A published release's
/// bytes never change, so nothing but time, or the refusing executor's own success, takes the word back.
pub const ALARM_LASTS: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The machine's word of a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The version rolled back or was refused on this executor; asking clears the hold.
    HeldBefore,
    /// Other executors refused this release's artifact for this platform.
    ArtifactRefused,
}

/// One thing to know beside the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The machine's word.
    pub code: Code,
    /// The person's sentence.
    pub message: String,
    /// When it last happened.
    pub time: Timestamp,
    /// The facts, by name.
    pub values: BTreeMap<String, String>,
}

/// One executor's word against an artifact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Whose.
    pub executor: ExecutorName,
    /// The platform whose artifact it was; none: an image.
    pub platform: Option<Platform>,
    /// On account of which attempt; none: not known.
    pub attempt: Option<AttemptName>,
    /// What was wrong, where it was said in a word that this build knows.
    pub error_code: Option<ErrorCode>,
    /// When.
    pub time: Timestamp,
}

/// Whether everything was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// It was.
    #[default]
    Whole,
    /// There are older ones.
    Newest,
}

/// What was said against one release's artifacts in one organization.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// What was said, newest first.
    pub newest: Vec<Refusal>,
    /// Whether that is all.
    pub extent: Extent,
    /// Executors that run the release now.
    pub running: BTreeSet<ExecutorName>,
}

/// What is known when one executor is to move to one release.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The executor, before its hold is cleared.
    pub executor: &'a Executor,
    /// Where to.
    pub release: &'a ReleaseId,
    /// The attempt behind the hold on it, while that is kept.
    pub held_by: Option<&'a Attempt>,
    /// What was said against it.
    pub refusals: &'a Refusals,
}

/// The platform whose artifact an executor is sent; operators share one image.
#[must_use]
pub fn artifact_platform(executor: &Executor) -> Option<&Platform> {
    match executor.kind {
        Some(Kind::Operator) => None,
        Some(Kind::Agent) | None => executor.platform.as_ref(),
    }
}

/// What there is to be told, the executor's own past first.
#[must_use]
pub fn warnings(record: &Record<'_>, now: Timestamp) -> Vec<Warning> {
    let held = record.executor.hold_on(&record.release.version).map(|hold| held_before(record, hold));
    held.into_iter().chain(artifact_refused(record, now)).collect()
}

fn held_before(record: &Record<'_>, hold: &Hold) -> Warning {
    let name = &record.executor.name;
    let attempt = AttemptName { executor: name.clone(), attempt: hold.attempt };
    let before = record.held_by.filter(|before| before.id == hold.attempt);
    let ended = before.and_then(|before| before.ending.as_ref());
    let refused = before.and_then(|before| before.refused.as_ref());
    let (outcome, stage, error_code) = match (ended, refused) {
        (Some(ending), _) => (Some(ending.outcome), ending.stage, ending.error_code),
        (None, Some(report)) => (Some(report.outcome), report.stage, report.error_code),
        (None, None) => (None, None, None),
    };
    let values = values([
        ("version", Some(hold.version.to_string())),
        ("attempt", Some(attempt.to_string())),
        ("cause", Some(hold.cause.clone())),
        ("outcome", outcome.map(|outcome| outcome.as_str().to_owned())),
        ("stage", stage.map(|stage| stage.as_str().to_owned())),
        ("error_code", error_code.map(|code| code.as_str().to_owned())),
    ]);
    let message =
        format!("version {} is held on {name}: it {}; asking for it clears the hold", hold.version, told(&hold.cause));
    Warning { code: Code::HeldBefore, message, time: hold.since, values }
}

/// A cause begins with the outcome's name: `rolled back in stage start (CRASH_LOOP): …`, `refused …`.
fn told(cause: &str) -> String {
    if cause.starts_with("refused") { format!("was {cause}") } else { cause.to_owned() }
}

fn artifact_refused(record: &Record<'_>, now: Timestamp) -> Option<Warning> {
    let platform = artifact_platform(record.executor);
    let others = |refusal: &&Refusal| refusal.executor != record.executor.name;
    let standing: Vec<&Refusal> = record.refusals.standing(platform, now).filter(others).collect();
    let last = standing.first()?;
    let executors = standing.iter().map(|refusal| &refusal.executor).collect::<BTreeSet<_>>().len();
    let values = values([
        ("release", Some(record.release.resource_name())),
        ("executors", Some(executors.to_string())),
        ("last_executor", Some(last.executor.to_string())),
        ("last_attempt", last.attempt.as_ref().map(ToString::to_string)),
        ("error_code", last.error_code.map(|code| code.as_str().to_owned())),
        ("platform", platform.map(ToString::to_string)),
    ]);
    let bound = match record.refusals.extent {
        Extent::Whole => "",
        Extent::Newest => "at least ",
    };
    let noun = if executors == 1 { "other executor" } else { "other executors" };
    let mut message = format!("{bound}{executors} {noun} refused the artifact of {}", record.release);
    if let Some(platform) = platform {
        let _ = write!(message, " for {platform}");
    }
    let _ = write!(message, ", last {}", last.executor.executor);
    if let Some(code) = last.error_code {
        let _ = write!(message, " ({})", code.as_str());
    }
    message.push_str("; this one will check it for itself");
    Some(Warning { code: Code::ArtifactRefused, message, time: last.time, values })
}

fn values<const N: usize>(facts: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    facts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

// === impl Refusals ===

impl Refusals {
    /// What still counts against the artifact for `platform`, newest first: within [`ALARM_LASTS`], and not of executors that run it
    /// now.
    pub fn standing<'a>(&'a self, platform: Option<&'a Platform>, now: Timestamp) -> impl Iterator<Item = &'a Refusal> {
        self.newest.iter().filter(move |refusal| {
            refusal.platform.as_ref() == platform
                && now.since(refusal.time) < ALARM_LASTS
                && !self.running.contains(&refusal.executor)
        })
    }
}

// === impl Code ===

impl Code {
    /// Every one.
    pub const ALL: &'static [Self] = &[Self::HeldBefore, Self::ArtifactRefused];

    /// The public name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HeldBefore => "HELD_BEFORE",
            Self::ArtifactRefused => "ARTIFACT_REFUSED",
        }
    }

    /// From its public name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

#[cfg(test)]
mod tests;
