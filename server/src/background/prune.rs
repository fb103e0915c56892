//! Forgets what is older than its retention, once an hour and soon after the start.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::app::housekeeping::Pruned;
use crate::app::replica::Job;
use crate::background::turn::Turn;
use crate::observe;
use crate::supervise::BoxError;

/// Retention is counted in days: an hour more is no matter.
const EVERY: Duration = Duration::from_secs(60 * 60);

/// The start belongs to the executors that come back.
const AT_FIRST: Duration = Duration::from_secs(60);

/// Runs until it is aborted.
///
/// # Errors
/// None: what could not be forgotten is forgotten next time.
pub async fn run(app: Arc<App>) -> Result<(), BoxError> {
    let mut turn = Turn::new(Arc::clone(&app), Job::Pruning);
    let mut sleep = AT_FIRST;
    loop {
        tokio::time::sleep(sleep).await;
        turn.wait().await;
        sleep = EVERY;
        match app.prune().await {
            Ok(pruned) if pruned == Pruned::default() => {}
            Ok(pruned) => tracing::info!(
                attempts = pruned.attempts,
                events = pruned.events,
                sessions = pruned.sessions,
                certificates = pruned.certificates,
                tokens = pruned.tokens,
                join_tokens = pruned.join_tokens,
                executors = pruned.executors,
                uploads = pruned.uploads,
                artifacts = pruned.artifacts,
                "forgot what is older than its retention"
            ),
            Err(error) => tracing::warn!(error = observe::chain(&error), "could not forget what is over"),
        }
    }
}
