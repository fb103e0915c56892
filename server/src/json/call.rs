//! One unary call of gRPC's routes in this process, for a body that is no gRPC.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use prost_reflect::MethodDescriptor;
use tonic::{Code, Status};
use tower::ServiceExt as _;

use super::codec::Codec;
use super::refusal::Refused;
use super::schema;
use crate::grpc::error;
use crate::grpc::layer::REQUEST_ID;
use crate::grpc::routes::MAX_MESSAGE_BYTES;
use crate::tls::connection::Peer;

/// Largest answer: a page of a thousand executors is a fifth of it.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Before each gRPC message: whether it is compressed, and its length.
const FRAME_BYTES: usize = 5;

/// How long a caller of Connect waits, in milliseconds.
const TIMEOUT: HeaderName = HeaderName::from_static("connect-timeout-ms");

/// Which Connect a caller speaks: there is one.
const PROTOCOL: HeaderName = HeaderName::from_static("connect-protocol-version");

/// Calls the RPC that the path names.
///
/// # Errors
/// What it says, or why it cannot be called like this.
pub async fn unary(routes: Router, codec: Codec, request: Request) -> Result<Bytes, Refused> {
    let (parts, body) = request.into_parts();
    let method = schema::method(parts.uri.path()).ok_or_else(error::unknown_rpc)?;
    if !schema::is_unary(&method) {
        let sentence =
            format!("{} is a stream; it is offered over gRPC and, but for uploads, gRPC-Web", method.full_name());
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error::not_offered(sentence)));
    }
    let asked = headers(&parts.headers)?;
    let message = message(method.clone(), codec, body);
    let mut call = Request::new(Body::from_stream(futures_util::stream::once(message)));
    *call.method_mut() = Method::POST;
    *call.uri_mut() = parts.uri.path().parse().map_err(|_| error::unknown_rpc())?;
    *call.headers_mut() = asked;
    if let Some(peer) = parts.extensions.get::<Arc<Peer>>() {
        call.extensions_mut().insert(Arc::clone(peer));
    }
    let answer = match routes.oneshot(call).await {
        Ok(answer) => answer,
        Err(never) => match never {},
    };
    let protobuf = unframed(answer).await?;
    Ok(codec.write(method.output(), &protobuf)?.into())
}

/// Those that mean something to an RPC. No cookie is among them.
fn headers(given: &HeaderMap) -> Result<HeaderMap, Refused> {
    if given.get(&PROTOCOL).is_some_and(|version| version.as_bytes() != b"1") {
        return Err(error::field("connect-protocol-version", "is not 1").into());
    }
    if given.get(CONTENT_ENCODING).is_some_and(|encoding| encoding.as_bytes() != b"identity") {
        let status = error::not_offered("compressed bodies are not taken; send it without content-encoding");
        return Err(Refused::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, status));
    }
    let mut headers = HeaderMap::new();
    for name in [AUTHORIZATION, REQUEST_ID] {
        if let Some(value) = given.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if let Some(millis) = given.get(&TIMEOUT) {
        headers.insert(HeaderName::from_static("grpc-timeout"), timeout(millis)?);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    Ok(headers)
}

/// Connect has ten digits of milliseconds, gRPC eight digits of a unit.
fn timeout(millis: &HeaderValue) -> Result<HeaderValue, Refused> {
    let digits = millis.to_str().ok().filter(|text| text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit()));
    let millis: u64 = digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| error::field("connect-timeout-ms", "is not one to ten digits"))?;
    let text = if millis < 100_000_000 { format!("{millis}m") } else { format!("{}S", millis / 1_000) };
    Ok(HeaderValue::try_from(text).map_err(|_| error::internal())?)
}

/// The one message of a call. It is read when the RPC asks for it: after its sender was let in, and inside its deadline.
async fn message(method: MethodDescriptor, codec: Codec, body: Body) -> Result<Bytes, Status> {
    let body = match Limited::new(body, MAX_MESSAGE_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(failed) if failed.is::<LengthLimitError>() => return Err(error::too_large(MAX_MESSAGE_BYTES)),
        Err(_) => return Err(error::cut_off()),
    };
    let protobuf = codec.read(&method.input(), &body)?;
    let length = u32::try_from(protobuf.len()).map_err(|_| error::too_large(MAX_MESSAGE_BYTES))?;
    let mut frame = BytesMut::with_capacity(FRAME_BYTES + protobuf.len());
    frame.put_u8(0);
    frame.put_u32(length);
    frame.put_slice(&protobuf);
    Ok(frame.freeze())
}

/// The one message of an answer.
async fn unframed(answer: Response<Body>) -> Result<Bytes, Status> {
    refusal_in(answer.headers())?;
    let answer = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(|failed| {
        tracing::error!(
            error = crate::observe::chain(failed.as_ref()),
            "an answer is too large for JSON, or broke off"
        );
        error::internal()
    })?;
    if let Some(trailers) = answer.trailers() {
        refusal_in(trailers)?;
    }
    let mut frame = answer.to_bytes();
    let whole = frame.len() >= FRAME_BYTES && {
        let head = frame.split_to(FRAME_BYTES);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        head[0] == 0 && u32::try_from(frame.len()) == Ok(length)
    };
    if whole { Ok(frame) } else { Err(error::internal()) }
}

fn refusal_in(headers: &HeaderMap) -> Result<(), Status> {
    match Status::from_header_map(headers) {
        Some(status) if status.code() != Code::Ok => Err(status),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_of_connect_is_one_of_grpc() {
        for (given, expected) in [("0", "0m"), ("250", "250m"), ("99999999", "99999999m"), ("9999999999", "9999999S")] {
            assert_eq!(timeout(&HeaderValue::from_static(given)).expect(given), expected);
        }
        for given in ["", "-1", "1s", "12345678901"] {
            assert!(timeout(&HeaderValue::from_static(given)).is_err(), "{given}");
        }
    }
}
