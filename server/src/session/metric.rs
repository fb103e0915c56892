//! The metrics of sessions (API.md). No label grows with executors.

use std::time::Duration;

use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::session::close::Close;

const STREAMS: &str = "novacula_streams";
const OPENED: &str = "novacula_streams_opened_total";
const CLOSED: &str = "novacula_streams_closed_total";
const DELIVERY: &str = "novacula_delivery_seconds";
const RECEIPT: &str = "novacula_receipt_seconds";

/// Says what they mean; once, after the recorder is in place.
pub fn describe() {
    describe_gauge!(STREAMS, "Open streams of executors on this replica");
    describe_counter!(OPENED, "Streams whose hello was admitted");
    describe_counter!(CLOSED, "Streams that ended, by reason");
    describe_histogram!(
        DELIVERY,
        Unit::Seconds,
        "From the wake-up of a commit to its desired being written on the stream"
    );
    describe_histogram!(
        RECEIPT,
        Unit::Seconds,
        "From the wake-up of a commit to the executor's acknowledgement"
    );
}

/// How many are open now.
pub(super) fn streams(count: usize) {
    #[expect(
        clippy::cast_precision_loss,
        reason = "a gauge is a float, and 2^52 streams are far"
    )]
    gauge!(STREAMS).set(count as f64);
}

/// A hello was admitted.
pub(super) fn opened() {
    counter!(OPENED).increment(1);
}

/// A stream ended.
pub(super) fn closed(close: &Close) {
    counter!(CLOSED, "reason" => close.label()).increment(1);
}

/// A desired was written.
pub(super) fn delivered(after: Duration) {
    histogram!(DELIVERY).record(after.as_secs_f64());
}

/// A desired was acknowledged.
pub(super) fn received(after: Duration) {
    histogram!(RECEIPT).record(after.as_secs_f64());
}
