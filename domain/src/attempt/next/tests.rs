//! The closed table of rules 4 to 12, told as roads: what was said when, and where it led.

mod ends;

mod properties;

mod waits;

use super::*;
use crate::attempt::effect;
use crate::executor::Executor;
use crate::fixture::{at, attempt, attempt_id, executor, version};

const POLICY: Policy = Policy {
    progress_deadline: Duration::from_secs(600),
    leave_deadline: Duration::from_secs(600),
    confirm_deadline: Duration::from_secs(3600),
};

/// An executor 1.1.0 that was asked at 0 s for 1.2.0, to be picked up until 900 s.
struct Road {
    executor: Executor,
    attempt: Attempt,
}

impl Road {
    fn new() -> Self {
        let attempt = attempt("1.1.0", "1.2.0");
        let mut executor = executor("1.1.0");
        executor.generation = attempt.generation;
        executor.pending = Some(attempt.id);
        executor.open_attempt = Some(attempt.id);
        Self { executor, attempt }
    }

    /// Says `input` at `seconds`, and returns the answers (what is neither feed nor row).
    fn say(&mut self, seconds: u64, input: Input) -> Vec<Action> {
        let next = next(&self.attempt, &input, &POLICY, at(seconds));
        let answers = next.actions.clone();
        (self.executor, self.attempt) = effect::apply(&self.executor, next, Some(&version("1.0.5")), at(seconds));
        answers.into_iter().filter(is_answer).collect()
    }

    fn progress(&mut self, seconds: u64, phase: Phase, bytes: u64) -> Vec<Action> {
        self.say(seconds, Input::Progress { phase, bytes_done: bytes, bytes_total: 100, waiting: None })
    }

    /// Says that it waits out `code`.
    fn wait_out(&mut self, seconds: u64, phase: Phase, code: ErrorCode, message: &str) {
        let waiting = Some(Waiting { error_code: code, message: message.to_owned() });
        assert_eq!(self.say(seconds, Input::Progress { phase, bytes_done: 0, bytes_total: 100, waiting }), []);
    }

    fn ready(&mut self, seconds: u64) -> Vec<Action> {
        let generation = self.attempt.generation;
        self.say(seconds, Input::ReadyToSwap { generation })
    }

    fn hello(&mut self, seconds: u64, running: &str, open: Option<AttemptId>) -> Vec<Action> {
        let has_unsent_outcome = OutcomeWaiting::No;
        self.say(seconds, Input::Hello { version: version(running), open_attempt: open, has_unsent_outcome })
    }

    fn report(&mut self, seconds: u64, outcome: Outcome, running: &str) -> Vec<Action> {
        self.say(seconds, Input::Reported(report(outcome, running, None)))
    }

    /// With leave, given at 30 s.
    fn with_leave() -> Self {
        let mut road = Self::new();
        road.progress(10, Phase::Downloading, 50);
        assert_eq!(road.ready(30), [Action::Proceed]);
        road
    }

    /// The target said hello at 40 s.
    fn confirming() -> Self {
        let mut road = Self::with_leave();
        road.hello(40, "1.2.0", Some(attempt_id(1)));
        assert_eq!(road.attempt.phase, Phase::Confirming);
        road
    }

    /// `succeeded reported`, `failed inferred LEAVE_EXPIRED`, or the phase while there is no end; with what the row says.
    fn now(&self) -> String {
        let mut text = match &self.attempt.ending {
            None => self.attempt.phase.as_str().to_owned(),
            Some(ending) => {
                let reason = ending.reason.map_or_else(String::new, |reason| format!(" {reason}"));
                format!("{} {}{reason}", ending.outcome.as_str(), ending.source.as_str())
            }
        };
        if self.executor.pending.is_some() {
            text.push_str(", pending");
        }
        if self.attempt.refused.is_some() && self.attempt.ending.is_none() {
            text.push_str(", refused");
        }
        if self.executor.hold_on(self.attempt.target_version()).is_some() {
            text.push_str(", held");
        }
        assert_eq!(self.executor.open_attempt.is_some(), self.attempt.ending.is_none());
        text
    }
}

