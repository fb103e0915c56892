//! The executor's side of an upgrade as a machine without I/O: what came in → what to do, in order.
//!
//! ```text
//!          ┌── withdrawn, nothing or another one desired ──┐
//! idle ─→ preflight ─→ download ─→ verify ─→ ready ─proceed→ swap ─→ restarting ─→ (the new process) confirming ─→ idle
//!          └ until its time ┘                 └ asks ┘        └ from here on nothing that the control plane says undoes it,
//!                                                               but a rollback, which is an end of its own
//! ```
//!
//! What must stay true, whatever is lost, repeated or late, and whenever the process dies:
//! - No swap without `proceed` for exactly the attempt and generation in hand.
//! - An attempt is applied at most once: what is finished is remembered durably, and what is open is never begun again.
//! - An attempt that was begun and not yet confirmed lets no other begin; the other waits, and its time runs.
//! - An older generation is ignored. The same one again is a repetition, unless it asks for something else: then the
//!   control plane's memory was restored to another past, and its present word counts.
//! - The time to be picked up runs on CLOCK_BOOTTIME from when `desired` arrived; a restarted process has no desire in
//!   hand, and waits for a fresh one.
//! - A finished attempt that is desired again is not begun (so a refused artifact is not fetched in a loop) but reported
//!   again: so a control plane that lost the report learns it.
//! - An outcome is sent after each connect, and again now and then, until it is acknowledged. The last few are told once
//!   more on every later stream, when it has been up for a while: what was acknowledged may have been forgotten since, by
//!   a database that was restored, and what was then concluded from silence is corrected.
//!
//! The driver carries out the [`Action`]s in order, each finished before the next begins, except jobs: those it starts,
//! and hands in how they went ([`Input::Job`]). Journal writes are actions, and what follows them may rely on them.
//! What an older stream says after a newer one is up is not handed in: an acknowledgement is of what was said on its stream.
//! Time is an argument everywhere: CLOCK_BOOTTIME as a [`Duration`].

mod act;

mod desire;

mod end;

mod facts;

mod stage;

mod start;

mod time;

use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Phase, Stage as ErrorStage, Waiting};
use domain::sync::{AttemptReport, Request};
use domain::{AttemptId, Desired, Generation, Spec, Version};

pub use self::facts::{Cause, Facts, Live, Open, Swap};
use self::stage::{Link, Order, Remembered, Stage, Unsent};

/// An unanswered question for leave is asked again after this long: an answer takes one commit, milliseconds.
pub const ASK_AGAIN: Duration = Duration::from_secs(5);

/// A report that was not acknowledged is sent again after this long on the same stream.
pub const REPORT_AGAIN: Duration = Duration::from_secs(30);

/// A confirmation that could not be journalled is tried again after this long; the dead-man window is minutes.
pub const CONFIRM_AGAIN: Duration = Duration::from_secs(10);

/// The last few outcomes are told again, though they were acknowledged, when a stream has been up for this long: behind the rush of
/// a fleet that connects at once.
pub const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// An outcome older than this is not told again: a control plane may have pruned the attempt by then, and would take it
/// for one that it had never known. A database is restored from a backup of last night, or of last week.
pub const TELL_AGAIN_FOR: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Progress in bytes is said at most this often; so is that the error that is waited out has other words, or is over. That another
/// error begins is said at once.
pub const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Most finished attempts remembered, as in the journal.
pub const FINISHED_MAX: usize = 32;

/// Why a job came to nothing. The version that ran before it is fully in place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// [`Outcome::Refused`] or [`Outcome::Failed`].
    pub outcome: Outcome,
    /// In which stage.
    pub stage: ErrorStage,
    /// The typed error.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
}

/// Numbers the jobs of one process: an answer of a job that was dropped since is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Job(pub u64);

/// What became of the process after a swap or a rollback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Applied {
    /// It ends, and another version starts in its place.
    Restart,
    /// It stays until the other version takes over elsewhere (an operator's old pod).
    Elsewhere,
}

/// What became of a version that takes over elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Judgement {
    /// It does not come up: what ran before is to be brought back.
    Failed(Cause),
    /// Somebody else changed what is live, and said so in these words for people: nothing is to be done any more.
    Superseded(String),
}

/// How a job went.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    /// Preflight: the host can apply it.
    Fit {
        /// Bytes to fetch; 0: none (an image).
        bytes_total: u64,
    },
    /// Download: so far.
    Fetched {
        /// Bytes that are there.
        bytes_done: u64,
    },
    /// Preflight or download: an error that may pass is waited out, or (none) is over. A download that got on has none.
    Waits(Option<Waiting>),
    /// Download: all of it (for an image: nothing was to be fetched).
    Downloaded,
    /// Verify: size, SHA-256 and signature are as they should be.
    Verified,
    /// Swap: made.
    Swapped(Applied),
    /// Rollback: made. The outcome follows as [`Input::Finished`], from this process or the next one's journal.
    RolledBack(Applied),
    /// Watch: what became of the version that takes over elsewhere.
    Judged(Judgement),
    /// Any job: it came to nothing. For a confirmation: the journal could not be written.
    Failed(Failure),
}

