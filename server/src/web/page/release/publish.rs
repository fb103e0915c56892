//! `/releases/{release}/publish`: what the API says of a publication before there is one, and then the publication.

use askama::Template;
use axum::Router;
use axum::extract::Path;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use domain::role::Demand;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::{PageError, Said};
use crate::web::page::form::{demanded, refused};
use crate::web::page::release::{read, view};
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::{Posted, Reader, SignedIn};
use crate::web::show;

/// The page.
#[derive(Template)]
#[template(path = "release/publish.html")]
struct PublishPage {
    frame: Frame,
    /// As it would be.
    release: v1::Release,
    warnings: Vec<String>,
    refused: Option<Said>,
}

#[derive(Deserialize)]
struct Publish {}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/releases/{release}/publish", get(confirm).post(publish))
}

async fn confirm(signed_in: SignedIn, Path(release): Path<String>) -> Page {
    demanded(&signed_in.reader, Demand::Publish, None)?;
    Ok(html(&look(&signed_in.api, &signed_in.reader, &release).await?))
}

async fn publish(Path(release): Path<String>, Posted { by, .. }: Posted<Publish>) -> Page {
    let release = read(&by.api, &release).await?;
    let request = v1::PublishReleaseRequest { name: release.name.clone(), validate_only: false };
    match by.api.releases().publish_release(request).await {
        Ok(_) => Ok(Redirect::to(&format!("/{}", release.name)).into_response()),
        Err(status) => {
            let said = refused(status)?;
            let (code, frame) = (said.code, Frame::new(&by.reader, None, Place::Releases));
            let page = PublishPage { frame, release, warnings: Vec::new(), refused: Some(said) };
            Ok((code, html(&page)).into_response())
        }
    }
}

/// What would be, without writing it.
async fn look(api: &Api, reader: &Reader, release: &str) -> Result<PublishPage, PageError> {
    let release = read(api, release).await?;
    let frame = Frame::new(reader, None, Place::Releases);
    let request = v1::PublishReleaseRequest { name: release.name.clone(), validate_only: true };
    match api.releases().publish_release(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let release = answer.release.unwrap_or(release);
            Ok(PublishPage { frame, release, warnings: answer.warnings, refused: None })
        }
        Err(status) => {
            let refused = Some(refused(status)?);
            Ok(PublishPage { frame, release, warnings: Vec::new(), refused })
        }
    }
}
