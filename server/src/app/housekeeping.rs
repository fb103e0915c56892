//! What the control plane does for itself: forgetting what is over, counting what is pending.

use std::time::Duration;

use crate::app::App;
use crate::app::error::Error;
use crate::app::release::upload::artifact_error;

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
    /// Uploads that broke off.
    pub uploads: usize,
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
        let mut pruned = Pruned { uploads, ..Pruned::default() };
        loop {
            let slice = Pruned {
                attempts: self.store.attempt_prune(older(keep.attempts), SLICE).await?,
                events: self.store.event_prune(older(keep.events), SLICE).await?,
                sessions: self.store.session_prune(older(keep.sessions), SLICE).await?,
                certificates: self.store.certificate_prune(older(certificates), SLICE).await?,
                uploads: 0,
            };
            pruned.add(&slice);
            if !slice.is_full() {
                return Ok(pruned);
            }
            tokio::task::yield_now().await;
        }
    }
}

// === impl Pruned ===

impl Pruned {
    const fn add(&mut self, slice: &Self) {
        self.attempts += slice.attempts;
        self.events += slice.events;
        self.sessions += slice.sessions;
        self.certificates += slice.certificates;
    }

    const fn is_full(&self) -> bool {
        self.attempts >= SLICE || self.events >= SLICE || self.sessions >= SLICE || self.certificates >= SLICE
    }
}
