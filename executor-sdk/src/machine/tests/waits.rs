//! What is waited out is said: at once when another error begins, else as often as bytes.

use super::*;

const AWAY: ErrorCode = ErrorCode::RegistryUnreachable;

const NOTHING: [&str; 0] = [];

impl Bench {
    fn waits(&mut self, error_code: ErrorCode, message: &str) {
        self.done(Done::Waits(Some(Waiting { error_code, message: message.to_owned() })));
    }

    fn preflight() -> Self {
        let mut bench = Self::connected();
        bench.desire(1, 1, "1.2.0");
        bench
    }
}

#[test]
fn a_preflight_that_waits_says_for_what_and_the_next_step_that_it_is_over() {
    let mut bench = Bench::preflight();
    bench.waits(AWAY, "refused");
    assert_eq!(bench.told(), ["say delivered 0, REGISTRY_UNREACHABLE: refused"], "at once");
    bench.waits(AWAY, "refused");
    assert_eq!(bench.told(), NOTHING, "nothing is new");
    bench.waits(AWAY, "timed out");
    assert_eq!(bench.told(), NOTHING, "other words may wait");
    assert_eq!(bench.machine.next_wake(), Some(bench.now + PROGRESS_EVERY));
    bench.wait(PROGRESS_EVERY);
    assert_eq!(bench.told(), ["say delivered 0, REGISTRY_UNREACHABLE: timed out"]);
    bench.waits(ErrorCode::Cluster, "");
    assert_eq!(bench.told(), ["say delivered 0, CLUSTER"], "another error");
    bench.done(Done::Fit { bytes_total: 100 });
    assert_eq!(bench.told(), ["download 1", "say downloading 0"]);
}

#[test]
fn an_error_that_is_over_before_the_next_step_is_unsaid() {
    let mut bench = Bench::preflight();
    bench.waits(AWAY, "");
    bench.done(Done::Waits(None));
    assert_eq!(bench.told(), NOTHING);
    bench.waits(AWAY, "");
    bench.wait(PROGRESS_EVERY);
    assert_eq!(bench.told(), NOTHING, "what came back was never unsaid");
    bench.done(Done::Waits(None));
    assert_eq!(bench.told(), ["say delivered 0"]);
}

#[test]
fn a_download_that_breaks_off_again_and_again_says_no_more_than_its_bytes_would() {
    let mut bench = Bench::downloading();
    bench.waits(ErrorCode::Unreachable, "cut after 1");
    assert_eq!(bench.told(), ["say downloading 0, UNREACHABLE: cut after 1"]);
    for bytes_done in 2..5 {
        bench.done(Done::Fetched { bytes_done });
        assert_eq!(bench.told(), NOTHING);
        bench.waits(ErrorCode::Unreachable, &format!("cut after {bytes_done}"));
        assert_eq!(bench.told(), NOTHING);
    }
    bench.wait(PROGRESS_EVERY);
    assert_eq!(bench.told(), ["say downloading 4, UNREACHABLE: cut after 4"]);
    bench.done(Done::Fetched { bytes_done: 5 });
    assert_eq!(bench.told(), NOTHING);
    bench.wait(PROGRESS_EVERY);
    assert_eq!(bench.told(), ["say downloading 5"], "it is over, though no further byte has come");
    assert_eq!(bench.machine.next_wake(), Some(bench.now + Duration::from_secs(3)), "the heartbeat");
}

#[test]
fn a_new_stream_is_told_what_is_waited_out() {
    let mut bench = Bench::preflight();
    bench.waits(AWAY, "");
    bench.put(Input::Disconnected);
    bench.waits(ErrorCode::Cluster, "");
    bench.wait(PROGRESS_EVERY);
    assert_eq!(bench.told(), NOTHING, "nobody hears it");
    bench.connect();
    assert_eq!(bench.told(), ["say delivered 0, CLUSTER"]);
    bench.put(Input::Disconnected);
    bench.connect();
    assert_eq!(bench.told(), ["say delivered 0, CLUSTER"], "it may have been lost with the stream");
    bench.put(Input::Disconnected);
    bench.done(Done::Waits(None));
    bench.wait(PROGRESS_EVERY);
    bench.connect();
    assert_eq!(bench.told(), ["say delivered 0"]);
    bench.put(Input::Disconnected);
    bench.connect();
    assert_eq!(bench.told(), NOTHING);
}

#[test]
fn a_watch_says_what_does_not_count_yet_and_a_new_stream_hears_it() {
    let mut bench = Bench::ready();
    bench.proceed(1, 1);
    bench.done(Done::Swapped(Applied::Elsewhere));
    assert_eq!(bench.told(), ["say restarting 0", "watch 1"]);
    bench.waits(ErrorCode::Unschedulable, "0/2 nodes");
    assert_eq!(bench.told(), ["say restarting 0, UNSCHEDULABLE: 0/2 nodes"], "at once");
    bench.waits(ErrorCode::Unschedulable, "0/3 nodes");
    assert_eq!(bench.told(), NOTHING, "other words may wait");
    bench.put(Input::Disconnected);
    bench.connect();
    assert_eq!(bench.told(), ["say restarting 0, UNSCHEDULABLE: 0/3 nodes"]);
    bench.done(Done::Waits(None));
    bench.wait(PROGRESS_EVERY);
    assert_eq!(bench.told(), ["say restarting 0"], "it is over");
    bench.waits(ErrorCode::CrashLoop, "");
    let cause = Cause { stage: ErrorStage::Start, code: ErrorCode::CrashLoop, message: String::new() };
    bench.done(Done::Judged(Judgement::Failed(cause)));
    assert_eq!(bench.told(), ["roll back 1 CRASH_LOOP"]);
    bench.wait(PROGRESS_EVERY);
    assert_eq!(bench.told(), NOTHING);
}

#[test]
fn time_that_is_over_while_it_waits_says_why() {
    let mut bench = Bench::preflight();
    bench.waits(AWAY, "registry r.example cannot be reached");
    bench.wait(MINUTE * 15);
    assert_eq!(bench.told(), ["abort 1", "finish 1 expired REGISTRY_UNREACHABLE"]);
    let said = bench.actions.iter().find_map(|action| match action {
        Action::Finish { report, .. } => Some(report.report.message.as_str()),
        _ => None,
    });
    let why = "; last it waited out REGISTRY_UNREACHABLE: registry r.example cannot be reached";
    assert!(said.is_some_and(|said| said.ends_with(why)), "{said:?}");
}
