//! A release: a row of the global catalog, and what it delivers.
//!
//! `draft → published → yanked`. A published release's bytes and signatures never change; signatures may be added (rule
//! 13). A pre-release version is refused on the stable channel.

use crate::channel::Channel;
use crate::digest::Sha256;
use crate::executor::Platform;
use crate::id::{ReleaseId, Revision};
use crate::time::Timestamp;
use crate::version::Version;

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Being put together; nobody is offered it.
    Draft,
    /// Offered to the executors that may take it.
    Published,
    /// Withdrawn: offered to nobody, and attempts without leave are cancelled.
    Yanked,
}

/// Where an agent artifact's bytes come from. Who serves them is never trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// The control plane's own artifact storage, by content.
    Stored,
    /// An external HTTPS URL.
    External(String),
}

/// What a release delivers for one platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Artifact {
    /// A binary.
    Agent {
        /// What it runs on.
        platform: Platform,
        /// File name, as the manifest says it: no path.
        file: String,
        /// Bytes.
        size: u64,
        /// Of the bytes.
        sha256: Sha256,
        /// Where the bytes are.
        location: Location,
        /// minisign signature files, one per release key, verbatim (four lines each). Each carries its own manifest.
        signatures: Vec<String>,
    },
    /// An image.
    Operator {
        /// Reference without tag or digest, such as `registry.example/novacula/operator`.
        image: String,
        /// Of the raw OCI index or manifest.
        digest: Sha256,
        /// As above.
        signatures: Vec<String>,
    },
}

/// A release's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Kind and version.
    pub id: ReleaseId,
    /// Counts writes.
    pub revision: Revision,
    /// Its widest channel.
    pub channel: Channel,
    /// Where it stands.
    pub status: Status,
    /// Markdown, for people.
    pub notes: String,
    /// The lowest version that executors go on accepting once they have confirmed this one, by the signed manifests.
    pub floor: Option<Version>,
    /// Grows per kind; by the signed manifests. Known once a signature is there.
    pub sequence: Option<u64>,
    /// What it delivers; agents: at most one per platform, operators: exactly one.
    pub artifacts: Vec<Artifact>,
    /// When the draft was made.
    pub create_time: Timestamp,
    /// When it was published.
    pub publish_time: Option<Timestamp>,
    /// Why it was yanked, when it was.
    pub yank_reason: Option<String>,
}

impl Release {
    /// The artifact for an agent on `platform`.
    #[must_use]
    pub fn agent_artifact(&self, platform: &Platform) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| matches!(artifact, Artifact::Agent { platform: p, .. } if p == platform))
    }

    /// The image of an operator release.
    #[must_use]
    pub fn operator_artifact(&self) -> Option<&Artifact> {
        self.artifacts.iter().find(|artifact| matches!(artifact, Artifact::Operator { .. }))
    }
}

impl Artifact {
    /// The signature files.
    #[must_use]
    pub fn signatures(&self) -> &[String] {
        match self {
            Self::Agent { signatures, .. } | Self::Operator { signatures, .. } => signatures,
        }
    }
}

impl Status {
    /// The name, as in SQL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Yanked => "yanked",
        }
    }
}
