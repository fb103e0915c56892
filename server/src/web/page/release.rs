//! `/releases/{release}`: what a release is, what it delivers, who signed it, and who depends on it.
//!
//! A publisher sees the catalog and no executors; whoever looks at an organization sees here who of it runs the release.

pub mod view;

pub mod sign;

pub mod upload;

pub mod signature_form;

pub mod publish;

pub mod yank;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query};
use axum::routing::get;
use domain::ReleaseId;
use domain::role::Demand;
use proto::v1;
use proto::v1::release::Status;
use serde::Deserialize;

use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::PageError;
use crate::web::markdown;
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::{Reader, SignedIn};
use crate::web::show;

/// Executors, and open attempts, that the page names at a time.
const NAMED: i32 = 20;

/// Releases to choose from for a comparison: more than anybody scrolls through.
const COMPARED: i32 = 1_000;

/// The page.
#[derive(Template)]
#[template(path = "release.html")]
struct ReleasePage {
    frame: Frame,
    release: v1::Release,
    rows: Vec<view::Row>,
    versions: Vec<String>,
    /// Of them, the one that a comparison begins with.
    suggested: String,
    compared: Option<Compared>,
    dependents: Option<Dependents>,
}

/// Against an earlier one.
struct Compared {
    with: String,
    answer: v1::CompareReleasesResponse,
    deltas: Vec<view::Delta>,
}

/// Who of the reader's organization depends on it.
#[derive(Debug)]
pub struct Dependents {
    /// Whose executors.
    pub organization: String,
    /// Those that run it, the first few by name.
    pub running: Vec<v1::Executor>,
    /// Whether more run it than are named.
    pub are_more: bool,
    /// A page of the open attempts that lead to it, oldest first.
    pub attempts: Vec<v1::Attempt>,
    /// Whether this is not the first page of them.
    pub goes_on: bool,
    /// Where the next page begins; empty: this is the last.
    pub next_attempts: String,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    against: String,
    /// Where the list of open attempts begins.
    #[serde(default)]
    attempts: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/releases/{release}", get(page))
        .merge(upload::routes())
        .merge(sign::routes())
        .merge(publish::routes())
        .merge(yank::routes())
}

async fn page(signed_in: SignedIn, Path(release): Path<String>, Query(asked): Query<Asked>) -> Page {
    let SignedIn { api, reader } = signed_in;
    let release = read(&api, &release).await?;
    let versions = match release.status() {
        Status::Published | Status::Yanked => comparable(&api, &release).await?,
        Status::Unspecified | Status::Draft => Vec::new(),
    };
    let against = Some(asked.against).filter(|asked| versions.contains(asked));
    let suggested = against.clone().or_else(|| view::previous(&versions, &release.version)).unwrap_or_default();
    let compared = match against {
        Some(with) => Some(compare(&api, &release, with).await?),
        None => None,
    };
    Ok(html(&ReleasePage {
        frame: Frame::new(&reader, None, Place::Releases),
        rows: view::rows(&release),
        dependents: dependents(&api, &reader, &release, asked.attempts).await?,
        versions,
        suggested,
        compared,
        release,
    }))
}

/// A release by the last part of its name.
///
/// # Errors
/// 404; the API's.
pub async fn read(api: &Api, release: &str) -> Result<v1::Release, PageError> {
    let name = format!("releases/{release}");
    ReleaseId::parse_resource_name(&name).map_err(|_| PageError::not_found())?;
    Ok(api.releases().get_release(v1::GetReleaseRequest { name }).await?.into_inner())
}

/// Who depends on it, for those who may look at an organization.
///
/// # Errors
/// The API's.
pub async fn dependents(
    api: &Api,
    reader: &Reader,
    release: &v1::Release,
    page_token: String,
) -> Result<Option<Dependents>, PageError> {
    let Some(organization) = reader.organization().filter(|own| reader.may(Demand::Look, Some(own))) else {
        return Ok(None);
    };
    let request = v1::ListExecutorsRequest {
        parent: format!("organizations/{organization}"),
        page_size: NAMED,
        page_token: String::new(),
        filter: view::filter(release),
    };
    let listed = api.executors().list_executors(request).await?.into_inner();
    let (running, are_more) = (listed.executors, !listed.next_page_token.is_empty());
    let goes_on = !page_token.is_empty();
    let request = v1::ListAttemptsRequest {
        parent: format!("organizations/{organization}/executors/-"),
        page_size: NAMED,
        page_token,
        open_to_release: release.name.clone(),
    };
    let open = api.upgrades().list_attempts(request).await?.into_inner();
    Ok(Some(Dependents {
        organization: organization.to_string(),
        running,
        are_more,
        attempts: open.attempts,
        goes_on,
        next_attempts: open.next_page_token,
    }))
}

async fn comparable(api: &Api, release: &v1::Release) -> Result<Vec<String>, PageError> {
    let request =
        v1::ListReleasesRequest { kind: release.kind, page_size: COMPARED, ..v1::ListReleasesRequest::default() };
    let listed = api.releases().list_releases(request).await?.into_inner();
    Ok(view::comparable(listed.releases, release))
}

async fn compare(api: &Api, release: &v1::Release, with: String) -> Result<Compared, PageError> {
    let request = v1::CompareReleasesRequest {
        kind: release.kind,
        from_version: with.clone(),
        to_version: release.version.clone(),
    };
    let answer = api.releases().compare_releases(request).await?.into_inner();
    Ok(Compared { with, deltas: view::deltas(&answer), answer })
}
