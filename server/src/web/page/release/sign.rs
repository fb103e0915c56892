//! `/releases/{release}/signatures`: another key's signature, or the promotion to a wider channel.

use askama::Template;
use axum::Router;
use axum::extract::{Multipart, Path};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use domain::manifest::Subject;
use domain::role::Demand;
use proto::v1;
use proto::v1::release::Status;

use crate::app::minisign::SignatureFile;
use crate::grpc::error;
use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::Said;
use crate::web::page::form::{demanded, mistyped, refused};
use crate::web::page::release::signature_form::{PostedFiles, Small, Unread};
use crate::web::page::release::{read, view};
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::SignedIn;

/// The page.
#[derive(Template)]
#[template(path = "release/signatures.html")]
struct SignPage {
    frame: Frame,
    release: v1::Release,
    refused: Option<Said>,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/releases/{release}/signatures", get(show_form).post(add))
}

async fn show_form(signed_in: SignedIn, Path(release): Path<String>) -> Page {
    demanded(&signed_in.reader, Demand::Publish, None)?;
    let release = read(&signed_in.api, &release).await?;
    let frame = Frame::new(&signed_in.reader, None, Place::Releases);
    Ok(html(&SignPage { frame, release, refused: None }))
}

async fn add(Path(release): Path<String>, posted: PostedFiles) -> Page {
    let PostedFiles { by, mut fields } = posted;
    let release = read(&by.api, &release).await?;
    match receive(&by.api, &release.name, &mut fields).await {
        Ok(()) => Ok(Redirect::to(&format!("/{}", release.name)).into_response()),
        Err(Unread::Broken(broken)) => Err(broken),
        Err(Unread::Wrong(said)) => {
            let code = said.code;
            let frame = Frame::new(&by.reader, None, Place::Releases);
            Ok((code, html(&SignPage { frame, release, refused: Some(said) })).into_response())
        }
    }
}

async fn receive(api: &Api, release: &str, fields: &mut Multipart) -> Result<(), Unread> {
    let mut small = Small::default();
    while let Some(field) = fields.next_field().await? {
        small.take(field).await?;
    }
    add_all(api, release, &small.signatures).await
}

/// Adds one after the other. Those before the first that is refused stay, which is said: adding one twice changes nothing.
async fn add_all(api: &Api, release: &str, signatures: &[String]) -> Result<(), Unread> {
    if signatures.is_empty() {
        return Err(Unread::Wrong(mistyped("choose at least one signature file (.minisig)")));
    }
    for (n, text) in signatures.iter().enumerate() {
        let file = SignatureFile::parse(text).map_err(|refusal| Unread::Wrong(error::refused(&refusal).into()))?;
        let platform = match &file.manifest().subject {
            Subject::Agent { platform, .. } => platform.to_string(),
            Subject::Operator { .. } => String::new(),
        };
        let request =
            v1::AddReleaseSignatureRequest { name: release.to_owned(), platform, minisign_signature: text.clone() };
        if let Err(status) = api.releases().add_release_signature(request).await {
            let mut said = refused(status).map_err(Unread::Broken)?;
            if n > 0 {
                said.message = format!("{n} of {} were added; then: {}", signatures.len(), said.message);
            }
            return Err(Unread::Wrong(said));
        }
    }
    Ok(())
}
