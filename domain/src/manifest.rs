//! The manifest: the signed statement that binds an artifact to its release. One line, the minisign trusted comment.
//!
//! ```text
//! novacula-manifest/1 kind=agent version=1.2.0 channel=stable os=linux arch=amd64 file=novacula-agent size=8120376 sha256=… sequence=7 floor=1.0.0
//! novacula-manifest/1 kind=operator version=1.2.0 channel=stable image=registry.example/novacula/operator digest=sha256:… sequence=7 floor=1.0.0
//! ```
//!
//! The grammar is closed: these keys, in this order, single spaces, printable ASCII, at most [`LINE_MAX`] bytes. Anything
//! else is refused, so that one manifest has one spelling and a parser never has to guess what was signed.

use std::fmt;
use std::str::FromStr;

use crate::channel::Channel;
use crate::digest::Sha256;
use crate::executor::{Kind, Platform};
use crate::version::Version;

/// Longest line, in bytes. Debian's minisign signs up to 4,077; ours are under 400.
pub const LINE_MAX: usize = 1024;

/// What is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A binary for one platform.
    Agent {
        /// What it runs on.
        platform: Platform,
        /// File name without a path: 1 to 100 of `A-Z a-z 0-9 . _ -`, not beginning with a dot.
        file: String,
        /// Bytes.
        size: u64,
        /// Of the bytes.
        sha256: Sha256,
    },
    /// An image.
    Operator {
        /// Reference without tag or digest.
        image: String,
        /// Of the raw OCI index or manifest.
        digest: Sha256,
    },
}

/// The signed statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Which version.
    pub version: Version,
    /// Its widest channel.
    pub channel: Channel,
    /// What is delivered.
    pub subject: Subject,
    /// Grows per kind with each release that is signed.
    pub sequence: u64,
    /// The lowest version to accept once this one is confirmed.
    pub floor: Version,
}

/// Why a line is not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too long, or characters outside printable ASCII.
    #[error("manifest line is not 1 to 1024 bytes of printable ASCII")]
    Form,
    /// Another format.
    #[error("manifest line does not begin with \"novacula-manifest/1 \"")]
    Header,
    /// A key is missing, out of order, or unknown.
    #[error("manifest has {found:?} where {key}=… is expected")]
    Key {
        /// The key expected.
        key: &'static str,
        /// What stands there.
        found: String,
    },
    /// A value that its key may not have.
    #[error("manifest value of {key} is refused: {why}")]
    Value {
        /// Which key.
        key: &'static str,
        /// Rule and value.
        why: String,
    },
}

/// What an executor knows of itself and of what it was asked; a manifest has to agree with all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its platform (agents).
    pub platform: Option<&'a Platform>,
    /// What it runs.
    pub running: &'a Version,
    /// What it was asked to run.
    pub target: &'a Version,
    /// The highest floor it has confirmed.
    pub floor: Option<&'a Version>,
    /// The widest channel its host accepts.
    pub channel_ceiling: Option<Channel>,
}

impl Manifest {
    /// The kind it is for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.subject {
            Subject::Agent { .. } => Kind::Agent,
            Subject::Operator { .. } => Kind::Operator,
        }
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "novacula-manifest/1 kind={} version={} channel={}", self.kind(), self.version, self.channel)?;
        match &self.subject {
            Subject::Agent { platform, file, size, sha256 } => {
                write!(f, " os={} arch={} file={file} size={size} sha256={sha256}", platform.os(), platform.arch())?;
            }
            Subject::Operator { image, digest } => write!(f, " image={image} digest=sha256:{digest}")?,
        }
        write!(f, " sequence={} floor={}", self.sequence, self.floor)
    }
}

impl FromStr for Manifest {
    type Err = Error;

    fn from_str(_line: &str) -> Result<Self, Error> {
        Err(Error::Form)
    }
}
