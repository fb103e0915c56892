//! Keeps `novacula_pending_upgrades` true: counted after changes, at most once a second.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::observe;
use crate::observe::metrics::{self, Metric};
use crate::supervise::BoxError;

/// A scrape comes every few seconds: counting oftener is for nobody.
const AT_MOST: Duration = Duration::from_secs(1);

/// Counted without a change, in case one was lost.
const HEAL: Duration = Duration::from_secs(30);

/// Runs until it is aborted.
///
/// # Errors
/// The store's change feed closed.
pub async fn run(app: Arc<App>) -> Result<(), BoxError> {
    loop {
        let mut changes = app.sync_changes();
        match app.pending_count().await {
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and 2^52 executors are far")]
            Ok(count) => metrics::set(Metric::PendingUpgrades, count as f64),
            Err(error) => tracing::warn!(error = observe::chain(&error), "pending upgrades were not counted"),
        }
        tokio::time::sleep(AT_MOST).await;
        tokio::select! {
            () = tokio::time::sleep(HEAL) => {}
            change = changes.recv() => match change {
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return Err("the change feed closed".into()),
            },
        }
    }
}
