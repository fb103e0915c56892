//! From what SQLite says to what a caller acts on.
//!
//! Inside a transaction everything fails with [`Failure`]; the name of the operation is added once, at the border.

use rusqlite::ErrorCode;

use crate::error::Error;
use crate::failure;

/// Why a step inside a transaction failed.
pub(super) type Failure = failure::Failure<rusqlite::Error>;

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error)
    }
}

impl Failure {
    /// What the caller of `operation` is told.
    pub(super) fn into_error(self, operation: &'static str) -> Error {
        match self {
            Self::Told(error) => error,
            Self::Engine(source) => engine_error(source, operation),
        }
    }
}

/// Names the row in an error of the engine that is the row's fault: a constraint or a trigger refused it.
pub(super) fn refused_row(noun: &'static str, key: impl ToString) -> impl FnOnce(rusqlite::Error) -> Failure {
    move |error| {
        if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) {
            tracing::error!(noun, key = key.to_string(), error = %error, "the store refused a row that breaks its rules");
            Failure::corrupt(noun, key, error)
        } else {
            Failure::Engine(error)
        }
    }
}

/// Whether a constraint of another table stopped the write: what it refers to does not exist.
pub(super) fn is_dangling(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|e| e.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}

/// Whether a row of the same key was in the way.
pub(super) fn is_duplicate(error: &rusqlite::Error) -> bool {
    error.sqlite_error().is_some_and(|e| {
        matches!(e.extended_code, rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY | rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
    })
}

fn engine_error(source: rusqlite::Error, operation: &'static str) -> Error {
    // Damage does not mend itself, and a statement that SQLite refuses today it refuses tomorrow: neither is worth a
    // retry. All else (full, busy, I/O, out of memory) may pass.
    let lasting = match source.sqlite_error_code() {
        Some(code) => matches!(
            code,
            ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::ApiMisuse
                | ErrorCode::ParameterOutOfRange
                | ErrorCode::TooBig
                | ErrorCode::Unknown
        ),
        None => true,
    };
    if lasting {
        tracing::error!(operation, error = %source, "the store's file or a statement is defective");
        Error::Corrupt { noun: "database", key: format!("({operation})"), source: Box::new(source) }
    } else {
        Error::Unavailable { operation, source: Box::new(source) }
    }
}
