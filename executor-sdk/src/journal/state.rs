//! What the journal says, in the words of [`domain`].

use std::time::Duration;

use domain::attempt::{ErrorCode, Report, Stage};
use domain::manifest::Subject;
use domain::sync::AttemptReport;
use domain::{AttemptId, ExecutorUid, Generation, Hold, Sha256, Timestamp, Version};

use super::document::Unknown;
use crate::executor::{Leave, Plan};

pub use domain::hold::HOLDS_MAX;

/// Most finished attempts remembered: a control plane that was restored may ask for one of the last few again, and each
/// comes with a new generation, so a handful would do.
pub const FINISHED_MAX: usize = 32;

/// Starts of an unconfirmed version that are let through: enough for a host that is slow or short of something once, and few enough
/// that a version that cannot live is gone within minutes. The next one brings the old version back.
pub const UNCONFIRMED_STARTS_MAX: u32 = 3;

/// Most outcomes kept for a control plane that does not answer. Attempts come from it, so more than a few cannot pile up.
pub const UNSENT_MAX: usize = 16;

/// All of it. What another release added is kept and written back.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Whose journal it is. Generation, attempts and outcomes belong to this enrolment; see [`State::belongs_to`].
    pub uid: Option<ExecutorUid>,
    /// The highest generation seen.
    pub generation: Generation,
    /// The attempt that has leave and no end yet. Arming the way back is writing it.
    pub open: Option<OpenAttempt>,
    /// Outcomes that the control plane has not acknowledged, oldest first.
    pub unsent: Vec<AttemptReport>,
    /// Attempts that ended here, oldest first: the same one is never begun again.
    pub finished: Vec<AttemptId>,
    /// How the last of them ended, oldest first, acknowledged or not and without log tails: a control plane that lost a
    /// report asks for the attempt again, and is told.
    pub remembered: Vec<AttemptReport>,
    /// Versions that rolled back or were refused here.
    pub holds: Vec<Hold>,
    /// The highest floor of any version confirmed here.
    pub floor: Option<Version>,
    /// The version that last passed probation: what `.prev` holds while an attempt is open.
    pub confirmed: Option<Confirmed>,
    pub(super) unknown: Unknown,
}

/// A version that passed probation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// Which.
    pub version: Version,
    /// Its binary (agents).
    pub sha256: Option<Sha256>,
    /// The binary of the version before it, which stays beside it (agents). None: a release that did not keep it wrote this.
    pub previous_sha256: Option<Sha256>,
}

/// An attempt from the moment before its first change to the disk, until it is confirmed or rolled back.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenAttempt {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Under which number leave was given.
    pub generation: Generation,
    /// What ran, and comes back when the target fails.
    pub from_version: Version,
    /// What was asked.
    pub target_version: Version,
    /// The old binary (agents).
    pub old_sha256: Option<Sha256>,
    /// The new binary (agents).
    pub new_sha256: Option<Sha256>,
    /// The floor that confirming raises to, by the target's manifest.
    pub floor: Option<Version>,
    /// How far it is.
    pub step: Step,
    /// Starts of the new version since the swap.
    pub starts: u32,
    /// Where in the log the new version's lines begin; taken before the swap.
    pub log_cursor: Option<String>,
    /// When the swap was made.
    pub swap: Option<SwapTime>,
    /// The probation that the control plane told the new version when it last connected. None: it has not, or is of a release that
    /// did not note it.
    pub probation: Option<Duration>,
    /// Dead-man windows that passed without a decision.
    pub windows: u32,
    /// Why it is being rolled back, once that is decided: written before the old version is put back.
    pub rollback: Option<RollbackCause>,
    pub(super) unknown: Unknown,
}

/// How far an open attempt is. Each step is written before what it names may show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Leave is in hand; whether the swap was made is told by the live binary's hash.
    Applying,
    /// The swap was made and the restart asked for.
    Swapped,
    /// The new version has begun to run.
    Started,
    /// The new version has had its stream up: probation.
    Connected,
    /// The old version is being put back; see [`OpenAttempt::rollback`].
    RollingBack,
}

/// When a swap was made, on the clocks that survive what may come after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwapTime {
    /// By the wall clock, for people: it may be set.
    pub wall: Timestamp,
    /// The kernel's boot id. After a reboot `since_boot` means nothing.
    pub boot_id: String,
    /// CLOCK_BOOTTIME at the swap.
    pub since_boot: Duration,
}

/// Why an attempt is rolled back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RollbackCause {
    /// In which stage the target failed.
    pub stage: Stage,
    /// The typed error.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
}

