//! What is desired, and the road to the swap.

use super::*;

#[test]
fn the_good_road_leads_to_the_swap() {
    let mut bench = Bench::connected();
    bench.desire(1, 1, "1.2.0");
    assert_eq!(bench.told(), ["note 1", "preflight 1"]);
    bench.done(Done::Fit { bytes_total: 100 });
    assert_eq!(bench.told(), ["download 1", "say downloading 0"]);
    bench.done(Done::Downloaded);
    assert_eq!(bench.told(), ["verify 1", "say verifying 100"]);
    bench.done(Done::Verified);
    assert_eq!(bench.told(), ["ready 1 under 1"]);
    bench.proceed(1, 1);
    assert_eq!(bench.told(), ["swap 1 under 1"]);
    bench.done(Done::Swapped(Applied::Restart));
    assert_eq!(bench.told(), ["say restarting 0", "exit"]);
}

#[test]
fn what_is_desired_is_acknowledged_by_the_highest_generation_seen() {
    let acknowledged = |bench: &Bench| {
        bench.actions.iter().find_map(|action| match action {
            Action::Say(request) => match request.as_ref() {
                Request::Heartbeat { generation } => Some(generation.0),
                _ => None,
            },
            _ => None,
        })
    };
    let mut bench = Bench::connected();
    bench.want(5, Want::Nothing);
    assert_eq!(acknowledged(&bench), Some(5));
    bench.desire(4, 1, "1.2.0");
    assert_eq!(acknowledged(&bench), Some(5));
    assert_eq!(bench.told(), Vec::<String>::new(), "an older generation is ignored");
}

#[test]
fn a_repetition_changes_nothing() {
    let mut bench = Bench::downloading();
    bench.desire(1, 1, "1.2.0");
    assert_eq!(bench.told(), Vec::<String>::new());
    assert_eq!(bench.machine.current(), Some((id(1), Phase::Downloading)));
}

#[test]
fn another_word_under_the_same_number_is_taken() {
    let mut bench = Bench::downloading();
    bench.desire(1, 2, "1.3.0");
    assert_eq!(bench.told(), ["abort 1", "preflight 2"], "a restored control plane's present word counts");
    bench.want(1, Want::Nothing);
    assert_eq!(bench.told(), ["abort 2"]);
}

#[test]
fn no_leave_no_swap() {
    let mut bench = Bench::downloading();
    bench.proceed(1, 1);
    assert_eq!(bench.told(), Vec::<String>::new(), "not asked for yet");
    let mut bench = Bench::ready();
    for (attempt, generation) in [(2, 1), (1, 0), (1, 2)] {
        bench.proceed(attempt, generation);
        assert_eq!(bench.told(), Vec::<String>::new(), "for {attempt} under {generation}");
    }
    bench.put(Input::Withdrawn { attempt: id(1) });
    assert_eq!(bench.told(), ["abort 1"]);
    bench.proceed(1, 1);
    assert_eq!(bench.told(), Vec::<String>::new(), "withdrawn before");
}

#[test]
fn leave_is_used_once() {
    let mut bench = Bench::ready();
    bench.proceed(1, 1);
    bench.proceed(1, 1);
    assert_eq!(bench.told(), Vec::<String>::new());
}

#[test]
fn leave_is_asked_again_until_it_is_answered() {
    let mut bench = Bench::ready();
    bench.wait(ASK_AGAIN - Duration::from_millis(1));
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.wait(Duration::from_millis(1));
    assert_eq!(bench.told(), ["ready 1 under 1"]);
    bench.put(Input::Disconnected);
    bench.wait(MINUTE);
    assert_eq!(bench.told(), Vec::<String>::new(), "nobody to ask");
    bench.connect();
    assert_eq!(bench.told(), ["ready 1 under 1"]);
    bench.desire(7, 1, "1.2.0");
    assert_eq!(bench.told(), ["note 7", "ready 1 under 7"], "renumbered");
    bench.proceed(1, 1);
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.proceed(1, 7);
    assert_eq!(bench.told(), ["swap 1 under 7"]);
}

#[test]
fn what_is_withdrawn_is_not_begun_again_by_a_repetition() {
    let mut bench = Bench::ready();
    bench.put(Input::Withdrawn { attempt: id(1) });
    bench.put(Input::Withdrawn { attempt: id(9) });
    bench.desire(1, 1, "1.2.0");
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.desire(2, 1, "1.2.0");
    assert_eq!(bench.told(), ["note 2", "preflight 1"], "a newer number is a new word");
}

