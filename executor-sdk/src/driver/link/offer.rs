//! Another replica was offered: how often it is tried. The present stream is good, so there is no hurry and no need: a try that
//! nobody takes is one of few, and each waits longer than the one before.

use std::time::Duration;

use crate::connect::Backoff;

/// Tries for one offer. Where two of three replicas would take it and a balancer does not know which, all six go wrong once in 700.
const TRIES: u32 = 6;

/// The first ceiling, after the first try.
const FIRST: Duration = Duration::from_secs(30);

/// The last ceiling.
const LAST: Duration = Duration::from_secs(300);

/// An offer that was taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    tries: Backoff,
}

impl Default for Offer {
    fn default() -> Self {
        Self { tries: Backoff::between(FIRST, LAST) }
    }
}

impl Offer {
    /// One more try that nobody took: how long until the next one; none: that was the last. `random` is evenly spread over 0 to 1;
    /// never sooner than half of the ceiling, since nobody waits for it.
    pub(super) fn fail(&mut self, random: f64) -> Option<Duration> {
        let ceiling = self.tries.fail(1.0);
        (self.tries.failures() < TRIES).then(|| ceiling.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn six_tries_ever_farther_apart() {
        let mut offer = Offer::default();
        let ceilings: Vec<u64> = std::iter::from_fn(|| offer.fail(1.0)).map(|wait| wait.as_secs()).collect();
        assert_eq!(ceilings, [30, 60, 120, 240, 300]);
    }

    proptest! {
        #[test]
        fn however_the_dice_fall_it_ends_inside_a_quarter_of_an_hour(dice in prop::collection::vec(0.0..=1.0_f64, 20)) {
            let mut offer = Offer::default();
            let waits: Vec<Duration> = dice.into_iter().map_while(|random| offer.fail(random)).collect();
            prop_assert_eq!(waits.len() + 1, usize::try_from(TRIES).expect("small"));
            prop_assert!(waits.iter().all(|wait| *wait >= FIRST / 2));
            prop_assert!(waits.iter().sum::<Duration>() <= Duration::from_secs(15 * 60));
        }
    }
}
