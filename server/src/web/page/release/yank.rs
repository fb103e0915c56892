//! `/releases/{release}/yank`: withdrawing a release, with a reason for whoever waits for it.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use domain::role::Demand;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::error::Said;
use crate::web::page::form::{demanded, refused};
use crate::web::page::release::{read, view};
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::{Posted, SignedIn};

/// The page.
#[derive(Template)]
#[template(path = "release/yank.html")]
struct YankPage {
    frame: Frame,
    release: v1::Release,
    refused: Option<Said>,
    reason: String,
}

#[derive(Deserialize)]
struct Yank {
    #[serde(default)]
    reason: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/releases/{release}/yank", get(confirm).post(yank))
}

async fn confirm(signed_in: SignedIn, Path(release): Path<String>) -> Page {
    demanded(&signed_in.reader, Demand::Publish, None)?;
    let release = read(&signed_in.api, &release).await?;
    let frame = Frame::new(&signed_in.reader, None, Place::Releases);
    Ok(html(&YankPage { frame, release, refused: None, reason: String::new() }))
}

async fn yank(Path(release): Path<String>, Posted { by, form }: Posted<Yank>) -> Page {
    let release = read(&by.api, &release).await?;
    let reason = form.reason.trim().replace("\r\n", "\n");
    let request = v1::YankReleaseRequest { name: release.name.clone(), reason: reason.clone() };
    match by.api.releases().yank_release(request).await {
        Ok(_) => Ok(Redirect::to(&format!("/{}", release.name)).into_response()),
        Err(status) => {
            let said = refused(status)?;
            let (code, frame) = (said.code, Frame::new(&by.reader, None, Place::Releases));
            Ok((code, html(&YankPage { frame, release, refused: Some(said), reason })).into_response())
        }
    }
}
