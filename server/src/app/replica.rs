//! This process among the replicas: its lease, by which its sessions count, the jobs that one replica does for all, and how it
//! leaves in order, so that nobody waits for its lease to run out.

use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::App;
use crate::app::error::Error;
use crate::observe;

/// How this replica stands with its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lease {
    /// The last renewal went well, or none was tried yet.
    Held,
    /// No renewal went well since.
    Failing {
        /// When the first of them failed.
        since: Instant,
    },
}

/// What one replica does at a time for all of them. Each is safe to do twice: taking turns spares the store, no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Ending attempts whose time is over.
    Deadlines,
    /// Forgetting what is older than its retention.
    Pruning,
    /// Finishing what a yank left when its process went away.
    Yanks,
}

impl Job {
    /// Its name in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadlines => "deadlines",
            Self::Pruning => "pruning",
            Self::Yanks => "yanks",
        }
    }
}

// === impl Lease ===

impl Lease {
    /// After a renewal that failed.
    pub(crate) const fn failed(self, now: Instant) -> Self {
        match self {
            Self::Held => Self::Failing { since: now },
            Self::Failing { since } => Self::Failing { since },
        }
    }
}

// === impl App ===

impl App {
    /// Renews (or takes) this replica's lease, knowing which authorities are trusted.
    ///
    /// # Errors
    /// The store's: sessions go on meanwhile, and are not lost.
    pub async fn replica_renew(&self) -> Result<(), Error> {
        let renewed = self.replica_follow_and_renew().await;
        let now = Instant::now();
        self.lease.send_if_modified(|lease| {
            let before = *lease;
            *lease = if renewed.is_ok() { Lease::Held } else { lease.failed(now) };
            *lease != before
        });
        renewed
    }

    async fn replica_follow_and_renew(&self) -> Result<(), Error> {
        self.authority_follow().await?;
        self.store.replica_renew(self.replica, self.settings.replica_lease).await?;
        Ok(())
    }

    /// How this replica stands with its lease, from now on.
    pub(crate) fn lease(&self) -> watch::Receiver<Lease> {
        self.lease.subscribe()
    }

    /// Claims a job; whether this replica does it now.
    ///
    /// # Errors
    /// The store's.
    pub async fn replica_claim(&self, job: Job) -> Result<bool, Error> {
        Ok(self.store.replica_claim(self.replica, job.as_str()).await?)
    }

    /// Ends the lease and all sessions of this process. Best effort: a lease that cannot be ended runs out by itself.
    pub async fn replica_leave(&self) {
        if let Err(error) = self.store.replica_end(self.replica).await {
            tracing::warn!(error = observe::chain(&error), "the replica's lease runs out by itself");
        }
    }
}
