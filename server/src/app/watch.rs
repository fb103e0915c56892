//! Watches: what is so now, then every change, until the caller goes or the server drains.
//!
//! A watch is pulled, not pushed: it holds a place (a number, the last thing told), and asks the store what is new when its
//! caller has taken what there was. So a slow reader costs nothing, nothing grows, and nothing is dropped: a wake-up that was
//! lost or lagged is healed by the next look. Whoever dials again resumes where it was. It must be driven by a task
//! ([`Supervisor::drive`](crate::supervise::Supervisor::drive)): left in the middle of a look, it would keep what the look holds.
//!
//! ```text
//! wakes: the change feed (executors, attempts)    the event head (events)    a timer (lost wake-ups, revoked tokens)
//! ```

pub mod attempt;

pub mod event;

pub mod executor;

use std::time::Duration;

use domain::{Reason, Refusal};
use store::TokenWithOrigin;
use tokio::time::Instant;

use crate::app::App;
use crate::app::bearer::counts;
use crate::app::caller::Caller;
use crate::app::error::Error;

/// How often a watch looks without being woken, and how long a revoked token goes on watching at most.
pub(crate) const LOOK: Duration = Duration::from_secs(2);

/// Asks again, from time to time, whether the caller may still watch: its token may be revoked or end meanwhile.
#[derive(Debug)]
struct Guard {
    caller: Caller,
    checked: Instant,
}

// === impl Guard ===

impl Guard {
    /// For a caller that was authorized this moment.
    fn new(caller: Caller) -> Self {
        Self { caller, checked: Instant::now() }
    }

    async fn check(&mut self, app: &App) -> Result<(), Error> {
        if self.checked.elapsed() < LOOK {
            return Ok(());
        }
        let now = app.now().await?;
        let found = app.store.token_get_with_origin(&self.caller.token).await?;
        let valid = |found: TokenWithOrigin| found.token.role == self.caller.role && counts(&found, now);
        if !found.is_some_and(valid) {
            let message = "the bearer token was revoked or ended while it watched";
            return Err(Refusal::new(Reason::TokenInvalid, message).into());
        }
        self.checked = Instant::now();
        Ok(())
    }
}
