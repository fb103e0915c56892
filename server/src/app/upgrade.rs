//! Upgrades: what an executor may move to, asking for it, and what became of it.

pub mod attempt;

pub mod batch;

mod pinned;

pub mod request;

pub(crate) mod warning;

use std::time::Duration;

use domain::attempt::request::Replace;
use domain::target::{self, Target};
use domain::warning::Warning;
use domain::{Attempt, Executor, ExecutorName, Kind, Reason, Refusal, Release, RequestId, Timestamp, Version};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::presence::Presence;
use crate::app::upgrade::warning::{Reach, Records};

/// Whether a request is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Write,
    /// The answer is what it would be, and nothing is written.
    ValidateOnly,
}

/// What one request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Of whom.
    pub name: ExecutorName,
    /// Where to.
    pub target_version: Version,
    /// What the caller believes it runs; none: not checked.
    pub expected_version: Option<Version>,
    /// Time to be picked up; none: the default.
    pub ttl: Option<Duration>,
    /// Whether another pending target is superseded.
    pub replace: Replace,
    /// The caller's id for the request.
    pub request_id: Option<RequestId>,
    /// Whether it is carried out.
    pub mode: Mode,
}

/// An attempt, with what whoever asked for it was told beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The attempt.
    pub attempt: Attempt,
    /// What was told.
    pub warnings: Vec<Warning>,
}

/// A release that an executor sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What the catalog says.
    pub target: Target,
    /// What a request for it would be told.
    pub warnings: Vec<Warning>,
}

/// What an executor may move to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The rows.
    pub rows: Vec<Row>,
    /// What keeps it from every upgrade now; none: nothing.
    pub blocked: Option<Refusal>,
}

/// Why an executor that is not there takes no request.
pub(crate) fn offline(name: &ExecutorName, presence: &Presence) -> Option<Refusal> {
    let message =
        format!("{name} is offline: no open session, and last seen 30 s ago or more; ask again when it is back");
    let refusal = Refusal::new(Reason::ExecutorOffline, message).with("executor", name);
    (!presence.online).then_some(refusal)
}

impl App {
    /// Available upgrades and downgrades, with what blocks them.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn upgrade_targets(&self, caller: &Caller, name: &ExecutorName) -> Result<Targets, Error> {
        caller.authorize(Some(&name.organization))?;
        let executor = self.executor_read(name).await?;
        let catalog = self.catalog(executor.kind).await?;
        let now = self.now().await?;
        let presence = self.presence(executor.uid, now).await?;
        let blocked = target::admission(&executor).err();
        Ok(Targets {
            rows: self.rows(&executor, &catalog, now).await?,
            blocked: blocked.or_else(|| offline(name, &presence)),
        })
    }

    /// What an executor sees of a catalog. What others said is read for direct targets only: nobody asks for the rest.
    pub(crate) async fn rows(
        &self,
        executor: &Executor,
        catalog: &[Release],
        now: Timestamp,
    ) -> Result<Vec<Row>, Error> {
        let behind_holds: Vec<_> = executor.holds.iter().map(|hold| hold.attempt).collect();
        let mut records = match behind_holds.is_empty() {
            true => Records::default(),
            false => Records::with(self.store.attempt_list_by_id(&behind_holds).await?),
        };
        let mut rows = Vec::new();
        for target in target::targets(executor, catalog) {
            let reach = if target.blocked.is_none() { Reach::All } else { Reach::Own };
            let warnings = self.warnings(executor, &target.release, reach, &mut records, now).await?;
            rows.push(Row { target, warnings });
        }
        Ok(rows)
    }

    /// Every release of a kind; none of an executor that never synced.
    pub(crate) async fn catalog(&self, kind: Option<Kind>) -> Result<Vec<Release>, Error> {
        match kind {
            Some(kind) => Ok(self.store.release_list(kind).await?),
            None => Ok(Vec::new()),
        }
    }
}
