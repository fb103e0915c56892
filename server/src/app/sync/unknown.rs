//! Reports about attempts that the store does not know are believed, since a database may have been restored (rule 12), and
//! each becomes a row that is kept for long. So that one executor, in wrong hands, cannot fill the disk with inventions, only
//! so many of them are taken in from each a day.
//!
//! It is counted in this process: a restart grants another day's worth, and is not the executor's to bring about.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{AttemptId, ExecutorUid, Timestamp};

/// Taken in of one executor in a [`DAY`]: more than a restore loses of an honest one's attempts.
pub(crate) const UNKNOWN_MAX: usize = 32;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What becomes of a report about an unknown attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is taken in.
    TakeIn,
    /// It is acknowledged and dropped, and so are the rest of the day; said once.
    DropFirst,
    /// It is acknowledged and dropped.
    Drop,
}

/// Who has reported how many.
#[derive(Debug, Default)]
pub(crate) struct UnknownReports(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    pruned: Option<Timestamp>,
    days: HashMap<ExecutorUid, Day>,
}

#[derive(Debug)]
struct Day {
    since: Timestamp,
    taken: BTreeSet<AttemptId>,
    told: bool,
}

// === impl UnknownReports ===

impl UnknownReports {
    /// Judges a report. One that was let in before is let in again: its write may have failed.
    pub(crate) fn judge(&self, executor: ExecutorUid, attempt: AttemptId, now: Timestamp) -> Verdict {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pruned = *state.pruned.get_or_insert(now);
        if now.since(pruned) >= DAY {
            state.days.retain(|_, day| now.since(day.since) < DAY);
            state.pruned = Some(now);
        }
        let new = || Day { since: now, taken: BTreeSet::new(), told: false };
        let day = state.days.entry(executor).or_insert_with(new);
        if now.since(day.since) >= DAY {
            *day = new();
        }
        if day.taken.contains(&attempt) {
            return Verdict::TakeIn;
        }
        if day.taken.len() < UNKNOWN_MAX {
            day.taken.insert(attempt);
            return Verdict::TakeIn;
        }
        if std::mem::replace(&mut day.told, true) { Verdict::Drop } else { Verdict::DropFirst }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_executor_has_its_share_of_a_day() {
        let reports = UnknownReports::default();
        let executor = |n| ExecutorUid::new(uuid::Uuid::from_u128(n));
        let attempt = |n: usize| AttemptId::new(uuid::Uuid::from_u128(n as u128));
        let start = Timestamp::from_micros(1_700_000_000_000_000);
        for n in 0..UNKNOWN_MAX {
            assert_eq!(reports.judge(executor(1), attempt(n), start), Verdict::TakeIn);
        }
        assert_eq!(reports.judge(executor(1), attempt(UNKNOWN_MAX), start), Verdict::DropFirst);
        assert_eq!(reports.judge(executor(1), attempt(UNKNOWN_MAX), start), Verdict::Drop);
        assert_eq!(reports.judge(executor(1), attempt(0), start), Verdict::TakeIn, "repeated, it costs nothing");
        assert_eq!(reports.judge(executor(2), attempt(UNKNOWN_MAX), start), Verdict::TakeIn);
        let tomorrow = start.plus(DAY);
        assert_eq!(reports.judge(executor(1), attempt(UNKNOWN_MAX), tomorrow), Verdict::TakeIn);
        let state = reports.0.lock().expect("no panic");
        assert_eq!(state.days.len(), 1, "yesterday's are forgotten");
    }
}
