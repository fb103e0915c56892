//! Adding an artifact to a draft: what it is first, then its bytes, when they are to be kept here.
//!
//! The bytes are counted and hashed while they come, and have no name before they are what was announced. Bytes that are
//! stored already need not come again.

use bytes::Bytes;
use domain::audit::EventKind;
use domain::release::{Artifact, Location, Release, Status};
use domain::{Event, Kind, Reason, Refusal, ReleaseId, Sha256};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::commit::Patience;
use crate::app::error::Error;
use crate::app::release::{judge_signatures, label, settle};
use crate::artifacts::{self, Progress, Unfinished};

/// Most signatures of one artifact: one per release key and edition, with room to rotate.
pub const SIGNATURES_MAX: usize = 32;

/// An artifact on its way in.
#[derive(Debug)]
pub struct Incoming {
    release: ReleaseId,
    artifact: Artifact,
    bytes: Expected,
}

#[derive(Debug)]
enum Expected {
    /// They are elsewhere, or an image.
    None,
    /// They may come: a part is begun with the first of them.
    Stored { sha256: Sha256, size: u64 },
    /// They are coming.
    Coming(Box<artifacts::Upload>),
}

// === impl Incoming ===

impl Incoming {
    /// Goes on with what an earlier request left, at byte `offset`; at 0 it begins anew. What is cut off stays.
    ///
    /// # Errors
    /// `SIZE_MISMATCH` when it stands elsewhere; a field error when no bytes are to come.
    pub async fn resume(&mut self, app: &App, offset: u64) -> Result<(), Error> {
        let Expected::Stored { sha256, size } = self.bytes else { return Err(no_bytes()) };
        let stored = app.artifacts.progress(&sha256).await.map_err(artifact_error)?;
        if offset > 0 && stored == Progress::Whole(size) {
            // There is nothing to go on with, and nothing is missing.
            return if offset == size { Ok(()) } else { Err(offset_mismatch(size, offset).into()) };
        }
        let upload = app.artifacts.resume(sha256, size, offset).await.map_err(artifact_error)?;
        self.bytes = Expected::Coming(Box::new(upload));
        Ok(())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// `SIZE_MISMATCH` when they are more than announced; a field error when none are to come.
    pub async fn write(&mut self, app: &App, chunk: Bytes) -> Result<(), Error> {
        if let Expected::Stored { sha256, size } = self.bytes {
            let upload = app.artifacts.begin(sha256, size, Unfinished::Discard).await;
            self.bytes = Expected::Coming(Box::new(upload.map_err(artifact_error)?));
        }
        match &mut self.bytes {
            Expected::Coming(upload) => upload.write(chunk).await.map_err(artifact_error),
            Expected::None | Expected::Stored { .. } => Err(no_bytes()),
        }
    }
}

impl App {
    /// Begins with what is coming.
    ///
    /// # Errors
    /// `NOT_FOUND`; whatever executors would refuse about it; a release that is no draft.
    pub async fn artifact_begin(&self, caller: &Caller, id: &ReleaseId, artifact: Artifact) -> Result<Incoming, Error> {
        caller.authorize(None)?;
        let release = self.release_read(id).await?;
        check_draft(&release)?;
        self.check_artifact(&release, &artifact).await?;
        let bytes = match &artifact {
            Artifact::Agent { location: Location::Stored, size, sha256, .. } => {
                Expected::Stored { sha256: *sha256, size: *size }
            }
            Artifact::Agent { .. } | Artifact::Operator { .. } => Expected::None,
        };
        Ok(Incoming { release: id.clone(), artifact, bytes })
    }

    /// How far an upload of these bytes has come.
    ///
    /// # Errors
    /// The disk's.
    pub async fn upload_progress(&self, caller: &Caller, sha256: &Sha256) -> Result<Progress, Error> {
        caller.authorize(None)?;
        self.artifacts.progress(sha256).await.map_err(artifact_error)
    }

    /// Every byte has come: they are checked and kept, and the draft has its artifact. One of the same platform is replaced.
    ///
    /// # Errors
    /// `SIZE_MISMATCH`, `DIGEST_MISMATCH`; a release that is no draft any more.
    pub async fn artifact_finish(&self, caller: &Caller, incoming: Incoming) -> Result<Release, Error> {
        let Incoming { release: id, artifact, bytes } = incoming;
        match bytes {
            Expected::None => {}
            Expected::Coming(upload) => upload.finish().await.map_err(artifact_error)?,
            Expected::Stored { sha256, size } => {
                let stored = self.artifacts.claim(&sha256).await.map_err(artifact_error)?;
                if stored != Some(size) {
                    return Err(size_mismatch(size, stored.unwrap_or(0)).into());
                }
            }
        }
        let mut patience = Patience::new();
        loop {
            let mut release = self.release_read(&id).await?;
            check_draft(&release)?;
            let name = label(&artifact);
            release.artifacts.retain(|own| label(own) != name && matches!(own, Artifact::Agent { .. }));
            release.artifacts.push(artifact.clone());
            settle(&mut release)?;
            let event = Event {
                kind: EventKind::ArtifactUploaded,
                actor: caller.actor(),
                target: id.resource_name(),
                organization: None,
                time: self.now().await?,
                details: vec![("artifact", name)],
            };
            match self.store.release_commit(&release, &[event]).await {
                Err(error) if patience.again(&error).await => {}
                written => {
                    written?;
                    return Ok(release);
                }
            }
        }
    }

