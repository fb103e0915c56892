//! What speaks against an upgrade without forbidding it: read from the rows, judged by [`domain::warning`], and kept with the
//! request that was told.
//!
//! ```text
//! the executor's hold, the attempt behind it                      ─┐
//! artifact.refused of this release in this organization's feed     ├─ warnings → the answer
//! which of those who refused run it by now                        ─┘          → attempt.requested, read again by `told`
//! ```
//!
//! What another organization's executors say is not told here: it is theirs.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::attempt::ErrorCode;
use domain::audit::EventKind;
use domain::warning::{self, Code, Extent, Record, Refusal, Refusals, Warning};
use domain::{Attempt, AttemptId, Executor, ExecutorId, OrganizationId, ReleaseId, Timestamp};
use serde::{Deserialize, Serialize};
use store::{EventQuery, EventRow};

use crate::app::App;
use crate::app::error::Error;

/// Most alarms about one release that are read for one answer. More of them say no more than `at least`.
const REFUSALS_MAX: usize = 256;

/// The fact of [`EventKind::AttemptRequested`] that says what was told.
pub(crate) const TOLD: &str = "warnings";

/// What was read for the answers of one call, all in one organization.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Attempts behind holds.
    attempts: HashMap<AttemptId, Attempt>,
    /// What was said against each release.
    refusals: HashMap<ReleaseId, Refusals>,
    /// What was told when an attempt was asked for.
    told: HashMap<AttemptId, Vec<Warning>>,
}

/// How far is looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// At the executor's own past.
    Own,
    /// At what others said, too.
    All,
}

/// A warning in a feed row.
#[derive(Serialize, Deserialize)]
struct Shape {
    code: String,
    message: String,
    time_micros: i64,
    values: BTreeMap<String, String>,
}

// === impl Records ===

impl Records {
    /// With attempts that were read already.
    pub(crate) fn with(attempts: impl IntoIterator<Item = Attempt>) -> Self {
        let attempts = attempts.into_iter().map(|attempt| (attempt.id, attempt)).collect();
        Self { attempts, ..Self::default() }
    }

    /// And with what was told when some were asked for.
    pub(crate) fn and_told(self, told: HashMap<AttemptId, Vec<Warning>>) -> Self {
        Self { told, ..self }
    }

    /// What was told when this attempt was asked for, if that was read.
    pub(crate) fn told(&self, attempt: AttemptId) -> Option<&Vec<Warning>> {
        self.told.get(&attempt)
    }
}

// === impl App ===

impl App {
    /// What whoever asks `executor` to move to `release` is told.
    pub(crate) async fn warnings(
        &self,
        executor: &Executor,
        release: &ReleaseId,
        reach: Reach,
        records: &mut Records,
        now: Timestamp,
    ) -> Result<Vec<Warning>, Error> {
        if let Some(hold) = executor.hold_on(&release.version)
            && !records.attempts.contains_key(&hold.attempt)
            && let Some(attempt) = self.store.attempt_get(hold.attempt).await?
        {
            records.attempts.insert(attempt.id, attempt);
        }
        if reach == Reach::All && !records.refusals.contains_key(release) {
            let refusals = self.refusals(&executor.name.organization, release).await?;
            records.refusals.insert(release.clone(), refusals);
        }
        let nothing = Refusals::default();
        let hold = executor.hold_on(&release.version);
        let record = Record {
            executor,
            release,
            held_by: hold.and_then(|hold| records.attempts.get(&hold.attempt)),
            refusals: match reach {
                Reach::Own => &nothing,
                Reach::All => records.refusals.get(release).unwrap_or(&nothing),
            },
        };
        Ok(warning::warnings(&record, now))
    }

    /// What was told when an attempt was asked for. Nothing, when the row that says so is forgotten.
    pub(crate) async fn told(&self, attempt: &Attempt) -> Result<Vec<Warning>, Error> {
        let mut told = self.told_all(&attempt.executor_name.organization, [attempt]).await?;
        Ok(told.remove(&attempt.id).unwrap_or_default())
    }

