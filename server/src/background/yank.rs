//! Finishes what a yank may have left when its process went away in the middle: attempts that lead to a yanked release and have
//! no leave are cancelled. Once by each replica whose turn it becomes, since that is when another went away.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::app::replica::Job;
use crate::background::lease;
use crate::background::turn::{Came, Turn};
use crate::observe;
use crate::supervise::BoxError;

/// Sleep after the store was away.
const AWAY: Duration = Duration::from_secs(5);

/// Runs until it is aborted.
///
/// # Errors
/// None: it tries again until the store is there.
pub async fn run(app: Arc<App>) -> Result<(), BoxError> {
    let mut turn = Turn::new(Arc::clone(&app), Job::Yanks);
    loop {
        if turn.wait().await == Came::Now {
            while let Err(error) = app.yank_resume().await {
                tracing::warn!(error = observe::chain(&error), "yanked releases wait for the store");
                tokio::time::sleep(AWAY).await;
            }
        }
        tokio::time::sleep(lease::every(&app)).await;
    }
}
