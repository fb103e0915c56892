//! What the server does without being asked: deadlines, its lease, forgetting, counting. Each is a supervised task that wakes
//! by a timer or a signal, does all that is due, and leaves retrying to its next wake-up.

pub mod expiry;

pub mod lease;

pub mod pending;

pub mod prune;

pub mod turn;

pub mod yank;

use std::sync::Arc;

use crate::app::App;
use crate::app::error::Error;
use crate::supervise::{OnCancel, OnError, Supervisor};

/// Takes the lease, then starts every job. Sessions may be admitted once this answers.
///
/// # Errors
/// The lease cannot be taken: the store is away.
pub async fn start(app: &Arc<App>, supervisor: &Supervisor) -> Result<(), Error> {
    app.replica_renew().await?;
    // An endless job that ends is a server that looks healthy and is not: it stops the house.
    let (abort, stop) = (OnCancel::Abort, OnError::Stop);
    supervisor.spawn("background.lease", abort, stop, lease::run(Arc::clone(app)));
    supervisor.spawn("background.expiry", abort, stop, expiry::run(Arc::clone(app)));
    supervisor.spawn("background.prune", abort, stop, prune::run(Arc::clone(app)));
    supervisor.spawn("background.pending", abort, stop, pending::run(Arc::clone(app)));
    supervisor.spawn("background.yank", abort, stop, yank::run(Arc::clone(app)));
    Ok(())
}
