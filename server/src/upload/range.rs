//! Which bytes of the whole a request sends: `Content-Range`, or `Content-Length` alone.

use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use tonic::Status;

use crate::grpc::error;

/// Which bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The first of them; the total when none are sent.
    pub(super) offset: u64,
    /// How many.
    pub(super) length: u64,
    /// Of how many.
    pub(super) total: u64,
}

// === impl Range ===

impl Range {
    /// As the headers say.
    ///
    /// # Errors
    /// A field error.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, Status> {
        let length = match headers.get(CONTENT_LENGTH) {
            None => None,
            Some(length) => Some(length.to_str().ok().and_then(number).ok_or_else(|| unreadable("content-length"))?),
        };
        let Some(range) = headers.get(CONTENT_RANGE) else {
            let total = length.ok_or_else(|| error::field("content-length", "is missing, and so is content-range"))?;
            return Ok(Self { offset: 0, length: total, total });
        };
        let range = range.to_str().ok().and_then(Self::parse).ok_or_else(|| unreadable("content-range"))?;
        match length {
            Some(length) if length != range.length => {
                let rule = format!("is {length}, and content-range names {} bytes", range.length);
                Err(error::field("content-length", rule))
            }
            Some(_) | None => Ok(range),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (bytes, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let total = number(total)?;
        if bytes == "*" {
            return Some(Self { offset: total, length: 0, total });
        }
        let (first, last) = bytes.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        (first <= last && last < total).then(|| Self { offset: first, length: last - first + 1, total })
    }
}

/// Digits and nothing else: `u64` would read a plus sign, too.
fn number(digits: &str) -> Option<u64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

fn unreadable(field: &str) -> Status {
    error::field(field, "is not of the form `bytes 4096-9999/10000`, `bytes */10000` or, for content-length, a number")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(range: Option<&'static str>, length: Option<&'static str>) -> Option<(u64, u64, u64)> {
        let mut headers = HeaderMap::new();
        for (name, value) in [(CONTENT_RANGE, range), (CONTENT_LENGTH, length)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        Range::of(&headers).ok().map(|range| (range.offset, range.length, range.total))
    }

    #[test]
    fn a_range_is_what_the_headers_say() {
        assert_eq!(of(None, Some("10")), Some((0, 10, 10)));
        assert_eq!(of(Some("bytes 4-9/10"), Some("6")), Some((4, 6, 10)));
        assert_eq!(of(Some("bytes 4-6/10"), None), Some((4, 3, 10)));
        assert_eq!(of(Some("bytes */10"), Some("0")), Some((10, 0, 10)));
    }

    #[test]
    fn a_range_that_cannot_be_is_refused() {
        for (range, length) in [
            (None, None),
            (None, Some("+5")),
            (Some("bytes 4-9/10"), Some("7")),
            (Some("bytes 9-4/10"), None),
            (Some("bytes 4-10/10"), None),
            (Some("bytes 4-9/*"), None),
            (Some("bytes -5/10"), None),
            (Some("bytes */10"), Some("1")),
            (Some("bytes 0-18446744073709551615/18446744073709551615"), None),
            (Some("bytes 0-0/99999999999999999999"), None),
            (Some("lines 4-9/10"), None),
        ] {
            assert_eq!(of(range, length), None, "{range:?} {length:?}");
        }
    }
}
