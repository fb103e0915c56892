//! Watching one attempt: as it is now, then every change; ends after its outcome. What was told when it was asked for does not
//! change, and is said each time.

use std::sync::Arc;

use domain::{Attempt, AttemptName, Warning};
use futures_util::stream::{BoxStream, StreamExt as _, try_unfold};
use store::Change;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::upgrade::Requested;
use crate::app::watch::{Guard, LOOK};

struct Watcher {
    app: Arc<App>,
    name: AttemptName,
    changes: Receiver<Change>,
    told: Option<Attempt>,
    warnings: Vec<Warning>,
    guard: Guard,
}

impl App {
    /// Watches an attempt.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn attempt_watch(
        self: &Arc<Self>,
        caller: Caller,
        name: AttemptName,
    ) -> Result<BoxStream<'static, Result<Requested, Error>>, Error> {
        caller.authorize(Some(&name.executor.organization))?;
        // Before the first look, so that no change falls between.
        let changes = self.store.change_subscribe();
        let attempt = self.attempt_read(&name).await?;
        let warnings = self.told(&attempt).await?;
        let watcher = Watcher { app: Arc::clone(self), name, changes, told: None, warnings, guard: Guard::new(caller) };
        let next = |mut watcher: Watcher| async move {
            let attempt = watcher.next().await?;
            Ok(attempt.map(|attempt| (Requested { attempt, warnings: watcher.warnings.clone() }, watcher)))
        };
        Ok(try_unfold(watcher, next).boxed())
    }
}

// === impl Watcher ===

impl Watcher {
    async fn next(&mut self) -> Result<Option<Attempt>, Error> {
        if self.told.as_ref().is_some_and(Attempt::is_ended) {
            return Ok(None);
        }
        loop {
            self.guard.check(&self.app).await?;
            let attempt = self.app.attempt_read(&self.name).await?;
            if self.told.as_ref() != Some(&attempt) {
                self.told = Some(attempt.clone());
                return Ok(Some(attempt));
            }
            if self.woken(&attempt).await == Woken::StoreClosed {
                return Ok(None);
            }
        }
    }

    async fn woken(&mut self, attempt: &Attempt) -> Woken {
        let look = tokio::time::sleep(LOOK);
        tokio::pin!(look);
        loop {
            tokio::select! {
                // Whatever was lost, the row tells it.
                () = &mut look => return Woken::Look,
                change = self.changes.recv() => match change {
                    Ok(change) if change.executor != attempt.executor => {}
                    Ok(_) | Err(RecvError::Lagged(_)) => return Woken::Look,
                    Err(RecvError::Closed) => return Woken::StoreClosed,
                },
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Look,
    StoreClosed,
}
