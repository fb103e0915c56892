//! `/organizations/{organization}/executors/{executor}`: one executor, what it runs, what it may be asked for, and what became of
//! what it was asked.
//!
//! Everything that may change while somebody looks is one live part; the forms stand beside it, so that nothing that is being
//! typed is touched.

pub mod change;

mod now;

mod panel;

mod watch;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use domain::{ExecutorId, ExecutorName, OrganizationId};
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::error::PageError;
use crate::web::live::{self, Pace, Part};
use crate::web::page::attempt::timeline;
use crate::web::page::{Frame, Page, Place, html, rendered};
use crate::web::session::SignedIn;
use crate::web::show;

use now::Now;

/// Attempts of a page of the history.
const ROWS: i32 = 50;

/// The page.
#[derive(Template)]
#[template(path = "executor.html")]
struct ExecutorPage {
    frame: Frame,
    now: Now,
}

/// What is live of it.
#[derive(Template)]
#[template(path = "part/executor.html")]
struct ExecutorPart {
    frame: Frame,
    now: Now,
}

/// Every attempt.
#[derive(Template)]
#[template(path = "executor/attempts.html")]
struct AttemptsPage {
    frame: Frame,
    name: ExecutorName,
    attempts: Vec<v1::Attempt>,
    next_page_token: String,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    page_token: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/organizations/{organization}/executors/{executor}", get(show))
        .route("/organizations/{organization}/executors/{executor}/live", get(follow))
        .route("/organizations/{organization}/executors/{executor}/attempts", get(attempts))
        .merge(change::routes())
}

/// The executor that a path names.
///
/// # Errors
/// It names none.
pub fn named(organization: &str, executor: &str) -> Result<ExecutorName, PageError> {
    let (Ok(organization), Ok(executor)) = (OrganizationId::new(organization), ExecutorId::new(executor)) else {
        return Err(PageError::not_found());
    };
    Ok(ExecutorName { organization, executor })
}

/// A sentence of the API on a page whose heading says which organization it is: its executor has its short name.
#[must_use]
pub fn short(message: &str, name: &ExecutorName) -> String {
    message.replace(&name.to_string(), name.executor.as_str())
}

/// What surrounds a page about an executor.
#[must_use]
pub fn frame(signed_in: &SignedIn, name: &ExecutorName) -> Frame {
    Frame::new(&signed_in.reader, Some(name.organization.clone()), Place::Executors)
}

async fn show(
    State(web): State<Web>,
    signed_in: SignedIn,
    Path((organization, executor)): Path<(String, String)>,
) -> Page {
    let name = named(&organization, &executor)?;
    let now = Now::read(&signed_in.api, &name, web.now().await?).await?;
    Ok(html(&ExecutorPage { frame: frame(&signed_in, &name), now }))
}

async fn follow(
    State(web): State<Web>,
    signed_in: SignedIn,
    Path((organization, executor)): Path<(String, String)>,
) -> Page {
    let name = named(&organization, &executor)?;
    let changes = watch::changes(&signed_in.api, &name).await?;
    let live = web.clone();
    let render = move || {
        let (web, signed_in, name) = (web.clone(), signed_in.clone(), name.clone());
        async move {
            let now = Now::read(&signed_in.api, &name, web.now().await?).await?;
            rendered(&ExecutorPart { frame: frame(&signed_in, &name), now }).map(Part::Now)
        }
    };
    Ok(live::part(&live, Pace::Prompt, changes, render))
}

async fn attempts(
    signed_in: SignedIn,
    Path((organization, executor)): Path<(String, String)>,
    Query(asked): Query<Asked>,
) -> Page {
    let name = named(&organization, &executor)?;
    let request = v1::ListAttemptsRequest {
        parent: name.to_string(),
        page_size: ROWS,
        page_token: asked.page_token,
        open_to_release: String::new(),
    };
    let listed = signed_in.api.upgrades().list_attempts(request).await?.into_inner();
    Ok(html(&AttemptsPage {
        frame: frame(&signed_in, &name),
        name,
        attempts: listed.attempts,
        next_page_token: listed.next_page_token,
    }))
}
