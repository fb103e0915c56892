//! The attempt's row.

use crate::attempt::outcome::{Ending, Report};
use crate::attempt::waiting::WaitingSince;
use crate::audit::Actor;
use crate::id::{AttemptId, AttemptName, ExecutorName, ExecutorUid, Generation, ReleaseId, RequestId, Revision};
use crate::time::Timestamp;
use crate::version::Version;

/// Where an attempt is. The order is the order of the road: a phase never goes back, but for a download that begins again
/// before leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Written; the executor has not said that it knows.
    Requested,
    /// The executor acknowledged it.
    Delivered,
    /// Picked up: bytes are coming. The TTL no longer counts, the progress deadline does.
    Downloading,
    /// The bytes are there and being checked.
    Verifying,
    /// The executor asked for leave.
    ReadyToSwap,
    /// Leave was given.
    Applying,
    /// The swap was made and the new version is starting.
    Restarting,
    /// The new version said hello; probation runs.
    Confirming,
}

/// The durable record of one requested upgrade. Kept after the pending upgrade is cleared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Which attempt.
    pub id: AttemptId,
    /// Whose, by uid: a later executor of the same name does not inherit it.
    pub executor: ExecutorUid,
    /// Whose, by name, as it was asked.
    pub executor_name: ExecutorName,
    /// Counts writes.
    pub revision: Revision,
    /// Where to: kind and version.
    pub release: ReleaseId,
    /// What the executor ran when it was asked.
    pub from_version: Version,
    /// Under which number it is desired.
    pub generation: Generation,
    /// Where it is.
    pub phase: Phase,
    /// What the executor refused it for (rule 11); the attempt stays pending, marked, until its TTL.
    pub refused: Option<Report>,
    /// What the executor waits out, before leave: until its progress says nothing of it any more, another phase, or the end.
    pub waiting: Option<WaitingSince>,
    /// Set when the version it came from was requested after leave (rule 4).
    pub rollback_requested: bool,
    /// How it ended.
    pub ending: Option<Ending>,
    /// Whether a report has already corrected an inferred end (rule 12: once).
    pub corrected: bool,
    /// Bytes fetched.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// When it was asked.
    pub request_time: Timestamp,
    /// When the executor acknowledged it.
    pub deliver_time: Option<Timestamp>,
    /// When the last new byte or phase was reported; the progress deadline runs from here.
    pub progress_time: Option<Timestamp>,
    /// When leave was given.
    pub apply_time: Option<Timestamp>,
    /// When it ended.
    pub end_time: Option<Timestamp>,
    /// Until when it may be picked up.
    pub expire_time: Timestamp,
    /// Who asked.
    pub requested_by: Actor,
    /// The caller's own id for the request, when it gave one.
    pub request_id: Option<RequestId>,
}

impl Attempt {
    /// `organizations/…/executors/…/attempts/…`.
    #[must_use]
    pub fn name(&self) -> AttemptName {
        AttemptName { executor: self.executor_name.clone(), attempt: self.id }
    }

    /// The version it leads to.
    #[must_use]
    pub const fn target_version(&self) -> &Version {
        &self.release.version
    }

    /// Whether leave was given.
    #[must_use]
    pub const fn has_leave(&self) -> bool {
        self.apply_time.is_some()
    }

    /// Whether something is desired on its account: the upgrade until the target version says hello, and the rollback
    /// until the end.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        !self.is_ended() && (self.phase < Phase::Confirming || self.rollback_requested)
    }

    /// What the executor waits out now. A row that a replica of an older build moved on may keep it beyond leave, confirmation and
    /// end.
    #[must_use]
    pub fn waits(&self) -> Option<&WaitingSince> {
        let goes_on = !self.is_ended() && self.phase < Phase::Confirming && !self.rollback_requested;
        let is_of_now = |kept: &&WaitingSince| self.apply_time.is_none_or(|leave| kept.since >= leave);
        self.waiting.as_ref().filter(|_| goes_on).filter(is_of_now)
    }

    /// Whether it has an outcome.
    #[must_use]
    pub const fn is_ended(&self) -> bool {
        self.ending.is_some()
    }
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 8] = [
        Self::Requested,
        Self::Delivered,
        Self::Downloading,
        Self::Verifying,
        Self::ReadyToSwap,
        Self::Applying,
        Self::Restarting,
        Self::Confirming,
    ];

    /// The name, as in SQL, logs and the UI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Delivered => "delivered",
            Self::Downloading => "downloading",
            Self::Verifying => "verifying",
            Self::ReadyToSwap => "ready_to_swap",
            Self::Applying => "applying",
            Self::Restarting => "restarting",
            Self::Confirming => "confirming",
        }
    }

    /// From its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == name)
    }
}
