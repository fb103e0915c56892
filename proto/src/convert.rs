//! Conversions between `novacula.v1` and [`domain`].
//!
//! From the wire is `TryFrom` (or a function, where both sides are foreign) and an [`Error`] that names the field. To the
//! wire is `From`, and cannot fail. Nothing here panics, whatever the bytes say.
//!
//! Two rules of API.md are kept at this border and nowhere else:
//! - what this build does not know (an enum value, a oneof member, a capability) is left out, never an error;
//! - text that an executor wrote ends on somebody's terminal, so [`text`] takes its control characters out and bounds it.

use std::borrow::Cow;

pub mod text;

pub mod field;

pub mod vocabulary;

pub mod spec;

pub mod report;

pub mod sync;

mod waiting;

pub mod attempt;

pub mod executor;

pub mod target;

pub mod warning;

pub mod release;

pub mod role;

/// A value from the wire that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Error {
    /// The field, as the proto names it, with the path to it: `hello.unsent_outcomes.attempt`.
    pub field: Cow<'static, str>,
    /// What has to hold, with the values.
    pub rule: String,
    /// What was given, printable and cut at 80 characters.
    pub value: String,
}

impl Error {
    /// A refusal of `value` in `field`.
    #[must_use]
    pub fn new(field: &'static str, rule: impl Into<String>, value: &str) -> Self {
        Self { field: Cow::Borrowed(field), rule: rule.into(), value: text::line(value, 80) }
    }

    /// A field that has to be there and is not.
    #[must_use]
    pub fn missing(field: &'static str) -> Self {
        Self::new(field, "is required", "")
    }

    /// The same one level further out: `uid` within `hello` is `hello.uid`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        self.field = Cow::Owned(format!("{outer}.{}", self.field));
        self
    }
}

#[cfg(test)]
mod tests;
