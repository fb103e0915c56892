//! The clock that counts for leases, TTLs and deadlines: the store's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use domain::Timestamp;

use crate::error::Error;

/// The store's clock.
#[async_trait]
pub trait StoreClock: Send + Sync {
    /// Now, as the store sees it: the database's clock on PostgreSQL, the injected one on SQLite.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    async fn store_now(&self) -> Result<Timestamp, Error>;
}

/// A clock to inject: the wall's in production, a moved one in tests.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// The wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// A clock that stands still until it is told to move.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

// === impl SystemClock ===

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::EPOCH.plus(since)
    }
}

// === impl ManualClock ===

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub const fn new(now: Timestamp) -> Self {
        Self(AtomicI64::new(now.as_micros()))
    }

    /// Moves it later.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
    }

    /// Moves it to `now`, which may be earlier: wall clocks do that.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_micros(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}
