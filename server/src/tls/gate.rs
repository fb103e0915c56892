//! The gate of the executor listener: before each RPC and each artifact request it asks the store whose certificate this
//! is and whether it still holds, and lets through what the access table says. What passes carries an
//! [`ExecutorIdentity`] in its extensions, `Enroll` apart.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use tonic::Status;

use crate::app::enrolment::Enrolment;
use crate::app::error::Error;
use crate::grpc::access::{self, Listener, Proof};
use crate::grpc::error;
use crate::grpc::layer;
use crate::grpc::limits::{Limits, Who};
use crate::tls::connection::Peer;
use crate::tls::identity::{ExecutorIdentity, Standing};

/// Where artifacts are.
pub const ARTIFACTS: &str = "/artifacts/";

/// What the gate asks.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Who identifies certificates.
    pub enrolment: Enrolment,
    /// How often each may ask.
    pub limits: Arc<Limits>,
}

/// The middleware.
pub async fn pass(State(gate): State<Gate>, mut request: Request, next: Next) -> http::Response<Body> {
    let path = request.uri().path();
    let (row, proof) = if path.starts_with(ARTIFACTS) {
        (None, Proof::Certificate)
    } else {
        match access::find(Listener::Executors, path) {
            Some(row) => (Some(row.path), row.proof),
            None => return layer::unknown(&request),
        }
    };
    let Some(peer) = request.extensions().get::<Arc<Peer>>().map(Arc::clone) else {
        return refuse(&request, &error::internal());
    };
    let who = match identify(&gate, &peer, proof).await {
        Ok(Some(identity)) => {
            let who = Who::Executor(identity.uid);
            request.extensions_mut().insert(identity);
            who
        }
        Ok(None) => Who::Address(peer.address.ip()),
        Err(status) => return refuse(&request, &status),
    };
    let limit = row.unwrap_or(ARTIFACTS);
    if let Err(after) = gate.limits.take(who, limit) {
        return refuse(&request, &error::rate_limited(after));
    }
    match row {
        Some(row) => layer::run(row, request, next).await,
        None => next.run(request).await,
    }
}

async fn identify(gate: &Gate, peer: &Peer, proof: Proof) -> Result<Option<ExecutorIdentity>, Status> {
    let late_will_do = match proof {
        Proof::JoinToken | Proof::Nothing => return Ok(None),
        // A bearer token means nothing here.
        Proof::Token(_) => return Err(error::unknown_rpc()),
        Proof::Certificate => false,
        Proof::LateCertificate => true,
    };
    let certificate = peer.certificate.ok_or_else(error::no_certificate)?;
    let identity =
        gate.enrolment.identify(certificate.fingerprint, peer.shown.as_ref()).await.map_err(|error| told(&error))?;
    match identity.standing {
        Standing::Late if !late_will_do => Err(error::late_certificate()),
        Standing::Late | Standing::Valid => Ok(Some(identity)),
    }
}

fn told(error: &Error) -> Status {
    error::status(error)
}

/// In gRPC to gRPC, in HTTP to HTTP.
fn refuse(request: &Request, status: &Status) -> http::Response<Body> {
    let grpc = request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if grpc {
        return status.clone().into_http();
    }
    let code = match status.code() {
        tonic::Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        tonic::Code::FailedPrecondition => StatusCode::FORBIDDEN,
        tonic::Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        tonic::Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut answer = http::Response::new(Body::from(format!("{}\n", status.message())));
    *answer.status_mut() = code;
    answer
}
