//! How long to wait before dialling again: full jitter under a ceiling that doubles.

use std::time::Duration;

/// The first ceiling. With full jitter the mean first wait is half of it.
const FIRST: Duration = Duration::from_secs(1);

/// The last ceiling: an outage of any length ends with the whole fleet back inside a minute, spread evenly over it.
const LAST: Duration = Duration::from_secs(60);

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// One more failure: how long to wait. `random` is evenly spread over 0 to 1.
    #[must_use]
    pub fn fail(&mut self, random: f64) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LAST);
        self.failures = self.failures.saturating_add(1);
        ceiling.mul_f64(random.clamp(0.0, 1.0))
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
            let wait = Backoff { failures }.fail(random);
            prop_assert!(wait <= LAST);
        }
    }
}