    /// The same of many attempts of one organization, each with an entry. One query.
    pub(crate) async fn told_all<'a>(
        &self,
        organization: &OrganizationId,
        attempts: impl IntoIterator<Item = &'a Attempt>,
    ) -> Result<HashMap<AttemptId, Vec<Warning>>, Error> {
        let asked: HashMap<String, AttemptId> =
            attempts.into_iter().map(|attempt| (attempt.name().to_string(), attempt.id)).collect();
        if asked.is_empty() {
            return Ok(HashMap::new());
        }
        let targets: Vec<String> = asked.keys().cloned().collect();
        let rows = self.store.event_list_first(organization, EventKind::AttemptRequested, &targets).await?;
        let mut told: HashMap<AttemptId, Vec<Warning>> = asked.values().map(|id| (*id, Vec::new())).collect();
        told.extend(
            rows.into_iter().filter_map(|row| Some((*asked.get(&row.target)?, decode(row.details.get(TOLD)?)))),
        );
        Ok(told)
    }

    /// The same, with what has been said against the release since.
    pub(crate) async fn told_again(
        &self,
        attempt: &Attempt,
        executor: &Executor,
        records: &mut Records,
        now: Timestamp,
    ) -> Result<Vec<Warning>, Error> {
        let mut warnings = self.warnings(executor, &attempt.release, Reach::All, records, now).await?;
        let told = match records.told(attempt.id) {
            Some(told) => told.clone(),
            None => self.told(attempt).await?,
        };
        for before in told {
            if warnings.iter().all(|warning| warning.code != before.code) {
                warnings.push(before);
            }
        }
        warnings.sort_by_key(|warning| warning.code);
        Ok(warnings)
    }

    /// One walk of an index, and one look at those who refused.
    async fn refusals(&self, organization: &OrganizationId, release: &ReleaseId) -> Result<Refusals, Error> {
        let query = EventQuery {
            organization: Some(organization.clone()),
            target: Some(release.resource_name()),
            kinds: vec![EventKind::ArtifactRefused.as_str().to_owned()],
            newest_first: true,
            limit: REFUSALS_MAX,
            ..EventQuery::default()
        };
        let rows = self.store.event_list(&query).await?;
        let newest: Vec<Refusal> = rows.iter().filter_map(refusal).collect();
        let names: BTreeSet<ExecutorId> = newest.iter().map(|refusal| refusal.executor.executor.clone()).collect();
        let names: Vec<ExecutorId> = names.into_iter().collect();
        let executors = match names.is_empty() {
            true => Vec::new(),
            false => self.store.executor_list_by_name(organization, &names).await?,
        };
        let runs_it = |executor: &Executor| {
            executor.kind == Some(release.kind) && executor.version.as_ref() == Some(&release.version)
        };
        Ok(Refusals {
            newest,
            extent: if rows.len() < REFUSALS_MAX { Extent::Whole } else { Extent::Newest },
            running: executors.into_iter().filter(runs_it).map(|executor| executor.name).collect(),
        })
    }
}

/// An alarm as its feed row tells it; none when the row is of a build that told it otherwise.
fn refusal(row: &EventRow) -> Option<Refusal> {
    let fact = |name: &str| row.details.get(name);
    Some(Refusal {
        executor: fact("executor")?.parse().ok()?,
        platform: fact("platform").and_then(|platform| platform.parse().ok()),
        attempt: fact("attempt").and_then(|attempt| attempt.parse().ok()),
        error_code: fact("error_code").and_then(|code| ErrorCode::parse(code)),
        time: row.time,
    })
}

/// For a feed row.
pub(crate) fn encode(warnings: &[Warning]) -> String {
    let shapes: Vec<Shape> = warnings
        .iter()
        .map(|warning| Shape {
            code: warning.code.as_str().to_owned(),
            message: warning.message.clone(),
            time_micros: warning.time.as_micros(),
            values: warning.values.clone(),
        })
        .collect();
    serde_json::to_string(&shapes).expect("text and numbers become JSON")
}

/// From a feed row. What this build does not know is left out.
fn decode(text: &str) -> Vec<Warning> {
    let shapes: Vec<Shape> = serde_json::from_str(text).unwrap_or_default();
    let warning = |shape: Shape| {
        Some(Warning {
            code: Code::parse(&shape.code)?,
            message: shape.message,
            time: Timestamp::from_micros(shape.time_micros),
            values: shape.values,
        })
    };
    shapes.into_iter().filter_map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_read_back() {
        let warning = |code| Warning {
            code,
            message: "a \"word\"".to_owned(),
            time: Timestamp::from_micros(7),
            values: BTreeMap::from([("executors".to_owned(), "2".to_owned())]),
        };
        let told: Vec<Warning> = Code::ALL.iter().copied().map(warning).collect();
        assert_eq!(decode(&encode(&told)), told);
        let newer = encode(&told).replace("HELD_BEFORE", "NOT_YET_KNOWN");
        assert_eq!(decode(&newer), told[1..], "a code of a newer build is left out");
        assert_eq!(decode("nonsense"), []);
    }
}
