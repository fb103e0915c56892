//! `/artifacts/<sha256>` on the executor listener: the stored bytes of published releases, with ranges.
//!
//! The entity tag is the digest, so that a resumed download (`Range` with `If-Range`) is of the same bytes or starts anew.
//! Whoever asks was identified by the gate for this very request.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::routing::get;
use domain::Sha256;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tower::ServiceExt as _;
use tower_http::services::ServeFile;

use crate::app::App;

/// The routes.
pub fn routes(app: Arc<App>) -> Router {
    Router::new().route("/artifacts/{sha256}", get(artifact)).with_state(app)
}

async fn artifact(State(app): State<Arc<App>>, Path(sha256): Path<String>, mut request: Request) -> Response<Body> {
    // One spelling of a digest, and nothing else, becomes a path.
    let Ok(sha256) = sha256.parse::<Sha256>() else {
        return answer(StatusCode::NOT_FOUND, "no such artifact\n");
    };
    match app.artifact_offered(&sha256).await {
        Ok(true) => {}
        Ok(false) => return answer(StatusCode::NOT_FOUND, "no published release delivers this artifact\n"),
        Err(error) => {
            tracing::warn!(error = crate::observe::chain(&error), "artifact lookup failed");
            return answer(StatusCode::SERVICE_UNAVAILABLE, "the store is not available\n");
        }
    }
    let tag = format!("\"{sha256}\"");
    let headers = request.headers_mut();
    if headers.get(IF_NONE_MATCH).is_some_and(|tags| names(tags, &tag)) {
        return tagged(answer(StatusCode::NOT_MODIFIED, ""), &tag);
    }
    if headers.get(IF_MATCH).is_some_and(|tags| !names(tags, &tag)) {
        return tagged(answer(StatusCode::PRECONDITION_FAILED, "the artifact has other bytes\n"), &tag);
    }
    // RFC 9110, 13.1.5: a range of other bytes is worth nothing, so the whole is answered. A date is no strong validator.
    if headers.remove(IF_RANGE).is_some_and(|given| given.as_bytes() != tag.as_bytes()) {
        headers.remove(RANGE);
    }
    match ServeFile::new(app.artifacts.path(&sha256)).oneshot(request).await {
        Ok(file) => {
            let mut file = tagged(file.map(Body::new), &tag);
            // Times of copies mean nothing; the digest is the validator.
            file.headers_mut().remove(LAST_MODIFIED);
            set(&mut file, CONTENT_TYPE, "application/octet-stream");
            set(&mut file, CACHE_CONTROL, "private, immutable, max-age=31536000");
            file
        }
        Err(never) => match never {},
    }
}

/// Whether a list of entity tags names this one (or any).
fn names(tags: &HeaderValue, tag: &str) -> bool {
    let Ok(tags) = tags.to_str() else { return false };
    tags.split(',').map(str::trim).any(|given| given == "*" || given.trim_start_matches("W/") == tag)
}

fn tagged(mut answer: Response<Body>, tag: &str) -> Response<Body> {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        answer.headers_mut().insert(ETAG, tag);
    }
    answer
}

fn set(answer: &mut Response<Body>, name: HeaderName, value: &'static str) {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
}

fn answer(code: StatusCode, text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = code;
    answer
}
