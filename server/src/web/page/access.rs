//! `/organizations/{organization}/access`: who may join and who may call; `/access`: the same of the installation, with its
//! organizations.
//!
//! A secret is in the answer of the form that made it, and nowhere else: in no URL, in no log, in no page that can be loaded again.

pub mod join_tokens;

pub mod tokens;

pub mod organizations;

pub mod lines;

pub mod view;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use domain::role::Demand;
use domain::{OrganizationId, Reason, TokenId};
use http::StatusCode;
use proto::convert::field::to_timestamp;
use proto::v1;
use serde::Deserialize;
use tonic_types::StatusExt as _;
use uuid::{NoContext, Uuid};

use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::PageError;
use crate::web::page::form::{demanded, organization};
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::SignedIn;
use crate::web::show;

/// Rows that are looked through for those that count: the API's most. Each sign-in of a browser is one.
const ROWS: i32 = 1_000;

/// Rows that are over and shown all the same: the newest.
const ENDED: usize = 50;

/// Organizations of a page.
const ORGANIZATIONS: i32 = 100;

/// An organization's page.
#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    frame: Frame,
    organization: OrganizationId,
    /// Good ones.
    join_tokens: Vec<view::JoinRow>,
    /// Those that are over: the newest, and how many there are in all.
    ended_join_tokens: Vec<view::JoinRow>,
    n_ended_join_tokens: usize,
    next_join_tokens: String,
    tokens: Tokens,
}

/// The installation's page.
#[derive(Template)]
#[template(path = "access/installation.html")]
struct InstallationPage {
    frame: Frame,
    organizations: Vec<v1::Organization>,
    next_organizations: String,
    tokens: Tokens,
}

/// Bearer tokens, sorted for people.
#[derive(Debug)]
struct Tokens {
    /// Where one is made: `/tokens`, `/organizations/acme/tokens`.
    path: String,
    /// Made by people, and good.
    live: Vec<view::TokenRow>,
    /// Of browsers, and good.
    browsers: Vec<view::TokenRow>,
    /// Over: the newest, and how many there are in all.
    ended: Vec<view::TokenRow>,
    n_ended: usize,
    next: String,
}

#[derive(Deserialize)]
struct Asked {
    /// Where the list of tokens begins.
    #[serde(default)]
    tokens: String,
    /// Where the other list begins.
    #[serde(default)]
    page_token: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/access", get(of_installation))
        .route("/organizations/{organization}/access", get(of_organization))
        .merge(join_tokens::routes())
        .merge(tokens::routes())
        .merge(organizations::routes())
}

async fn of_organization(
    State(web): State<Web>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Page {
    let SignedIn { api, reader } = signed_in;
    let organization = organization(&id)?;
    demanded(&reader, Demand::Own, Some(&organization))?;
    let request = v1::ListJoinTokensRequest {
        parent: format!("organizations/{organization}"),
        page_size: ROWS,
        page_token: asked.page_token,
    };
    let listed = api.organizations().list_join_tokens(request).await?.into_inner();
    let now = now(&web).await?;
    let tokens = tokens(&api, Some(&organization), asked.tokens, (&reader.session, now)).await?;
    let rows = listed.join_tokens.into_iter().map(|token| view::join_row(token, now));
    let (join_tokens, mut ended_join_tokens): (Vec<_>, Vec<_>) = rows.partition(|row| row.is_live);
    let n_ended_join_tokens = ended_join_tokens.len();
    ended_join_tokens.truncate(ENDED);
    Ok(html(&AccessPage {
        frame: Frame::new(&reader, Some(organization.clone()), Place::Access),
        organization,
        join_tokens,
        ended_join_tokens,
        n_ended_join_tokens,
        next_join_tokens: listed.next_page_token,
        tokens,
    }))
}

async fn of_installation(State(web): State<Web>, signed_in: SignedIn, Query(asked): Query<Asked>) -> Page {
    let SignedIn { api, reader } = signed_in;
    demanded(&reader, Demand::Install, None)?;
    let request = v1::ListOrganizationsRequest { page_size: ORGANIZATIONS, page_token: asked.page_token };
    let listed = api.organizations().list_organizations(request).await?.into_inner();
    let now = now(&web).await?;
    Ok(html(&InstallationPage {
        tokens: tokens(&api, None, asked.tokens, (&reader.session, now)).await?,
        frame: Frame::new(&reader, None, Place::Access),
        organizations: listed.organizations,
        next_organizations: listed.next_page_token,
    }))
}

async fn tokens(
    api: &Api,
    organization: Option<&OrganizationId>,
    page_token: String,
    (own, now): (&TokenId, prost_types::Timestamp),
) -> Result<Tokens, PageError> {
    let parent = organization.map(|id| format!("organizations/{id}")).unwrap_or_default();
    let path = if parent.is_empty() { "/tokens".to_owned() } else { format!("/{parent}/tokens") };
    let request = v1::ListTokensRequest { parent, page_size: ROWS, page_token };
    let listed = api.organizations().list_tokens(request).await?.into_inner();
    let rows = listed.tokens.into_iter().map(|token| view::token_row(token, own, now));
    let (live, mut ended): (Vec<_>, Vec<_>) = rows.partition(|row| row.is_live);
    let n_ended = ended.len();
    ended.truncate(ENDED);
    let (browsers, live) = live.into_iter().partition(|row| row.is_browser);
    Ok(Tokens { path, live, browsers, ended, n_ended, next: listed.next_page_token })
}

/// What a form says that is sent again after it made something.
#[derive(Template)]
#[template(path = "access/shown_once.html")]
struct ShownOncePage {
    frame: Frame,
    /// `Join token`, `Token`.
    noun: &'static str,
    /// Where the list is.
    access: String,
    /// Where another is made.
    again: String,
    /// What was made then.
    name: String,
}

/// The page of a form that was sent again, where `status` says that what it makes was made before; `prefix` is the place's,
/// `/organizations/acme/`, and `path` what the form makes, below it. None: that is not why it was refused.
fn made_before(
    status: &tonic::Status,
    frame: &Frame,
    (noun, prefix, path): (&'static str, &str, &str),
) -> Option<Response> {
    let details = status.get_error_details();
    let info = details.error_info().filter(|info| Reason::parse(&info.reason) == Some(Reason::RequestIdReused))?;
    let name = info.metadata.get("name").cloned()?;
    let (access, again) = (format!("{prefix}access"), format!("{prefix}{path}/new"));
    let page = ShownOncePage { frame: frame.clone(), noun, access, again, name };
    Some((StatusCode::CONFLICT, html(&page)).into_response())
}

/// A request id for a form that makes a secret, so that sending it again makes no second one.
async fn request_id(web: &Web) -> Result<String, PageError> {
    let now = now(web).await?;
    let (seconds, nanos) = (u64::try_from(now.seconds).unwrap_or(0), u32::try_from(now.nanos).unwrap_or(0));
    Ok(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos)).to_string())
}

/// The clock by which tokens end, so that a row says what the API would.
async fn now(web: &Web) -> Result<prost_types::Timestamp, PageError> {
    let now = web.app.now().await?;
    Ok(to_timestamp(now))
}
