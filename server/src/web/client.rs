//! The API as the pages use it: the routes that answer gRPC, called in this process with the bearer token of whoever reads.
//!
//! A page is one more client (decision 0012). So it is allowed what the access table allows, counted by the same limits, ended
//! by the same deadlines, and refused in the same words; it has no way to the use cases of its own.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use futures_util::future::BoxFuture;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Response};
use proto::v1::event_service_client::EventServiceClient;
use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::organization_service_client::OrganizationServiceClient;
use proto::v1::release_service_client::ReleaseServiceClient;
use proto::v1::upgrade_service_client::UpgradeServiceClient;
use tower::ServiceExt as _;

use crate::grpc::layer::REQUEST_ID;
use crate::tls::connection::Peer;

/// Largest answer that a page reads: a page of a thousand executors is a fifth of it.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// Calls the API for one reader.
#[derive(Clone, Debug)]
pub struct Api {
    routes: Router,
    peer: Arc<Peer>,
    authorization: HeaderValue,
    request_id: Option<HeaderValue>,
}

// === impl Api ===

impl Api {
    /// For whoever sent `request`, as the bearer of `authorization`.
    #[must_use]
    pub fn new(
        routes: Router,
        peer: Arc<Peer>,
        mut authorization: HeaderValue,
        request_id: Option<HeaderValue>,
    ) -> Self {
        authorization.set_sensitive(true);
        Self { routes, peer, authorization, request_id }
    }

    /// Executors.
    #[must_use]
    pub fn executors(&self) -> ExecutorServiceClient<Self> {
        ExecutorServiceClient::new(self.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Upgrades and attempts.
    #[must_use]
    pub fn upgrades(&self) -> UpgradeServiceClient<Self> {
        UpgradeServiceClient::new(self.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The catalog.
    #[must_use]
    pub fn releases(&self) -> ReleaseServiceClient<Self> {
        ReleaseServiceClient::new(self.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// Organizations, join tokens, tokens.
    #[must_use]
    pub fn organizations(&self) -> OrganizationServiceClient<Self> {
        OrganizationServiceClient::new(self.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }

    /// The feed.
    #[must_use]
    pub fn events(&self) -> EventServiceClient<Self> {
        EventServiceClient::new(self.clone()).max_decoding_message_size(MAX_ANSWER_BYTES)
    }
}

impl tower::Service<Request<tonic::body::Body>> for Api {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        let mut request = request.map(Body::new);
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        if let Some(id) = &self.request_id {
            headers.insert(REQUEST_ID, id.clone());
        }
        request.extensions_mut().insert(Arc::clone(&self.peer));
        let routes = self.routes.clone();
        Box::pin(async move { routes.oneshot(request).await })
    }
}