/// What comes in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The stream is open: the control plane said welcome.
    Connected {
        /// How often to say that this executor is alive.
        heartbeat_interval: Duration,
        /// How long the new version runs with its stream up before it is confirmed.
        probation: Duration,
    },
    /// The stream is gone. (A newer one that is up before the older went is no disconnect.)
    Disconnected,
    /// What is desired now.
    Desired(Desired),
    /// Leave.
    Proceed {
        /// For which attempt.
        attempt: AttemptId,
        /// Under which generation.
        generation: Generation,
    },
    /// No leave, and not wanted any more.
    Withdrawn {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// A report is durable on the other side.
    ReportAcknowledged {
        /// About which attempt.
        attempt: AttemptId,
    },
    /// A job got on.
    Job {
        /// Which one.
        job: Job,
        /// How.
        done: Done,
    },
    /// An attempt's outcome is in the journal: after [`Action::Finish`] or [`Action::Confirm`], or because another layer
    /// (a rollback while this process lives on, an operator's monitor) ended it.
    Finished(Box<AttemptReport>),
    /// Time passed.
    Tick,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Say it on the stream; without one, let it fall.
    Say(Box<Request>),
    /// Write the highest generation seen to the journal.
    NoteGeneration(Generation),
    /// Job: prove a signature, check the manifest against this executor and the spec, then [`crate::Executor::preflight`].
    Preflight {
        /// Its number.
        job: Job,
        /// For which attempt.
        attempt: AttemptId,
        /// Under which generation.
        generation: Generation,
        /// What was asked.
        spec: Box<Spec>,
    },
    /// Job: fetch the bytes of what passed preflight.
    Download {
        /// Its number.
        job: Job,
        /// For which attempt.
        attempt: AttemptId,
    },
    /// Job: check the bytes.
    Verify {
        /// Its number.
        job: Job,
        /// For which attempt.
        attempt: AttemptId,
    },
    /// Job: journal the attempt and swap. Leave was given for exactly this. Never dropped.
    Swap {
        /// Its number.
        job: Job,
        /// For which attempt.
        attempt: AttemptId,
        /// Under which generation.
        generation: Generation,
    },
    /// Drop the preflight, download, verification or prepared bytes of this attempt, and clean up.
    Abort {
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Job: journal that the open attempt passed probation, with this report; answer with [`Input::Finished`].
    Confirm {
        /// Its number.
        job: Job,
        /// What is to be reported.
        report: Box<AttemptReport>,
    },
    /// Job: journal the cause, then bring back what ran before. Never dropped.
    RollBack {
        /// Its number.
        job: Job,
        /// Which attempt.
        attempt: AttemptId,
        /// Why.
        cause: Box<Cause>,
    },
    /// Job: watch over the version that takes over elsewhere, until it is known what becomes of it, or this process ends.
    Watch {
        /// Its number.
        job: Job,
        /// Which attempt.
        attempt: AttemptId,
    },
    /// Journal an outcome; answer with [`Input::Finished`], the report completed by the log where it says so.
    Finish {
        /// What is to be reported.
        report: Box<AttemptReport>,
        /// Whether the failing version's last lines belong into it.
        log: Log,
    },
    /// The journal may forget this outcome's need to be sent (not that the attempt is finished).
    Forget {
        /// About which attempt.
        attempt: AttemptId,
    },
    /// End this process: the next version is to start in its place.
    Exit,
}

/// Whether a report carries the failing version's last lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Log {
    /// Fetch them.
    Tail,
    /// There was none that could have failed.
    None,
}

/// What a hello says of attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Introduction {
    /// The highest generation seen.
    pub generation: Generation,
    /// The attempt that has leave and no end.
    pub open_attempt: Option<AttemptId>,
    /// Where the attempt in hand is.
    pub phase: Option<Phase>,
    /// Outcomes that were not acknowledged, oldest first.
    pub unsent_outcomes: Vec<AttemptReport>,
}

/// The machine. Compared and hashed as a value, so that a model may explore it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Machine {
    running: Version,
    generation: Generation,
    /// What was last accepted in this process, to tell a repetition from another word under the same number.
    heard: Option<Desired>,
    stage: Stage,
    /// Wanted while an attempt is open: begins when that ended, if its time is not over.
    queued: Option<Order>,
    /// Not to be begun again for a mere repetition of what is desired.
    withdrawn: Option<AttemptId>,
    unsent: Vec<Unsent>,
    remembered: Vec<Remembered>,
    finished: Vec<AttemptId>,
    link: Option<Link>,
    last_job: Job,
}

impl Machine {
    /// Takes an input in, and says what to do.
    #[must_use = "what the machine says is not done by itself"]
    pub fn handle(&mut self, input: Input, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        self.live_on(now);
        match input {
            Input::Connected { heartbeat_interval, probation } => {
                self.connected(heartbeat_interval, probation, now);
            }
            Input::Disconnected => self.link = None,
            Input::Desired(desired) => self.desired(desired, now, &mut actions),
            Input::Proceed { attempt, generation } => self.proceed(attempt, generation, &mut actions),
            Input::Withdrawn { attempt } => self.withdraw(attempt, &mut actions),
            Input::ReportAcknowledged { attempt } => self.acknowledged(attempt, now, &mut actions),
            Input::Job { job, done } => self.job_done(job, done, now, &mut actions),
            Input::Finished(report) => self.finished(*report, now, &mut actions),
            Input::Tick => {}
        }
        self.live_on(now);
        self.look_at_the_time(now, &mut actions);
        actions
    }

    /// What this process is.
    #[must_use]
    pub const fn running(&self) -> &Version {
        &self.running
    }

    /// What the next hello says of attempts.
    #[must_use]
    pub fn introduction(&self) -> Introduction {
        Introduction {
            generation: self.generation,
            open_attempt: self.stage.open_attempt(),
            phase: self.stage.phase(),
            unsent_outcomes: self.unsent.iter().map(|unsent| unsent.report.clone()).collect(),
        }
    }

    /// The attempt in hand and where it is, for `status`.
    #[must_use]
    pub fn current(&self) -> Option<(AttemptId, Phase)> {
        Some((self.stage.attempt()?, self.stage.phase()?))
    }
}

#[cfg(test)]
mod tests;
