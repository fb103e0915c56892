//! The release catalog.

use async_trait::async_trait;
use domain::{Event, Release, ReleaseId};

use crate::error::Error;

/// Releases on disk. The catalog is small (hundreds): lists of one kind are not paged here.
#[async_trait]
pub trait ReleaseStore: Send + Sync {
    /// Writes a new draft and its events. [`Error::Exists`] when the id is taken.
    async fn release_insert(&self, release: &Release, events: &[Event]) -> Result<(), Error>;

    /// One release.
    async fn release_get(&self, id: &ReleaseId) -> Result<Option<Release>, Error>;

    /// All releases of one kind, in any order.
    async fn release_list(&self, kind: domain::Kind) -> Result<Vec<Release>, Error>;

    /// Writes a release whose `revision` is the one that was read. [`Error::Stale`] when it was written since.
    async fn release_commit(&self, release: &Release, events: &[Event]) -> Result<(), Error>;
}
