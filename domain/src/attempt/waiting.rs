//! What an executor waits out: an error that may pass. Before leave it tries again by itself until a deadline comes; after it, it gives
//! the version that comes up elsewhere some time, and goes back where the error lasts.

use crate::attempt::outcome::ErrorCode;
use crate::time::Timestamp;

/// What is waited out, in the executor's words.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// The typed error.
    pub error_code: ErrorCode,
    /// A sentence for people; may be empty.
    pub message: String,
}

/// The same on an attempt's row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WaitingSince {
    /// What is waited out, as last said.
    pub waiting: Waiting,
    /// Since when this error was said without a break; the sentence may have changed meanwhile.
    pub since: Timestamp,
}

// === impl Waiting ===

impl Waiting {
    /// `REGISTRY_UNREACHABLE: registry r.example cannot be reached`.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self.message.as_str() {
            "" => self.error_code.as_str().to_owned(),
            message => format!("{}: {message}", self.error_code.as_str()),
        }
    }

    /// The message of an end that a deadline made meanwhile: what was concluded, then why.
    #[must_use]
    pub fn end_of(&self, concluded: &str) -> String {
        format!("{concluded}; last it waited out {}", self.sentence())
    }
}

// === impl WaitingSince ===

impl WaitingSince {
    /// What is kept once `said` is said at `now`: the same error goes on since when it began.
    #[must_use]
    pub fn after(before: Option<&Self>, said: Option<&Waiting>, now: Timestamp) -> Option<Self> {
        let waiting = said?.clone();
        let same = before.filter(|before| before.waiting.error_code == waiting.error_code);
        Some(Self { waiting, since: same.map_or(now, |before| before.since) })
    }
}