fn is_answer(action: &Action) -> bool {
    matches!(action, Action::Proceed | Action::Withdraw(_) | Action::Acknowledge | Action::Refuse(_))
}

fn report(outcome: Outcome, running: &str, error_code: Option<ErrorCode>) -> Report {
    Report {
        outcome,
        stage: None,
        error_code,
        message: "because".to_owned(),
        running_version: version(running),
        rolled_back_to: (outcome == Outcome::RolledBack).then(|| version(running)),
        log_tail: vec!["last line".to_owned()],
    }
}

#[test]
fn the_good_road_ends_by_report() {
    let mut road = Road::new();
    assert_eq!(road.now(), "requested, pending");
    road.say(1, Input::Acknowledged { generation: Generation(1) });
    assert_eq!(road.now(), "delivered, pending");
    assert_eq!(road.attempt.deliver_time, Some(at(1)));
    road.progress(2, Phase::Downloading, 10);
    road.progress(3, Phase::Verifying, 100);
    assert_eq!(road.now(), "verifying, pending");
    assert_eq!(road.ready(4), [Action::Proceed]);
    assert_eq!(road.attempt.apply_time, Some(at(4)));
    road.progress(5, Phase::Restarting, 100);
    assert_eq!(road.now(), "restarting, pending");
    road.hello(8, "1.2.0", Some(attempt_id(1)));
    assert_eq!(road.now(), "confirming");
    assert_eq!(road.report(130, Outcome::Succeeded, "1.2.0"), [Action::Acknowledge]);
    assert_eq!(road.now(), "succeeded reported");
    assert_eq!(road.executor.floor, Some(version("1.0.5")), "what the manifest says");
}

#[test]
fn messages_that_were_lost_are_made_good_by_the_next() {
    let mut road = Road::new();
    assert_eq!(road.ready(4), [Action::Proceed]);
    assert_eq!((road.attempt.phase, road.attempt.deliver_time), (Phase::Applying, Some(at(4))));
    road.report(130, Outcome::Succeeded, "1.2.0");
    assert_eq!(road.now(), "succeeded reported");
}

#[test]
fn nothing_begins_after_its_time_whether_or_not_the_sweep_has_been_by() {
    for begin in [
        Input::Progress { phase: Phase::Downloading, bytes_done: 1, bytes_total: 100, waiting: None },
        Input::Progress { phase: Phase::Verifying, bytes_done: 1, bytes_total: 100, waiting: None },
        Input::ReadyToSwap { generation: Generation(1) },
    ] {
        let mut road = Road::new();
        assert_eq!(road.say(900, begin.clone()), [Action::Withdraw(Reason::TtlExpired)], "{begin:?}");
        assert_eq!(road.now(), "expired inferred TTL_EXPIRED");
        let mut road = Road::new();
        road.say(899, begin);
        assert_eq!(road.attempt.ending, None);
    }
}

#[test]
fn after_pickup_bytes_count_and_the_time_to_be_picked_up_does_not() {
    let mut road = Road::new();
    road.progress(899, Phase::Downloading, 1);
    road.progress(1400, Phase::Downloading, 2);
    road.say(1999, Input::Tick);
    assert_eq!(road.now(), "downloading, pending");
    road.progress(1990, Phase::Downloading, 2);
    road.progress(1995, Phase::Verifying, 1);
    road.say(2000, Input::Tick);
    assert_eq!(road.now(), "failed inferred PROGRESS_STALLED", "a repeated count and a fresh start are no new bytes");
}

#[test]
fn leave_is_for_the_attempts_own_generation_and_repeated_under_it() {
    let mut road = Road::new();
    for generation in [0, 2] {
        assert_eq!(road.say(10, Input::ReadyToSwap { generation: Generation(generation) }), []);
        assert_eq!(road.attempt.apply_time, None);
    }
    assert_eq!(road.ready(10), [Action::Proceed]);
    assert_eq!(road.ready(20), [Action::Proceed], "the answer may have been lost");
    assert_eq!(road.attempt.apply_time, Some(at(10)), "given once");
}

