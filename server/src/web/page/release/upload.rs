//! `/releases/{release}/upload`: an artifact for a draft.
//!
//! ```text
//! form -> signatures (their manifest says platform, file, size, SHA-256) -> header -> UploadArtifact
//!      -> file, a piece at a time ------------------------------------------> its chunks
//! ```
//!
//! What is uploaded is what was signed, so that nothing is typed twice and nothing is hashed in a browser. The file passes
//! through: a slow API slows the browser down, and a control plane with 500 MB of memory takes an artifact of a gigabyte.

use askama::Template;
use axum::Router;
use axum::extract::multipart::Field;
use axum::extract::{DefaultBodyLimit, Multipart, Path};
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use domain::manifest::Subject;
use domain::role::Demand;
use proto::v1;
use proto::v1::artifact::Artifact as Delivered;
use proto::v1::upload_artifact_request::{Header, Message};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::app::minisign::SignatureFile;
use crate::grpc::error;
use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::Said;
use crate::web::page::form::{demanded, mistyped, refused};
use crate::web::page::release::signature_form::{PostedFiles, Small, Unread};
use crate::web::page::release::{read, view};
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::{Reader, SignedIn};
use crate::web::show;

/// Bytes of one message: the API takes no more.
const PIECE: usize = 1 << 20;

/// Pieces that wait for the API: enough that neither waits for the other's every step.
const WAITING: usize = 4;

/// Bytes that are read and thrown away after a refusal, so that the browser comes to read why. More is cut off.
const AFTER_REFUSAL: usize = 64 << 20;

/// The page.
#[derive(Template)]
#[template(path = "release/upload.html")]
struct UploadPage {
    frame: Frame,
    release: v1::Release,
    refused: Option<Said>,
    external_url: String,
}

/// The routes. The API says how large an artifact may be; only what is not the file is limited here.
pub fn routes() -> Router<Web> {
    let upload = get(show_form).post(upload).layer(DefaultBodyLimit::disable());
    Router::new().route("/releases/{release}/upload", upload)
}

async fn show_form(signed_in: SignedIn, Path(release): Path<String>) -> Page {
    demanded(&signed_in.reader, Demand::Publish, None)?;
    let release = read(&signed_in.api, &release).await?;
    Ok(html(&UploadPage { frame: frame(&signed_in.reader), release, refused: None, external_url: String::new() }))
}

async fn upload(Path(release): Path<String>, posted: PostedFiles) -> Page {
    let PostedFiles { by, mut fields } = posted;
    let release = read(&by.api, &release).await?;
    let mut small = Small::default();
    match receive(&by.api, &release.name, &mut small, &mut fields).await {
        Ok(()) => Ok(Redirect::to(&format!("/{}", release.name)).into_response()),
        Err(Unread::Broken(broken)) => Err(broken),
        Err(Unread::Wrong(said)) => {
            let code = said.code;
            let frame = frame(&by.reader);
            let page = UploadPage { frame, release, refused: Some(said), external_url: small.external_url };
            Ok((code, html(&page)).into_response())
        }
    }
}

fn frame(reader: &Reader) -> Frame {
    Frame::new(reader, None, Place::Releases)
}

/// Reads the form up to the file, and hands that on.
async fn receive(api: &Api, release: &str, small: &mut Small, fields: &mut Multipart) -> Result<(), Unread> {
    while let Some(field) = fields.next_field().await? {
        if let Some(file) = small.take(field).await? {
            return pass_on(api, release, small, Some(file)).await;
        }
    }
    pass_on(api, release, small, None).await
}

/// Hands the artifact to the API while it comes.
async fn pass_on(api: &Api, release: &str, small: &Small, file: Option<Field<'_>>) -> Result<(), Unread> {
    let header = header(release, small).map_err(Unread::Wrong)?;
    let (pieces, received) = mpsc::channel(WAITING);
    let feed = async move {
        // The first message is taken whatever the API says of it.
        let _ = pieces.send(message(Message::Header(header))).await;
        match file {
            Some(file) => feed(file, pieces).await,
            None => Ok(()),
        }
    };
    let mut releases = api.releases();
    let (answer, fed) = tokio::join!(releases.upload_artifact(ReceiverStream::new(received)), feed);
    // What the API says of half a file is not worth saying: the browser went away, or its connection did.
    fed?;
    match answer {
        Ok(_) => Ok(()),
        Err(status) => Err(refused(status).map_or_else(Unread::Broken, Unread::Wrong)),
    }
}

/// Sends the file on. The API may stop listening at any time: it has an answer then.
async fn feed(mut file: Field<'_>, pieces: mpsc::Sender<v1::UploadArtifactRequest>) -> Result<(), Unread> {
    let mut thrown_away = 0;
    while let Some(mut chunk) = file.chunk().await? {
        while !chunk.is_empty() {
            let piece = chunk.split_to(chunk.len().min(PIECE));
            let length = piece.len();
            if pieces.send(message(Message::Chunk(piece.to_vec()))).await.is_err() {
                thrown_away += length;
            }
        }
        if thrown_away > AFTER_REFUSAL {
            break;
        }
    }
    Ok(())
}

fn message(message: Message) -> v1::UploadArtifactRequest {
    v1::UploadArtifactRequest { message: Some(message) }
}

/// What is coming, as its signature says.
fn header(release: &str, small: &Small) -> Result<Header, Said> {
    let Some(first) = small.signatures.first() else {
        return Err(mistyped("choose the signature file (.minisig): its manifest says what is uploaded"));
    };
    let file = SignatureFile::parse(first).map_err(|refusal| Said::from(error::refused(&refusal)))?;
    let artifact = match file.manifest().subject.clone() {
        Subject::Agent { platform, file, size, sha256 } => Delivered::Agent(v1::AgentArtifact {
            platform: platform.to_string(),
            file,
            size_bytes: size,
            sha256: sha256.to_string(),
            external_url: small.external_url.clone(),
        }),
        Subject::Operator { image, digest } => {
            Delivered::Operator(v1::OperatorArtifact { image, digest: format!("sha256:{digest}") })
        }
    };
    let artifact = v1::Artifact { artifact: Some(artifact), minisign_signatures: small.signatures.clone() };
    Ok(Header { release: release.to_owned(), artifact: Some(artifact) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_signature_there_is_nothing_to_upload() {
        let said = header("releases/agent-1.2.0", &Small::default()).expect_err("refused");
        assert!(said.message.contains(".minisig"), "{}", said.message);
    }

    #[test]
    fn what_is_no_signature_is_refused_in_the_words_of_the_api() {
        let small = Small { signatures: vec!["a picture of a cat".to_owned()], ..Small::default() };
        let said = header("releases/agent-1.2.0", &small).expect_err("refused");
        assert_eq!(said.reason, "SIGNATURE_INVALID");
    }
}
