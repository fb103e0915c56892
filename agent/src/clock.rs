//! A point in the life of one boot: what windows are measured by.
//!
//! A host's wall clock may be wrong or be set back in the middle of an upgrade, so nothing is decided by it.

use std::time::Duration;

use executor_sdk::clock;
use uuid::Uuid;

/// A point in the life of one boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which boot; nil where the kernel does not say.
    pub boot: Uuid,
    /// Time since it, suspend included.
    pub since_boot: Duration,
}

impl Moment {
    /// How long ago `earlier` was. Over a reboot it is at least the time since the boot, and that is what is answered.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        if self.boot == earlier.boot { self.since_boot.saturating_sub(earlier.since_boot) } else { self.since_boot }
    }

    /// The present, by the kernel.
    #[must_use]
    pub fn now() -> Self {
        let boot = clock::boot_id().parse().unwrap_or(Uuid::nil());
        Self { boot, since_boot: clock::since_boot() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reboot_starts_the_window_anew() {
        let at = |boot, seconds| Moment { boot: Uuid::from_u128(boot), since_boot: Duration::from_secs(seconds) };
        assert_eq!(at(1, 50).since(at(1, 20)), Duration::from_secs(30));
        assert_eq!(at(2, 5).since(at(1, 20)), Duration::from_secs(5));
        assert_eq!(at(1, 10).since(at(1, 20)), Duration::ZERO);
    }

    #[test]
    fn the_kernel_answers() {
        assert!(!Moment::now().boot.is_nil());
    }
}
