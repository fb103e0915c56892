//! Finishes what a yank may have left when its process went away in the middle: attempts that lead to a yanked release and have
//! no leave are cancelled. Once, at the start.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::observe;
use crate::supervise::BoxError;

/// Sleep after the store was away.
const AWAY: Duration = Duration::from_secs(5);

/// Runs until it is done.
///
/// # Errors
/// None: it tries again until the store is there.
pub async fn run(app: Arc<App>) -> Result<(), BoxError> {
    while let Err(error) = app.yank_resume().await {
        tracing::warn!(error = observe::chain(&error), "yanked releases wait for the store");
        tokio::time::sleep(AWAY).await;
    }
    Ok(())
}
