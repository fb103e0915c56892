//! What surrounds every RPC, so that handlers are ten lines: request id, who calls, how often, deadline, metrics, audit.
//!
//! ```text
//! request -> trace (id, span) -> [gRPC-Web] -> authenticate (API) or gate (executors) -> run (deadline, metrics) -> handler
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use domain::role::Demand;
use domain::{BearerToken, RequestId};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use tonic::Status;
use tracing::Instrument as _;

use crate::app::App;
use crate::app::caller::Caller;
use crate::grpc::access::{self, Listener, Proof};
use crate::grpc::error;
use crate::grpc::limits::{Class, Limits, Who, class};
use crate::observe::metrics::{self, Metric};
use crate::tls::connection::Peer;

/// Accepted from callers, made when there is none, echoed in every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What [`authenticate`] asks.
#[derive(Clone, Debug)]
pub struct Gatekeeper {
    /// Who knows tokens.
    pub app: Arc<App>,
    /// How often each may ask.
    pub limits: Arc<Limits>,
}

/// Gives each request its id, and its log lines a span that carries it.
pub async fn trace(mut request: Request, next: Next) -> Response<Body> {
    let given =
        request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok()).and_then(|id| RequestId::new(id).ok());
    let id = given.map_or_else(|| uuid::Uuid::new_v4().to_string(), |id| id.as_str().to_owned());
    let span = tracing::info_span!("request", id, path = request.uri().path());
    // Printable ASCII by its type.
    let header = HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("unprintable"));
    request.headers_mut().insert(REQUEST_ID, header.clone());
    name_host(&mut request);
    let mut answer = next.run(request).instrument(span).await;
    answer.headers_mut().insert(REQUEST_ID, header);
    answer
}

/// HTTP/2 says in `:authority` what HTTP/1.1 says in `Host`; whoever reads the one finds it as the other.
fn name_host(request: &mut Request) {
    let authority = request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(authority) = authority {
        request.headers_mut().entry(HOST).or_insert(authority);
    }
}

/// Lets through what the access table allows on the API listener. Whoever passes with a token is a [`Caller`] in the extensions.
pub async fn authenticate(State(keeper): State<Gatekeeper>, mut request: Request, next: Next) -> Response<Body> {
    let Some(row) = access::find(Listener::Api, request.uri().path()) else {
        return unknown(&request);
    };
    let address = request.extensions().get::<Arc<Peer>>().map(|peer| peer.address.ip());
    let Some(address) = address else {
        return error::internal().into_http();
    };
    // A body cannot be looked at by two threads, so that the request itself is not held while the store is asked.
    let token = bearer(&request);
    let caller = match row.proof {
        Proof::Nothing => None,
        Proof::Token(demand) => match authenticated(&keeper, token, Who::Address(address), demand).await {
            Ok(caller) => Some(caller),
            Err(status) => return status.into_http(),
        },
        // Proofs of the other listener mean nothing here.
        Proof::JoinToken | Proof::Certificate | Proof::LateCertificate => return unknown(&request),
    };
    let who = caller.as_ref().map_or(Who::Address(address), |caller| Who::Token(caller.token.clone()));
    if let Err(after) = keeper.limits.take(who.clone(), row.path) {
        return error::rate_limited(after).into_http();
    }
    if let Some(caller) = &caller {
        request.extensions_mut().insert(caller.clone());
    }
    let answer = run(row.path, request, next).await;
    if let Some(caller) = caller
        && code(&answer) == Some(tonic::Code::PermissionDenied)
    {
        // Bounded: a caller that hammers fills no disk.
        if keeper.limits.take_class(who, Class::Stranger).is_ok()
            && let Err(error) = keeper.app.access_denied(&caller, row.path).await
        {
            tracing::warn!(error = crate::observe::chain(&error), "a denied access is not in the audit log");
        }
    }
    answer
}

/// Who calls. A token that is known is never kept waiting by others at its address, and a token that is not, or none, is paid
/// for: 256 random bits are not found by looking them up quickly, and what is no token never reaches the store.
async fn authenticated(
    keeper: &Gatekeeper,
    token: Option<BearerToken>,
    stranger: Who,
    demand: Demand,
) -> Result<Caller, Status> {
    if let Some(token) = &token
        && let Some(caller) = keeper.app.bearer(token, demand).await.map_err(|error| error::status(&error))?
    {
        return Ok(caller);
    }
    match keeper.limits.take_class(stranger, Class::Stranger) {
        Ok(()) => Err(error::no_token()),
        Err(after) => Err(error::rate_limited(after)),
    }
}

fn bearer(request: &Request) -> Option<BearerToken> {
    let (scheme, token) = request.headers().get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") { token.trim().parse().ok() } else { None }
}

/// Runs an RPC inside its deadline, and counts it.
pub async fn run(path: &'static str, request: Request, next: Next) -> Response<Body> {
    let own = class(path).deadline();
    let asked = own.and_then(|_| timeout(&request));
    let limit = [own, asked].into_iter().flatten().min();
    let answer = match limit {
        Some(limit) => match tokio::time::timeout(limit, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => error::deadline(limit).into_http(),
        },
        None => next.run(request).await,
    };
    let code = code(&answer).unwrap_or(tonic::Code::Ok);
    metrics::count(Metric::Rpcs, &[("rpc", path), ("code", name(code))]);
    answer
}

/// No such RPC, or no such page.
pub fn unknown(request: &Request) -> Response<Body> {
    if is_grpc(request) {
        return error::unknown_rpc().into_http();
    }
    let mut answer = Response::new(Body::from("no such page\n"));
    *answer.status_mut() = StatusCode::NOT_FOUND;
    answer
}

/// Whether the caller speaks gRPC (or gRPC-Web).
#[must_use]
pub fn is_grpc(request: &Request) -> bool {
    request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The status of an answer that has it in its headers: a refusal, as a rule.
fn code(answer: &Response<Body>) -> Option<tonic::Code> {
    answer.headers().get("grpc-status").map(|code| tonic::Code::from_bytes(code.as_bytes()))
}

/// What the caller would wait (gRPC over HTTP/2: at most eight digits and a unit).
fn timeout(request: &Request) -> Option<Duration> {
    let text = request.headers().get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(n * 3600)),
        "M" => Some(Duration::from_secs(n * 60)),
        "S" => Some(Duration::from_secs(n)),
        "m" => Some(Duration::from_millis(n)),
        "u" => Some(Duration::from_micros(n)),
        "n" => Some(Duration::from_nanos(n)),
        _ => None,
    }
}

const fn name(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Ok => "OK",
        tonic::Code::Cancelled => "CANCELLED",
        tonic::Code::Unknown => "UNKNOWN",
        tonic::Code::InvalidArgument => "INVALID_ARGUMENT",
        tonic::Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        tonic::Code::NotFound => "NOT_FOUND",
        tonic::Code::AlreadyExists => "ALREADY_EXISTS",
        tonic::Code::PermissionDenied => "PERMISSION_DENIED",
        tonic::Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        tonic::Code::FailedPrecondition => "FAILED_PRECONDITION",
        tonic::Code::Aborted => "ABORTED",
        tonic::Code::OutOfRange => "OUT_OF_RANGE",
        tonic::Code::Unimplemented => "UNIMPLEMENTED",
        tonic::Code::Internal => "INTERNAL",
        tonic::Code::Unavailable => "UNAVAILABLE",
        tonic::Code::DataLoss => "DATA_LOSS",
        tonic::Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
