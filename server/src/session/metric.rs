//! What sessions count (API.md). The wake-up of a commit stands for the commit: on the embedded store it comes with the
//! write's answer, and is the first moment that a session could know of.

use std::time::Duration;

use crate::observe::metrics::{self, Metric};
use crate::session::close::Close;

/// How many are open now.
pub(super) fn streams(count: usize) {
    metrics::set(Metric::Streams, f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

/// A hello was admitted.
pub(super) fn opened() {
    metrics::count(Metric::StreamsOpened, &[]);
}

/// A stream was offered another replica.
pub(super) fn offered() {
    metrics::count(Metric::StreamsOffered, &[]);
}

/// A stream ended.
pub(super) fn closed(close: &Close) {
    metrics::count(Metric::StreamsClosed, &[("reason", close.label())]);
}

/// A desired was written on the stream.
pub(super) fn delivered(after: Duration) {
    metrics::observe(Metric::Delivery, &[], after);
}

/// A desired was acknowledged by its executor.
pub(super) fn received(after: Duration) {
    metrics::observe(Metric::Receipt, &[], after);
}
