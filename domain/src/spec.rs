//! Desired: what the control plane wants of one executor now, and the specs it is told in. Level-triggered: a newer
//! generation replaces an older one whole, losing or repeating one is harmless.
//!
//! Nothing in a spec is trusted by an executor: the signed [`crate::Manifest`] has to say the same
//! ([`crate::Manifest::check_spec`]), and the bytes have to be what it says.

use std::time::Duration;

use crate::digest::Sha256;
use crate::executor::Kind;
use crate::id::{AttemptId, Generation};
use crate::version::Version;

/// What an agent needs to fetch and check an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AgentUpgradeSpec {
    /// Where the bytes are: an HTTPS URL, or a path on the executor listener (`/artifacts/…`).
    pub download_uri: String,
    /// Bytes.
    pub size_bytes: u64,
    /// Of the bytes.
    pub sha256: Sha256,
    /// minisign signature files, verbatim, one per release key or edition.
    pub minisign_signatures: Vec<String>,
    /// Which version it leads to.
    pub target_version: Version,
}

/// What an operator needs to find and check an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OperatorUpgradeSpec {
    /// Reference without tag or digest.
    pub image: String,
    /// Of the raw OCI index or manifest.
    pub digest: Sha256,
    /// minisign signature files, verbatim, one per release key or edition.
    pub minisign_signatures: Vec<String>,
    /// Which version it leads to.
    pub target_version: Version,
}

/// The pending upgrade's spec, by kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Spec {
    /// For an agent.
    Agent(AgentUpgradeSpec),
    /// For an operator.
    Operator(OperatorUpgradeSpec),
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    /// Nothing: stay as you are.
    Nothing,
    /// Move to another version.
    Upgrade {
        /// For which attempt.
        attempt: AttemptId,
        /// To what, and how.
        spec: Spec,
        /// How much of the time to be picked up is left, by the store's clock.
        remaining_ttl: Duration,
    },
    /// Bring back what ran before this attempt (rule 4): sent only after leave.
    RollBack {
        /// Which attempt.
        attempt: AttemptId,
    },
}

/// What is desired of an executor, under its number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Desired {
    /// Only grows per executor; an older one is ignored.
    pub generation: Generation,
    /// What is wanted.
    pub want: Want,
}

impl Spec {
    /// The version it leads to.
    #[must_use]
    pub const fn target_version(&self) -> &Version {
        match self {
            Self::Agent(spec) => &spec.target_version,
            Self::Operator(spec) => &spec.target_version,
        }
    }

    /// The kind it is for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Agent(_) => Kind::Agent,
            Self::Operator(_) => Kind::Operator,
        }
    }

    /// The signature files.
    #[must_use]
    pub fn minisign_signatures(&self) -> &[String] {
        match self {
            Self::Agent(spec) => &spec.minisign_signatures,
            Self::Operator(spec) => &spec.minisign_signatures,
        }
    }
}

impl Want {
    /// The attempt it is about.
    #[must_use]
    pub const fn attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Nothing => None,
            Self::Upgrade { attempt, .. } | Self::RollBack { attempt } => Some(*attempt),
        }
    }
}
