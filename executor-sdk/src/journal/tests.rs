//! The journal's promises: durable by one rename, readable by others, never a panic.

use std::fs;
use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome as How, Report, Stage};
use domain::{AttemptId, ExecutorUid, Generation, Hold, Timestamp, Version};
use proptest::prelude::*;

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn attempt(n: u8) -> AttemptId {
    format!("0190163d-8694-739b-aea5-966c26f8ad{n:02x}").parse().expect("an id")
}

fn uid(n: u8) -> ExecutorUid {
    format!("7b1f1f4e-29a6-4b61-8f3a-5a1c0e9d7c{n:02x}").parse().expect("a uid")
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn report(how: How) -> Report {
    Report {
        outcome: how,
        stage: Some(Stage::Start),
        error_code: Some(ErrorCode::CrashLoop),
        message: "it crashed".to_owned(),
        running_version: version("1.0.0"),
        rolled_back_to: Some(version("1.0.0")),
        log_tail: vec!["panicked at \u{1b}[31m\"x\"".to_owned()],
    }
}

fn open_attempt(n: u8) -> OpenAttempt {
    let mut open = OpenAttempt::new(attempt(n), Generation(7), version("1.0.0"), version("1.1.0"));
    open.old_sha256 = Some(domain::Sha256::new([1; 32]));
    open.new_sha256 = Some(domain::Sha256::new([2; 32]));
    open.floor = Some(version("1.0.0"));
    open.step = Step::RollingBack;
    open.starts = 3;
    open.log_cursor = Some("s=1;i=2".to_owned());
    open.swap = Some(SwapTime {
        wall: Timestamp::from_micros(1),
        boot_id: "b".to_owned(),
        since_boot: Duration::from_millis(1_500),
    });
    open.probation = Some(Duration::from_secs(600));
    open.windows = 1;
    open.rollback =
        Some(RollbackCause { stage: Stage::Connect, code: ErrorCode::NoConnection, message: "no".to_owned() });
    open
}

fn full() -> State {
    let mut state = State::default();
    state.belongs_to(uid(1));
    state.saw(Generation(7));
    state.open = Some(open_attempt(1));
    state.finish(open_attempt(2).outcome(report(How::RolledBack)));
    state.hold(Hold {
        version: version("1.2.0"),
        attempt: attempt(2),
        cause: "it crashed".to_owned(),
        since: Timestamp::from_micros(5),
    });
    state.floor = Some(version("0.9.0"));
    state.confirmed = Some(Confirmed {
        version: version("1.0.0"),
        sha256: Some(domain::Sha256::new([1; 32])),
        previous_sha256: Some(domain::Sha256::new([3; 32])),
    });
    state
}

#[test]
fn a_journal_never_written_is_empty_and_a_written_one_reads_back() {
    let home = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(home.path());
    assert_eq!(journal.read().expect("reads"), State::default());
    journal.update(PATIENCE, |state| *state = full()).expect("writes");
    assert_eq!(journal.read().expect("reads"), full());
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(home.path().join(FILE)).expect("is there").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn what_a_later_release_added_is_kept() {
    let home = tempfile::tempdir().expect("a directory");
    let mut json: serde_json::Value = serde_json::from_slice(&document::print(&full())).expect("is JSON");
    json["later_field"] = serde_json::json!({"a": [1, 2]});
    json["open_attempt"]["later_field"] = serde_json::json!("x");
    json["unsent_outcomes"][0]["error_code"] = serde_json::json!("A_LATER_CODE");
    json["unsent_outcomes"][0]["stage"] = serde_json::json!("a_later_stage");
    fs::write(home.path().join(FILE), json.to_string()).expect("writes");
    let journal = Journal::new(home.path());
    journal.update(PATIENCE, |state| state.saw(Generation(9))).expect("writes");
    let after: serde_json::Value =
        serde_json::from_slice(&fs::read(home.path().join(FILE)).expect("reads")).expect("is JSON");
    assert_eq!(after["later_field"], json["later_field"]);
    assert_eq!(after["open_attempt"]["later_field"], json["open_attempt"]["later_field"]);
    assert_eq!(after["generation"], 9);
    assert_eq!(journal.read().expect("reads").unsent[0].report.error_code, Some(ErrorCode::Other));
}

#[test]
fn what_an_earlier_release_did_not_write_is_not_known() {
    let mut json: serde_json::Value = serde_json::from_slice(&document::print(&full())).expect("is JSON");
    json["confirmed"].as_object_mut().expect("a map").remove("previous_sha256").expect("written now");
    json["open_attempt"].as_object_mut().expect("a map").remove("probation_millis").expect("written now");
    let state = parse(json.to_string().as_bytes()).expect("reads");
    assert_eq!(state.confirmed.expect("kept").previous_sha256, None);
    assert_eq!(state.open.expect("kept").probation, None);
}

#[test]
fn a_torn_corrupt_or_foreign_journal_is_named_and_the_last_good_one_kept() {
    let good = document::print(&full());
    let swap = |from: &str, to: &str| String::from_utf8(good.clone()).expect("text").replace(from, to).into_bytes();
    let bad = [
        Vec::new(),
        vec![0; 4096],
        good[..good.len() / 2].to_vec(),
        good[..good.len() - 3].to_vec(),
        b"[]".to_vec(),
        b"\x7fELF".to_vec(),
        swap("\"format\": 1", "\"format\": 2"),
        swap("1.1.0", "1.1"),
        swap("rolling_back", "dancing"),
        swap("\"open_attempt\": {", "\"open_attempt\": [{"),
        swap("0190163d", "0190163D"),
    ];
    for bytes in bad {
        let home = tempfile::tempdir().expect("a directory");
        let journal = Journal::new(home.path());
        journal.update(PATIENCE, |state| *state = full()).expect("writes");
        journal.update(PATIENCE, |state| state.saw(Generation(8))).expect("writes");
        fs::write(home.path().join(FILE), &bytes).expect("spoils it");
        let error = journal.read().expect_err("refused");
        let Error::Unusable { path, last_good, .. } = &error else { panic!("{error:?}") };
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        assert_eq!(last_good.as_deref(), Some(&full()), "{error}");
        assert!(journal.update(PATIENCE, |state| state.saw(Generation(9))).is_err(), "nothing is written over it");
        assert_eq!(fs::read(home.path().join(FILE)).expect("still there"), bytes);
        journal.lock(PATIENCE).expect("locks").replace_unusable(&full()).expect("replaces");
        assert_eq!(journal.read().expect("reads"), full());
        assert_eq!(fs::read(home.path().join("journal.json.unusable")).expect("put aside"), bytes);
    }
}

#[test]
fn a_symbolic_link_is_not_followed() {
    let home = tempfile::tempdir().expect("a directory");
    let elsewhere = home.path().join("elsewhere");
    fs::write(&elsewhere, document::print(&full())).expect("writes");
    std::os::unix::fs::symlink(&elsewhere, home.path().join(FILE)).expect("links");
    assert!(matches!(Journal::new(home.path()).read(), Err(Error::Read { .. })));
}

#[test]
fn one_process_at_a_time_holds_the_lock() {
    let home = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(home.path());
    let held = journal.lock(PATIENCE).expect("locks");
    assert!(matches!(journal.lock(Duration::ZERO), Err(Error::Busy { .. })));
    held.update(|state| state.saw(Generation(1))).expect("writes under it");
    drop(held);
    assert!(journal.lock(Duration::ZERO).is_ok());
}

#[test]
fn what_was_left_as_it_was_is_not_written_again() {
    let home = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(home.path());
    journal.update(PATIENCE, |state| state.saw(Generation(1))).expect("writes");
    fs::remove_file(home.path().join(LAST))
        .or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
        .expect("gone");
    journal.update(PATIENCE, |state| state.saw(Generation(1))).expect("does nothing");
    assert!(!home.path().join(LAST).exists());
}

#[test]
fn a_write_that_cannot_be_made_leaves_the_old_one() {
    let home = tempfile::tempdir().expect("a directory");
    let journal = Journal::new(home.path());
    journal.update(PATIENCE, |state| *state = full()).expect("writes");
    fs::create_dir(home.path().join("journal.json.new")).expect("is in the way");
    assert!(matches!(journal.update(PATIENCE, |state| state.saw(Generation(9))), Err(Error::Write { .. })));
    assert_eq!(journal.read().expect("reads"), full());
}

#[test]
fn another_enrolment_keeps_what_is_the_hosts_and_forgets_the_rest() {
    let mut state = full();
    state.belongs_to(uid(1));
    assert_eq!(state, full());
    state.belongs_to(uid(2));
    assert_eq!((state.generation, state.unsent.len(), state.finished.len()), (Generation(0), 0, 0));
    assert_eq!(
        (state.open, state.holds, state.floor),
        (full().open, full().holds, full().floor),
        "the way back stays armed"
    );
}

#[test]
fn confirming_closes_the_attempt_and_raises_the_floor_once() {
    let mut state = full();
    state.hold(Hold { version: version("1.1.0"), attempt: attempt(1), cause: String::new(), since: Timestamp::EPOCH });
    let outcome = open_attempt(1).outcome(report(How::Succeeded));
    state.confirm(outcome.clone());
    assert_eq!(state.open, None);
    assert_eq!(state.floor, Some(version("1.0.0")));
    let confirmed = Confirmed {
        version: version("1.1.0"),
        sha256: Some(domain::Sha256::new([2; 32])),
        previous_sha256: Some(domain::Sha256::new([1; 32])),
    };
    assert_eq!(state.confirmed, Some(confirmed), "what ran before stays beside it, and is known by its bytes");
    assert!(state.has_finished(attempt(1)) && state.holds.iter().all(|hold| hold.version != version("1.1.0")));
    let once = state.clone();
    state.confirm(outcome);
    assert_eq!(state, once, "a repeated confirmation changes nothing");
    assert!(state.acknowledge(attempt(1)) && !state.acknowledge(attempt(1)));
}

#[test]
fn what_only_grows_is_bounded() {
    let mut state = State::default();
    for n in 0..200 {
        state.finish(open_attempt(n).outcome(report(How::Failed)));
    }
    assert_eq!(state.finished.len(), state::FINISHED_MAX);
    assert_eq!(state.unsent.len(), state::UNSENT_MAX);
    assert!(state.has_finished(attempt(199)) && !state.has_finished(attempt(0)));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_edit_of_a_good_journal_makes_the_reader_panic_or_loses_what_it_accepts(at in 0usize..2000, with in any::<u8>()) {
        let mut bytes = document::print(&full());
        let at = at % bytes.len();
        bytes[at] = with;
        if let Ok(state) = parse(&bytes) {
            prop_assert_eq!(parse(&document::print(&state)), Ok(state));
        }
    }
}
