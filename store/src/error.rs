//! What can go wrong behind a store trait: only what a caller acts on differently.

use std::error::Error as StdError;

/// Why a store method did not do its work. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The row was written since it was read: read again, decide again.
    #[error("{noun} {key} was changed by someone else")]
    Stale {
        /// Which noun.
        noun: &'static str,
        /// Which row.
        key: String,
    },
    /// A row of that key exists.
    #[error("{noun} {key} exists already")]
    Exists {
        /// Which noun.
        noun: &'static str,
        /// Which row.
        key: String,
    },
    /// A row that the write needs does not exist.
    #[error("{noun} {key} does not exist")]
    Missing {
        /// Which noun.
        noun: &'static str,
        /// Which row.
        key: String,
    },
    /// The store cannot be reached, is full, or is too busy; nothing was written.
    #[error("{operation}: the store is not available")]
    Unavailable {
        /// What was being done.
        operation: &'static str,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// A row cannot be read as what it should be.
    #[error("{noun} {key} cannot be read")]
    Corrupt {
        /// Which noun.
        noun: &'static str,
        /// Which row.
        key: String,
        /// Why.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl Error {
    pub(crate) fn stale(noun: &'static str, key: impl ToString) -> Self {
        Self::Stale { noun, key: key.to_string() }
    }

    pub(crate) fn exists(noun: &'static str, key: impl ToString) -> Self {
        Self::Exists { noun, key: key.to_string() }
    }

    pub(crate) fn missing(noun: &'static str, key: impl ToString) -> Self {
        Self::Missing { noun, key: key.to_string() }
    }

    pub(crate) fn corrupt(
        noun: &'static str,
        key: impl ToString,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        Self::Corrupt { noun, key: key.to_string(), source: source.into() }
    }

    /// Whether the same call may succeed later, unchanged.
    #[must_use]
    pub const fn retryable(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::Stale { .. } | Self::Exists { .. } | Self::Missing { .. } | Self::Corrupt { .. } => false,
        }
    }
}
