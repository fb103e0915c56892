//! Asking again. An API server that has just started refuses everybody until it has read who may do what, so that a missing right,
//! too, counts only when it lasts.

use std::time::Duration;

use executor_sdk::connect::Backoff;
use tokio::time::Instant;

use super::{Error, Trouble};

/// Within this long at first, and later within eight times that.
const FIRST: Duration = Duration::from_secs(1);

/// A right that is missing for this long is missing.
const RIGHTS: Duration = Duration::from_secs(10);

/// Within this long after a change that met another one: two who met once are not to meet again.
const ASIDE: Duration = Duration::from_secs(2);

/// The waits of one call that is made until it is answered.
#[derive(Debug)]
pub struct Again {
    backoff: Backoff,
    forbidden_since: Option<Instant>,
}

impl Again {
    /// Nothing was asked yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { backoff: Backoff::between(FIRST, FIRST.saturating_mul(8)), forbidden_since: None }
    }

    /// Whether this answer may be another one a little later; then it is later when this returns.
    pub async fn after(&mut self, error: &Error) -> bool {
        let lasts = match error.trouble {
            Trouble::Forbidden => self.forbidden_since.get_or_insert_with(Instant::now).elapsed(),
            _ if error.is_temporary() => {
                self.forbidden_since = None;
                Duration::ZERO
            }
            _ => return false,
        };
        if lasts >= RIGHTS {
            return false;
        }
        tracing::warn!(%error, "asking the cluster's API again");
        match error.trouble {
            // Somebody was quicker, and need not be again.
            Trouble::Conflict => Backoff::between(ASIDE, ASIDE).pause().await,
            _ => self.backoff.pause().await,
        }
        true
    }
}

impl Default for Again {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::super::error::Asked;
    use super::*;

    fn answer(code: u16) -> Error {
        let namespace = "novacula-system".to_owned();
        let asked = Asked { verb: "get", resource: "deployments", name: "novacula-operator".to_owned(), namespace };
        let mut status = Status::failure("User \"operator\" cannot", "");
        status.code = code;
        Error::of(asked, &kube::Error::Api(Box::new(status)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_right_counts_when_it_lasts_and_an_outage_never() {
        let mut again = Again::new();
        for _ in 0..100 {
            assert!(again.after(&answer(503)).await, "it may come back");
        }
        let (mut again, began) = (Again::new(), tokio::time::Instant::now());
        while again.after(&answer(403)).await {}
        let lasted = began.elapsed();
        assert!((RIGHTS..RIGHTS * 2).contains(&lasted), "{lasted:?}");
        assert!(!Again::new().after(&answer(422)).await, "refused is refused");
    }
    #[tokio::test(start_paused = true)]
    async fn changes_that_met_do_not_wait_in_step() {
        let mut waits = Vec::new();
        for _ in 0..32 {
            let began = Instant::now();
            assert!(Again::new().after(&answer(409)).await);
            waits.push(began.elapsed());
        }
        // Timers count whole milliseconds.
        assert!(waits.iter().all(|wait| *wait <= ASIDE + Duration::from_millis(1)), "{waits:?}");
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 16, "{waits:?}");
    }
}
