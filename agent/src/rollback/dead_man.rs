//! The dead man: looks now and then whether an unconfirmed version has gone silent. Runs the old code from `.prev`, so a
//! version that hangs, exits cleanly or never connects is found by something that works.
//!
//! ```text
//!          window over, old code reaches         window over, old code reached all along
//! First ───────────────────────────────→ Woken ──────────────────────────────────────────→ roll back
//!   ↑ │ stream up                          │ │ stream up
//!   │ └────────→ Connected ←───────────────┼─┘        Connected: probation. Its window over: woken like the rest
//!   └──────────────────────────────────────┘ old code cannot reach: an outage. Keep the new version, ask again
//! ```
//!
//! On probation the window is at least twice the probation that the control plane told, so that a version is never woken in the
//! midst of it: it would begin anew, for ever.
//!
//! An outage of the control plane alone never rolls back: whoever rolls back has just reached it with the old code.

use std::time::Duration;

use domain::attempt::{ErrorCode, Stage};
use executor_sdk::journal::{OpenAttempt, RollbackCause, Step};
use uuid::Uuid;

use crate::clock::Moment;
use crate::notes::{Watch, Window};

/// However long a control plane makes the probation: a version that went silent is woken after a day.
const CONNECTED_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What a look found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing to do yet; remember this window.
    Wait(Watch),
    /// Ask with the old code whether the control plane can be reached, then [`answer`].
    Probe(Watch),
}

/// Whether the old code reached the control plane and was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probed {
    /// It was.
    Reached,
    /// It was not: an outage, as far as this host can tell.
    NotReached,
}

/// What to do after a probe.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Remember this window and look again later.
    Wait(Watch),
    /// Restart the new version and give it one more window.
    Wake(Watch),
    /// The old version could, the new one could not.
    RollBack(RollbackCause),
}

/// Looks at the open attempt, whose new version is in place.
#[must_use]
pub fn look(open: &OpenAttempt, watch: Option<Watch>, now: Moment, length: Duration) -> Look {
    let watch = watch.unwrap_or_else(|| first(open, now));
    let watch = match (watch.window, open.step) {
        // Its stream came up: from here on it is on probation. A wake takes the step back, so this is news then too.
        (Window::First | Window::Woken, Step::Connected) => Watch { window: Window::Connected, since: now },
        // Another process of it, which has not connected.
        (Window::Connected, Step::Applying | Step::Swapped | Step::Started) => {
            Watch { window: Window::First, since: now }
        }
        _ => watch,
    };
    let over = is_over(open, watch, now, length);
    // A woken version is judged only if the old code could reach the control plane all along.
    if over || watch.window == Window::Woken { Look::Probe(watch) } else { Look::Wait(watch) }
}

/// Decides by what the probe said.
#[must_use]
pub fn answer(open: &OpenAttempt, watch: Watch, probed: Probed, now: Moment, length: Duration) -> Action {
    let over = is_over(open, watch, now, length);
    match (watch.window, probed) {
        (Window::Woken, Probed::NotReached) => {
            // Its window is over as soon as the outage is, and it will be woken again.
            Action::Wait(Watch { window: Window::First, since: watch.since })
        }
        (Window::First | Window::Connected, Probed::NotReached) => Action::Wait(watch),
        (Window::Woken, Probed::Reached) if !over => Action::Wait(watch),
        (Window::Woken, Probed::Reached) => Action::RollBack(cause(open)),
        (Window::First | Window::Connected, Probed::Reached) => {
            Action::Wake(Watch { window: Window::Woken, since: now })
        }
    }
}

fn is_over(open: &OpenAttempt, watch: Watch, now: Moment, length: Duration) -> bool {
    let length = match watch.window {
        Window::First | Window::Woken => length,
        Window::Connected => {
            let probation = open.probation.unwrap_or_default();
            length.max(probation.saturating_mul(2).min(CONNECTED_MAX))
        }
    };
    now.since(watch.since) >= length
}

/// The first window runs since the swap.
fn first(open: &OpenAttempt, now: Moment) -> Watch {
    let swapped = open.swap.as_ref().and_then(|swap| {
        let boot: Uuid = swap.boot_id.parse().ok()?;
        Some(Moment { boot, since_boot: swap.since_boot })
    });
    Watch { window: Window::First, since: swapped.unwrap_or(now) }
}

/// A version that noted its start ran, and did not connect; one that did not note it hangs.
fn cause(open: &OpenAttempt) -> RollbackCause {
    let version = &open.target_version;
    if open.step < Step::Started {
        RollbackCause {
            stage: Stage::Start,
            code: ErrorCode::Hang,
            message: format!("version {version} was started, woken and never got as far as its journal"),
        }
    } else {
        RollbackCause {
            stage: Stage::Connect,
            code: ErrorCode::NoConnection,
            message: format!(
                "version {version} could not reach the control plane, also after it was woken; {} can",
                open.from_version
            ),
        }
    }
}

#[cfg(test)]
mod tests;
