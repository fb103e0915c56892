//! From what PostgreSQL says to what a caller acts on.
//!
//! Inside a transaction everything fails with [`Failure`]; the name of the operation is added once, at the border. Conflicts
//! that only say "not now, in this order" (serialization failure, deadlock) are tried again there.

use tokio_postgres::error::SqlState;

use crate::error::Error;
use crate::failure;

/// Why a step inside a transaction failed.
pub(super) type Failure = failure::Failure<Engine>;

/// What the engine has against it.
#[derive(Debug)]
pub(super) enum Engine {
    /// The server's word, or the connection's.
    Said(tokio_postgres::Error),
    /// No word was heard.
    Away(Away),
}

/// Why the server was not heard.
#[derive(Debug, thiserror::Error)]
pub(super) enum Away {
    #[error("no connection to PostgreSQL could be had")]
    NoConnection(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("PostgreSQL did not answer within {0:?}")]
    Silent(std::time::Duration),
    #[error(
        "the connection was lost while committing, so whether it was written is not known: read before asking again"
    )]
    InDoubt(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Engine(Engine::Said(error))
    }
}

impl From<Away> for Failure {
    fn from(away: Away) -> Self {
        Self::Engine(Engine::Away(away))
    }
}

impl Failure {
    /// Whether the same transaction, run again from its beginning, may well succeed.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Engine(Engine::Said(error)) if matches!(
            error.code(),
            Some(&SqlState::T_R_SERIALIZATION_FAILURE | &SqlState::T_R_DEADLOCK_DETECTED)
        ))
    }

    /// Whether what the row refers to does not exist.
    pub(super) fn is_dangling(&self) -> bool {
        matches!(self, Self::Engine(Engine::Said(error)) if error.code() == Some(&SqlState::FOREIGN_KEY_VIOLATION))
    }

    /// Whether it is the fault of what was to be written, and not of the server or the way to it.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Told(_) => true,
            Self::Engine(Engine::Said(error)) => is_refusal(error),
            Self::Engine(Engine::Away(_)) => false,
        }
    }

    /// Names the row in an error of the server that is the row's fault: a constraint or a trigger refused it.
    pub(super) fn of_row(self, noun: &'static str, key: impl ToString) -> Self {
        match self {
            Self::Engine(Engine::Said(error)) if is_refusal(&error) => {
                tracing::error!(noun, key = key.to_string(), error = %error, "the store refused a row that breaks its rules");
                Self::corrupt(noun, key, error)
            }
            other => other,
        }
    }

    /// What the caller of `operation` is told.
    pub(super) fn into_error(self, operation: &'static str) -> Error {
        match self {
            Self::Told(error) => error,
            Self::Engine(Engine::Said(source)) => engine_error(source, operation),
            Self::Engine(Engine::Away(away)) => Error::Unavailable { operation, source: Box::new(away) },
        }
    }
}

/// Class 23 is "integrity constraint violation", class 22 "data exception" (PostgreSQL, appendix A).
fn is_refusal(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| code.code().starts_with("23") || code.code().starts_with("22"))
}

fn engine_error(source: tokio_postgres::Error, operation: &'static str) -> Error {
    // A statement that is refused for what it is today is refused tomorrow: syntax and names (42), data (22), rules
    // (23), features (0A), our own exceptions (P0), damage (XX001, XX002). All else may pass: connections, locks, memory, disks,
    // restarts, a server that became a standby.
    let code = source.code().map(SqlState::code);
    let lasting = code.is_some_and(|code| {
        ["42", "22", "23", "0A", "P0"].iter().any(|class| code.starts_with(class)) || ["XX001", "XX002"].contains(&code)
    });
    if lasting {
        tracing::error!(operation, error = %source, code, "the database refused a statement for what it is");
        Error::Corrupt { noun: "database", key: format!("({operation})"), source: Box::new(source) }
    } else {
        Error::Unavailable { operation, source: Box::new(source) }
    }
}
