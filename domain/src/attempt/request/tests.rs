//! Rules 1 to 5: which question gets which answer.

use super::*;
use crate::attempt::outcome::{Outcome, Report};
use crate::executor::State;
use crate::fixture::{at, attempt, attempt_id, executor, hold, release, version};

fn ask(target: &str) -> Request {
    Request {
        target_version: version(target),
        expected_version: None,
        ttl: DEFAULT_TTL,
        replace: Replace::No,
        request_id: None,
    }
}

fn answer(request: &Request, executor: &Executor, open: Option<&Attempt>) -> Result<Decision, Reason> {
    let catalog = ["1.0.0", "1.1.0", "1.2.0", "2.0.0", "3.0.0"].map(release);
    let situation = Situation { executor, open, online: true, catalog: &catalog };
    super::request(request, situation).map_err(|refusal| refusal.reason)
}

fn begin(instead_of: Option<AttemptId>) -> Result<Decision, Reason> {
    Ok(Decision::Begin { from_version: version("1.1.0"), instead_of, clears_hold: false })
}

fn refused() -> Report {
    Report {
        outcome: Outcome::Refused,
        stage: None,
        error_code: None,
        message: String::new(),
        running_version: version("1.1.0"),
        rolled_back_to: None,
        log_tail: Vec::new(),
    }
}

fn applying(from: &str, to: &str) -> Attempt {
    Attempt { apply_time: Some(at(30)), ..attempt(from, to) }
}

#[test]
fn an_idle_executor_takes_every_direct_target_and_says_why_not_the_others() {
    let agent = executor("1.1.0");
    assert_eq!(answer(&ask("1.2.0"), &agent, None), begin(None));
    assert_eq!(answer(&ask("1.0.0"), &agent, None), begin(None));
    assert_eq!(answer(&ask("2.0.0"), &agent, None), begin(None));
    assert_eq!(answer(&ask("1.1.0"), &agent, None), Err(Reason::AlreadyRunning));
    assert_eq!(answer(&ask("3.0.0"), &agent, None), Err(Reason::MajorHopRequired));
    assert_eq!(answer(&ask("1.9.0"), &agent, None), Err(Reason::VersionNotAvailable));
}

#[test]
fn asking_for_a_held_version_clears_the_hold() {
    let agent = Executor { holds: vec![hold("1.2.0")], ..executor("1.1.0") };
    let cleared = Decision::Begin { from_version: version("1.1.0"), instead_of: None, clears_hold: true };
    assert_eq!(answer(&ask("1.2.0"), &agent, None), Ok(cleared));
}

#[test]
fn an_executor_that_is_offline_takes_nothing_new() {
    let agent = executor("1.1.0");
    let catalog = [release("1.2.0")];
    let situation = Situation { executor: &agent, open: None, online: false, catalog: &catalog };
    let refusal = super::request(&ask("1.2.0"), situation).expect_err("refused");
    assert_eq!(refusal.reason, Reason::ExecutorOffline);
    let open = attempt("1.1.0", "1.2.0");
    let repeated = super::request(&ask("1.2.0"), Situation { open: Some(&open), ..situation });
    assert_eq!(repeated, Ok(Decision::Same(open.id)), "nothing is written, so nothing is refused");
}

#[test]
fn the_time_to_be_picked_up_has_bounds() {
    let agent = executor("1.1.0");
    for ttl in [Duration::ZERO, MAX_TTL + Duration::from_millis(1)] {
        assert_eq!(answer(&Request { ttl, ..ask("1.2.0") }, &agent, None), Err(Reason::InvalidArgument));
    }
    assert_eq!(answer(&Request { ttl: MAX_TTL, ..ask("1.2.0") }, &agent, None), begin(None));
}

#[test]
fn a_request_that_expects_another_version_is_refused() {
    let agent = executor("1.1.0");
    let expecting = |text| Request { expected_version: Some(version(text)), ..ask("1.2.0") };
    assert_eq!(answer(&expecting("1.0.0"), &agent, None), Err(Reason::VersionMismatch));
    assert_eq!(answer(&expecting("1.1.0"), &agent, None), begin(None));
    let open = applying("1.1.0", "1.2.0");
    let arrived = executor("1.2.0");
    assert_eq!(
        answer(&expecting("1.1.0"), &arrived, Some(&open)),
        Ok(Decision::Same(open.id)),
        "the same question, late"
    );
    assert_eq!(answer(&expecting("1.0.0"), &arrived, Some(&open)), Err(Reason::VersionMismatch));
}

