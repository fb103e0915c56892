//! The ways back, as decisions: what the journal says, what the disk holds, what time it is → what to do. Doing is in the children.
//!
//! ```text
//! crash loop ── OnFailure= / start limit ──┐
//! fourth unconfirmed start ────────────────┤                ┌ PutBack: copy `.prev` over the binary, restart
//! window over, old code reaches, new not ──┼─→ verdict() ───┼ AlreadyBack: close the attempt
//! wrong version, asked by the server ──────┤                ├ NothingOpen: no binary is touched
//! novacula-agent rollback ─────────────────┘                ├ ChangedLocally: somebody else's binary is left alone
//!                                                           └ Unusable: `.prev` is gone or was written on; left as it is
//! ```
//!
//! None of them needs the new binary or the control plane: the units run `.prev`, and what they decide by is on disk.

pub mod dead_man;

pub mod put_back;

pub mod starts;

pub mod crash_loop;

pub mod steps;

use domain::Sha256;
use executor_sdk::journal::{OpenAttempt, Step};

use crate::disk::{Content, Facts};

/// What the disk and the journal allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No attempt is open: whatever fails now is not an upgrade's fault, and no binary is changed.
    NothingOpen,
    /// The swap was never made: the old version is in place and the new one never was.
    NeverSwapped,
    /// The old version is in place again.
    AlreadyBack,
    /// The new version is in place, or nothing is, and `.prev` is the old one.
    PutBack {
        /// What has to be there afterwards.
        old: Sha256,
    },
    /// Neither version is in place: somebody put another one there.
    ChangedLocally,
    /// The new version is in place and the old one cannot be brought back.
    Unusable(Unusable),
}

/// Why `.prev` cannot be put back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is gone.
    #[error(
        "the old binary (.prev) is missing: install the old version by hand, or fix the new one; nothing was changed"
    )]
    Missing,
    /// It cannot be read.
    #[error("the old binary (.prev) cannot be read ({0}): nothing was changed")]
    Unreadable(String),
    /// Somebody wrote on it.
    #[error(
        "the old binary (.prev) was written on: its SHA-256 is {found}, the journal says {expected}; nothing was changed"
    )]
    Changed {
        /// What it is now.
        found: Sha256,
        /// What was put aside.
        expected: Sha256,
    },
    /// The journal does not say which binary was put aside.
    #[error("the journal does not say what the old binary was: nothing was changed")]
    Unknown,
}

/// What can be done about the open attempt.
#[must_use]
pub fn verdict(open: Option<&OpenAttempt>, facts: &Facts) -> Verdict {
    let Some(open) = open else {
        return Verdict::NothingOpen;
    };
    let (Some(old), Some(new)) = (open.old_sha256, open.new_sha256) else {
        return Verdict::Unusable(Unusable::Unknown);
    };
    match &facts.live {
        Content::Is(live) if *live == old => in_place_again(open),
        Content::Is(live) if *live == new => previous(facts, old),
        Content::Is(_) => Verdict::ChangedLocally,
        Content::Missing | Content::Unreadable(_) => previous(facts, old),
    }
}

/// The old binary is in place: was the new one ever?
fn in_place_again(open: &OpenAttempt) -> Verdict {
    if open.step == Step::Applying && open.starts == 0 { Verdict::NeverSwapped } else { Verdict::AlreadyBack }
}

fn previous(facts: &Facts, old: Sha256) -> Verdict {
    match &facts.previous {
        Content::Is(found) if *found == old => Verdict::PutBack { old },
        Content::Is(found) => Verdict::Unusable(Unusable::Changed { found: *found, expected: old }),
        Content::Missing => Verdict::Unusable(Unusable::Missing),
        Content::Unreadable(why) => Verdict::Unusable(Unusable::Unreadable(why.clone())),
    }
}

#[cfg(test)]
mod tests;
