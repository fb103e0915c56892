//! Renews this replica's lease, by which its executors count as connected, and writes the ends of sessions that could not be
//! written when they ended. A renewal that fails is tried again soon: two may be lost before anybody notices.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::observe;
use crate::supervise::BoxError;

/// Renewals in the life of a lease.
const RENEWALS: u32 = 3;

/// How often a lease is renewed, and how often it is asked whether another's has ended.
#[must_use]
pub fn every(app: &App) -> Duration {
    app.settings().replica_lease / RENEWALS
}

/// Runs until it is aborted.
///
/// # Errors
/// None: without the store there is nothing better to do than to try again.
pub async fn run(app: Arc<App>) -> Result<(), BoxError> {
    let mut renewal = tokio::time::interval(every(&app));
    renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        renewal.tick().await;
        if let Err(error) = app.replica_renew().await {
            tracing::warn!(error = observe::chain(&error), "the replica's lease could not be renewed");
            continue;
        }
        // The lease is what keeps a session without an end connected: the ends go with it.
        if let Err(error) = app.sync_close_rest().await {
            tracing::warn!(error = observe::chain(&error), "the ends of sessions wait for the store");
        }
    }
}
