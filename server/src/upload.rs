//! `/upload/<sha256>`: an agent's binary into a draft, over plain HTTP, from where it was cut; an operator's image by its name. For curl and
//! the release page.
//!
//! A partial PUT (RFC 9110, 14.5) with the two answers of draft-ietf-httpbis-resumable-upload that say how far it is, and no more
//! of that draft. `curl -T FILE -C OFFSET` speaks it. `<sha256>` is 64 lower-case hexadecimal digits.
//!
//! ```text
//! who     authorization: Bearer nvt_…                      a publisher's; a cookie beside it is not looked at
//!    or   cookie, and x-novacula-forgery-token: <word>     the browser: Reader::forgery_token of its session, HEAD as well as PUT
//!
//! HEAD /upload/<sha256>                                    how much is here?
//!   200   upload-offset: 4096      upload-complete: ?0     the first 4,096 bytes; 0 when there is none
//!   200   upload-offset: 10000     upload-complete: ?1     all of them
//!
//! PUT /upload/<sha256>?release=releases/agent-1.2.0&platform=linux/amd64&file=novacula-agent
//!   content-length: 10000                                  everything; what came before is dropped
//!   content-range: bytes 4096-9999/10000                   from byte 4,096 on; 9,999 may be any byte before the end, too
//!   content-range: bytes */10000                           nothing more: take what is complete already, as HEAD said. No body
//!   200   upload-complete: ?1, and the release as JSON     digest and size are right; the draft has the artifact
//!   202   upload-offset: 8192      upload-complete: ?0     these are here, and the end is to come
//!   409   upload-offset: 4096      upload-complete: ?0     it goes on at another byte than the request: send from there
//!   409   DIGEST_MISMATCH                                  other bytes: they are gone, begin again (or with the right name)
//!   409   ALREADY_EXISTS, RELEASE_YANKED, KIND_MISMATCH    the release is no draft, or of the other kind
//!   400   a field that may not be so (size, file, platform, release, content-range), by its name
//!   401   TOKEN_INVALID                                    no token, or none that is valid; sign in again
//!   403   ROLE_REQUIRED, or a forged request               not a publisher; no forgery token of this session
//!   404   NOT_FOUND                                        no such release, or no digest in the path
//!   429   RATE_LIMITED                                     with retry-after in seconds
//!   503   UNAVAILABLE                                      no room, somebody else sends the same, or the store is away: later
//!   504                                                    no byte came for 30 s; what came stays
//!
//! PUT /upload/<sha256>?release=releases/operator-1.2.0&image=registry.example/novacula/operator
//!                                                          no body: the image with this digest stays in its registry
//!   200   the release as JSON                              the draft has the image. Refused as above
//! ```
//!
//! What is refused is told as by every door: `{"code": …, "message": …, "details": […]}` ([`crate::json`]). A request that is cut leaves
//! its bytes; they are forgotten after a day. A PUT is one call of `UploadArtifact`: same role, same limits, same checks, same
//! row in the feed. Signatures follow with `AddReleaseSignature`; one that the artifact of this platform had is gone with it.
//!
//! ```text
//! request -> [send: cookie -> bearer] -> authenticate (as UploadArtifact) -> [receive] -> use case
//!                     refusals in JSON <-                 Status <-
//! ```

mod range;

mod receive;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::routing::put;
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tonic::Status;
use tower::ServiceExt as _;

use crate::artifacts::Progress;
use crate::grpc::error;
use crate::json::refusal::Refused;
use crate::web::session;

pub use self::receive::receivers;

/// How many bytes are here (draft-ietf-httpbis-resumable-upload, 8.1).
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Whether they are all (the same, 8.2).
const COMPLETE: HeaderName = HeaderName::from_static("upload-complete");

/// The route. `receivers` are what it leads to, behind authentication.
pub fn routes(receivers: Router) -> Router {
    Router::new().route("/upload/{sha256}", put(send).head(send)).with_state(receivers)
}

/// Says who sends, and puts into JSON what is refused.
async fn send(State(receivers): State<Router>, mut request: Request) -> Response<Body> {
    let headers = request.headers_mut();
    if !headers.contains_key(AUTHORIZATION) {
        match session::authorization(headers) {
            Ok(Some(bearer)) => {
                headers.insert(AUTHORIZATION, bearer);
            }
            // Nobody, who is told so by the API itself.
            Ok(None) => {}
            Err(_) => return Refused::new(StatusCode::FORBIDDEN, error::forged()).into_answer(),
        }
    }
    headers.remove(COOKIE);
    let answer = match receivers.oneshot(request).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let Some(status) = Status::from_header_map(answer.headers()) else { return answer };
    let mut refused = Refused::from(status).into_answer();
    for name in [OFFSET, COMPLETE] {
        if let Some(value) = answer.headers().get(&name) {
            refused.headers_mut().insert(name, value.clone());
        }
    }
    refused
}

/// Says how far it is.
fn tell(answer: &mut Response<Body>, progress: Progress) {
    let (offset, complete) = match progress {
        Progress::Part(offset) => (offset, "?0"),
        Progress::Whole(offset) => (offset, "?1"),
    };
    answer.headers_mut().insert(OFFSET, HeaderValue::from(offset));
    answer.headers_mut().insert(COMPLETE, HeaderValue::from_static(complete));
}
