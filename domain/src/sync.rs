//! What an executor and the control plane say to each other on the stream, free of any encoding.
//!
//! The executor speaks first, with [`Hello`]; the control plane answers [`Welcome`] and, from then on, says what is
//! desired whenever that changes. What neither side knows (a message, a phase, a capability of a later version) never gets
//! this far: the border leaves it out.

use std::time::Duration;

use crate::attempt::{Phase, Report, Waiting};
use crate::channel::Channel;
use crate::digest::Sha256;
use crate::executor::{Kind, Platform};
use crate::id::{AttemptId, Epoch, ExecutorUid, Generation, InstanceId};
use crate::spec::Desired;
use crate::version::Version;

/// How often an executor says that it is alive, unless [`Welcome`] says otherwise: 5 s (rule 2).
pub const DEFAULT_HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);

/// How long the new version runs unbroken before it is confirmed, unless [`Welcome`] says otherwise: 120 s.
pub const DEFAULT_PROBATION: Duration = Duration::from_secs(120);

/// The reason in [`Response::Reconnect`] of a server that goes down.
pub const DRAINING: &str = "DRAINING";

/// The reason in [`Response::Reconnect`] of an offer: another replica would serve better, and the present stream stays good. The
/// executor tries a few times, ever farther apart, and then stays.
pub const OFFERED: &str = "OFFERED";

/// What an executor says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Who is there: first, once.
    Hello(Box<Hello>),
    /// A sign of life, and the acknowledgement of what is desired.
    Heartbeat {
        /// The highest generation it has seen.
        generation: Generation,
    },
    /// How far an attempt is.
    Progress(Progress),
    /// The question for leave.
    ReadyToSwap {
        /// Which attempt.
        attempt: AttemptId,
        /// Under which generation.
        generation: Generation,
    },
    /// How an attempt ended; repeated until acknowledged.
    Report(Box<AttemptReport>),
    /// The machines that it sees.
    Inventory(Inventory),
}

/// Who is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// Which executor; the certificate has to say the same.
    pub uid: ExecutorUid,
    /// Which process of it.
    pub instance: InstanceId,
    /// Its kind; the first one counts for ever.
    pub kind: Kind,
    /// What it runs.
    pub version: Version,
    /// Of the running binary (agents).
    pub binary_sha256: Option<Sha256>,
    /// What it runs on (agents).
    pub platform: Option<Platform>,
    /// Ids of the release keys baked into it.
    pub release_key_ids: Vec<String>,
    /// What it can do beyond the first release.
    pub capabilities: Vec<String>,
    /// The highest generation that it has seen.
    pub generation: Generation,
    /// The attempt that its journal holds open.
    pub open_attempt: Option<AttemptId>,
    /// Where that attempt is, when this build knows the phase.
    pub phase: Option<Phase>,
    /// Outcomes not yet acknowledged; each comes as a report too.
    pub unsent_outcomes: Vec<AttemptReport>,
    /// Why its host keeps it from upgrades, when it does.
    pub pinned: Option<String>,
    /// The channel set on its host.
    pub channel: Option<Channel>,
    /// The widest channel that its host accepts.
    pub channel_ceiling: Option<Channel>,
    /// The highest floor that it has confirmed.
    pub floor: Option<Version>,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Progress {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Under which generation.
    pub generation: Generation,
    /// Where it is.
    pub phase: Phase,
    /// Bytes fetched.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// What it waits out; none: nothing.
    pub waiting: Option<Waiting>,
}

/// A report, with what a control plane needs that no longer knows the attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AttemptReport {
    /// Which attempt.
    pub attempt: AttemptId,
    /// What it led to.
    pub target_version: Option<Version>,
    /// What it came from.
    pub from_version: Option<Version>,
    /// How it ended.
    pub report: Report,
}

/// The machines that an executor sees.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Inventory {
    /// These are all.
    Full(Vec<Node>),
    /// These are new or changed, those are gone.
    Delta {
        /// New or changed.
        present: Vec<Node>,
        /// Names of those that are gone.
        removed: Vec<String>,
    },
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its own name.
    pub name: String,
    /// `linux/amd64`.
    pub platform: String,
    /// Kernel release.
    pub kernel_version: String,
    /// Operating system.
    pub os_image: String,
    /// Kubelet version (operators).
    pub kubelet_version: String,
    /// Whether it takes work.
    pub ready: bool,
}

/// What the control plane says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Response {
    /// The session is open.
    Welcome(Welcome),
    /// What is wanted now.
    Desired(Desired),
    /// Leave: the executor may swap now, for this attempt and generation only.
    Proceed {
        /// Which attempt.
        attempt: AttemptId,
        /// Under which generation.
        generation: Generation,
    },
    /// No leave: the attempt is no longer wanted.
    Withdrawn {
        /// Which attempt.
        attempt: AttemptId,
        /// A [`crate::Reason`] by its name, which may be newer than this build.
        reason: String,
    },
    /// A report is durable: the executor may forget it.
    ReportAck {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Dial again.
    Reconnect {
        /// Not before this much later; the control plane has spread it.
        after: Duration,
        /// A [`crate::Reason`] by its name, [`DRAINING`] or [`OFFERED`].
        reason: String,
    },
    /// The application is alive, not only the kernel.
    HeartbeatAck,
}

/// The session is open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Welcome {
    /// Its number; the greater owns the executor.
    pub epoch: Epoch,
    /// How often to send a heartbeat.
    pub heartbeat_interval: Duration,
    /// How long one unbroken process runs before it is confirmed.
    pub probation: Duration,
    /// The control plane's version, when this build can read it.
    pub server_version: Option<Version>,
    /// Whether this executor is more than one major behind.
    pub out_of_support: bool,
    /// When to renew the certificate; none: by the executor's own rule (from a third of its life).
    pub renew_certificate_after: Option<Duration>,
}
