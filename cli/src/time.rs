//! Times for people: RFC 3339 in UTC, and how long ago.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `2026-11-21T10:00:00Z`, or a dash.
pub(crate) fn stamp(time: Option<&prost_types::Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| prost_types::Timestamp { seconds: time.seconds, nanos: 0 }.to_string())
}

/// `3m 12s ago`, or a dash. By this machine's clock: a hint, not a measurement.
pub(crate) fn ago(time: Option<&prost_types::Timestamp>) -> String {
    let Some(time) = time else {
        return "-".to_owned();
    };
    let Ok(seconds) = u64::try_from(time.seconds) else {
        return stamp(Some(time));
    };
    let then = UNIX_EPOCH + Duration::from_secs(seconds);
    match SystemTime::now().duration_since(then) {
        Ok(since) => format!("{} ago", humantime::format_duration(Duration::from_secs(since.as_secs()))),
        Err(_) => "now".to_owned(),
    }
}

/// A duration for the wire.
pub(crate) fn wire(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}
