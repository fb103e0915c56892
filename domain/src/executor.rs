//! An executor as the control plane knows it: identity, what it says of itself, and what is asked of it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::channel::Channel;
use crate::hold::Hold;
use crate::id::{AttemptId, ExecutorName, ExecutorUid, Generation, Revision};
use crate::time::Timestamp;
use crate::version::Version;

/// The two kinds of executor. Set at the first sync and never changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One binary, run by systemd (or by its own supervisor) on a Linux host.
    Agent,
    /// One Deployment in a Kubernetes cluster.
    Operator,
}

/// What an agent runs on: `linux/amd64`, `linux/arm64`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    os: String,
    arch: String,
}

/// The text is not what it should name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a kind.
    #[error("kind {0:?} is neither agent nor operator")]
    Kind(String),
    /// Not a platform.
    #[error("platform {0:?} is not os/arch, each 1 to 16 of a-z and 0-9")]
    Platform(String),
}

/// Whether an executor may sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It may.
    Active,
    /// Its stream was ended and its certificate is refused until it is activated again.
    Deactivated,
}

/// An executor's row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Executor {
    /// This enrolment, for ever.
    pub uid: ExecutorUid,
    /// Its name; unique while the row is not deleted.
    pub name: ExecutorName,
    /// Counts writes; a writer names the one it read.
    pub revision: Revision,
    /// Whether it may sync.
    pub state: State,
    /// Set by the first hello.
    pub kind: Option<Kind>,
    /// What it runs, by its last hello.
    pub version: Option<Version>,
    /// What it runs on (agents).
    pub platform: Option<Platform>,
    /// Which releases it is shown.
    pub channel: Channel,
    /// The widest channel its host accepts, whatever the control plane says; none set: no ceiling.
    pub channel_ceiling: Option<Channel>,
    /// Free labels, for people and selectors.
    pub labels: BTreeMap<String, String>,
    /// Why it applies no upgrades, in its own words, when it is pinned.
    pub pinned: Option<String>,
    /// The highest floor it has confirmed.
    pub floor: Option<Version>,
    /// Versions that rolled back or were refused here.
    pub holds: Vec<Hold>,
    /// Ids of the release keys it trusts, as minisign prints them (16 upper-case hexadecimal digits).
    pub release_key_ids: Vec<String>,
    /// The number of what is desired now.
    pub generation: Generation,
    /// The attempt behind the pending upgrade: what is desired now, when something is.
    pub pending: Option<AttemptId>,
    /// The newest attempt that has no outcome yet; it outlives `pending` while the executor confirms.
    pub open_attempt: Option<AttemptId>,
    /// Since when two instances displace each other, until a person decides (rule 7).
    pub duplicated_since: Option<Timestamp>,
    /// When it was enrolled.
    pub create_time: Timestamp,
}

impl Executor {
    /// One that has just enrolled: nothing is known of what it runs, and nothing is desired.
    #[must_use]
    pub const fn new(uid: ExecutorUid, name: ExecutorName, create_time: Timestamp) -> Self {
        Self {
            uid,
            name,
            revision: Revision(0),
            state: State::Active,
            kind: None,
            version: None,
            platform: None,
            channel: Channel::Stable,
            channel_ceiling: None,
            labels: BTreeMap::new(),
            pinned: None,
            floor: None,
            holds: Vec::new(),
            release_key_ids: Vec::new(),
            generation: Generation(0),
            pending: None,
            open_attempt: None,
            duplicated_since: None,
            create_time,
        }
    }

    /// The channel that counts: the control plane's word, held down by the host's ceiling.
    #[must_use]
    pub fn effective_channel(&self) -> Channel {
        self.channel_ceiling.map_or(self.channel, |ceiling| self.channel.min(ceiling))
    }

    /// The hold on `version`, when there is one.
    #[must_use]
    pub fn hold_on(&self, version: &Version) -> Option<&Hold> {
        self.holds.iter().find(|hold| hold.version == *version)
    }
}

impl Kind {
    /// The name, as in the manifest, SQL and flags.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        match value {
            "agent" => Ok(Self::Agent),
            "operator" => Ok(Self::Operator),
            _ => Err(Error::Kind(value.chars().take(80).collect())),
        }
    }
}

impl Platform {
    /// The operating system, `linux`.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture, `amd64` or `arm64` (Go's and OCI's names).
    #[must_use]
    pub fn arch(&self) -> &str {
        &self.arch
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.arch)
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let word = |text: &str| {
            (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        match value.split_once('/') {
            Some((os, arch)) if word(os) && word(arch) => Ok(Self { os: os.to_owned(), arch: arch.to_owned() }),
            _ => Err(Error::Platform(value.chars().take(80).collect())),
        }
    }
}
