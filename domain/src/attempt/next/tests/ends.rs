//! How an attempt ends: refused, silent, reported, corrected.

use super::*;

#[test]
fn a_refusal_stays_pending_and_marked_until_its_time() {
    let mut road = Road::new();
    road.progress(10, Phase::Verifying, 100);
    let wrong = report(Outcome::Refused, "1.1.0", Some(ErrorCode::DigestMismatch));
    let first = next(&road.attempt, &Input::Reported(wrong.clone()), &POLICY, at(11)).actions;
    assert!(first.contains(&Action::Emit(EventKind::ArtifactRefused)));
    road.say(11, Input::Reported(wrong.clone()));
    assert_eq!(road.now(), "verifying, pending, refused, held");
    let again = next(&road.attempt, &Input::Reported(wrong), &POLICY, at(12)).actions;
    assert_eq!(again, [Action::Acknowledge], "one alarm");
    road.progress(13, Phase::Downloading, 200);
    assert_eq!(road.now(), "verifying, pending, refused, held", "not downloaded in a loop");
    assert_eq!(road.ready(14), [Action::Withdraw(Reason::AttemptEnded)]);
    road.say(899, Input::Tick);
    assert_eq!(road.now(), "verifying, pending, refused, held", "no progress deadline either");
    road.say(900, Input::Tick);
    assert_eq!(road.now(), "refused reported DIGEST_MISMATCH, held");
}

#[test]
fn a_refusal_for_the_hosts_sake_is_no_alarm_about_the_artifact() {
    let road = Road::new();
    let full = report(Outcome::Refused, "1.1.0", Some(ErrorCode::NoSpace));
    let actions = next(&road.attempt, &Input::Reported(full), &POLICY, at(11)).actions;
    assert!(actions.contains(&Action::Emit(EventKind::AttemptRefused)));
    assert!(!actions.contains(&Action::Emit(EventKind::ArtifactRefused)));
}

#[test]
fn a_refusal_is_the_truth_whoever_ends_it() {
    for input in [Input::Cancel, Input::Replace, Input::Yank, Input::Delete] {
        let mut road = Road::new();
        road.say(11, Input::Reported(report(Outcome::Refused, "1.1.0", Some(ErrorCode::UnknownKey))));
        road.say(12, input);
        assert_eq!(road.now(), "refused reported SIGNATURE_INVALID, held");
    }
}

#[test]
fn silence_after_leave_is_a_failure_that_a_report_may_correct_once() {
    let mut road = Road::with_leave();
    road.say(630, Input::Tick);
    assert_eq!(road.now(), "failed inferred LEAVE_EXPIRED");
    assert_eq!(road.report(700, Outcome::Succeeded, "1.2.0"), [Action::Acknowledge]);
    assert_eq!(road.now(), "succeeded reported");
    assert_eq!(road.attempt.end_time, Some(at(630)), "the end is where it was");
    road.report(701, Outcome::RolledBack, "1.1.0");
    assert_eq!(road.now(), "succeeded reported", "once");

    let mut road = Road::confirming();
    road.say(3629, Input::Tick);
    assert_eq!(road.now(), "confirming");
    road.say(3630, Input::Tick);
    assert_eq!(road.now(), "failed inferred UNCONFIRMED");
    road.report(3700, Outcome::RolledBack, "1.1.0");
    assert_eq!(road.now(), "rolled_back reported ROLLED_BACK, held");
}

#[test]
fn an_attempt_ends_once_by_report() {
    let mut road = Road::confirming();
    road.report(130, Outcome::Succeeded, "1.2.0");
    for outcome in Outcome::ALL {
        let before = road.attempt.ending.clone();
        assert_eq!(road.report(140, *outcome, "1.1.0"), [Action::Acknowledge]);
        assert_eq!(road.attempt.ending, before);
    }
}

#[test]
fn what_a_person_decided_stays_unless_the_binary_changed_all_the_same() {
    let mut road = Road::new();
    road.say(10, Input::Cancel);
    for outcome in [Outcome::Failed, Outcome::Refused, Outcome::Expired] {
        road.report(11, outcome, "1.1.0");
        assert!(road.now().starts_with("cancelled inferred CANCELLED_BY_REQUEST"), "{outcome:?}");
    }
    road.report(12, Outcome::Succeeded, "1.2.0");
    assert_eq!(road.now(), "succeeded reported", "restored to before leave: the truth is on the host");
}

#[test]
fn a_success_is_that_the_target_runs() {
    let mut road = Road::confirming();
    road.report(130, Outcome::Succeeded, "1.1.9");
    assert_eq!(road.now(), "failed reported");
    assert_eq!(road.attempt.ending.and_then(|ending| ending.error_code), Some(ErrorCode::WrongVersion));
}

#[test]
fn a_log_tail_is_cut_at_its_beginning() {
    let mut road = Road::confirming();
    let line = |n: usize| format!("{n:1024}");
    let long = Report { log_tail: (0..100).map(line).collect(), ..report(Outcome::RolledBack, "1.1.0", None) };
    road.say(60, Input::Reported(long));
    let kept = road.attempt.ending.expect("ended").log_tail;
    assert_eq!((kept.len(), kept.last()), (64, Some(&line(99))));
}
