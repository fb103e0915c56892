//! Upgrades: what an executor may move to, asking for it, and what became of it.

pub mod attempt;

pub mod batch;

pub mod request;

use std::time::Duration;

use domain::attempt::request::Replace;
use domain::target::{self, Target};
use domain::{ExecutorName, Kind, Reason, Refusal, RequestId, Version};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::presence::Presence;

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

/// What an executor may move to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// The rows.
    pub rows: Vec<Target>,
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
            rows: target::targets(&executor, &catalog),
            blocked: blocked.or_else(|| offline(name, &presence)),
        })
    }

    /// Every release of a kind; none of an executor that never synced.
    pub(crate) async fn catalog(&self, kind: Option<Kind>) -> Result<Vec<domain::Release>, Error> {
        match kind {
            Some(kind) => Ok(self.store.release_list(kind).await?),
            None => Ok(Vec::new()),
        }
    }
}