#[test]
fn one_upgrade_is_pending_at_a_time() {
    let agent = executor("1.1.0");
    let open = attempt("1.1.0", "1.2.0");
    let replace = |target| Request { replace: Replace::Yes, ..ask(target) };
    assert_eq!(answer(&ask("1.2.0"), &agent, Some(&open)), Ok(Decision::Same(open.id)));
    assert_eq!(answer(&replace("1.2.0"), &agent, Some(&open)), Ok(Decision::Same(open.id)));
    assert_eq!(answer(&ask("2.0.0"), &agent, Some(&open)), Err(Reason::UpgradePending));
    assert_eq!(answer(&replace("2.0.0"), &agent, Some(&open)), begin(Some(open.id)));
    assert_eq!(answer(&replace("3.0.0"), &agent, Some(&open)), Err(Reason::MajorHopRequired), "the first one stays");
    assert_eq!(answer(&replace("1.1.0"), &agent, Some(&open)), Err(Reason::AlreadyRunning));
}

#[test]
fn a_refused_attempt_that_is_asked_again_becomes_a_new_one() {
    let agent = executor("1.1.0");
    let open = Attempt { refused: Some(refused()), ..attempt("1.1.0", "1.2.0") };
    assert_eq!(answer(&ask("1.2.0"), &agent, Some(&open)), begin(Some(open.id)));
    assert_eq!(answer(&ask("2.0.0"), &agent, Some(&open)), Err(Reason::UpgradePending));
}

#[test]
fn after_leave_the_one_request_taken_is_the_version_it_came_from() {
    let open = applying("1.1.0", "1.2.0");
    for running in ["1.1.0", "1.2.0"] {
        let agent = executor(running);
        assert_eq!(answer(&ask("1.2.0"), &agent, Some(&open)), Ok(Decision::Same(open.id)));
        assert_eq!(answer(&ask("1.1.0"), &agent, Some(&open)), Ok(Decision::RollBack(open.id)));
        let other = Request { replace: Replace::Yes, ..ask("2.0.0") };
        assert_eq!(answer(&other, &agent, Some(&open)), Err(Reason::AttemptApplying));
    }
    let pinned = Executor { pinned: Some("by hand".to_owned()), ..executor("1.2.0") };
    assert_eq!(
        answer(&ask("1.1.0"), &pinned, Some(&open)),
        Ok(Decision::RollBack(open.id)),
        "a pin keeps nobody from going back"
    );
}

#[test]
fn an_ended_attempt_is_in_nobodys_way() {
    let agent = executor("1.1.0");
    let mut open = attempt("1.1.0", "1.2.0");
    open.ending = Some(crate::attempt::Ending {
        outcome: Outcome::Failed,
        source: crate::attempt::OutcomeSource::Reported,
        reason: None,
        stage: None,
        error_code: None,
        message: String::new(),
        rolled_back_to: None,
        log_tail: Vec::new(),
        time: at(10),
    });
    assert_eq!(answer(&ask("2.0.0"), &agent, Some(&open)), begin(None));
    assert_ne!(open.id, attempt_id(2));
}

#[test]
fn executors_that_take_no_requests_say_why() {
    let reasons = [
        Executor { state: State::Deactivated, ..executor("1.1.0") },
        Executor { version: None, ..executor("1.1.0") },
        Executor { duplicated_since: Some(at(0)), ..executor("1.1.0") },
        Executor { pinned: Some("by hand".to_owned()), ..executor("1.1.0") },
    ]
    .map(|agent| answer(&ask("1.2.0"), &agent, None).expect_err("refused"));
    assert_eq!(
        reasons,
        [Reason::ExecutorDeactivated, Reason::ExecutorNeverSynced, Reason::DuplicateIdentity, Reason::ExecutorPinned]
    );
}
