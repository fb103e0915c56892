//! `/organizations/{organization}/executors`: the fleet in numbers, then a page of it at a time, by the filter of the API.
//!
//! Every list is a page of the index of names, so that it costs the same with ten executors and with a hundred thousand.

mod overview;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use domain::OrganizationId;
use futures_util::StreamExt as _;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::Said;
use crate::web::live::{self, Pace, Part};
use crate::web::page::{Frame, Page, Place, form, html, rendered};
use crate::web::session::SignedIn;
use crate::web::show;
use overview::Overview;

/// Rows of a page: what fits two screens.
const ROWS: i32 = 50;

/// What people look for at night.
const USUAL: [(&str, &str); 7] = [
    ("All", ""),
    ("Offline", "online=false"),
    ("Held", "held=true"),
    ("Pinned", "pinned=true"),
    ("Deactivated", "state=deactivated"),
    ("Agents", "kind=agent"),
    ("Operators", "kind=operator"),
];

/// The page.
#[derive(Template)]
#[template(path = "executors.html")]
struct ExecutorsPage {
    frame: Frame,
    organization: OrganizationId,
    asked: Asked,
    overview: Overview,
    executors: Vec<v1::Executor>,
    /// The query of the next page; none: this is the last.
    next: Option<String>,
    /// Why the filter was not taken.
    refused: Option<Said>,
}

/// What is live of it.
#[derive(Clone, Debug, Default, Template)]
#[template(path = "part/executors.html")]
struct Rows {
    executors: Vec<v1::Executor>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    filter: String,
    #[serde(default)]
    page_token: String,
}

impl Asked {
    fn query(&self, page_token: &str) -> String {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("filter", &self.filter)
            .append_pair("page_token", page_token)
            .finish()
    }

    fn is(&self, filter: &str) -> &'static str {
        if self.filter.trim() == filter { "true" } else { "false" }
    }
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/organizations/{organization}/executors", get(list))
        .route("/organizations/{organization}/executors/-/live", get(follow))
}

async fn list(signed_in: SignedIn, Path(organization): Path<String>, Query(asked): Query<Asked>) -> Page {
    let organization = form::organization(&organization)?;
    let parent = format!("organizations/{organization}");
    let request = v1::SummarizeExecutorsRequest { parent: parent.clone() };
    let summary = signed_in.api.executors().summarize_executors(request).await?.into_inner();
    let (listed, refused) = match read(&signed_in.api, parent, &asked).await {
        Ok(listed) => (listed, None),
        // What was typed stays, with the sentence under it.
        Err(status) if status.code() == tonic::Code::InvalidArgument => (Default::default(), Some(Said::from(status))),
        Err(status) => return Err(status.into()),
    };
    let next = (!listed.next_page_token.is_empty()).then(|| asked.query(&listed.next_page_token));
    Ok(html(&ExecutorsPage {
        frame: Frame::new(&signed_in.reader, Some(organization.clone()), Place::Executors),
        organization,
        asked,
        overview: Overview::new(&summary),
        executors: listed.executors,
        next,
        refused,
    }))
}

/// The same page of rows again and again, as executors come and go.
async fn follow(
    State(web): State<Web>,
    signed_in: SignedIn,
    Path(organization): Path<String>,
    Query(asked): Query<Asked>,
) -> Page {
    let parent = format!("organizations/{organization}");
    let types = ["executor.*", "attempt.requested", "attempt.ended"].map(str::to_owned).to_vec();
    let request = v1::WatchEventsRequest { parent: parent.clone(), after_sequence: 0, types };
    let events = signed_in.api.events().watch_events(request).await?.into_inner();
    let changes = events.take_while(|event| std::future::ready(event.is_ok())).map(|_| ());
    let api = signed_in.api;
    Ok(live::part(&web, Pace::Calm, Box::pin(changes), move || {
        let (api, parent, asked) = (api.clone(), parent.clone(), asked.clone());
        async move {
            let rows = Rows { executors: read(&api, parent, &asked).await?.executors };
            rendered(&rows).map(Part::Now)
        }
    }))
}

async fn read(api: &Api, parent: String, asked: &Asked) -> Result<v1::ListExecutorsResponse, tonic::Status> {
    let request = v1::ListExecutorsRequest {
        parent,
        page_size: ROWS,
        page_token: asked.page_token.clone(),
        filter: asked.filter.clone(),
    };
    Ok(api.executors().list_executors(request).await?.into_inner())
}
