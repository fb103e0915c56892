//! `/healthz`: the process answers. `/readyz`: it would serve a request now. `/metrics`: for Prometheus.
//!
//! None of them needs a token, and none tells anything of an organization.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::StatusCode;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// A store that has not answered by then is as good as away.
const STORE_LIMIT: Duration = Duration::from_secs(2);

/// What the pages look at.
#[derive(Clone)]
pub struct Status {
    /// The use cases: whether the store answers.
    pub app: Arc<App>,
    /// Cancelled once the server drains.
    pub draining: CancellationToken,
    /// What was counted.
    pub metrics: PrometheusHandle,
}

/// The pages.
pub fn routes(status: Status) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(status)
}

async fn ready(State(status): State<Status>) -> (StatusCode, &'static str) {
    if status.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match tokio::time::timeout(STORE_LIMIT, status.app.ready()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(error = crate::observe::chain(&error), "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "the store is not available\n")
        }
        Err(_) => {
            tracing::warn!("not ready: the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}

async fn metrics(State(status): State<Status>) -> ([(http::HeaderName, &'static str); 1], String) {
    let kind = (http::header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    ([kind], status.metrics.render())
}
