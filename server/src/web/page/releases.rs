//! `/releases`: the catalog, and `/releases/new`, where a publisher begins one.

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use domain::role::Demand;
use proto::v1;
use serde::Deserialize;

use crate::web::Web;
use crate::web::error::Said;
use crate::web::markdown;
use crate::web::page::form::{demanded, refused};
use crate::web::page::release::view;
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::{Posted, SignedIn};
use crate::web::show;

/// Rows of a page: what fits two screens.
const ROWS: i32 = 50;

/// The catalog.
#[derive(Template)]
#[template(path = "releases.html")]
struct ReleasesPage {
    frame: Frame,
    kind: v1::Kind,
    releases: Vec<v1::Release>,
    next_page_token: String,
}

/// The form.
#[derive(Template)]
#[template(path = "release/new.html")]
struct NewReleasePage {
    frame: Frame,
    refused: Option<Said>,
    preview: bool,
    form: NewRelease,
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    page_token: String,
}

/// A release as the form has it.
#[derive(Debug, Default, Deserialize)]
struct NewRelease {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    release_notes: String,
    /// The button: `preview` looks, everything else makes the draft.
    #[serde(default)]
    action: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/releases", get(list).post(create)).route("/releases/new", get(begin))
}

async fn list(signed_in: SignedIn, Query(asked): Query<Asked>) -> Page {
    let kind = kind(&asked.kind);
    let request = v1::ListReleasesRequest { kind: kind.into(), page_size: ROWS, page_token: asked.page_token };
    let listed = signed_in.api.releases().list_releases(request).await?.into_inner();
    Ok(html(&ReleasesPage {
        frame: Frame::new(&signed_in.reader, None, Place::Releases),
        kind,
        releases: listed.releases,
        next_page_token: listed.next_page_token,
    }))
}

async fn begin(signed_in: SignedIn) -> Page {
    demanded(&signed_in.reader, Demand::Publish, None)?;
    let frame = Frame::new(&signed_in.reader, None, Place::Releases);
    let form = NewRelease { kind: "agent".to_owned(), channel: "stable".to_owned(), ..NewRelease::default() };
    Ok(html(&NewReleasePage { frame, refused: None, preview: false, form }))
}

async fn create(Posted { by, form }: Posted<NewRelease>) -> Page {
    let frame = Frame::new(&by.reader, None, Place::Releases);
    if form.action == "preview" {
        return Ok(html(&NewReleasePage { frame, refused: None, preview: true, form }));
    }
    let request = v1::CreateReleaseRequest {
        kind: kind(&form.kind).into(),
        version: form.version.trim().to_owned(),
        channel: channel(&form.channel).into(),
        // Forms send the line ends of 1980.
        release_notes: form.release_notes.replace("\r\n", "\n"),
    };
    match by.api.releases().create_release(request).await {
        Ok(made) => Ok(Redirect::to(&format!("/{}", made.into_inner().name)).into_response()),
        Err(status) => {
            let said = refused(status)?;
            let code = said.code;
            let page = NewReleasePage { frame, refused: Some(said), preview: false, form };
            Ok((code, html(&page)).into_response())
        }
    }
}

/// A kind by its word; what is none is unspecified.
fn kind(word: &str) -> v1::Kind {
    [v1::Kind::Agent, v1::Kind::Operator].into_iter().find(|kind| show::kind(*kind) == word).unwrap_or_default()
}

/// A channel by its word; what is none is unspecified.
fn channel(word: &str) -> v1::Channel {
    let known = [v1::Channel::Stable, v1::Channel::Beta, v1::Channel::Dev];
    known.into_iter().find(|channel| show::channel(*channel) == word).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_form_are_the_api_s() {
        assert_eq!(
            (kind("agent"), kind("operator"), kind("")),
            (v1::Kind::Agent, v1::Kind::Operator, v1::Kind::Unspecified)
        );
        assert_eq!((channel("beta"), channel("x")), (v1::Channel::Beta, v1::Channel::Unspecified));
    }
}