#[test]
fn before_leave_everything_wins_and_the_executor_is_told_when_it_asks() {
    for (input, end) in [
        (Input::Cancel, "cancelled inferred CANCELLED_BY_REQUEST"),
        (Input::Replace, "superseded inferred REPLACED_BY_REQUEST"),
        (Input::Yank, "cancelled inferred RELEASE_YANKED"),
        (Input::Deactivate, "cancelled inferred EXECUTOR_DEACTIVATED"),
        (Input::Delete, "cancelled inferred EXECUTOR_DELETED"),
    ] {
        let mut road = Road::new();
        road.progress(10, Phase::Verifying, 100);
        assert_eq!(road.say(20, input.clone()), []);
        assert_eq!(road.now(), end);
        assert_eq!(road.executor.generation, Generation(2), "the push is a newer generation");
        let answer = road.ready(21);
        assert!(matches!(answer[..], [Action::Withdraw(_)]), "{answer:?}");
        assert_eq!(road.now(), end);
    }
}

#[test]
fn after_leave_everything_but_deletion_loses() {
    for (input, answer) in [
        (Input::Cancel, vec![Action::Refuse(Reason::AttemptApplying)]),
        (Input::Replace, vec![Action::Refuse(Reason::AttemptApplying)]),
        (Input::Yank, vec![]),
        (Input::Deactivate, vec![]),
    ] {
        let mut road = Road::with_leave();
        assert_eq!(road.say(31, input), answer);
        assert_eq!(road.now(), "applying, pending");
    }
    let mut road = Road::with_leave();
    road.say(31, Input::Delete);
    assert_eq!(road.now(), "cancelled inferred EXECUTOR_DELETED");
}

#[test]
fn cancelling_twice_is_no_refusal_and_cancelling_what_ended_is_one() {
    let mut road = Road::new();
    road.say(1, Input::Cancel);
    assert_eq!(road.say(2, Input::Cancel), []);
    let mut road = Road::confirming();
    road.report(130, Outcome::Succeeded, "1.2.0");
    assert_eq!(road.say(131, Input::Cancel), [Action::Refuse(Reason::AttemptEnded)]);
    let mut road = Road::new();
    assert_eq!(road.say(900, Input::Cancel), [Action::Refuse(Reason::AttemptEnded)]);
    assert_eq!(road.now(), "expired inferred TTL_EXPIRED");
}

#[test]
fn a_rollback_is_reported_with_all_that_is_known_and_sets_a_hold() {
    let mut road = Road::confirming();
    let crash =
        Report { stage: Some(Stage::Start), ..report(Outcome::RolledBack, "1.1.0", Some(ErrorCode::CrashLoop)) };
    road.say(60, Input::Reported(crash));
    assert_eq!(road.now(), "rolled_back reported ROLLED_BACK, held");
    let ending = road.attempt.ending.clone().expect("ended");
    assert_eq!(ending.rolled_back_to, Some(version("1.1.0")));
    assert_eq!(ending.log_tail, ["last line"]);
    assert_eq!(road.executor.holds[0].cause, "rolled back in stage start (CRASH_LOOP): because");
}

#[test]
fn the_way_back_asked_after_leave_is_desired_of_the_same_attempt() {
    let mut road = Road::confirming();
    let before = road.executor.generation;
    assert_eq!(road.say(50, Input::RollBack), []);
    assert_eq!(road.now(), "confirming, pending");
    assert_eq!((road.executor.generation, road.attempt.generation), (before.next(), before.next()));
    road.say(51, Input::RollBack);
    assert_eq!(road.executor.generation, before.next(), "asked twice");
    road.hello(52, "1.2.0", Some(attempt_id(1)));
    assert_eq!(road.now(), "confirming, pending", "the way back is still desired");
    road.report(60, Outcome::RolledBack, "1.1.0");
    assert_eq!(road.now(), "rolled_back reported ROLLBACK_REQUESTED, held");
    let mut road = Road::new();
    assert_eq!(road.say(5, Input::RollBack), [Action::Refuse(Reason::AlreadyRunning)]);
}

