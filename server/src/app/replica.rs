//! This process among the replicas: it leaves in order, so that nobody waits for its lease to run out.

use crate::app::App;
use crate::observe;

impl App {
    /// Ends the lease and all sessions of this process. Best effort: a lease that cannot be ended runs out by itself.
    pub async fn replica_leave(&self) {
        if let Err(error) = self.store.replica_end(self.replica).await {
            tracing::warn!(error = observe::chain(&error), "the replica's lease runs out by itself");
        }
    }
}
