//! Why a use case did not do what was asked: only what a caller acts on differently. `grpc/error.rs` says it on the wire.

use std::error::Error as StdError;

use domain::{Reason, Refusal};

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A rule forbids it.
    #[error("refused: {}", .0.reason)]
    Refused(#[from] Refusal),
    /// Fields that may not be so; all of them.
    #[error("{} fields are invalid", .0.len())]
    Invalid(Vec<Violation>),
    /// The disk.
    #[error("the store did not do it")]
    Store(#[from] store::Error),
    /// Something of ours is wrong: a person must look.
    #[error("{operation}")]
    Internal {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
}

/// One field that may not be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its path, as in the proto file.
    pub field: String,
    /// The rule, and what was given.
    pub description: String,
}

// === impl Error ===

impl Error {
    /// One field that may not be so.
    #[must_use]
    pub fn field(field: impl Into<String>, description: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation { field: field.into(), description: description.into() }])
    }

    /// No such resource.
    #[must_use]
    pub fn not_found(name: impl std::fmt::Display) -> Self {
        let message = format!("{name} does not exist");
        Self::Refused(Refusal::new(Reason::NotFound, message).with("name", name))
    }
}