    async fn check_artifact(&self, release: &Release, artifact: &Artifact) -> Result<(), Error> {
        let manifest = |field: &str, error: &domain::manifest::Error| Error::field(field, error.to_string());
        match artifact {
            Artifact::Agent { file, size, location, .. } => {
                check_kind(release, Kind::Agent)?;
                domain::manifest::check_file(file).map_err(|error| manifest("artifact.agent.file", &error))?;
                let max = self.settings.max_artifact_bytes;
                if *size == 0 || *size > max {
                    let rule = format!("{size} is not from 1 to {max} bytes");
                    return Err(Error::field("artifact.agent.size_bytes", rule));
                }
                if let Location::External(url) = location {
                    check_url(url)?;
                }
            }
            Artifact::Operator { image, .. } => {
                check_kind(release, Kind::Operator)?;
                domain::manifest::check_image(image).map_err(|error| manifest("artifact.operator.image", &error))?;
            }
        }
        if artifact.signatures().len() > SIGNATURES_MAX {
            let rule = format!("has {} entries; at most {SIGNATURES_MAX} are kept", artifact.signatures().len());
            return Err(Error::field("artifact.minisign_signatures", rule));
        }
        let mut own = Vec::new();
        let elsewhere = self.highest_sequence_elsewhere(&release.id).await?;
        for file in judge_signatures(release, artifact)? {
            self.check_proven(&file)?;
            file.manifest().check_edition(release, &own, elsewhere)?;
            own.push(file.manifest().edition());
        }
        Ok(())
    }
}

fn check_draft(release: &Release) -> Result<(), Refusal> {
    let (reason, message) = match release.status {
        Status::Draft => return Ok(()),
        Status::Published => (
            Reason::AlreadyExists,
            format!("release {} is published: its bytes never change; make a new version", release.id),
        ),
        Status::Yanked => (Reason::ReleaseYanked, format!("release {} was yanked; make a new version", release.id)),
    };
    Err(Refusal::new(reason, message).with("release", &release.id))
}

fn check_kind(release: &Release, kind: Kind) -> Result<(), Refusal> {
    if release.id.kind == kind {
        return Ok(());
    }
    let message = format!("release {} is for kind {}, and the artifact for {kind}", release.id, release.id.kind);
    Err(Refusal::new(Reason::KindMismatch, message))
}

/// An external URL is https, names a host, and carries no password. Whether hosts may fetch it is theirs to say.
fn check_url(url: &str) -> Result<(), Error> {
    let refused = || {
        Error::field(
            "artifact.agent.external_url",
            "is not an https URL of at most 2,048 characters with a host and without user or fragment",
        )
    };
    let plain = url.len() <= 2_048 && url.bytes().all(|byte| byte.is_ascii_graphic()) && !url.contains('#');
    let parsed: http::Uri = url.parse().map_err(|_| refused())?;
    let authority = parsed.authority().map(http::uri::Authority::as_str);
    let host = authority.is_some_and(|authority| !authority.contains('@') && !authority.is_empty());
    if plain && host && parsed.scheme_str() == Some("https") { Ok(()) } else { Err(refused()) }
}

fn no_bytes() -> Error {
    Error::field("chunk", "no bytes are taken for an external URL or an image")
}

fn offset_mismatch(there: u64, asked: u64) -> Refusal {
    let message =
        format!("{there} bytes are here, and the request goes on at {asked}; go on at {there}, or begin at 0");
    Refusal::new(Reason::SizeMismatch, message).with("offset", there)
}

fn size_mismatch(expected: u64, actual: u64) -> Refusal {
    let message = format!("{expected} bytes were announced, and {actual} came; send the file whole");
    Refusal::new(Reason::SizeMismatch, message).with("expected", expected).with("actual", actual)
}

/// What the storage says, for the caller.
pub(crate) fn artifact_error(error: artifacts::Error) -> Error {
    match error {
        artifacts::Error::Size { expected, actual } => size_mismatch(expected, actual).into(),
        artifacts::Error::Digest { expected, actual } => {
            let message = format!("the bytes have SHA-256 {actual}, and {expected} was announced");
            let refusal = Refusal::new(Reason::DigestMismatch, message);
            refusal.with("expected", expected).with("actual", actual).into()
        }
        artifacts::Error::Offset { there, asked } => offset_mismatch(there, asked).into(),
        artifacts::Error::Busy(sha256) => {
            let message = format!("artifact {sha256} is being uploaded by someone else; ask again when that is over");
            Refusal::new(Reason::Unavailable, message).into()
        }
        artifacts::Error::NoSpace { needed, free } => {
            let message = format!(
                "the artifact needs {needed} bytes and the control plane's disk has {free} to spare; make room, or use an external URL"
            );
            Refusal::new(Reason::Unavailable, message).into()
        }
        error @ artifacts::Error::Io { .. } => Error::Internal { operation: "keep an artifact", source: error.into() },
    }
}
