//! Releases through the API: drafted, uploaded in pieces, signed, published.

use domain::Channel;
use proto::v1;
use proto::v1::upload_artifact_request::{Header, Message};
use tonic::Status;

use crate::client::Client;
use crate::control_plane::ControlPlane;
use crate::signing::{FILE, PLATFORM, Signer, manifest, sha256};

/// A release of an agent, as a test wants it.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its version.
    pub version: String,
    /// Its channel.
    pub channel: Channel,
    /// Its number.
    pub sequence: u64,
    /// Its floor.
    pub floor: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What it says of itself, in Markdown.
    pub notes: String,
}

// === impl Draft ===

impl Draft {
    /// A stable release without a floor worth the name.
    #[must_use]
    pub fn new(version: &str, sequence: u64) -> Self {
        Self {
            version: version.to_owned(),
            channel: Channel::Stable,
            sequence,
            floor: "0.0.1".to_owned(),
            bytes: format!("the bytes of {version}").into_bytes(),
            notes: format!("What is new in {version}."),
        }
    }

    /// On another channel.
    #[must_use]
    pub fn on(mut self, channel: Channel) -> Self {
        self.channel = channel;
        self
    }

    /// With a floor.
    #[must_use]
    pub fn with_floor(mut self, floor: &str) -> Self {
        floor.clone_into(&mut self.floor);
        self
    }

    /// With notes.
    #[must_use]
    pub fn with_notes(mut self, notes: &str) -> Self {
        notes.clone_into(&mut self.notes);
        self
    }

    /// `releases/agent-1.2.0`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("releases/agent-{}", self.version)
    }

    /// What it is, signed by the control plane's release key.
    ///
    /// # Panics
    /// When signing fails: the test is wrong.
    #[must_use]
    pub fn artifact(&self, plane: &ControlPlane) -> v1::Artifact {
        self.signed_by(plane.signer())
    }

    /// What it is, signed by a key.
    ///
    /// # Panics
    /// When signing fails: the test is wrong.
    #[must_use]
    pub fn signed_by(&self, signer: &Signer) -> v1::Artifact {
        let manifest = manifest(&self.version, self.channel, self.sequence, &self.floor, &self.bytes);
        let signature = signer.sign_manifest(&self.bytes, &manifest);
        v1::Artifact { minisign_signatures: vec![signature.expect("signed")], ..self.unsigned() }
    }

    /// What it is, without a signature.
    #[must_use]
    pub fn unsigned(&self) -> v1::Artifact {
        let agent = v1::AgentArtifact {
            platform: PLATFORM.to_owned(),
            file: FILE.to_owned(),
            size_bytes: u64::try_from(self.bytes.len()).unwrap_or(u64::MAX),
            sha256: sha256(&self.bytes).to_string(),
            external_url: String::new(),
        };
        v1::Artifact { artifact: Some(v1::artifact::Artifact::Agent(agent)), minisign_signatures: Vec::new() }
    }
}

/// Makes, uploads and offers a release, signed by a key.
///
/// # Errors
/// The API's.
pub async fn release(publisher: &Client, signer: &Signer, draft: &Draft) -> Result<v1::Release, Status> {
    make(publisher, draft).await?;
    put(publisher, &draft.name(), draft.signed_by(signer), &draft.bytes).await?;
    offer(publisher, &draft.name()).await?.release.ok_or_else(|| Status::internal("the answer has no release"))
}

impl ControlPlane {
    /// Makes the draft, without an artifact.
    ///
    /// # Errors
    /// The API's.
    pub async fn draft(&self, draft: &Draft) -> Result<v1::Release, Status> {
        make(&self.publisher(), draft).await
    }

    /// Uploads an artifact for it, the bytes in pieces of 7 or a few dozen in all.
    ///
    /// # Errors
    /// The API's.
    pub async fn upload(&self, release: &str, artifact: v1::Artifact, bytes: &[u8]) -> Result<v1::Release, Status> {
        put(&self.publisher(), release, artifact, bytes).await
    }

    /// Offers it.
    ///
    /// # Errors
    /// The API's.
    pub async fn publish(&self, release: &str) -> Result<v1::PublishReleaseResponse, Status> {
        offer(&self.publisher(), release).await
    }

    /// All of it.
    ///
    /// # Errors
    /// The API's.
    pub async fn release(&self, draft: &Draft) -> Result<v1::Release, Status> {
        release(&self.publisher(), self.signer(), draft).await
    }

    /// Withdraws it.
    ///
    /// # Errors
    /// The API's.
    pub async fn yank(&self, release: &str) -> Result<v1::Release, Status> {
        let request = v1::YankReleaseRequest { name: release.to_owned(), reason: "it eats disks".to_owned() };
        let yanked = self.publisher().releases().yank_release(request).await?;
        Ok(yanked.into_inner())
    }
}

async fn make(publisher: &Client, draft: &Draft) -> Result<v1::Release, Status> {
    let request = v1::CreateReleaseRequest {
        kind: v1::Kind::Agent.into(),
        version: draft.version.clone(),
        channel: v1::Channel::from(draft.channel).into(),
        release_notes: draft.notes.clone(),
    };
    Ok(publisher.releases().create_release(request).await?.into_inner())
}

async fn put(publisher: &Client, release: &str, artifact: v1::Artifact, bytes: &[u8]) -> Result<v1::Release, Status> {
    let header = Header { release: release.to_owned(), artifact: Some(artifact) };
    let message = |message| v1::UploadArtifactRequest { message: Some(message) };
    let mut messages = vec![message(Message::Header(header))];
    messages.extend(bytes.chunks((bytes.len() / 40).max(7)).map(|chunk| message(Message::Chunk(chunk.to_vec()))));
    Ok(publisher.releases().upload_artifact(tokio_stream::iter(messages)).await?.into_inner())
}

async fn offer(publisher: &Client, release: &str) -> Result<v1::PublishReleaseResponse, Status> {
    let request = v1::PublishReleaseRequest { name: release.to_owned(), validate_only: false };
    Ok(publisher.releases().publish_release(request).await?.into_inner())
}
