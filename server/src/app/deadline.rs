//! Deadlines of attempts: carried out in O(due), by the store's clock.

use std::time::Duration;

use domain::attempt::Input;
use domain::attempt::next::next_deadline;
use domain::{Actor, Timestamp};

use crate::app::App;
use crate::app::error::Error;

/// Attempts carried out before the sweep looks at its clock again.
const SLICE: usize = 256;

/// What a sweep found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Swept {
    /// Attempts that changed.
    pub changed: usize,
    /// How long until the next deadline; none: there is none.
    pub next: Option<Duration>,
}

impl App {
    /// Carries out every deadline that is due, and says when the next one is.
    ///
    /// # Errors
    /// The store's. What was not carried out is due still.
    pub async fn deadline_sweep(&self) -> Result<Swept, Error> {
        let mut changed = 0usize;
        loop {
            let now = self.now().await?;
            let due = self.store.attempt_list_due(now, SLICE).await?;
            let mut done = 0usize;
            for attempt in &due {
                let told =
                    self.attempt_tell(attempt.executor, attempt.id, &Input::Tick, Actor::System("deadline")).await?;
                done += usize::from(told.is_some_and(|(after, _)| after != *attempt));
            }
            changed += done;
            // A full slice may hide more; one that changed nothing is not asked again in the same breath.
            if due.len() < SLICE || done == 0 {
                break;
            }
        }
        let end_of_time = Timestamp::from_micros(i64::MAX);
        let soonest = self.store.attempt_list_due(end_of_time, 1).await?.pop();
        let deadline = soonest.and_then(|attempt| next_deadline(&attempt, &self.settings.policy));
        let now = self.now().await?;
        Ok(Swept { changed, next: deadline.map(|deadline| deadline.since(now)) })
    }
}
