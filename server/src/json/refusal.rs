//! A refusal in JSON, as Connect writes it: `{"code": …, "message": …, "details": [{"type": …, "value": …, "debug": {…}}]}`.
//!
//! `debug` holds each detail in JSON, so that a program reads `reason` without protobuf. The HTTP status is by our own table.

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::codec::JSON;
use super::{codec, schema, told};
use crate::grpc::error;

/// What is refused, and under which HTTP status.
#[derive(Debug)]
pub struct Refused {
    http: StatusCode,
    status: Box<Status>,
}

// === impl Refused ===

impl Refused {
    /// Under a status that only HTTP has.
    #[must_use]
    pub fn new(http: StatusCode, status: Status) -> Self {
        Self { http, status: Box::new(status) }
    }

    /// To whoever asked.
    #[must_use]
    pub fn into_answer(self) -> Response<Body> {
        let Self { http, status } = self;
        let body = json!({
            "code": code(status.code()),
            "message": status.message(),
            "details": details(&status),
        });
        let mut answer = told(http, JSON, Body::from(body.to_string()));
        let headers = answer.headers_mut();
        if http == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
        if let Some(wait) = wait {
            // Whole seconds, and not too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::new(error::http_status(&status), status)
    }
}

fn details(status: &Status) -> Vec<Value> {
    let Ok(whole) = tonic_types::Status::decode(status.details()) else { return Vec::new() };
    let detail = |any: prost_types::Any| {
        let name = any.type_url.rsplit('/').next().unwrap_or_default();
        let text = schema::message(name).and_then(|kind| codec::json(kind, &any.value));
        let debug: Option<Value> = text.and_then(|text| serde_json::from_slice(&text).ok());
        json!({ "type": name, "value": STANDARD_NO_PAD.encode(&any.value), "debug": debug })
    };
    whole.details.into_iter().map(detail).collect()
}

/// As Connect spells it.
const fn code(code: Code) -> &'static str {
    match code {
        Code::Ok | Code::Unknown => "unknown",
        Code::Cancelled => "canceled",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}
