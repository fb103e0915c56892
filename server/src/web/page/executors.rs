//! `/organizations/{organization}/executors`: the fleet, a page at a time, by the filter of the API.

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::get;
use domain::OrganizationId;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::error::PageError;
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::SignedIn;
use crate::web::show;

/// Rows of a page: what fits two screens.
const ROWS: i32 = 50;

/// The page.
#[derive(Template)]
#[template(path = "executors.html")]
struct ExecutorsPage {
    frame: Frame,
    filter: String,
    executors: Vec<v1::Executor>,
    next_page_token: String,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    filter: String,
    #[serde(default)]
    page_token: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/organizations/{organization}/executors", get(list))
}

async fn list(signed_in: SignedIn, Path(organization): Path<String>, Query(asked): Query<Asked>) -> Page {
    let organization = OrganizationId::new(&organization).map_err(|_| PageError::not_found())?;
    let request = v1::ListExecutorsRequest {
        parent: format!("organizations/{organization}"),
        page_size: ROWS,
        page_token: asked.page_token,
        filter: asked.filter.clone(),
    };
    let listed = signed_in.api.executors().list_executors(request).await?.into_inner();
    Ok(html(&ExecutorsPage {
        frame: Frame::new(&signed_in.reader, Some(organization), Place::Executors),
        filter: asked.filter,
        executors: listed.executors,
        next_page_token: listed.next_page_token,
    }))
}
