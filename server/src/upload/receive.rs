//! What takes the bytes, behind authentication: it answers a [`Status`] where it refuses, as every RPC does.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody as _};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::routing::put;
use domain::{Artifact, Sha256};
use futures_util::StreamExt as _;
use http::{Method, Response, StatusCode};
use prost::Message as _;
use proto::{convert, v1};
use serde::Deserialize;
use tonic::Status;

use super::range::Range;
use super::tell;
use crate::app::App;
use crate::app::caller::Caller;
use crate::app::release::upload::Incoming;
use crate::grpc::access::UPLOADS;
use crate::grpc::error;
use crate::grpc::wire::{done, field};
use crate::json::codec::JSON;
use crate::json::{codec, schema, told};

/// A sender that is silent for so long is gone, whatever TCP says: others may go on with its upload.
const SILENCE: Duration = Duration::from_secs(30);

/// What becomes of the bytes. Empty texts are judged as the API judges them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    #[serde(default)]
    release: String,
    #[serde(default)]
    platform: String,
    #[serde(default)]
    file: String,
    /// In place of the two before it.
    #[serde(default)]
    image: String,
}

/// The route, for a layer that authenticates.
pub fn receivers(app: Arc<App>) -> Router {
    Router::new().route("/upload/{sha256}", put(receive).head(receive)).with_state(app)
}

async fn receive(
    State(app): State<Arc<App>>,
    target: Result<Query<Target>, QueryRejection>,
    request: Request,
) -> Response<Body> {
    // One spelling of a digest, and nothing else, becomes a path.
    let name = request.uri().path().strip_prefix(UPLOADS);
    let Some(Ok(sha256)) = name.map(str::parse::<Sha256>) else {
        return error::not_found("there is no such upload: the path ends with 64 lower-case hexadecimal digits")
            .into_http();
    };
    let Some(caller) = request.extensions().get::<Caller>().cloned() else {
        return error::no_token().into_http();
    };
    let has_bytes = target.as_ref().map_or(true, |Query(target)| target.image.is_empty());
    let answer = if request.method() == Method::HEAD {
        Ok(told(StatusCode::OK, JSON, Body::empty()))
    } else {
        store(&app, &caller, sha256, target, request).await
    };
    let mut answer = answer.unwrap_or_else(Status::into_http);
    if !has_bytes {
        return answer;
    }
    // Looked at after the fact: a part that was found wrong is gone by then.
    match app.upload_progress(&caller, &sha256).await {
        Ok(progress) => tell(&mut answer, progress),
        Err(failed) => return error::status(&failed).into_http(),
    }
    answer
}

async fn store(
    app: &App,
    caller: &Caller,
    sha256: Sha256,
    target: Result<Query<Target>, QueryRejection>,
    request: Request,
) -> Result<Response<Body>, Status> {
    let Query(target) = target.map_err(|wrong| error::field("query", wrong.body_text()))?;
    let release = field(convert::release::name("release", &target.release))?;
    if !target.image.is_empty() {
        let incoming = done(app.artifact_begin(caller, &release, image(&target, sha256, request.body())?).await)?;
        return in_words(done(app.artifact_finish(caller, incoming).await)?.into());
    }
    let range = Range::of(request.headers())?;
    let artifact = binary(&target, sha256, range.total)?;
    let mut incoming = done(app.artifact_begin(caller, &release, artifact).await)?;
    done(incoming.resume(app, range.offset).await)?;
    let received = take(app, &mut incoming, request.into_body(), range.length).await?;
    if range.offset + received < range.total {
        return Ok(told(StatusCode::ACCEPTED, JSON, Body::from("{}")));
    }
    in_words(done(app.artifact_finish(caller, incoming).await)?.into())
}

/// The release, as JSON.
fn in_words(release: v1::Release) -> Result<Response<Body>, Status> {
    let kind = schema::message("novacula.v1.Release").ok_or_else(error::internal)?;
    let text = codec::json(kind, &release.encode_to_vec()).ok_or_else(error::internal)?;
    Ok(told(StatusCode::OK, JSON, Body::from(text)))
}

/// An agent's binary, without a signature yet.
fn binary(target: &Target, sha256: Sha256, size: u64) -> Result<Artifact, Status> {
    unsigned(v1::artifact::Artifact::Agent(v1::AgentArtifact {
        platform: target.platform.clone(),
        file: target.file.clone(),
        size_bytes: size,
        sha256: sha256.to_string(),
        external_url: String::new(),
    }))
}

/// An operator's image, of which there are no bytes here.
fn image(target: &Target, sha256: Sha256, body: &Body) -> Result<Artifact, Status> {
    if !target.platform.is_empty() || !target.file.is_empty() {
        return Err(error::field(
            "image",
            "is an operator's, platform and file are an agent's: say the one or the others",
        ));
    }
    if !body.is_end_stream() {
        return Err(error::field("content-length", "is more than 0, and an image's bytes stay in its registry"));
    }
    let digest = format!("sha256:{sha256}");
    unsigned(v1::artifact::Artifact::Operator(v1::OperatorArtifact { image: target.image.clone(), digest }))
}

fn unsigned(artifact: v1::artifact::Artifact) -> Result<Artifact, Status> {
    field(v1::Artifact { artifact: Some(artifact), minisign_signatures: Vec::new() }.try_into())
}

/// Takes the body to its end, and says how many bytes it had.
async fn take(app: &App, incoming: &mut Incoming, body: Body, length: u64) -> Result<u64, Status> {
    let (mut chunks, mut received) = (body.into_data_stream(), 0);
    loop {
        let next = tokio::time::timeout(SILENCE, chunks.next()).await.map_err(|_| error::deadline(SILENCE))?;
        let Some(chunk) = next.transpose().map_err(|_| error::cut_off())? else { return Ok(received) };
        received += chunk.len() as u64;
        if received > length {
            return Err(error::field("content-range", format!("names {length} bytes, and the body has more")));
        }
        done(incoming.write(app, chunk).await)?;
    }
}
