//! What a crash loop means: the cause that is reported when it ends an upgrade, and the pauses when there is none to end.

use std::time::Duration;

use domain::attempt::{ErrorCode, Stage};
use executor_sdk::journal::{OpenAttempt, RollbackCause};

use crate::rollback::starts::stage;
use crate::service_manager::contract::START_LIMIT_BURST;

/// Pause before the first start after a crash loop.
const PAUSE_FIRST: Duration = Duration::from_secs(5);

/// Longest pause: a host that is mended comes back within it.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// How the last start ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// It was not ready in time and was killed.
    NotReady,
    /// In a way that nobody can name; the service manager's word.
    Other(String),
}

/// Why the open attempt is rolled back after a crash loop.
#[must_use]
pub fn cause(open: &OpenAttempt, exit: &Exit) -> RollbackCause {
    let version = &open.target_version;
    let times = format!("{START_LIMIT_BURST} starts in a row");
    let (stage, code, message) = match exit {
        Exit::Status(0) => {
            (stage(open.step), ErrorCode::CleanExit, format!("version {version} exited with status 0; {times} failed"))
        }
        Exit::Status(status) => {
            let message = format!("version {version} exited with status {status}; {times} failed");
            (stage(open.step), ErrorCode::CrashLoop, message)
        }
        Exit::Signal(signal) => {
            let message = format!("version {version} was killed by signal {signal}; {times} failed");
            (stage(open.step), ErrorCode::CrashLoop, message)
        }
        Exit::NotReady => {
            (Stage::Start, ErrorCode::StartTimeout, format!("version {version} was not ready in time; {times} failed"))
        }
        Exit::Other(word) => {
            (stage(open.step), ErrorCode::CrashLoop, format!("version {version} failed ({word}); {times} failed"))
        }
    };
    RollbackCause { stage, code, message }
}

/// The pause before the start that follows the `nth` crash loop in a row, from 0: doubling, up to five minutes.
#[must_use]
pub fn pause(nth: u32) -> Duration {
    PAUSE_FIRST.saturating_mul(2u32.saturating_pow(nth)).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::open_attempt;

    #[test]
    fn each_way_of_failing_has_its_code() {
        let open = open_attempt(1, 2);
        for (exit, code) in [
            (Exit::Status(0), ErrorCode::CleanExit),
            (Exit::Status(101), ErrorCode::CrashLoop),
            (Exit::Signal(6), ErrorCode::CrashLoop),
            (Exit::NotReady, ErrorCode::StartTimeout),
            (Exit::Other("protocol".to_owned()), ErrorCode::CrashLoop),
        ] {
            let cause = cause(&open, &exit);
            assert_eq!(cause.code, code, "{exit:?}");
            assert!(cause.message.contains("1.1.0"), "{}", cause.message);
        }
    }

    #[test]
    fn pauses_grow_and_have_a_ceiling() {
        let seconds: Vec<_> = (0..8).map(|nth| pause(nth).as_secs()).collect();
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(pause(u32::MAX), PAUSE_MAX);
    }
}
