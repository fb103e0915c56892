//! Reports about attempts that the database no longer knows: it was restored to before they were asked (rule 12).

use crate::attempt::next::{Input, Next, Policy, next};
use crate::attempt::outcome::{Outcome, Report};
use crate::attempt::state::{Attempt, Phase};
use crate::audit::Actor;
use crate::executor::{Executor, Kind};
use crate::id::{AttemptId, ReleaseId, Revision};
use crate::time::Timestamp;
use crate::version::Version;

/// What the executor remembers of the attempt, besides its report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recollection {
    /// Which attempt.
    pub attempt: AttemptId,
    /// What it led to.
    pub target_version: Option<Version>,
    /// What it came from.
    pub from_version: Option<Version>,
}

/// Makes the row of an unknown attempt from its report: ended, reported, with the consequences that the report has for the
/// executor's row ([`super::effect::apply`]). What nobody remembers is filled from what runs.
#[must_use]
pub fn from_report(
    executor: &Executor,
    kind: Kind,
    recollection: Recollection,
    report: &Report,
    now: Timestamp,
) -> Next {
    let running = &report.running_version;
    let succeeded = report.outcome == Outcome::Succeeded;
    let target = recollection.target_version.unwrap_or_else(|| running.clone());
    let back = report.rolled_back_to.clone().unwrap_or_else(|| running.clone());
    let request_time = asked(recollection.attempt, now);
    let shell = Attempt {
        id: recollection.attempt,
        executor: executor.uid,
        executor_name: executor.name.clone(),
        revision: Revision::default(),
        release: ReleaseId { kind, version: target },
        from_version: recollection.from_version.unwrap_or(back),
        generation: executor.generation,
        phase: if succeeded { Phase::Confirming } else { Phase::Requested },
        refused: None,
        waiting: None,
        rollback_requested: false,
        ending: None,
        corrected: false,
        bytes_done: 0,
        bytes_total: 0,
        request_time,
        deliver_time: None,
        progress_time: None,
        apply_time: None,
        end_time: None,
        // Nothing waits for it any more: a refusal ends it at once.
        expire_time: request_time,
        requested_by: Actor::System("restore"),
        request_id: None,
    };
    next(&shell, &Input::Reported(report.clone()), &Policy::default(), now)
}

/// When it was asked, by its UUIDv7; now, when its id carries no time or one that is yet to come.
fn asked(attempt: AttemptId, now: Timestamp) -> Timestamp {
    let stamp = attempt.as_uuid().get_timestamp().map(|stamp| stamp.to_unix());
    let micros = stamp.and_then(|(seconds, nanos)| {
        i64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))
    });
    micros.map_or(now, Timestamp::from_micros).min(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempt::effect;
    use crate::attempt::outcome::{ErrorCode, OutcomeSource};
    use crate::fixture::{at, executor, version};

    fn report(outcome: Outcome, running: &str) -> Report {
        Report {
            outcome,
            stage: None,
            error_code: Some(ErrorCode::DigestMismatch),
            message: String::new(),
            running_version: version(running),
            rolled_back_to: None,
            log_tail: Vec::new(),
        }
    }

    fn row(outcome: Outcome, running: &str, target: Option<&str>) -> (Executor, Attempt) {
        let recollection = Recollection {
            // 2024-06-14T00:00:00Z and a bit.
            attempt: "0190143a-6e00-7000-8000-000000000001".parse().expect("a UUIDv7"),
            target_version: target.map(version),
            from_version: None,
        };
        let now = at(1_000_000_000);
        let executor = executor(running);
        let next = from_report(&executor, Kind::Agent, recollection, &report(outcome, running), now);
        effect::apply(&executor, next, Some(&version("1.0.0")), now)
    }

    #[test]
    fn an_unknown_attempt_ends_by_its_report_with_all_consequences() {
        let (executor, attempt) = row(Outcome::Succeeded, "1.2.0", None);
        let ending = attempt.ending.clone().expect("ended");
        assert_eq!((ending.outcome, ending.source), (Outcome::Succeeded, OutcomeSource::Reported));
        assert_eq!(attempt.target_version(), &version("1.2.0"));
        assert_eq!(executor.floor, Some(version("1.0.0")));
        assert!(attempt.request_time < attempt.end_time.expect("ended"));

        for outcome in [Outcome::RolledBack, Outcome::Refused] {
            let (executor, attempt) = row(outcome, "1.1.0", Some("1.2.0"));
            assert_eq!(attempt.ending.expect("ended").outcome, outcome);
            assert!(executor.hold_on(&version("1.2.0")).is_some());
            assert_eq!(executor.generation, crate::id::Generation(0), "nothing that is desired changes");
        }
    }
}
