//! From the swap on: trial, probation, the ways back, and what a new process finds.

use super::*;

fn open(live: Live) -> Open {
    Open {
        attempt: id(1),
        generation: Generation(1),
        from_version: version("1.1.0"),
        target_version: version("1.2.0"),
        live,
        changed_by: None,
        swap: Swap::Made,
        rollback: None,
    }
}

fn started(running: &str, open: Open) -> Bench {
    Bench::start(Facts { generation: Generation(1), open: Some(open), ..facts(running) })
}

/// The target 1.2.0, on probation of two minutes, its stream just up.
fn on_trial() -> Bench {
    let mut bench = started("1.2.0", open(Live::New));
    bench.connect();
    bench
}

#[test]
fn the_live_binary_tells_what_became_of_the_swap() {
    let check = |running: &str, change: fn(&mut Open), expected: &[&str]| {
        let mut found = open(Live::New);
        change(&mut found);
        let bench = started(running, found.clone());
        assert_eq!(bench.told(), expected, "{running} finds {found:?}");
    };
    check("1.1.0", |open| (open.live, open.swap) = (Live::Old, Swap::Intended), &["finish 1 failed IO"]);
    check("1.1.0", |open| open.live = Live::Old, &["finish 1 rolled_back BY_HAND"]);
    check(
        "1.1.0",
        |open| (open.live, open.rollback) = (Live::Old, Some(crash())),
        &["finish 1 rolled_back CRASH_LOOP"],
    );
    check("1.2.0", |_| {}, &[]);
    check("1.2.0", |open| open.swap = Swap::Intended, &[]);
    check("1.1.0", |_| {}, &["watch 1"]);
    check("1.1.9", |_| {}, &["roll back 1 WRONG_VERSION"]);
    check("1.2.0", |open| open.rollback = Some(crash()), &["roll back 1 CRASH_LOOP"]);
    check("1.1.5", |open| open.live = Live::Other, &["finish 1 superseded OTHER"]);
}

/// An operator's old pod, after it changed the image.
fn watching() -> Bench {
    let mut bench = started("1.1.0", open(Live::New));
    bench.connect();
    assert_eq!(bench.machine.current(), Some((id(1), Phase::Restarting)));
    bench
}

#[test]
fn a_version_that_does_not_come_up_elsewhere_is_rolled_back_and_reported_by_the_one_before() {
    let mut bench = watching();
    bench.done(Done::Judged(Judgement::Failed(crash())));
    assert_eq!(bench.told(), ["roll back 1 CRASH_LOOP"]);
    bench.done(Done::RolledBack(Applied::Elsewhere));
    assert_eq!(bench.told(), ["finish 1 rolled_back CRASH_LOOP"]);
    assert_eq!(bench.journalled(), Outcome::RolledBack);
    assert_eq!(bench.told(), ["report 1 rolled_back"]);
    assert_eq!(bench.machine.current(), None, "another upgrade may begin");
}

#[test]
fn what_somebody_else_changed_is_not_fought() {
    let mut bench = watching();
    bench.done(Done::Judged(Judgement::Superseded("kubectl-edit set the image".to_owned())));
    assert_eq!(bench.told(), ["finish 1 superseded OTHER"]);
}

#[test]
fn a_rollback_that_was_refused_is_watched_again() {
    let mut bench = watching();
    bench.done(Done::Judged(Judgement::Failed(crash())));
    bench.done(Done::Failed(Failure {
        outcome: Outcome::Failed,
        stage: ErrorStage::Rollback,
        code: ErrorCode::Cluster,
        message: String::new(),
    }));
    assert_eq!(bench.told(), ["watch 1"]);
}

#[test]
fn a_person_who_wants_the_old_version_back_need_not_wait_for_a_verdict() {
    let mut bench = watching();
    bench.want(3, Want::RollBack { attempt: id(1) });
    assert_eq!(bench.told(), ["note 3", "roll back 1 BY_HAND"]);
}

fn crash() -> Cause {
    Cause { stage: ErrorStage::Start, code: ErrorCode::CrashLoop, message: String::new() }
}

