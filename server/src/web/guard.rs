//! What every answer to a browser says about itself, and where a change may come from.
//!
//! A page runs our own script and style and nothing else, is framed by nobody, and is kept by no cache. A form counts only from
//! our own origin (`Sec-Fetch-Site`, Fetch Metadata; `Origin` where that is missing) and with the forgery token of its session:
//! either would do, and both are cheap.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HOST, ORIGIN, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue};

/// `default-src 'none'` first: what is not named is not loaded. No inline script, no inline style, no foreign host.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Headers of every page. No Strict-Transport-Security: it would count for every other port of this host as well.
const HEADERS: [(HeaderName, &str); 6] = [
    (CONTENT_SECURITY_POLICY, POLICY),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // For browsers older than `frame-ancestors`.
    (X_FRAME_OPTIONS, "DENY"),
    // With `no-referrer`, browsers send `Origin: null` with our own forms.
    (REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Puts the headers on each answer. What names its own caching keeps it.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut answer = next.run(request).await;
    speak(&mut answer);
    answer
}

/// The same for one answer.
pub fn speak(answer: &mut Response) {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Whether a browser says that a page of ours, or no page at all, sent this. Programs say nothing of the kind, and their forms
/// are refused for want of a forgery token.
#[must_use]
pub fn is_from_us(headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(site) = text(HeaderName::from_static("sec-fetch-site")) {
        return matches!(site, "same-origin" | "none");
    }
    match (text(ORIGIN), text(HOST)) {
        (None, _) => true,
        (Some(origin), Some(host)) => origin.strip_prefix("https://").is_some_and(|origin| origin == host),
        (Some(_), None) => false,
    }
}

/// Where to go after signing in: a path of ours, or the front page. `//host` and `/\host` are other hosts to a browser.
#[must_use]
pub fn local_path(asked: &str) -> &str {
    let ours = asked.starts_with('/')
        && !asked.starts_with("//")
        && !asked.contains('\\')
        && asked.bytes().all(|byte| byte.is_ascii_graphic());
    if ours { asked } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_form_of_another_site_is_known_by_what_the_browser_says() {
        for (ours, headers) in [
            (true, said(&[("sec-fetch-site", "same-origin")])),
            (true, said(&[("sec-fetch-site", "none")])),
            (false, said(&[("sec-fetch-site", "same-site"), ("origin", "https://a:7443"), ("host", "a:7443")])),
            (false, said(&[("sec-fetch-site", "cross-site")])),
            (true, said(&[("origin", "https://a:7443"), ("host", "a:7443")])),
            (false, said(&[("origin", "https://b:7443"), ("host", "a:7443")])),
            (false, said(&[("origin", "http://a:7443"), ("host", "a:7443")])),
            (false, said(&[("origin", "null"), ("host", "a:7443")])),
            (true, said(&[])),
        ] {
            assert_eq!(is_from_us(&headers), ours, "{headers:?}");
        }
    }

    #[test]
    fn signing_in_leads_to_our_own_paths_only() {
        assert_eq!(local_path("/releases?page=2"), "/releases?page=2");
        for elsewhere in
            ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "", "/a\r\nb"]
        {
            assert_eq!(local_path(elsewhere), "/", "{elsewhere}");
        }
    }
}