#[test]
fn no_leave_is_repeated_once_the_way_back_is_asked() {
    let mut road = Road::with_leave();
    road.say(31, Input::RollBack);
    for generation in [1, 2].map(Generation) {
        assert_eq!(road.say(32, Input::ReadyToSwap { generation }), []);
    }
}

#[test]
fn the_table_of_hellos_is_closed() {
    let ours = Some(attempt_id(1));
    let other = Some(attempt_id(2));
    let local = "superseded inferred CHANGED_LOCALLY";
    let lost = "rolled_back inferred ROLLED_BACK, held";
    let check = |road: fn() -> Road, running: &str, open, then: &str| {
        let mut road = road();
        let from = road.now();
        road.hello(50, running, open);
        assert_eq!(road.now(), then, "{from}, then hello of {running} with {open:?} open");
    };
    for open in [None, other] {
        check(Road::new, "1.1.0", open, "requested, pending");
        check(Road::new, "1.2.0", open, local);
        check(Road::new, "1.1.5", open, local);
        check(Road::with_leave, "1.1.0", open, "applying, pending");
        check(Road::with_leave, "1.2.0", open, "confirming");
        check(Road::with_leave, "1.1.5", open, local);
        check(Road::confirming, "1.2.0", open, "confirming");
        check(Road::confirming, "1.1.0", open, lost);
        check(Road::confirming, "1.1.5", open, local);
    }
    check(Road::new, "1.1.0", ours, "requested, pending");
    check(Road::new, "1.2.0", ours, "confirming");
    check(Road::with_leave, "1.1.0", ours, "applying, pending");
    check(Road::with_leave, "1.2.0", ours, "confirming");
    check(Road::with_leave, "1.1.5", ours, "applying, pending");
    check(Road::confirming, "1.1.0", ours, "confirming");
}

#[test]
fn a_hello_with_an_outcome_to_come_ends_nothing() {
    for road in [Road::new, Road::with_leave, Road::confirming] {
        for running in ["1.1.0", "1.2.0", "1.1.5"] {
            for open_attempt in [None, Some(attempt_id(1))] {
                let mut road = road();
                let has_unsent_outcome = OutcomeWaiting::Yes;
                let running = version(running);
                road.say(50, Input::Hello { version: running, open_attempt, has_unsent_outcome });
                assert_eq!(road.attempt.ending, None);
            }
        }
    }
    let mut road = Road::with_leave();
    let (running, open_attempt) = (version("1.2.0"), Some(attempt_id(1)));
    let has_unsent_outcome = OutcomeWaiting::Yes;
    road.say(50, Input::Hello { version: running, open_attempt, has_unsent_outcome });
    assert_eq!(road.now(), "confirming", "that the target runs is seen, whatever becomes of it");
}

#[test]
fn an_executor_that_may_have_finished_is_asked_before_anything_is_concluded() {
    let waiting = |attempt: &Attempt, running, told, stored| {
        let (told, stored) = (Generation(told), Generation(stored));
        outcome_waiting(attempt, &version(running), told, stored, OutcomeWaiting::No)
    };
    let asked = Road::new().attempt;
    assert_eq!(waiting(&asked, "1.2.0", 0, 1), OutcomeWaiting::No, "it never saw the attempt");
    assert_eq!(waiting(&asked, "1.2.0", 1, 1), OutcomeWaiting::Yes);
    assert_eq!(waiting(&asked, "1.1.5", 1, 1), OutcomeWaiting::No, "a third version is no end of this attempt");
    assert_eq!(waiting(&asked, "1.1.0", 2, 1), OutcomeWaiting::Yes, "the database was restored");
    assert_eq!(waiting(&Road::with_leave().attempt, "1.2.0", 1, 1), OutcomeWaiting::No);
}
