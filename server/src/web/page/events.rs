//! `/organizations/{organization}/events` and `/events`: the feed and the audit log, newest first.
//!
//! The first page is live: a new row appears on top. Older pages stand still, so that reading them is not disturbed.

pub mod asked;

pub mod export;

pub mod view;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use domain::OrganizationId;
use futures_util::StreamExt as _;
use proto::v1;

use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::PageError;
use crate::web::live::{self, Pace, Part};
use crate::web::page::events::asked::Asked;
use crate::web::page::form::organization;
use crate::web::page::{Frame, Page, Place, html, rendered};
use crate::web::session::SignedIn;
use crate::web::show::Safe;

/// Rows of a page: what fits two screens.
const ROWS: i32 = 50;

/// The page.
#[derive(Template)]
#[template(path = "events.html")]
struct EventsPage {
    frame: Frame,
    /// `/organizations/acme/events`, `/events`.
    path: String,
    asked: Asked,
    families: Vec<asked::Family>,
    feed: Safe,
    next_page_token: String,
}

/// The rows: a part of the page, and what is sent while it is live.
#[derive(Template)]
#[template(path = "part/feed.html")]
struct Feed {
    rows: Vec<view::Row>,
    next_page_token: String,
    /// Where a watch goes on.
    watch_after_sequence: u64,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/events", get(of_installation))
        .route("/events/live", get(live_of_installation))
        .route("/organizations/{organization}/events", get(of_organization))
        .route("/organizations/{organization}/events/live", get(live_of_organization))
        .merge(export::routes())
}

async fn of_organization(signed_in: SignedIn, Path(id): Path<String>, Query(asked): Query<Asked>) -> Page {
    page(signed_in, Some(organization(&id)?), asked).await
}

async fn of_installation(signed_in: SignedIn, Query(asked): Query<Asked>) -> Page {
    page(signed_in, None, asked).await
}

async fn live_of_organization(
    State(web): State<Web>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Page {
    follow(web, signed_in.api, Some(organization(&id)?), asked).await
}

async fn live_of_installation(State(web): State<Web>, signed_in: SignedIn, Query(asked): Query<Asked>) -> Page {
    follow(web, signed_in.api, None, asked).await
}

async fn page(signed_in: SignedIn, organization: Option<OrganizationId>, asked: Asked) -> Page {
    let parent = parent(organization.as_ref());
    let feed = read(&signed_in.api, &parent, &asked).await?;
    Ok(html(&EventsPage {
        frame: Frame::new(&signed_in.reader, organization, Place::Events),
        path: path(&parent),
        asked,
        families: asked::families(),
        feed: Safe(rendered(&feed)?),
        next_page_token: feed.next_page_token,
    }))
}

/// New rows, as they come.
async fn follow(web: Web, api: Api, organization: Option<OrganizationId>, asked: Asked) -> Page {
    let parent = parent(organization.as_ref());
    let first = read(&api, &parent, &asked).await?;
    let request = v1::WatchEventsRequest {
        parent: parent.clone(),
        after_sequence: first.watch_after_sequence,
        types: asked.types(),
    };
    let watched = api.events().watch_events(request).await?.into_inner();
    let changes = watched.take_while(|event| std::future::ready(event.is_ok())).map(|_| ());
    Ok(live::part(&web, Pace::Calm, Box::pin(changes), move || {
        let (api, parent, asked) = (api.clone(), parent.clone(), asked.clone());
        async move {
            let feed = read(&api, &parent, &asked).await?;
            rendered(&feed).map(Part::Now)
        }
    }))
}

async fn read(api: &Api, parent: &str, asked: &Asked) -> Result<Feed, PageError> {
    let listed = api.events().list_events(asked.request(parent, ROWS)).await?.into_inner();
    Ok(Feed {
        rows: listed.events.into_iter().map(view::row).collect(),
        next_page_token: listed.next_page_token,
        watch_after_sequence: listed.watch_after_sequence,
    })
}

/// Whose feed, for the API.
fn parent(organization: Option<&OrganizationId>) -> String {
    organization.map(|id| format!("organizations/{id}")).unwrap_or_default()
}

/// Where its page is.
fn path(parent: &str) -> String {
    if parent.is_empty() { "/events".to_owned() } else { format!("/{parent}/events") }
}