#[test]
fn a_rollback_is_reported_with_what_was_brought_back_and_the_failing_versions_log() {
    let bench = started("1.1.0", Open { rollback: Some(crash()), ..open(Live::Old) });
    let [Action::Finish { report, log }] = &bench.actions[..] else { panic!("{:?}", bench.actions) };
    assert_eq!(*log, Log::Tail);
    assert_eq!(report.report.rolled_back_to, Some(version("1.1.0")));
    assert_eq!(report.report.stage, Some(ErrorStage::Start));
    assert_eq!((&report.from_version, &report.target_version), (&Some(version("1.1.0")), &Some(version("1.2.0"))));
}

#[test]
fn probation_is_time_of_one_process_with_its_stream_up() {
    let mut bench = on_trial();
    bench.wait(MINUTE);
    bench.put(Input::Disconnected);
    bench.wait(MINUTE * 60);
    assert_eq!(bench.told(), Vec::<String>::new(), "an outage of the control plane proves nothing");
    bench.connect();
    bench.wait(MINUTE - Duration::from_millis(1));
    assert_eq!(bench.told(), Vec::<String>::new());
    assert_eq!(bench.machine.next_wake(), Some(bench.now + Duration::from_millis(1)));
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.told(), ["confirm 1"]);
    assert_eq!(bench.machine.introduction().open_attempt, Some(id(1)));
    assert_eq!(bench.journalled(), Outcome::Succeeded);
    assert_eq!(bench.told(), ["report 1 succeeded"], "durable before it is reported");
    assert_eq!(bench.machine.introduction().open_attempt, None);
}

#[test]
fn a_confirmation_that_cannot_be_journalled_is_tried_again() {
    let mut bench = on_trial();
    bench.wait(MINUTE * 2);
    assert_eq!(bench.told(), ["confirm 1"]);
    bench.done(Done::Failed(Failure {
        outcome: Outcome::Failed,
        stage: ErrorStage::Confirm,
        code: ErrorCode::Journal,
        message: String::new(),
    }));
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.wait(CONFIRM_AGAIN);
    assert_eq!(bench.told(), ["confirm 1"]);
}

#[test]
fn an_unconfirmed_executor_begins_no_other_apply() {
    let mut bench = on_trial();
    bench.desire(5, 2, "1.3.0");
    assert_eq!(bench.told(), ["note 5"]);
    bench.wait(MINUTE * 2);
    assert_eq!(bench.told(), ["confirm 1"]);
    bench.journalled();
    assert_eq!(bench.told(), ["preflight 2", "report 1 succeeded"], "it waited, and its turn has come");
}

#[test]
fn what_waits_is_forgotten_when_its_time_is_over_or_it_is_not_wanted_any_more() {
    let mut bench = on_trial();
    bench.want(5, Want::Upgrade { attempt: id(2), spec: spec("1.3.0"), remaining_ttl: MINUTE });
    bench.wait(MINUTE);
    bench.wait(MINUTE);
    bench.journalled();
    assert_eq!(bench.told(), ["report 1 succeeded"]);

    let mut bench = on_trial();
    bench.desire(5, 2, "1.3.0");
    bench.want(6, Want::Nothing);
    bench.wait(MINUTE * 2);
    bench.journalled();
    assert_eq!(bench.told(), ["report 1 succeeded"]);
}

#[test]
fn a_swap_that_was_begun_is_not_undone_by_a_word() {
    let mut bench = Bench::ready();
    bench.proceed(1, 1);
    bench.put(Input::Withdrawn { attempt: id(1) });
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.want(2, Want::Nothing);
    assert_eq!(bench.told(), ["note 2"]);
    bench.desire(3, 2, "1.3.0");
    assert_eq!(bench.told(), ["note 3"]);
    bench.done(Done::Swapped(Applied::Restart));
    assert_eq!(bench.told(), ["say restarting 0", "exit"]);
}

