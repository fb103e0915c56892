//! Ends attempts whose time is over. Wakes at the next deadline, at a commit that may have brought a nearer one, and from
//! time to time, in case a wake-up was lost or the store's clock was moved.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;

use crate::app::App;
use crate::app::replica::Job;
use crate::background::turn::Turn;
use crate::observe;
use crate::supervise::BoxError;

/// Longest sleep.
const HEAL: Duration = Duration::from_secs(30);

/// Shortest sleep: commits that come in crowds are looked at together.
const BREATH: Duration = Duration::from_millis(100);

/// Sleep after the store was away.
const AWAY: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
///
/// # Errors
/// The store's change feed closed.
pub async fn run(app: Arc<App>) -> Result<(), BoxError> {
    let mut turn = Turn::new(Arc::clone(&app), Job::Deadlines);
    let mut changes = app.sync_changes();
    loop {
        turn.wait().await;
        let sleep = match app.deadline_sweep().await {
            Ok(swept) => swept.next.unwrap_or(HEAL).clamp(BREATH, HEAL),
            Err(error) => {
                tracing::warn!(error = observe::chain(&error), "deadlines wait for the store");
                AWAY
            }
        };
        let deadline = tokio::time::sleep(sleep);
        tokio::pin!(deadline);
        tokio::select! {
            () = &mut deadline => {}
            change = changes.recv() => match change {
                Ok(_) | Err(RecvError::Lagged(_)) => tokio::time::sleep(BREATH).await,
                Err(RecvError::Closed) => return Err("the change feed closed".into()),
            },
        }
        // What came meanwhile is looked at by the sweep that follows.
        changes = changes.resubscribe();
    }
}
