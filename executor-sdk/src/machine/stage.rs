//! Where the attempt in hand is, and what else the machine keeps.

use std::time::Duration;

use domain::attempt::{Phase, Waiting};
use domain::sync::AttemptReport;
use domain::{AttemptId, Generation, Spec, Version};

use super::{Cause, Job, PROGRESS_EVERY};

/// The one attempt that this process deals with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Stage {
    /// None.
    Idle,
    /// Before leave: may be dropped at any moment.
    Working(Work),
    /// Leave is in hand and being used.
    Swapping { trial: Trial, job: Job },
    /// The swap (or the way back) was made; another version takes over.
    Restarting {
        trial: Trial,
        /// The watch over the version that takes over elsewhere.
        watch: Option<Watch>,
    },
    /// The target runs, this process, on probation.
    Confirming {
        trial: Trial,
        /// How long its stream has been up, by `counted`.
        lived: Duration,
        counted: Option<Duration>,
        confirming: Confirming,
    },
    /// What ran before is being brought back.
    RollingBack { trial: Trial, job: Job, cause: Box<Cause> },
    /// The outcome is on its way into the journal.
    Finishing { attempt: AttemptId },
}

/// How far the confirmation itself is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Confirming {
    /// Probation runs; not before this time (a journal that could not be written is tried again later).
    From(Duration),
    /// It is being journalled.
    Under(Job),
}

/// What is to be done for one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Order {
    pub(super) attempt: AttemptId,
    pub(super) generation: Generation,
    pub(super) spec: Box<Spec>,
    /// Until when it has to be picked up, by CLOCK_BOOTTIME.
    pub(super) pick_up_by: Duration,
}

/// An attempt before leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Work {
    pub(super) order: Order,
    pub(super) job: Job,
    pub(super) step: Step,
    pub(super) bytes_done: u64,
    pub(super) bytes_total: u64,
    pub(super) waits: Waits,
}

/// Another version comes up elsewhere, and this process sees to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watch {
    pub(super) job: Job,
    pub(super) waits: Waits,
}

/// What is waited out, and what was said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Waits {
    /// None: nothing.
    pub(super) now: Option<Waiting>,
    /// When progress was last said.
    pub(super) said_at: Duration,
    /// What was then said to be waited out.
    pub(super) said: Option<Waiting>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Step {
    Preflight,
    Downloading,
    Verifying,
    /// When leave was last asked for; none: not on this stream.
    Ready {
        asked: Option<Duration>,
    },
}

/// An attempt after leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Trial {
    pub(super) attempt: AttemptId,
    pub(super) generation: Generation,
    pub(super) from_version: Version,
    pub(super) target_version: Version,
}

/// The open stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Link {
    pub(super) heartbeat_interval: Duration,
    pub(super) heartbeat_due: Duration,
    pub(super) probation: Duration,
    /// When what was acknowledged is told again; none: it was.
    pub(super) tell_again: Option<Duration>,
}

/// An outcome that was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unsent {
    pub(super) report: AttemptReport,
    /// When it was last sent; none: not on this stream.
    pub(super) sent: Option<Duration>,
}

/// An outcome that was acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Remembered {
    pub(super) report: AttemptReport,
    /// Since when it is known to this process.
    pub(super) since: Duration,
}

// === impl Stage ===

impl Stage {
    /// The attempt in hand.
    pub(super) const fn attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Idle => None,
            Self::Working(work) => Some(work.order.attempt),
            Self::Restarting { trial, .. }
            | Self::Swapping { trial, .. }
            | Self::Confirming { trial, .. }
            | Self::RollingBack { trial, .. } => Some(trial.attempt),
            Self::Finishing { attempt } => Some(*attempt),
        }
    }

    /// The attempt that has leave and no end.
    pub(super) const fn open_attempt(&self) -> Option<AttemptId> {
        match self {
            Self::Idle | Self::Working(_) => None,
            Self::Swapping { .. }
            | Self::Restarting { .. }
            | Self::Confirming { .. }
            | Self::RollingBack { .. }
            | Self::Finishing { .. } => self.attempt(),
        }
    }

    pub(super) const fn phase(&self) -> Option<Phase> {
        match self {
            Self::Idle | Self::Finishing { .. } => None,
            Self::Working(work) => Some(work.phase()),
            Self::Swapping { .. } => Some(Phase::Applying),
            Self::Restarting { .. } | Self::RollingBack { .. } => Some(Phase::Restarting),
            Self::Confirming { .. } => Some(Phase::Confirming),
        }
    }

    pub(super) const fn waits(&self) -> Option<&Waits> {
        match self {
            Self::Working(work) => Some(&work.waits),
            Self::Restarting { watch: Some(watch), .. } => Some(&watch.waits),
            _ => None,
        }
    }

    pub(super) const fn waits_mut(&mut self) -> Option<&mut Waits> {
        match self {
            Self::Working(work) => Some(&mut work.waits),
            Self::Restarting { watch: Some(watch), .. } => Some(&mut watch.waits),
            _ => None,
        }
    }
}

// === impl Work ===

impl Work {
    /// Begins with preflight.
    pub(super) const fn new(order: Order, job: Job, now: Duration) -> Self {
        let (bytes_done, bytes_total) = (0, 0);
        Self {
            order,
            job,
            step: Step::Preflight,
            bytes_done,
            bytes_total,
            waits: Waits { now: None, said_at: now, said: None },
        }
    }

    pub(super) const fn phase(&self) -> Phase {
        match self.step {
            Step::Preflight => Phase::Delivered,
            Step::Downloading => Phase::Downloading,
            Step::Verifying => Phase::Verifying,
            Step::Ready { .. } => Phase::ReadyToSwap,
        }
    }
}

// === impl Waits ===

impl Waits {
    /// When what is waited out, or that it is over, is to be said; none: it was.
    pub(super) fn due(&self) -> Option<Duration> {
        let code = |waiting: &Waiting| waiting.error_code;
        if self.now == self.said {
            None
        } else if self.now.is_none() || self.now.as_ref().map(code) == self.said.as_ref().map(code) {
            Some(self.said_at.saturating_add(PROGRESS_EVERY))
        } else {
            Some(Duration::ZERO)
        }
    }

    /// It is said now. Without a stream it falls: then it is still to be said.
    pub(super) fn say(&mut self, now: Duration, link: Option<&Link>) -> Option<Waiting> {
        self.said_at = now;
        if link.is_some() {
            self.said = self.now.clone();
        }
        self.now.clone()
    }
}

// === impl Order ===

impl Order {
    /// The same, as it is once leave was given to a process of version `running`.
    pub(super) fn trial(&self, running: &Version) -> Trial {
        Trial {
            attempt: self.attempt,
            generation: self.generation,
            from_version: running.clone(),
            target_version: self.spec.target_version().clone(),
        }
    }
}
