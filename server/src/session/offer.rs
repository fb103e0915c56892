//! A replica that has lost its lease, and with it the database, names another one to its executors: their streams stay open and
//! good, but nothing can be pushed on them, and another replica may have the database still. It cannot know whether one does. So
//! the offer is made so that it does no harm when none has ([decision 0009]):
//!
//! ```text
//! held ──renewal fails──> failing ──for the length of a lease──> offering: so many streams a second, each once ──> all told
//!   ^────────────────────────┴────────── a renewal goes well ───────────────────┴──────────────────────────────────────┘
//! ```
//!
//! What must stay true: nothing is offered in a short absence of the database; no stream is told twice in one; an executor that
//! nobody else takes stays where it is (executor-sdk, `driver/link/offer.rs`).
//!
//! [decision 0009]: ../../../docs/decisions/0009-an-offer-may-be-declined.md

use std::sync::Arc;
use std::time::Duration;

use domain::sync::{OFFERED, Response};
use domain::{Epoch, ExecutorUid};
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::app::replica::Lease;
use crate::session::metric;
use crate::session::registry::Registry;
use crate::supervise::BoxError;

/// Streams a second that are told: a thousand in half a minute. An executor tries six times at most, so that replicas which all
/// have lost the database hear six times this for each that offers, at the very most: a fiftieth of the 10,000 that one admits.
pub const A_SECOND: usize = 32;

/// Between two rounds. The streams of one round are told to dial at times that are spread over it.
const ROUND: Duration = Duration::from_secs(1);

/// Which streams are told, and when.
#[derive(Debug)]
struct Offers {
    /// How long renewals have failed before anything is offered.
    patience: Duration,
    /// Streams a round.
    share: usize,
    outage: Option<Outage>,
}

/// One absence of the database.
#[derive(Debug)]
struct Outage {
    /// Who has not been told. Nobody is admitted meanwhile: it only shrinks.
    left: Vec<(ExecutorUid, Epoch)>,
    /// When the next ones are told.
    next: Instant,
}

// === impl Offers ===

impl Offers {
    const fn new(patience: Duration, share: usize) -> Self {
        Self { patience, share, outage: None }
    }

    /// Who is told now; `streams` are those that are open.
    fn next(
        &mut self,
        lease: Lease,
        now: Instant,
        streams: impl FnOnce() -> Vec<(ExecutorUid, Epoch)>,
    ) -> Vec<(ExecutorUid, Epoch)> {
        let Lease::Failing { since } = lease else {
            self.outage = None;
            return Vec::new();
        };
        if now < since + self.patience {
            return Vec::new();
        }
        let outage = self.outage.get_or_insert_with(|| Outage { left: streams(), next: now });
        if now < outage.next {
            return Vec::new();
        }
        outage.next = now + ROUND;
        outage.left.split_off(outage.left.len().saturating_sub(self.share))
    }
}

/// Runs until it is aborted, or nobody renews the lease any more.
///
/// # Errors
/// None.
pub(super) async fn run(app: Arc<App>, registry: Arc<Registry>, a_second: usize) -> Result<(), BoxError> {
    let mut lease = app.lease();
    // By then the lease has ended: its last renewal went well before the first one failed.
    let mut offers = Offers::new(app.settings().replica_lease, a_second);
    loop {
        let now = *lease.borrow_and_update();
        offer(&registry, &offers.next(now, Instant::now(), || registry.list()));
        let changed = match now {
            Lease::Held => lease.changed().await,
            // A round, unless the lease is back before.
            Lease::Failing { .. } => timeout(ROUND, lease.changed()).await.unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return Ok(());
        }
    }
}

fn offer(registry: &Registry, told: &[(ExecutorUid, Epoch)]) {
    for (uid, epoch) in told {
        // Those that have gone meanwhile need none.
        if let Some(outbox) = registry.find_epoch(*uid, *epoch) {
            let after = ROUND.mul_f64(rand::random());
            outbox.say(Response::Reconnect { after, reason: OFFERED.to_owned() });
            metric::offered();
        }
    }
    if !told.is_empty() {
        tracing::warn!(streams = told.len(), "the lease is lost: streams are offered another replica");
    }
}

#[cfg(test)]
mod tests;
