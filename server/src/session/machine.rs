//! One session as a machine without I/O: message, now → what to do.
//!
//! ```text
//! Unidentified ──hello──> Introduced ──admitted──> Open ──(message)──> actions
//!      │ 10 s, anything else      │ refused            │ 30 s of silence, flood, nonsense
//!      └─────────────────────────> Close <─────────────┘
//! ```
//!
//! Each step consumes the one before: an open session cannot be introduced again, and nothing but a hello is heard before
//! admission.

use std::time::Duration;

use domain::attempt::{Phase, Waiting};
use domain::sync::{AttemptReport, Hello, Inventory, Progress, Request, Response};
use domain::{AttemptId, ExecutorUid, Generation};
use tokio::time::Instant;

use crate::session::Limits;
use crate::session::close::Close;

/// Progress in bytes is written at most this often; a phase at once, and what is waited out. An upgrade of a minute costs thirty small writes.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// A stream that has not said who it is.
#[derive(Debug)]
pub struct Unidentified {
    uid: ExecutorUid,
    limit: Duration,
    deadline: Instant,
}

/// A stream that has said who it is, and is not admitted yet.
#[derive(Debug)]
pub struct Introduced {
    hello: Box<Hello>,
}

/// What a first message leads to.
#[derive(Debug)]
pub enum First {
    /// It said hello.
    Introduced(Introduced),
    /// It said something that this build does not know.
    StillUnidentified(Unidentified),
}

/// An open session.
#[derive(Debug)]
pub struct Open {
    silent_after: Duration,
    last_heard: Instant,
    tokens: Bucket,
    acknowledged: Generation,
    progress: Option<Noted>,
}

/// What was last written of an attempt's progress.
#[derive(Debug)]
struct Noted {
    attempt: AttemptId,
    phase: Phase,
    bytes_done: u64,
    waiting: Option<Waiting>,
    time: Instant,
}

/// What to do about a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Say it.
    Say(Response),
    /// Write that the executor has seen this.
    Acknowledge(Generation),
    /// Write how far it is.
    Progress(Progress),
    /// Decide whether it may swap.
    Leave {
        /// Which attempt.
        attempt: AttemptId,
        /// Under which generation.
        generation: Generation,
    },
    /// Write an end, then acknowledge it.
    Report(Box<AttemptReport>),
    /// Write the machines that it sees.
    Inventory(Inventory),
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    left: f64,
    burst: f64,
    per_second: f64,
    filled: Instant,
}

// === impl Unidentified ===

impl Unidentified {
    /// A stream of the executor that its certificate says.
    #[must_use]
    pub fn new(uid: ExecutorUid, limits: &Limits, now: Instant) -> Self {
        Self { uid, limit: limits.hello_deadline, deadline: now + limits.hello_deadline }
    }

    /// Until when it has to say who it is.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The deadline came.
    #[must_use]
    pub const fn expire(self) -> Close {
        Close::NoHello(self.limit)
    }

    /// Its first message; none: one that this build does not know.
    ///
    /// # Errors
    /// Anything but a hello of the certificate's executor.
    pub fn receive(self, request: Option<Request>) -> Result<First, Close> {
        match request {
            None => Ok(First::StillUnidentified(self)),
            Some(Request::Hello(hello)) if hello.uid == self.uid => Ok(First::Introduced(Introduced { hello })),
            Some(Request::Hello(_)) => {
                Err(nonsense(Some("hello.uid"), "the hello names another executor than the certificate"))
            }
            Some(
                Request::Heartbeat { .. }
                | Request::Progress(_)
                | Request::ReadyToSwap { .. }
                | Request::Report(_)
                | Request::Inventory(_),
            ) => Err(nonsense(None, "the first message has to be a hello")),
        }
    }
}

// === impl Introduced ===

impl Introduced {
    /// What it said.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// It was admitted.
    #[must_use]
    pub fn open(self, limits: &Limits, silent_after: Duration, now: Instant) -> Open {
        Open {
            silent_after,
            last_heard: now,
            tokens: Bucket::new(limits, now),
            acknowledged: Generation(0),
            progress: None,
        }
    }
}

// === impl Open ===

impl Open {
    /// When silence becomes too long.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.last_heard + self.silent_after
    }

    /// Whether it has been silent for too long.
    #[must_use]
    pub fn tick(&self, now: Instant) -> Option<Close> {
        (now >= self.deadline()).then_some(Close::Silent(self.silent_after))
    }

    /// A message; none: one that this build does not know. It counts as a sign of life all the same.
    ///
    /// # Errors
    /// Too many messages, or a second hello.
    pub fn receive(&mut self, request: Option<Request>, now: Instant) -> Result<Vec<Action>, Close> {
        if !self.tokens.take(now) {
            return Err(Close::Flood);
        }
        self.last_heard = now;
        let Some(request) = request else {
            return Ok(Vec::new());
        };
        Ok(match request {
            Request::Hello(_) => {
                return Err(nonsense(None, "the session is open; hello is said once"));
            }
            Request::Heartbeat { generation } => {
                let mut actions = vec![Action::Say(Response::HeartbeatAck)];
                if generation > self.acknowledged {
                    actions.push(Action::Acknowledge(generation));
                }
                actions
            }
            Request::Progress(progress) if self.is_worth_writing(&progress, now) => {
                vec![Action::Progress(progress)]
            }
            Request::Progress(_) => Vec::new(),
            Request::ReadyToSwap { attempt, generation } => vec![Action::Leave { attempt, generation }],
            Request::Report(report) => vec![Action::Report(report)],
            Request::Inventory(inventory) => vec![Action::Inventory(inventory)],
        })
    }

    /// An acknowledgement is durable: the same one again is no news.
    pub fn note_acknowledged(&mut self, generation: Generation) {
        self.acknowledged = self.acknowledged.max(generation);
    }

    /// A progress is durable.
    pub fn note_progress(&mut self, progress: &Progress, now: Instant) {
        self.progress = Some(Noted {
            attempt: progress.attempt,
            phase: progress.phase,
            bytes_done: progress.bytes_done,
            waiting: progress.waiting.clone(),
            time: now,
        });
    }

    fn is_worth_writing(&self, progress: &Progress, now: Instant) -> bool {
        let Some(noted) = &self.progress else {
            return true;
        };
        let moved = noted.attempt != progress.attempt || noted.phase != progress.phase;
        let moved = moved || noted.waiting != progress.waiting;
        let grown = noted.bytes_done != progress.bytes_done;
        moved || (grown && now.duration_since(noted.time) >= PROGRESS_EVERY)
    }
}

// === impl Bucket ===

impl Bucket {
    fn new(limits: &Limits, now: Instant) -> Self {
        let burst = f64::from(limits.message_burst);
        Self { left: burst, burst, per_second: f64::from(limits.messages_per_second), filled: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        let since = now.duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + since * self.per_second).min(self.burst);
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

fn nonsense(field: Option<&str>, message: &str) -> Close {
    Close::Nonsense { field: field.map(str::to_owned), message: message.to_owned() }
}

#[cfg(test)]
mod tests;
