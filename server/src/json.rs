//! The services over plain HTTP, for programs without gRPC: the unary Connect protocol, `POST /novacula.v1.Service/Method` with
//! JSON (or bare protobuf) in and out, over HTTP/1.1 and 2.
//!
//! ```text
//! JSON -> [call: authenticate, limits, deadline, audit -> read, decode -> use case -> encode] -> JSON, or what is refused
//! ```
//!
//! A call is a call of gRPC's own routes in this process, so that the access table, the limits, the deadlines and the audit are the
//! same, and a body is not read before its sender is known. Where this differs from Connect, on purpose: a field that is not there
//! is refused by its name; a refusal's HTTP status is [`error::http`]'s, so that `OUT_OF_SUPPORT` is 409; GET and compressed requests
//! are not offered (answers are, [`crate::web::compress`]). Cookies are not looked at: there is nothing that another site could forge.
//!
//! Streams stay with gRPC and gRPC-Web; the bytes of artifacts have [`crate::upload`].

pub mod schema;

pub mod codec;

pub mod call;

pub mod refusal;

pub mod openapi;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::routing::get;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};

use self::codec::Codec;
use self::refusal::Refused;
use crate::grpc::{error, layer};

/// What may be sent, in the answer to anything else (W3C Linked Data Platform 1.0, 7.1; Connect's servers say it, too).
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// The list.
const ACCEPTED: &str = "application/json, application/proto, application/grpc, application/grpc-web";

/// Around the routes that speak gRPC: takes what is JSON or bare protobuf, and leaves the rest to them. `routes` are the same
/// without gRPC-Web around them.
pub async fn door(State(routes): State<Router>, request: Request, next: Next) -> Response<Body> {
    if layer::is_grpc(&request) {
        return next.run(request).await;
    }
    if request.method() != Method::POST {
        let sentence = "an RPC is called with POST, and with JSON in the body";
        let mut answer = Refused::new(StatusCode::METHOD_NOT_ALLOWED, error::not_offered(sentence)).into_answer();
        answer.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return answer;
    }
    let Some(codec) = media_type(request.headers()).and_then(Codec::of) else {
        let sentence = format!("the body's content-type is none that is taken here: {ACCEPTED}");
        let mut answer = Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error::not_offered(sentence)).into_answer();
        answer.headers_mut().insert(ACCEPT_POST, HeaderValue::from_static(ACCEPTED));
        return answer;
    };
    match call::unary(routes, codec, request).await {
        Ok(body) => told(StatusCode::OK, codec.content_type(), Body::from(body)),
        Err(refused) => refused.into_answer(),
    }
}

/// `/openapi.json`, for everybody: it holds what the proto files hold, which are public.
pub fn routes(server_version: &str) -> Router {
    let (document, version) = (OnceLock::<Bytes>::new(), server_version.to_owned());
    let document = Arc::new(move || document.get_or_init(|| openapi::document(&version).to_string().into()).clone());
    let answer = async move || {
        let mut answer = told(StatusCode::OK, codec::JSON, Body::from(document()));
        // It changes with the server only, and is asked for anew all the same.
        answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        answer
    };
    Router::new().route(openapi::PATH, get(answer))
}

/// An answer that no cache keeps.
#[must_use]
pub fn told(code: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

/// Without its parameters: JSON is UTF-8, whatever they say.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').next().map(str::trim)
}
