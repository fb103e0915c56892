//! The event feed and the audit log.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::audit::EventKind;
use domain::{Event, OrganizationId, Timestamp};
use tokio::sync::watch;

use crate::error::Error;

/// A row of the feed. Kinds and actors are text here, since a row may be older or newer than this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// Its number; only grows, and is never given to a row that commits before a lower one is visible.
    pub sequence: u64,
    /// `executor.connected`.
    pub kind: String,
    /// `tokens/x`, `executors/<uid>`, `system/<job>` or `console`.
    pub actor: String,
    /// A resource name.
    pub target: String,
    /// Whose feed; none: the installation's.
    pub organization: Option<OrganizationId>,
    /// When.
    pub time: Timestamp,
    /// Facts by name.
    pub details: BTreeMap<String, String>,
}

/// Which rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Whose feed; none: the installation's own.
    pub organization: Option<OrganizationId>,
    /// Only after (oldest first) or before (newest first) this number.
    pub after: Option<u64>,
    /// Only these kinds; an entry ending in `.*` takes the family. Empty: all.
    pub kinds: Vec<String>,
    /// Only about this resource.
    pub target: Option<String>,
    /// Newest first.
    pub newest_first: bool,
    /// At most this many.
    pub limit: usize,
}

/// Events on disk. Most are written with what they tell about, in its transaction.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Writes events that belong to no other write.
    async fn event_append(&self, events: &[Event]) -> Result<(), Error>;

    /// A page.
    async fn event_list(&self, query: &EventQuery) -> Result<Vec<EventRow>, Error>;

    /// The first row of a kind about each of these resources, in any order; none where there is none. One query for any
    /// number.
    async fn event_list_first(
        &self,
        organization: &OrganizationId,
        kind: EventKind,
        targets: &[String],
    ) -> Result<Vec<EventRow>, Error>;

    /// The newest number, changing after each commit that wrote events.
    fn event_head(&self) -> watch::Receiver<u64>;

    /// Leaves numbers out: what is written from now on stands more than `numbers` above what was written last.
    async fn event_skip(&self, numbers: u32) -> Result<(), Error>;

    /// Forgets rows older than `time`, at most `limit`; answers how many.
    async fn event_prune(&self, older_than: Timestamp, limit: usize) -> Result<usize, Error>;
}
