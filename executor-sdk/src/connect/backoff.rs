//! How long to wait before trying again: full jitter under a ceiling that doubles.

use std::time::Duration;

/// The first ceiling of a dial. With full jitter the mean first wait is half of it.
const FIRST: Duration = Duration::from_secs(1);

/// The last ceiling of a dial: an outage of any length ends with the whole fleet back inside a minute, spread evenly over it.
const LAST: Duration = Duration::from_secs(60);

/// Counts failures in a row. By default those of a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first: Duration,
    last: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(FIRST, LAST)
    }
}

impl Backoff {
    /// No failure yet; the ceiling is `first` after the first one, and never more than `last`.
    #[must_use]
    pub const fn between(first: Duration, last: Duration) -> Self {
        Self { first, last, failures: 0 }
    }

    /// One more failure: how long to wait. `random` is evenly spread over 0 to 1.
    #[must_use]
    pub fn fail(&mut self, random: f64) -> Duration {
        let ceiling = self.first.saturating_mul(1 << self.failures.min(16)).min(self.last);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
    }

    /// The same, with the dice thrown here.
    pub fn wait(&mut self) -> Duration {
        self.fail(rand::random())
    }

    /// The same, and waits.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.wait()).await;
    }

    /// It worked: the next failure is the first one again.
    pub const fn succeed(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    #[must_use]
    pub const fn failures(self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_a_minute_and_starts_anew() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<u64> = (0..9).map(|_| backoff.fail(1.0).as_secs()).collect();
        assert_eq!(ceilings, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoff.succeed();
        assert_eq!(backoff.fail(1.0), FIRST);
        assert_eq!(backoff.fail(0.0), Duration::ZERO, "full jitter");
    }

    proptest! {
        #[test]
        fn no_wait_is_longer_than_the_ceiling(failures in any::<u32>(), random in any::<f64>()) {
            prop_assume!(!random.is_nan());
            let wait = Backoff { failures, ..Backoff::default() }.fail(random);
            prop_assert!(wait <= LAST);
            let short = Backoff { failures, ..Backoff::between(FIRST, FIRST * 8) }.fail(random);
            prop_assert!(short <= FIRST * 8);
        }
    }
}
