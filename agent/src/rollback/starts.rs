//! The start counter: the fourth start of an unconfirmed version rolls back, whatever the spacing.
//!
//! The unit counts with the old code (`ExecStartPre=` runs `.prev`), so that a version that dies before its first line is
//! counted too; the new version counts as well where that did not happen. One invocation counts once.

use domain::attempt::{ErrorCode, Stage};
use executor_sdk::journal::state::UNCONFIRMED_STARTS_MAX;
use executor_sdk::journal::{OpenAttempt, RollbackCause, Step};

use crate::notes::Notes;

/// What becomes of a start.
#[derive(Clone, Debug, PartialEq)]
pub enum Counted {
    /// Let it through; counted now or before.
    Through,
    /// It was one too many.
    TooMany(RollbackCause),
}

/// Counts one start of the new version, `invocation` being whatever is the same for all processes of one start.
pub fn count(open: &mut OpenAttempt, notes: &mut Notes, invocation: Option<&str>) -> Counted {
    let before = invocation.is_some() && notes.counted.as_deref() == invocation;
    if !before {
        open.starts = open.starts.saturating_add(1);
        notes.counted = invocation.map(str::to_owned);
    }
    // How far the one before this start came is where it failed.
    let reached = stage(open.step);
    // A new process begins its probation anew.
    if open.step == Step::Connected {
        open.step = Step::Started;
    }
    let most = UNCONFIRMED_STARTS_MAX.saturating_add(notes.wakes);
    if open.starts <= most {
        return Counted::Through;
    }
    Counted::TooMany(RollbackCause {
        stage: reached,
        code: ErrorCode::TooManyStarts,
        message: format!(
            "version {} was started {} times without being confirmed; {most} are let through",
            open.target_version, open.starts
        ),
    })
}

/// In which stage a version failed that got as far as `step`.
#[must_use]
pub const fn stage(step: Step) -> Stage {
    match step {
        Step::Applying | Step::Swapped => Stage::Start,
        Step::Started => Stage::Connect,
        Step::Connected => Stage::Confirm,
        Step::RollingBack => Stage::Rollback,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::open_attempt;

    #[test]
    fn the_fourth_unconfirmed_start_rolls_back() {
        let (mut open, mut notes) = (open_attempt(1, 2), Notes::default());
        for n in 1..=3 {
            assert_eq!(count(&mut open, &mut notes, Some(&n.to_string())), Counted::Through);
        }
        let Counted::TooMany(cause) = count(&mut open, &mut notes, Some("4")) else { panic!("let through") };
        assert_eq!(cause.code, ErrorCode::TooManyStarts);
        assert!(cause.message.contains("started 4 times"), "{}", cause.message);
    }

    #[test]
    fn a_version_that_connected_before_it_crashed_failed_its_probation() {
        let (mut open, mut notes) = (open_attempt(1, 2), Notes::default());
        for n in 1..=3 {
            count(&mut open, &mut notes, Some(&n.to_string()));
            open.step = Step::Connected;
        }
        let Counted::TooMany(cause) = count(&mut open, &mut notes, Some("4")) else { panic!("let through") };
        assert_eq!(cause.stage, Stage::Confirm);
    }

    #[test]
    fn one_invocation_counts_once_and_a_wake_is_no_failure() {
        let (mut open, mut notes) = (open_attempt(1, 2), Notes { wakes: 1, ..Notes::default() });
        for n in [1, 1, 2, 2, 3, 3, 4, 4] {
            assert_eq!(count(&mut open, &mut notes, Some(&n.to_string())), Counted::Through);
        }
        assert_eq!(open.starts, 4);
        assert!(matches!(count(&mut open, &mut notes, None), Counted::TooMany(_)));
    }
}
