//! What the server lets be seen of itself: logs with request ids, and metrics.

pub mod logs;

pub mod metrics;

use std::error::Error as StdError;
use std::fmt::Write as _;

/// An error and what caused it, in one line: `open store: disk is full`. For logs; never for callers.
#[must_use]
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("open store")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_cause_is_said_once() {
        let error = Outer(std::io::Error::other("disk is full"));
        assert_eq!(chain(&error), "open store: disk is full");
    }
}
