//! Chance that is the same for the same seed.

use std::time::Duration;

/// `splitmix64`: small, and good enough to choose what to do next.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `0..n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % n.max(1) as u64).expect("it is below a usize")
    }

    /// Less than `longest`.
    pub(crate) fn moment(&mut self, longest: Duration) -> Duration {
        longest / 1000 * u32::try_from(self.below(1000)).expect("below a thousand")
    }
}