#[test]
fn nothing_begins_after_its_time_and_sleep_counts() {
    let mut bench = Bench::connected();
    bench.want(1, Want::Upgrade { attempt: id(1), spec: spec("1.2.0"), remaining_ttl: Duration::ZERO });
    assert_eq!(bench.told(), ["note 1", "finish 1 expired SPEC_EXPIRED"]);

    let mut bench = Bench::connected();
    bench.desire(1, 1, "1.2.0");
    assert_eq!(bench.machine.next_wake(), Some(bench.now + Duration::from_secs(5)), "the heartbeat comes first");
    bench.desire(1, 1, "1.2.0");
    bench.now += MINUTE * 15;
    bench.done(Done::Fit { bytes_total: 100 });
    assert_eq!(bench.told(), ["finish 1 expired SPEC_EXPIRED"], "CLOCK_BOOTTIME went on while the host slept");

    let mut bench = Bench::downloading();
    bench.wait(MINUTE * 60);
    assert_eq!(bench.machine.current(), Some((id(1), Phase::Downloading)), "picked up in time");
}

#[test]
fn a_restarted_process_waits_for_a_fresh_word() {
    let mut bench = Bench::start(Facts { generation: Generation(3), ..facts("1.1.0") });
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.connect();
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.desire(3, 1, "1.2.0");
    assert_eq!(bench.told(), ["preflight 1"], "the number was seen, the word was lost with the process");
}

#[test]
fn a_refused_artifact_is_reported_and_not_fetched_again() {
    let mut bench = Bench::downloading();
    bench.done(Done::Downloaded);
    bench.done(Done::Failed(Failure {
        outcome: Outcome::Refused,
        stage: ErrorStage::Verify,
        code: ErrorCode::DigestMismatch,
        message: "other bytes".to_owned(),
    }));
    assert_eq!(bench.told(), ["finish 1 refused DIGEST_MISMATCH"]);
    assert_eq!(bench.journalled(), Outcome::Refused);
    assert_eq!(bench.told(), ["report 1 refused"]);
    bench.desire(1, 1, "1.2.0");
    assert_eq!(bench.told(), ["report 1 refused"], "said again, not done again");
    bench.put(Input::ReportAcknowledged { attempt: id(1) });
    assert_eq!(bench.told(), ["forget 1"]);
    bench.desire(2, 1, "1.2.0");
    assert_eq!(bench.told(), ["note 2", "report 1 refused"]);
    bench.desire(3, 2, "1.2.0");
    assert_eq!(bench.told(), ["note 3", "preflight 2"], "asked again, it is another attempt");
}

#[test]
fn an_answer_of_a_dropped_job_is_nobodys() {
    let mut bench = Bench::downloading();
    let old = bench.machine.last_job;
    bench.desire(2, 2, "1.3.0");
    bench.put(Input::Job { job: old, done: Done::Downloaded });
    assert_eq!(bench.told(), Vec::<String>::new());
    assert_eq!(bench.machine.current(), Some((id(2), Phase::Delivered)));
}

#[test]
fn progress_in_bytes_is_said_once_a_second() {
    let mut bench = Bench::downloading();
    bench.done(Done::Fetched { bytes_done: 10 });
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.now += PROGRESS_EVERY;
    bench.done(Done::Fetched { bytes_done: 20 });
    assert_eq!(bench.told(), ["say downloading 20"]);
}

#[test]
fn a_target_that_runs_already_is_not_applied() {
    let mut bench = Bench::connected();
    bench.desire(1, 1, "1.1.0");
    assert_eq!(bench.told(), ["note 1", "finish 1 superseded OTHER"]);
}

#[test]
fn outcomes_are_sent_until_they_are_acknowledged_and_told_once_more_on_later_streams() {
    let mut bench = Bench::downloading();
    bench.done(Done::Failed(Failure {
        outcome: Outcome::Failed,
        stage: ErrorStage::Download,
        code: ErrorCode::Unreachable,
        message: String::new(),
    }));
    bench.journalled();
    assert_eq!(bench.told(), ["report 1 failed"]);
    bench.wait(REPORT_AGAIN);
    assert_eq!(bench.told(), ["report 1 failed"]);
    bench.put(Input::Disconnected);
    bench.connect();
    assert_eq!(bench.told(), ["report 1 failed"]);
    assert_eq!(bench.machine.introduction().unsent_outcomes.len(), 1);
    bench.put(Input::ReportAcknowledged { attempt: id(1) });
    assert_eq!(bench.machine.introduction().unsent_outcomes.len(), 0);
    bench.put(Input::Disconnected);
    bench.connect();
    assert_eq!(bench.told(), Vec::<String>::new());
    bench.wait(TELL_AGAIN_AFTER);
    assert_eq!(bench.told(), ["report 1 failed"], "a restored control plane may have forgotten it");
    bench.put(Input::ReportAcknowledged { attempt: id(1) });
    bench.put(Input::Disconnected);
    bench.now += TELL_AGAIN_FOR;
    bench.connect();
    bench.wait(TELL_AGAIN_AFTER);
    assert_eq!(bench.told(), Vec::<String>::new(), "a pruned attempt is not brought back to life");
}
