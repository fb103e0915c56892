//! Why an upgrade stands where it stands: the diagnosis that a person at three in the morning needs, with what to do next.
//!
//! Gathering facts and judging them are two functions: [`judge`] is pure, so that each finding is a row of a table of tests.

mod finding;

mod road;

use std::cmp::Reverse;

use domain::attempt::Policy;
use domain::{Attempt, Executor, ExecutorName, Timestamp, Version};
use store::Page;

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::presence::Presence;
use crate::app::upgrade::Row;

pub use finding::{Finding, Severity};

/// The diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// One sentence.
    pub summary: String,
    /// In order of gravity.
    pub findings: Vec<Finding>,
    /// What it is about: the open attempt, or else the newest.
    pub attempt: Option<Attempt>,
}

/// What is known of one executor at one moment.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its row.
    pub executor: Executor,
    /// Whether it is there.
    pub presence: Presence,
    /// Its open attempt, or else its newest.
    pub attempt: Option<Attempt>,
    /// What it may move to, and what speaks against each.
    pub targets: Vec<Row>,
    /// How long silences are borne.
    pub policy: Policy,
    /// The control plane's own version.
    pub server_version: Version,
    /// The moment, by the store's clock.
    pub now: Timestamp,
}

impl App {
    /// Explains.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn upgrade_explain(&self, caller: &Caller, name: &ExecutorName) -> Result<Explanation, Error> {
        caller.authorize(Some(&name.organization))?;
        let executor = self.executor_read(name).await?;
        let attempt = match self.open_attempt(&executor).await? {
            Some(open) => Some(open),
            None => {
                let newest = Page { after: None, limit: 1 };
                self.store.attempt_list(executor.uid, newest).await?.pop()
            }
        };
        let now = self.now().await?;
        let catalog = self.catalog(executor.kind).await?;
        Ok(judge(&Facts {
            presence: self.presence(executor.uid, now).await?,
            targets: self.rows(&executor, &catalog, now).await?,
            executor,
            attempt,
            policy: self.settings.policy,
            server_version: self.settings.server_version.clone(),
            now,
        }))
    }
}

/// Judges the facts.
#[must_use]
pub fn judge(facts: &Facts) -> Explanation {
    let mut findings = finding::of_executor(facts);
    findings.extend(road::of_attempt(facts));
    findings.extend(finding::of_targets(facts));
    findings.extend(finding::of_alarms(facts));
    findings.sort_by_key(|finding| Reverse(finding.severity));
    let name = &facts.executor.name;
    let summary = match findings.first() {
        Some(first) if first.severity == Severity::Blocking => {
            format!("{name} cannot go on: {}", first.message)
        }
        Some(first) if facts.attempt.as_ref().is_some_and(|attempt| !attempt.is_ended()) => {
            let road = findings.iter().find(|finding| finding.about_attempt);
            format!("{name} is on its way: {}", road.unwrap_or(first).message)
        }
        Some(_) | None => format!("nothing stands in the way of an upgrade of {name}"),
    };
    Explanation { summary, findings, attempt: facts.attempt.clone() }
}

#[cfg(test)]
mod tests;
