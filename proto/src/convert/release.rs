//! Releases and artifacts, both ways.

use domain::release::{Artifact, Location, Release, Status};
use domain::{Channel, ReleaseId, Revision, Timestamp};

use crate::convert::{Error, field, vocabulary};
use crate::v1;

impl From<Artifact> for v1::Artifact {
    fn from(artifact: Artifact) -> Self {
        match artifact {
            Artifact::Agent { platform, file, size, sha256, location, signatures } => {
                let external_url = match location {
                    Location::Stored => String::new(),
                    Location::External(url) => url,
                };
                let agent = v1::AgentArtifact {
                    platform: platform.to_string(),
                    file,
                    size_bytes: size,
                    sha256: sha256.to_string(),
                    external_url,
                };
                Self { artifact: Some(v1::artifact::Artifact::Agent(agent)), minisign_signatures: signatures }
            }
            Artifact::Operator { image, digest, signatures } => {
                let operator = v1::OperatorArtifact { image, digest: format!("sha256:{digest}") };
                Self { artifact: Some(v1::artifact::Artifact::Operator(operator)), minisign_signatures: signatures }
            }
        }
    }
}

impl TryFrom<v1::Artifact> for Artifact {
    type Error = Error;

    fn try_from(wire: v1::Artifact) -> Result<Self, Error> {
        match wire.artifact.ok_or_else(|| Error::missing("artifact"))? {
            v1::artifact::Artifact::Agent(agent) => {
                if agent.file.is_empty() {
                    return Err(Error::missing("agent.file"));
                }
                Ok(Self::Agent {
                    platform: field::required("agent.platform", &agent.platform)?,
                    file: agent.file,
                    size: agent.size_bytes,
                    sha256: field::required("agent.sha256", &agent.sha256)?,
                    location: if agent.external_url.is_empty() {
                        Location::Stored
                    } else {
                        Location::External(agent.external_url)
                    },
                    signatures: wire.minisign_signatures,
                })
            }
            v1::artifact::Artifact::Operator(operator) => {
                if operator.image.is_empty() {
                    return Err(Error::missing("operator.image"));
                }
                Ok(Self::Operator {
                    image: operator.image,
                    digest: field::image_digest("operator.digest", &operator.digest)?,
                    signatures: wire.minisign_signatures,
                })
            }
        }
    }
}

impl From<Release> for v1::Release {
    fn from(release: Release) -> Self {
        Self {
            name: release.id.resource_name(),
            kind: v1::Kind::from(release.id.kind).into(),
            version: release.id.version.to_string(),
            channel: v1::Channel::from(release.channel).into(),
            status: v1::release::Status::from(release.status).into(),
            release_notes: release.notes,
            artifacts: release.artifacts.into_iter().map(v1::Artifact::from).collect(),
            floor: field::text(release.floor.as_ref()),
            sequence: release.sequence.unwrap_or(0),
            create_time: Some(field::to_timestamp(release.create_time)),
            publish_time: release.publish_time.map(field::to_timestamp),
            yank_reason: release.yank_reason.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::Release> for Release {
    type Error = Error;

    /// For clients: the revision does not travel, and reads as 0.
    fn try_from(wire: v1::Release) -> Result<Self, Error> {
        let artifact = |artifact: v1::Artifact| Artifact::try_from(artifact).map_err(|error| error.within("artifacts"));
        Ok(Self {
            id: name("name", &wire.name)?,
            revision: Revision::default(),
            channel: vocabulary::channel(wire.channel).unwrap_or(Channel::Stable),
            status: vocabulary::release_status(wire.status).unwrap_or(Status::Draft),
            notes: wire.release_notes,
            floor: field::optional("floor", &wire.floor)?,
            sequence: (wire.sequence != 0).then_some(wire.sequence),
            artifacts: wire.artifacts.into_iter().map(artifact).collect::<Result<_, _>>()?,
            create_time: field::timestamp("create_time", wire.create_time)?.unwrap_or(Timestamp::EPOCH),
            publish_time: field::timestamp("publish_time", wire.publish_time)?,
            yank_reason: (!wire.yank_reason.is_empty()).then_some(wire.yank_reason),
        })
    }
}

/// A release's resource name.
///
/// # Errors
/// [`Error`] when it is not of the form `releases/{agent|operator}-{version}`.
pub fn name(field: &'static str, value: &str) -> Result<ReleaseId, Error> {
    if value.is_empty() {
        return Err(Error::missing(field));
    }
    ReleaseId::parse_resource_name(value).map_err(|error| Error::new(field, error.to_string(), value))
}
