//! Single fields: names, ids, versions, times.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use domain::{Sha256, Timestamp};

use crate::convert::Error;

/// A field that has to be there.
///
/// # Errors
/// [`Error`] when it is empty or not what it should be.
pub fn required<T: FromStr<Err: Display>>(name: &'static str, value: &str) -> Result<T, Error> {
    if value.is_empty() {
        return Err(Error::missing(name));
    }
    value.parse().map_err(|error: T::Err| Error::new(name, error.to_string(), value))
}

/// A field that may be empty.
///
/// # Errors
/// [`Error`] when it is there and not what it should be.
pub fn optional<T: FromStr<Err: Display>>(name: &'static str, value: &str) -> Result<Option<T>, Error> {
    if value.is_empty() { Ok(None) } else { required(name, value).map(Some) }
}

/// An image digest, `sha256:` and 64 digits.
///
/// # Errors
/// [`Error`] when it is anything else.
pub fn image_digest(name: &'static str, value: &str) -> Result<Sha256, Error> {
    let digits = value.strip_prefix("sha256:");
    digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| Error::new(name, "is not sha256: and 64 lower-case hexadecimal digits", value))
}

/// Largest number that counts something on its way in. JavaScript and JSON readers hold no more, a store's column little more,
/// and nothing that is counted honestly comes near.
pub const COUNTER_MAX: u64 = 1 << 53;

/// A number that counts: a generation, bytes.
///
/// # Errors
/// [`Error`] when it is more than [`COUNTER_MAX`].
pub fn counter(name: &'static str, value: u64) -> Result<u64, Error> {
    if value <= COUNTER_MAX {
        return Ok(value);
    }
    Err(Error::new(name, format!("is more than {COUNTER_MAX}"), &value.to_string()))
}

/// A duration that is not negative; none when unset.
///
/// # Errors
/// [`Error`] when it is negative or not normalized.
pub fn duration(name: &'static str, value: Option<prost_types::Duration>) -> Result<Option<Duration>, Error> {
    let Some(value) = value else { return Ok(None) };
    let refuse =
        || Error::new(name, "is not a duration of 0 s or more", &format!("{}.{:09} s", value.seconds, value.nanos));
    let seconds = u64::try_from(value.seconds).map_err(|_| refuse())?;
    let nanos = u32::try_from(value.nanos).ok().filter(|nanos| *nanos < 1_000_000_000).ok_or_else(refuse)?;
    Ok(Some(Duration::new(seconds, nanos)))
}

/// To the wire; more than the wire can say (315,576,000,000 s, as protobuf bounds it) becomes that.
#[must_use]
pub fn to_duration(value: Duration) -> prost_types::Duration {
    const MAX: Duration = Duration::from_secs(315_576_000_000);
    let value = value.min(MAX);
    prost_types::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

/// A point in time, to the microsecond below; none when unset.
///
/// # Errors
/// [`Error`] when it lies outside the range of microseconds in 64 bits, or is not normalized.
pub fn timestamp(name: &'static str, value: Option<prost_types::Timestamp>) -> Result<Option<Timestamp>, Error> {
    let Some(value) = value else { return Ok(None) };
    let refuse = || Error::new(name, "is not a point in time", &format!("{}.{:09} s", value.seconds, value.nanos));
    if !(0..1_000_000_000).contains(&value.nanos) {
        return Err(refuse());
    }
    let whole = value.seconds.checked_mul(1_000_000).ok_or_else(refuse)?;
    let micros = whole.checked_add(i64::from(value.nanos / 1_000)).ok_or_else(refuse)?;
    Ok(Some(Timestamp::from_micros(micros)))
}

/// To the wire.
#[must_use]
pub fn to_timestamp(value: Timestamp) -> prost_types::Timestamp {
    let micros = value.as_micros();
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000) * 1_000).unwrap_or(0),
    }
}

/// To the wire, when it has one.
pub(crate) fn text<T: Display>(value: Option<&T>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}
