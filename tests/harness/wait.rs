//! Waiting for a condition instead of sleeping.
//!
//! Level-triggered: the condition is asked again until it holds, so that an event which came early is not missed. The
//! limit is generous, since it is reached only by a failing test; then the error says what was last seen.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Error, Result, bail};

/// How often a condition is asked. Short against anything a person notices, long against the cost of asking.
const PAUSE: Duration = Duration::from_millis(20);

/// How often, where asking is dear.
const LEISURE: Duration = Duration::from_millis(400);

/// Asks `look` until `wanted` holds for what it saw, and returns that.
///
/// # Errors
///
/// When `limit` passes first: the error names `what` was awaited and what was last seen. An error of `look` ends the wait
/// at once.
pub fn until<T: Debug>(
    what: &str,
    limit: Duration,
    look: impl FnMut() -> Result<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<T> {
    every(PAUSE, what, limit, look, wanted)
}

/// The same for a `look` that costs a process, where many trials wait at once. Such a process meets servers that are away and a machine
/// that is busy: its error is what was seen, and the next look may see more.
///
/// # Errors
///
/// When `limit` passes first, as [`until`].
pub fn until_at_leisure<T: Debug>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<T> {
    let look = || Ok(look().map_err(|error| format!("{error:#}")));
    let seen = every(LEISURE, what, limit, look, |seen| seen.as_ref().is_ok_and(&wanted))?;
    seen.map_err(Error::msg)
}

fn every<T: Debug>(
    between: Duration,
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T>,
    wanted: impl Fn(&T) -> bool,
) -> Result<T> {
    let start = Instant::now();
    loop {
        let seen = look()?;
        if wanted(&seen) {
            return Ok(seen);
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} for {what}; last seen: {seen:?}");
        }
        pause_for(between);
    }
}

pub(crate) fn pause() {
    pause_for(PAUSE);
}

#[expect(clippy::disallowed_methods, reason = "the one place where tests pause between two looks at a condition")]
fn pause_for(time: Duration) {
    thread::sleep(time);
}
