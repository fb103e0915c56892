//! What a story tells of an attempt, as `novacula upgrade history` prints it.

use anyhow::Context as _;
use serde_json::Value;

/// How long from request to the executor's receipt.
///
/// # Errors
/// The attempt was not delivered.
pub fn receipt(attempt: &Value) -> anyhow::Result<String> {
    Ok(format!("{:.1} ms", between(attempt, "requestTime", "deliverTime")? * 1000.0))
}

/// How long from request to end.
///
/// # Errors
/// The attempt has not ended.
pub fn length(attempt: &Value) -> anyhow::Result<String> {
    Ok(format!("{:.1} s", between(attempt, "requestTime", "endTime")?))
}

/// A field of text.
#[must_use]
pub fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// Seconds from one of its times to another.
fn between(attempt: &Value, from: &str, to: &str) -> anyhow::Result<f64> {
    let time = |key: &str| micros(&text(attempt, key)).with_context(|| format!("{key} of an attempt"));
    Ok((time(to)? - time(from)?) as f64 / 1e6)
}

/// Microseconds since midnight of an RFC 3339 time in UTC; enough to compare two times of one minute.
fn micros(time: &str) -> anyhow::Result<i64> {
    let clock = time.split_once('T').and_then(|(_, clock)| clock.strip_suffix('Z')).context("a time in UTC")?;
    let mut parts = clock.split(':');
    let mut next = || parts.next().context("hours, minutes and seconds");
    let (hours, minutes, seconds): (i64, i64, f64) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
    #[expect(clippy::cast_possible_truncation, reason = "under 60 million")]
    let seconds = (seconds * 1e6).round() as i64;
    Ok((hours * 60 + minutes) * 60_000_000 + seconds)
}
