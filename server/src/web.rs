//! Plain HTTP: the pages for people, what monitors ask of the API listener, and the artifacts of the executor listener.
//!
//! ```text
//! browser -> guard (headers) -> compress -> session (cookie -> bearer) -> page -> client -> the API's own routes
//! ```
//!
//! A page reads the API, fills a template, and decides nothing. Everything works without JavaScript but what is live.

pub mod artifact;

pub mod status;

pub mod client;

pub mod guard;

pub mod compress;

pub mod session;

pub mod error;

pub mod asset;

pub mod live;

pub mod markdown;

pub mod show;

pub mod page;

use std::sync::Arc;
use std::time::SystemTime;

use axum::Router;
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use proto::convert::field::to_timestamp;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::grpc::limits::Limits;
use crate::supervise::Supervisor;
use crate::web::error::PageError;

/// What the pages stand on.
#[derive(Clone, Debug)]
pub struct Web {
    /// For signing in and out, which have no RPC, and for the clock of its store.
    pub app: Arc<App>,
    /// The API, without gRPC-Web around it.
    pub routes: Router,
    /// How often each may ask.
    pub limits: Arc<Limits>,
    /// Drives what is live.
    pub tasks: Supervisor,
    /// Cancelled once the server drains: what is live ends, and browsers come back to another replica.
    pub draining: CancellationToken,
}

/// There is no such page: for people as a page, for programs as a line.
#[must_use]
pub fn nowhere(asked: &HeaderMap) -> Response {
    let wants_page = asked.get(ACCEPT).is_some_and(|kinds| kinds.as_bytes().starts_with(b"text/html"));
    let mut answer = if wants_page {
        PageError::not_found().into_response()
    } else {
        (StatusCode::NOT_FOUND, "no such page\n").into_response()
    };
    guard::speak(&mut answer);
    answer
}

// === impl Web ===

impl Web {
    /// The moment by the store's clock, as every deadline is: what a page says of it does not depend on the replica that says it.
    ///
    /// # Errors
    /// The store is away.
    pub async fn now(&self) -> Result<SystemTime, PageError> {
        let now = self.app.now().await?;
        SystemTime::try_from(to_timestamp(now)).map_err(|_| PageError::inside())
    }
}

/// The pages, with everything that surrounds them.
pub fn routes(web: Web) -> Router {
    let pages = page::routes().layer(from_fn(compress::pages));
    Router::new().merge(asset::routes()).merge(pages).layer(from_fn(guard::headers)).with_state(web)
}
