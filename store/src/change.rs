//! The change feed: what wakes sessions and watchers when an executor's row was committed.

use async_trait::async_trait;
use domain::{ExecutorUid, Generation};
use tokio::sync::broadcast;

use crate::error::Error;

/// Numbers the commits that changed an executor; only grows, store-wide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChangeNumber(pub u64);

/// One executor was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which commit.
    pub number: ChangeNumber,
    /// Whose row, or attempt.
    pub executor: ExecutorUid,
    /// What is desired of it now.
    pub generation: Generation,
}

/// Wake-ups after commits.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// Changes from now on, each sent after its commit is durable. A slow reader sees `Lagged` and heals with [`Self::change_list_since`].
    fn change_subscribe(&self) -> broadcast::Receiver<Change>;

    /// The newest change.
    async fn change_head(&self) -> Result<ChangeNumber, Error>;

    /// Executors changed after `number`, each once with its newest change, oldest first, at most `limit`. The cost grows with changes.
    async fn change_list_since(&self, number: ChangeNumber, limit: usize) -> Result<Vec<Change>, Error>;
}
