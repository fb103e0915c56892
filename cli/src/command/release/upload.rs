//! `novacula release upload`: checks, then streams the bytes with a progress bar.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use domain::manifest::Subject;
use domain::{Manifest, ReleaseId};
use futures_util::StreamExt as _;
use indicatif::ProgressBar;
use proto::v1;
use proto::v1::release_service_client::ReleaseServiceClient;
use proto::v1::upload_artifact_request::{Header, Message};
use tokio::io::AsyncReadExt as _;
use tokio_stream::wrappers::ReceiverStream;

use crate::args;
use crate::command::Session;
use crate::command::release::check::{self, Upload};
use crate::error::Error;
use crate::names::Names;

/// Bytes of one message; the server takes at most 1 MiB.
const CHUNK: usize = 256 * 1024;

pub(super) async fn upload(session: &Session, asked: &args::release::Upload) -> Result<v1::Release, Error> {
    let name = Names::release(&asked.release);
    let release = ReleaseId::parse_resource_name(&name).map_err(|error| Error::Config(error.to_string()))?;
    let (artifact, bytes) = match (&asked.file, &asked.image, &asked.digest) {
        (Some(file), _, _) => {
            let artifact = agent(asked, file, &release)?;
            (artifact, asked.external_url.is_none().then(|| file.clone()))
        }
        (None, Some(image), Some(digest)) => (operator(asked, image, digest, &release)?, None),
        _ => {
            return Err(Error::Config("give a FILE, or --image and --digest".to_owned()));
        }
    };
    let (sender, receiver) = tokio::sync::mpsc::channel(4);
    let header = Header { release: name, artifact: Some(artifact) };
    let send = send(header, bytes, sender);
    let mut client = ReleaseServiceClient::new(session.streaming_api().await?);
    let call = client.upload_artifact(ReceiverStream::new(receiver).map(|message| message));
    let (sent, answered) = tokio::join!(send, call);
    // A refusal makes the sending side fail too; the refusal is what helps.
    let release = answered?.into_inner();
    sent?;
    Ok(release)
}

fn agent(asked: &args::release::Upload, file: &Path, release: &ReleaseId) -> Result<v1::Artifact, Error> {
    let measured = check::measure(file)?;
    let default = || vec![PathBuf::from(format!("{}.minisig", file.display()))];
    let paths = if asked.signatures.is_empty() { default() } else { asked.signatures.clone() };
    let signed = signatures(&paths, release, Upload::Binary(measured))?;
    let Some((first, _)) = signed.first() else {
        return Err(Error::Config("no signature".to_owned()));
    };
    let Subject::Agent { platform, file, .. } = &first.subject else {
        return Err(Error::Refused(format!("{}: signed for an operator, but a FILE was given", paths[0].display())));
    };
    let agent = v1::AgentArtifact {
        platform: platform.to_string(),
        file: file.clone(),
        size_bytes: measured.size,
        sha256: measured.sha256.to_string(),
        external_url: asked.external_url.clone().unwrap_or_default(),
    };
    Ok(v1::Artifact {
        artifact: Some(v1::artifact::Artifact::Agent(agent)),
        minisign_signatures: signed.into_iter().map(|(_, text)| text).collect(),
    })
}

fn operator(
    asked: &args::release::Upload,
    image: &str,
    digest: &str,
    release: &ReleaseId,
) -> Result<v1::Artifact, Error> {
    if asked.signatures.is_empty() {
        return Err(Error::Config("give --signature FILE: an image has no file beside which one could lie".to_owned()));
    }
    let upload = Upload::Image { image, digest: check::digest(digest)? };
    let signed = signatures(&asked.signatures, release, upload)?;
    let operator = v1::OperatorArtifact { image: image.to_owned(), digest: digest.to_owned() };
    Ok(v1::Artifact {
        artifact: Some(v1::artifact::Artifact::Operator(operator)),
        minisign_signatures: signed.into_iter().map(|(_, text)| text).collect(),
    })
}

fn signatures(paths: &[PathBuf], release: &ReleaseId, upload: Upload<'_>) -> Result<Vec<(Manifest, String)>, Error> {
    let one = |path: &PathBuf| {
        let text = check::read_signature(path)?;
        let manifest = check::manifest(path, &text)?;
        check::agrees(path, &manifest, release, upload)?;
        Ok((manifest, text))
    };
    paths.iter().map(one).collect()
}

async fn send(
    header: Header,
    file: Option<PathBuf>,
    sender: tokio::sync::mpsc::Sender<v1::UploadArtifactRequest>,
) -> Result<(), Error> {
    let wrap = |message| v1::UploadArtifactRequest { message: Some(message) };
    // A closed channel means the call has ended; its answer says why.
    if sender.send(wrap(Message::Header(header))).await.is_err() {
        return Ok(());
    }
    let Some(path) = file else { return Ok(()) };
    let mut file = tokio::fs::File::open(&path).await.map_err(|error| Error::file("read", &path, error))?;
    let size = file.metadata().await.map_err(|error| Error::file("read", &path, error))?.len();
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(size) } else { ProgressBar::hidden() };
    loop {
        let mut chunk = vec![0u8; CHUNK];
        let n = file.read(&mut chunk).await.map_err(|error| Error::file("read", &path, error))?;
        if n == 0 {
            break;
        }
        chunk.truncate(n);
        if sender.send(wrap(Message::Chunk(chunk))).await.is_err() {
            break;
        }
        bar.inc(n as u64);
    }
    bar.finish_and_clear();
    Ok(())
}