impl State {
    /// Takes the journal over for the enrolment `uid`: another one's generation, open attempt and outcomes are forgotten,
    /// what is true of the host (holds, floor, confirmed version) stays.
    pub fn belongs_to(&mut self, uid: ExecutorUid) {
        if self.uid == Some(uid) {
            return;
        }
        if self.uid.is_some() {
            self.generation = Generation::default();
            self.unsent.clear();
            self.finished.clear();
            self.remembered.clear();
        }
        self.uid = Some(uid);
    }

    /// Notes a generation; an older one changes nothing.
    pub fn saw(&mut self, generation: Generation) {
        self.generation = self.generation.max(generation);
    }

    /// Whether `attempt` ended here already.
    #[must_use]
    pub fn has_finished(&self, attempt: AttemptId) -> bool {
        self.finished.contains(&attempt)
    }

    /// Ends `outcome`'s attempt: closes it if it is the open one, and keeps the outcome until it is acknowledged. The first
    /// outcome of an attempt counts.
    pub fn finish(&mut self, outcome: AttemptReport) {
        if self.open.as_ref().is_some_and(|open| open.attempt == outcome.attempt) {
            self.open = None;
        }
        if !self.has_finished(outcome.attempt) {
            self.finished.push(outcome.attempt);
            let mut remembered = outcome.clone();
            remembered.report.log_tail.clear();
            self.remembered.push(remembered);
            self.unsent.push(outcome);
        }
        self.bound();
    }

    /// Ends the open attempt well: the target is the confirmed version, its floor counts, a hold on it is forgotten.
    pub fn confirm(&mut self, outcome: AttemptReport) {
        if let Some(open) = self.open.take_if(|open| open.attempt == outcome.attempt) {
            self.floor = self.floor.take().max(open.floor);
            self.holds.retain(|hold| hold.version != open.target_version);
            self.confirmed = Some(Confirmed {
                version: open.target_version,
                sha256: open.new_sha256,
                previous_sha256: open.old_sha256,
            });
        }
        self.finish(outcome);
    }

    /// Holds a version; a newer word about it takes the older one's place.
    pub fn hold(&mut self, hold: Hold) {
        self.holds.retain(|held| held.version != hold.version);
        self.holds.push(hold);
        self.bound();
    }

    /// The control plane has it: forgets the outcome. Says whether there was one.
    pub fn acknowledge(&mut self, attempt: AttemptId) -> bool {
        let before = self.unsent.len();
        self.unsent.retain(|outcome| outcome.attempt != attempt);
        self.unsent.len() != before
    }

    /// Forgets the oldest of what only grows.
    pub fn bound(&mut self) {
        forget_oldest(&mut self.finished, FINISHED_MAX);
        forget_oldest(&mut self.remembered, FINISHED_MAX);
        forget_oldest(&mut self.unsent, UNSENT_MAX);
        forget_oldest(&mut self.holds, HOLDS_MAX);
    }
}

impl OpenAttempt {
    /// An attempt about to change the disk; the rest is filled in as it becomes known.
    #[must_use]
    pub fn new(attempt: AttemptId, generation: Generation, from_version: Version, target_version: Version) -> Self {
        Self {
            attempt,
            generation,
            from_version,
            target_version,
            old_sha256: None,
            new_sha256: None,
            floor: None,
            step: Step::Applying,
            starts: 0,
            log_cursor: None,
            swap: None,
            probation: None,
            windows: 0,
            rollback: None,
            unknown: Unknown::default(),
        }
    }

    /// The attempt that `leave` was given for, as far as its plan says: the rest (old hash, log cursor) is the executor's to know.
    #[must_use]
    pub fn of(plan: &Plan, leave: &Leave) -> Self {
        let mut open =
            Self::new(leave.attempt(), leave.generation(), plan.from_version.clone(), plan.target_version().clone());
        open.floor = Some(plan.manifest.floor.clone());
        if let Subject::Agent { sha256, .. } = &plan.manifest.subject {
            open.new_sha256 = Some(*sha256);
        }
        open
    }

    /// How this attempt ended, for [`State::finish`] and [`State::confirm`].
    #[must_use]
    pub fn outcome(&self, report: Report) -> AttemptReport {
        AttemptReport {
            attempt: self.attempt,
            target_version: Some(self.target_version.clone()),
            from_version: Some(self.from_version.clone()),
            report,
        }
    }
}

impl Step {
    /// Every step, in order.
    pub const ALL: [Self; 5] = [Self::Applying, Self::Swapped, Self::Started, Self::Connected, Self::RollingBack];

    /// The name, as in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applying => "applying",
            Self::Swapped => "swapped",
            Self::Started => "started",
            Self::Connected => "connected",
            Self::RollingBack => "rolling_back",
        }
    }

    /// From its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.as_str() == name)
    }
}

fn forget_oldest<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}
