//! What an executor waits out: kept while it lasts, and why a deadline came.

use super::*;

const AWAY: ErrorCode = ErrorCode::RegistryUnreachable;

fn since(road: &Road) -> Option<(ErrorCode, &str, Timestamp)> {
    let kept = road.attempt.waiting.as_ref()?;
    Some((kept.waiting.error_code, kept.waiting.message.as_str(), kept.since))
}

#[test]
fn what_is_waited_out_is_kept_while_it_lasts() {
    let mut road = Road::new();
    road.wait_out(2, Phase::Delivered, AWAY, "refused");
    assert_eq!((road.now().as_str(), road.attempt.deliver_time), ("delivered, pending", Some(at(2))));
    road.wait_out(5, Phase::Delivered, AWAY, "timed out");
    assert_eq!(since(&road), Some((AWAY, "timed out", at(2))), "the same error goes on");
    road.wait_out(7, Phase::Delivered, ErrorCode::Cluster, "");
    assert_eq!(since(&road), Some((ErrorCode::Cluster, "", at(7))));
    road.say(8, Input::Acknowledged { generation: Generation(1) });
    road.hello(8, "1.1.0", None);
    assert_eq!(since(&road), Some((ErrorCode::Cluster, "", at(7))), "neither says anything of it");
    road.progress(9, Phase::Downloading, 1);
    assert_eq!(since(&road), None);
}

#[test]
fn leave_a_refusal_and_the_target_are_the_end_of_waiting() {
    let waits = || {
        let mut road = Road::new();
        road.wait_out(2, Phase::Downloading, ErrorCode::Unreachable, "away");
        road
    };
    let mut road = waits();
    assert_eq!(road.ready(3), [Action::Proceed]);
    assert_eq!(since(&road), None);
    road.wait_out(4, Phase::Downloading, AWAY, "late");
    assert_eq!(since(&road), None, "a word from before leave");
    let mut road = waits();
    road.say(3, Input::Reported(report(Outcome::Refused, "1.1.0", Some(ErrorCode::DigestMismatch))));
    road.wait_out(4, Phase::Delivered, AWAY, "after the refusal");
    assert_eq!(since(&road), None);
    let mut road = waits();
    road.hello(3, "1.2.0", Some(attempt_id(1)));
    assert_eq!((road.now().as_str(), since(&road)), ("confirming", None));
}

#[test]
fn a_version_that_comes_up_elsewhere_is_waited_for_until_it_says_hello() {
    const HOMELESS: ErrorCode = ErrorCode::Unschedulable;
    let mut road = Road::with_leave();
    road.wait_out(40, Phase::Restarting, HOMELESS, "0/2 nodes");
    assert_eq!((road.now().as_str(), since(&road)), ("restarting, pending", Some((HOMELESS, "0/2 nodes", at(40)))));
    road.wait_out(45, Phase::Restarting, HOMELESS, "0/3 nodes");
    assert_eq!(since(&road), Some((HOMELESS, "0/3 nodes", at(40))));
    road.progress(50, Phase::Restarting, 0);
    assert_eq!(since(&road), None, "it is over");
    road.wait_out(55, Phase::Restarting, HOMELESS, "0/2 nodes");
    assert!(road.attempt.waits().is_some());
    let mut asked_back = Road { attempt: road.attempt.clone(), ..Road::with_leave() };
    asked_back.say(56, Input::RollBack);
    assert_eq!(asked_back.attempt.waits(), None, "it is not given time any more");
    let deadline = next_deadline(&road.attempt, &POLICY);
    assert_eq!(
        deadline,
        next_deadline(&Road::with_leave().attempt, &POLICY).map(|_| at(30).plus(POLICY.confirm_deadline))
    );
    let mut late = Road { attempt: road.attempt.clone(), ..Road::with_leave() };
    late.say(30 + POLICY.confirm_deadline.as_secs(), Input::Tick);
    let ending = late.attempt.ending.clone().expect("ended");
    assert_eq!(ending.error_code, Some(HOMELESS));
    assert!(ending.message.ends_with("; last it waited out UNSCHEDULABLE: 0/2 nodes"), "{}", ending.message);
    road.hello(60, "1.2.0", Some(attempt_id(1)));
    assert_eq!((road.now().as_str(), since(&road)), ("confirming", None));
}

#[test]
fn a_deadline_that_comes_meanwhile_says_why() {
    let ending = |road: &Road| {
        assert_eq!(since(road), None);
        let ending = road.attempt.ending.clone().expect("ended");
        (ending.error_code, ending.message)
    };
    let mut road = Road::new();
    road.wait_out(2, Phase::Delivered, AWAY, "registry r.example cannot be reached");
    road.say(899, Input::Tick);
    assert_eq!(road.now(), "delivered, pending");
    road.say(900, Input::Tick);
    assert_eq!(road.now(), "expired inferred TTL_EXPIRED");
    let message = "the executor did not begin to download in time; last it waited out REGISTRY_UNREACHABLE: \
                   registry r.example cannot be reached";
    assert_eq!(ending(&road), (Some(AWAY), message.to_owned()));

    let mut road = Road::new();
    road.progress(2, Phase::Downloading, 1);
    road.wait_out(3, Phase::Downloading, ErrorCode::Unreachable, "");
    road.say(601, Input::Tick);
    assert_eq!(road.now(), "downloading, pending", "to wait is no progress, and takes no time away");
    road.say(602, Input::Tick);
    assert_eq!(road.now(), "failed inferred PROGRESS_STALLED");
    let message = "no new byte was reported for the progress deadline; last it waited out UNREACHABLE";
    assert_eq!(ending(&road), (Some(ErrorCode::Unreachable), message.to_owned()));
    road.report(700, Outcome::Failed, "1.1.0");
    assert_eq!(ending(&road), (None, "because".to_owned()), "its own word counts");
}

#[test]
fn what_a_person_decides_is_no_fault_of_what_was_waited_out() {
    for input in [Input::Cancel, Input::Replace, Input::Yank, Input::Deactivate, Input::Delete] {
        let mut road = Road::new();
        road.wait_out(2, Phase::Delivered, AWAY, "away");
        road.say(3, input);
        let ending = road.attempt.ending.clone().expect("ended");
        assert_eq!((ending.error_code, since(&road)), (None, None));
        assert!(!ending.message.contains("waited"), "{}", ending.message);
    }
}