#[test]
fn a_swap_that_failed_left_the_old_version_in_place() {
    let mut bench = Bench::ready();
    bench.proceed(1, 1);
    bench.done(Done::Failed(Failure {
        outcome: Outcome::Failed,
        stage: ErrorStage::Swap,
        code: ErrorCode::ReadOnly,
        message: String::new(),
    }));
    assert_eq!(bench.told(), ["finish 1 failed READ_ONLY"]);
}

#[test]
fn the_way_back_is_gone_wherever_the_attempt_is() {
    let back = |bench: &mut Bench| bench.want(9, Want::RollBack { attempt: id(1) });

    let mut bench = Bench::ready();
    back(&mut bench);
    assert_eq!(
        bench.told(),
        ["note 9", "abort 1", "finish 1 failed BY_HAND"],
        "before the swap there is nothing to undo"
    );
    bench.proceed(1, 1);
    assert_eq!(bench.told(), Vec::<String>::new());

    let mut bench = Bench::connected();
    back(&mut bench);
    assert_eq!(bench.told(), ["note 9", "finish 1 failed BY_HAND"], "leave was lost with the process that had it");

    let mut bench = on_trial();
    back(&mut bench);
    assert_eq!(bench.told(), ["note 9", "roll back 1 BY_HAND"]);
    back(&mut bench);
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.done(Done::RolledBack(Applied::Restart));
    assert_eq!(bench.told(), ["exit"]);

    let mut bench = Bench::ready();
    bench.proceed(1, 1);
    back(&mut bench);
    assert_eq!(bench.told(), ["note 9"]);
    bench.done(Done::Swapped(Applied::Elsewhere));
    assert_eq!(
        bench.told(),
        ["say restarting 0", "watch 1", "roll back 1 BY_HAND"],
        "an operator's old pod undoes it at once"
    );

    let mut bench = on_trial();
    bench.wait(MINUTE * 2);
    bench.journalled();
    back(&mut bench);
    assert_eq!(
        bench.told(),
        ["note 9", "report 1 succeeded"],
        "it was confirmed before; a downgrade is another attempt"
    );
}

#[test]
fn a_way_back_that_cannot_be_gone_leaves_the_target_on_probation() {
    let mut bench = on_trial();
    bench.want(9, Want::RollBack { attempt: id(1) });
    bench.done(Done::Failed(Failure {
        outcome: Outcome::Failed,
        stage: ErrorStage::Rollback,
        code: ErrorCode::PreviousUnusable,
        message: String::new(),
    }));
    assert_eq!(bench.told(), Vec::<String>::new());
    assert_eq!(bench.machine.current(), Some((id(1), Phase::Confirming)));
    bench.wait(MINUTE * 2);
    assert_eq!(bench.told(), ["confirm 1"]);
    assert_eq!(bench.journalled(), Outcome::Succeeded);
    assert_eq!(bench.told(), ["report 1 succeeded"]);
    assert_eq!(bench.machine.current(), None, "another upgrade may begin");
}

#[test]
fn a_process_whose_place_another_version_takes_begins_nothing() {
    let mut bench = on_trial();
    bench.desire(5, 2, "1.3.0");
    let mut report = rolled_back();
    report.report.running_version = version("1.1.0");
    bench.put(Input::Finished(Box::new(report)));
    assert_eq!(bench.told(), ["report 1 rolled_back"]);
    assert_eq!(bench.machine.current(), Some((id(1), Phase::Restarting)));
}

#[test]
fn what_is_finished_is_told_from_memory_or_from_what_runs() {
    let mut bench = Bench::start(Facts { finished: vec![id(1)], remembered: vec![rolled_back()], ..facts("1.1.0") });
    bench.connect();
    bench.desire(4, 1, "1.2.0");
    assert_eq!(bench.told(), ["note 4", "report 1 rolled_back"]);

    let mut bench = Bench::start(Facts { finished: vec![id(1)], ..facts("1.2.0") });
    bench.connect();
    bench.desire(4, 1, "1.2.0");
    assert_eq!(bench.told(), ["note 4", "report 1 succeeded"]);
}
