//! Why a step inside a transaction failed: the store's own answer, or the engine's. What the engine's means to a caller, each
//! backend says for itself.

use crate::error::Error;
use crate::mapping::Cause;

/// Why a step inside a transaction failed.
#[derive(Debug)]
pub(crate) enum Failure<E> {
    /// The store's own answer.
    Told(Error),
    /// The engine's.
    Engine(E),
}

impl<E> From<Error> for Failure<E> {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl<E> Failure<E> {
    pub(crate) fn stale(noun: &'static str, key: impl ToString) -> Self {
        Self::Told(Error::stale(noun, key))
    }

    pub(crate) fn exists(noun: &'static str, key: impl ToString) -> Self {
        Self::Told(Error::exists(noun, key))
    }

    pub(crate) fn missing(noun: &'static str, key: impl ToString) -> Self {
        Self::Told(Error::missing(noun, key))
    }

    pub(crate) fn corrupt(noun: &'static str, key: impl ToString, source: impl Into<Cause>) -> Self {
        Self::Told(Error::corrupt(noun, key, source))
    }
}
