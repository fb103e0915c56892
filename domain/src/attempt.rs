//! An attempt: the durable record of one requested upgrade, from request to outcome.
//!
//! ```text
//!             pending upgrade on the executor's row                          cleared
//! requested → delivered → downloading → verifying → ready_to_swap ─leave→ applying → restarting → confirming → succeeded
//!     └──────────┴─────────────┴───────────┴─ refused (stays pending) ┘         └──────────┴───────────┴──────→ rolled_back, failed
//!     └──────────┴─────────────┴───────────┴──────────────┴→ expired, cancelled, superseded, failed
//! ```
//!
//! Leave is the one point that decides: before it cancel, replace, expiry, yank and deactivation win; after it they lose.

pub mod state;

pub mod outcome;

pub mod waiting;

pub mod request;

pub mod next;

pub mod effect;

pub mod restore;

pub use next::{Action, Input, Next, OutcomeWaiting, Policy, next, next_deadline, outcome_waiting, remaining_ttl};
pub use outcome::{Ending, ErrorCode, Outcome, OutcomeSource, Report, Stage};
pub use request::{Decision, Request, Situation, request};
pub use state::{Attempt, Phase};
pub use waiting::{Waiting, WaitingSince};
