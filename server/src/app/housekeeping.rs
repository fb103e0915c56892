//! What the control plane does for itself: forgetting what is over, counting what is pending.

use std::time::Duration;

use domain::audit::EventKind;
use domain::release::{Artifact, Location};
use domain::{Actor, Event, Kind, Timestamp};

use crate::app::App;
use crate::app::error::Error;
use crate::app::release::upload::artifact_error;
use crate::artifacts::Forgotten;

/// Rows forgotten in one transaction: writers wait for no longer than that.
const SLICE: usize = 1_000;

/// How long an upload that broke off may be gone on with.
const PARTS: Duration = Duration::from_secs(24 * 60 * 60);

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ended attempts.
    pub attempts: usize,
    /// Feed rows.
    pub events: usize,
    /// Ended sessions.
    pub sessions: usize,
    /// Certificates.
    pub certificates: usize,
    /// Tokens and web sessions.
    pub tokens: usize,
    /// Join tokens.
    pub join_tokens: usize,
    /// Deleted executors.
    pub executors: usize,
    /// Uploads that broke off.
    pub uploads: usize,
    /// Stored bytes that no release names.
    pub artifacts: usize,
}

impl App {
    /// How many executors have a pending upgrade.
    ///
    /// # Errors
    /// The store's.
    pub async fn pending_count(&self) -> Result<u64, Error> {
        Ok(self.store.attempt_count_pending().await?)
    }

    /// Forgets what is older than its retention, a slice at a time.
    ///
    /// # Errors
    /// The store's; what is left is forgotten next time.
    pub async fn prune(&self) -> Result<Pruned, Error> {
        let now = self.now().await?;
        let keep = self.settings.retention;
        let certificates = keep.certificates.max(self.settings.late_renewal);
        let older = |age: Duration| now.minus(age);
        let uploads = self.artifacts.forget_parts(older(PARTS)).await.map_err(artifact_error)?;
        let artifacts = self.forget_unused(now).await?;
        let mut pruned = Pruned { uploads, artifacts, ..Pruned::default() };
        loop {
            let slice = Pruned {
                attempts: self.store.attempt_prune(older(keep.attempts), SLICE).await?,
                events: self.store.event_prune(older(keep.events), SLICE).await?,
                sessions: self.store.session_prune(older(keep.sessions), SLICE).await?,
                certificates: self.store.certificate_prune(older(certificates), SLICE).await?,
                tokens: self.store.token_prune(older(keep.tokens), SLICE).await?,
                // What means these two went before them.
                join_tokens: self.store.join_token_prune(older(keep.tokens), SLICE).await?,
                executors: self.store.executor_prune(older(keep.executors), SLICE).await?,
                uploads: 0,
                artifacts: 0,
            };
            pruned.add(&slice);
            if !slice.is_full() {
                return Ok(pruned);
            }
            tokio::task::yield_now().await;
        }
    }

    /// Deletes stored bytes that no release has named for long, and tells each of them; answers with how many.
    async fn forget_unused(&self, now: Timestamp) -> Result<usize, Error> {
        let mut releases = Vec::new();
        for kind in [Kind::Agent, Kind::Operator] {
            releases.extend(self.store.release_list(kind).await?);
        }
        if releases.is_empty() {
            // A store that was put beside another one's folder knows nothing of what is in it.
            return Ok(0);
        }
        let stored = |artifact: &Artifact| match artifact {
            Artifact::Agent { location: Location::Stored, sha256, .. } => Some(*sha256),
            Artifact::Agent { .. } | Artifact::Operator { .. } => None,
        };
        let named = releases.iter().flat_map(|release| release.artifacts.iter().filter_map(stored)).collect();
        let grace = self.settings.retention.artifacts;
        let forgotten = self.artifacts.forget_unused(named, now, grace).await.map_err(artifact_error)?;
        let event = |gone: &Forgotten| Event {
            kind: EventKind::ArtifactDeleted,
            actor: Actor::System("pruning"),
            target: format!("artifacts/{}", gone.sha256),
            organization: None,
            time: now,
            details: vec![("size", gone.size.to_string())],
        };
        let events: Vec<_> = forgotten.iter().map(event).collect();
        if !events.is_empty() {
            self.store.event_append(&events).await?;
        }
        Ok(forgotten.len())
    }
}

// === impl Pruned ===

impl Pruned {
    const fn add(&mut self, slice: &Self) {
        self.attempts += slice.attempts;
        self.events += slice.events;
        self.sessions += slice.sessions;
        self.certificates += slice.certificates;
        self.tokens += slice.tokens;
        self.join_tokens += slice.join_tokens;
        self.executors += slice.executors;
    }

    fn is_full(&self) -> bool {
        let Self { attempts, events, sessions, certificates, tokens, join_tokens, executors, .. } = *self;
        [attempts, events, sessions, certificates, tokens, join_tokens, executors].into_iter().any(|n| n >= SLICE)
    }
}
