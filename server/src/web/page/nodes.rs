//! `/organizations/{organization}/executors/{executor}/nodes`: the machines that an executor reports.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::response::IntoResponse as _;
use axum::routing::get;
use domain::{ExecutorName, Reason};
use http::StatusCode;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::error::Said;
use crate::web::page::executor::{frame, named};
use crate::web::page::{Frame, Page, html};
use crate::web::session::SignedIn;
use crate::web::show;

/// Rows of a page.
const ROWS: i32 = 50;

/// The page.
#[derive(Template)]
#[template(path = "nodes.html")]
struct NodesPage {
    frame: Frame,
    name: ExecutorName,
    nodes: Vec<v1::Node>,
    next_page_token: String,
    refused: Option<Said>,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    page_token: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/organizations/{organization}/executors/{executor}/nodes", get(list))
}

async fn list(
    signed_in: SignedIn,
    Path((organization, executor)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Page {
    let name = named(&organization, &executor)?;
    let request = v1::ListNodesRequest { parent: name.to_string(), page_size: ROWS, page_token: asked.page_token };
    let (listed, refused) = match signed_in.api.executors().list_nodes(request).await {
        Ok(listed) => (listed.into_inner(), None),
        Err(status) => {
            let said = Said::from(status.clone());
            // An old executor may say what this control plane does not understand: the page says so, and what to do.
            if Reason::parse(&said.reason) != Some(Reason::OutOfSupport) {
                return Err(status.into());
            }
            (v1::ListNodesResponse::default(), Some(said))
        }
    };
    let code = refused.as_ref().map_or(StatusCode::OK, |said| said.code);
    let page = NodesPage {
        frame: frame(&signed_in, &name),
        name,
        nodes: listed.nodes,
        next_page_token: listed.next_page_token,
        refused,
    };
    Ok((code, html(&page)).into_response())
}
