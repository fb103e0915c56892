//! Smaller answers (gzip), where nobody learns a secret from how small they get (decision 0013).
//!
//! ```text
//! style, script, icon    compressed once, for everybody
//! JSON                   whoever reads it showed a bearer token, which another site cannot make a browser do
//! pages                  when the browser says that a page of ours, or the reader's own hand, led to them
//! everything else        as it is: streams, uploads, artifacts, gRPC, answers to forms, which may show a secret
//! ```
//!
//! Only what is whole is compressed: a body that is still being made has no known length, and would wait in the encoder.

use std::io::{self, Write as _};

use axum::body::{Body, HttpBody as _};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::observe;

/// What a browser says of where a request came from.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Below it an answer fits one packet as it is.
const LEAST: u64 = 1_024;

/// Above it an answer is no page and no list; it is not held twice in memory.
const MOST: u64 = 4 << 20;

/// Above it compressing takes longer than a request may hold up the others of its thread (about 1 ms).
const AT_ONCE: usize = 64 << 10;

/// Four fifths of what level 9 saves, in a third of its time.
const LEVEL: u32 = 4;

/// Around the pages.
pub async fn pages(request: Request, next: Next) -> Response {
    let headers = request.headers();
    let wanted = request.method() == Method::GET && accepts(headers) && is_led_by_us(headers);
    let answer = next.run(request).await;
    if wanted { smaller(answer, "text/html").await } else { answer }
}

/// Around what programs read.
pub async fn json(request: Request, next: Next) -> Response {
    let wanted = accepts(request.headers());
    let answer = next.run(request).await;
    if wanted { smaller(answer, "application/json").await } else { answer }
}

/// Whether the reader takes gzip (RFC 9110, section 12.5.3).
#[must_use]
pub fn accepts(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let is_refused = |part: &str| {
            let weight = part.strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
            weight.is_some_and(|weight| weight <= 0.0)
        };
        is_gzip && !parts.any(is_refused)
    })
}

/// Bytes as small as they get, for what is compressed once.
///
/// # Errors
/// None, while memory does not end.
pub fn best(bytes: &[u8]) -> io::Result<Vec<u8>> {
    gzip(bytes, Compression::best())
}

/// Whoever leads a browser here from another site chooses what is in the URL, and so in the page; how long the answer is can be
/// seen on the wire. A browser that says nothing gets the page as it is.
fn is_led_by_us(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| site == "same-origin" || site == "none")
}

async fn smaller(answer: Response, kind: &str) -> Response {
    let headers = answer.headers();
    let is_kind = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(kind.as_bytes()));
    let fits = answer.body().size_hint().exact().is_some_and(|size| (LEAST..=MOST).contains(&size));
    if !is_kind || !fits || headers.contains_key(CONTENT_ENCODING) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, usize::MAX).await else {
        // It is in memory already, and has a length.
        return Response::from_parts(head, Body::empty());
    };
    let packed = if bytes.len() <= AT_ONCE {
        gzip(&bytes, Compression::new(LEVEL))
    } else {
        let work = bytes.clone();
        let packed = tokio::task::spawn_blocking(move || gzip(&work, Compression::new(LEVEL))).await;
        packed.unwrap_or_else(|error| Err(io::Error::other(error)))
    };
    match packed {
        Ok(packed) => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.remove(CONTENT_LENGTH);
            vary(&mut head.headers);
            Response::from_parts(head, Body::from(packed))
        }
        Err(error) => {
            tracing::warn!(error = observe::chain(&error), "an answer was not compressed");
            Response::from_parts(head, Body::from(bytes))
        }
    }
}

/// Caches keep both.
pub fn vary(headers: &mut HeaderMap) {
    headers.append(VARY, HeaderValue::from_static("accept-encoding"));
}

fn gzip(bytes: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), level);
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn gzip_is_for_those_who_ask_for_it() {
        for (yes, value) in [
            (true, "gzip"),
            (true, "br, GZIP;q=0.5"),
            (false, "gzip;q=0"),
            (false, "gzip; q=0.0"),
            (false, "br, identity"),
            (false, "*"),
            (false, ""),
        ] {
            assert_eq!(accepts(&said(ACCEPT_ENCODING, value)), yes, "{value}");
        }
        assert!(!accepts(&HeaderMap::new()));
    }

    #[test]
    fn a_page_that_another_site_leads_to_is_not_compressed() {
        for (ours, site) in [(true, "same-origin"), (true, "none"), (false, "same-site"), (false, "cross-site")] {
            assert_eq!(is_led_by_us(&said(FETCH_SITE, site)), ours, "{site}");
        }
        assert!(!is_led_by_us(&HeaderMap::new()));
    }

    #[tokio::test]
    async fn only_what_is_whole_of_its_kind_and_long_enough_gets_smaller() {
        let answer = |kind: &'static str, body: Body| {
            let mut answer = Response::new(body);
            answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            answer
        };
        let long = || "a long line of a page\n".repeat(10_000);
        let stream = || Body::from_stream(futures_util::stream::iter([Ok::<_, io::Error>(long())]));
        for (packed, answer) in [
            (true, answer("text/html; charset=utf-8", Body::from(long()))),
            (false, answer("text/html; charset=utf-8", Body::from("short"))),
            (false, answer("text/html; charset=utf-8", stream())),
            (false, answer("text/event-stream", Body::from(long()))),
            (false, answer("application/octet-stream", Body::from(long()))),
        ] {
            let kind = format!("{:?}", answer.headers());
            let answer = smaller(answer, "text/html").await;
            assert_eq!(answer.headers().contains_key(CONTENT_ENCODING), packed, "{kind}");
            let bytes = axum::body::to_bytes(answer.into_body(), usize::MAX).await.expect("a body");
            assert_eq!(bytes.starts_with(&[0x1f, 0x8b]), packed);
        }
    }
}
