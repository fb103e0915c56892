//! What a process knows of its host when it starts.

use domain::attempt::{ErrorCode, Stage as ErrorStage};
use domain::sync::AttemptReport;
use domain::{AttemptId, Generation, Version};

/// What the process finds when it starts: its journal, and which binary is live.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// What this process is, by its own build.
    pub running: Version,
    /// The highest generation seen under this uid.
    pub generation: Generation,
    /// The attempt that has leave and no end.
    pub open: Option<Open>,
    /// Outcomes that were not acknowledged, oldest first.
    pub unsent: Vec<AttemptReport>,
    /// Outcomes of the last finished attempts that are still known, acknowledged or not, oldest first; log tails may be left
    /// out. Leave out what is older than [`super::TELL_AGAIN_FOR`] by the wall clock (an attempt's UUIDv7 says when it was asked).
    pub remembered: Vec<AttemptReport>,
    /// Attempts that ended here.
    pub finished: Vec<AttemptId>,
}

/// An attempt that the journal holds open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// Which.
    pub attempt: AttemptId,
    /// Under which number leave was given.
    pub generation: Generation,
    /// What ran before.
    pub from_version: Version,
    /// What it leads to.
    pub target_version: Version,
    /// What the disk (or the Deployment) says is live now. Never taken from a marker.
    pub live: Live,
    /// Who changed it, in words, where it is [`Live::Other`] and that is known.
    pub changed_by: Option<String>,
    /// Whether the journal notes that the swap was made. It may have been made without: a crash came between.
    pub swap: Swap,
    /// Why it is being rolled back, when that was decided.
    pub rollback: Option<Cause>,
}

/// What is live, by its hash or digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Live {
    /// What ran before the attempt: the swap was not made, or was undone.
    Old,
    /// The target: the swap was made.
    New,
    /// Neither: somebody else was here.
    Other,
}

/// What the journal notes of a swap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Swap {
    /// It was about to be made.
    Intended,
    /// It was made.
    Made,
}

/// Why an attempt is rolled back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cause {
    /// In which stage the target failed.
    pub stage: ErrorStage,
    /// The typed error.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
}
