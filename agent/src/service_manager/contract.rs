//! The numbers of the contract that systemd's units and `--supervise` both keep, and the start limit as a decision.

use std::collections::VecDeque;
use std::time::Duration;

/// Starts that may fail inside [`START_LIMIT_INTERVAL`] before the failure is acted on.
pub const START_LIMIT_BURST: usize = 3;

/// The interval of [`START_LIMIT_BURST`].
pub const START_LIMIT_INTERVAL: Duration = Duration::from_secs(120);

/// Time to become ready. Short, so that three hanging starts fit into [`START_LIMIT_INTERVAL`].
pub const START_TIMEOUT: Duration = Duration::from_secs(30);

/// Time to end after SIGTERM, before SIGKILL.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Pause between an exit and the next start.
pub const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How often the dead man looks whether an attempt is open.
pub const DEAD_MAN_PERIOD: Duration = Duration::from_secs(30);

/// The starts of late, on a clock that only grows.
#[derive(Clone, Debug, Default)]
pub struct StartLimit {
    starts: VecDeque<Duration>,
}

/// Whether one more start is within the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It is, and was counted.
    Allowed,
    /// Too many too soon: act on the failure first.
    TooMany,
}

impl StartLimit {
    /// Asks for a start at `now`.
    pub fn ask(&mut self, now: Duration) -> Start {
        let oldest = now.saturating_sub(START_LIMIT_INTERVAL);
        while self.starts.front().is_some_and(|start| *start < oldest) {
            self.starts.pop_front();
        }
        if self.starts.len() >= START_LIMIT_BURST {
            return Start::TooMany;
        }
        self.starts.push_back(now);
        Start::Allowed
    }

    /// Forgets the starts: a healthy restart, or a failure that was acted on.
    pub fn reset(&mut self) {
        self.starts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fourth_start_inside_the_interval_is_too_many() {
        let mut limit = StartLimit::default();
        let at = Duration::from_secs;
        let answers: Vec<_> = [0, 1, 2, 3].map(|second| limit.ask(at(second))).into();
        assert_eq!(answers, [Start::Allowed, Start::Allowed, Start::Allowed, Start::TooMany]);
        limit.reset();
        assert_eq!(limit.ask(at(4)), Start::Allowed);
    }

    #[test]
    fn starts_fifty_seconds_apart_are_never_too_many_here() {
        let mut limit = StartLimit::default();
        assert!((0..10).all(|n| limit.ask(Duration::from_secs(n * 50)) == Start::Allowed));
    }

    #[test]
    fn three_hanging_starts_fit_into_the_interval() {
        assert!((START_TIMEOUT + RESTART_PAUSE) * 3 < START_LIMIT_INTERVAL);
    }
}
