//! Whose turn a job is: one replica does it, and another takes over when that one's lease has ended.

use std::sync::Arc;

use crate::app::App;
use crate::app::replica::Job;
use crate::background::lease;
use crate::observe;

/// A replica's part in a job.
#[derive(Debug)]
pub struct Turn {
    app: Arc<App>,
    job: Job,
    mine: bool,
}

/// How a replica came to do a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It did not do it when it last asked.
    Now,
    /// It did it before.
    Before,
}

impl Turn {
    /// Nobody's yet, as far as this replica knows.
    #[must_use]
    pub const fn new(app: Arc<App>, job: Job) -> Self {
        Self { app, job, mine: false }
    }

    /// Waits until this replica does the job.
    pub async fn wait(&mut self) -> Came {
        loop {
            match self.app.replica_claim(self.job).await {
                Ok(true) if self.mine => return Came::Before,
                Ok(true) => {
                    self.mine = true;
                    tracing::info!(job = self.job.as_str(), "this replica does it from now on");
                    return Came::Now;
                }
                Ok(false) => self.mine = false,
                Err(error) => {
                    tracing::warn!(
                        job = self.job.as_str(),
                        error = observe::chain(&error),
                        "a job waits for the store"
                    );
                }
            }
            tokio::time::sleep(lease::every(&self.app)).await;
        }
    }
}
