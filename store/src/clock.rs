//! The clock that counts for leases, TTLs and deadlines: the store's.

use std::time::{SystemTime, UNIX_EPOCH};

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

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::EPOCH.plus(since)
    }
}
