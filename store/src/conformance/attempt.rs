//! Promises of [`crate::AttemptStore`], and of commits that carry attempts.

use domain::attempt::{Ending, ErrorCode, Outcome, OutcomeSource, Phase, Report, Stage, Waiting, WaitingSince};
use domain::audit::EventKind;
use domain::{Actor, Attempt, Executor, Generation, Reason, RequestId, Revision, TokenId};

use super::Subject;
use super::fixture::{
    World, at, attempt, attempt_id, commit, event, join_token, name_in, organization, refusal, uid, version,
};
use crate::{AttemptWrite, ExecutorCommit, JoinTokenRecord};

fn request_id(text: &str) -> RequestId {
    RequestId::new(text).expect("printable")
}

fn with_request(mut write: AttemptWrite, id: &str) -> AttemptWrite {
    write.attempt.request_id = Some(request_id(id));
    write
}

fn ended(mut attempt: Attempt, seconds: u64) -> AttemptWrite {
    attempt.ending = Some(Ending {
        outcome: Outcome::RolledBack,
        source: OutcomeSource::Reported,
        reason: Some(Reason::RolledBack),
        stage: Some(Stage::Start),
        error_code: Some(ErrorCode::CrashLoop),
        message: "it crashed".to_owned(),
        rolled_back_to: Some(version("1.0.0")),
        log_tail: vec!["panic \u{1b}[31m".to_owned(), String::new()],
        time: at(seconds),
    });
    attempt.end_time = Some(at(seconds));
    AttemptWrite { attempt, deadline: None }
}

pub(super) async fn every_field_reads_back(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let plain = with_request(attempt(1, &row), "again-please!");
    let row = world.write(&row, vec![plain.clone()]).await;
    let read = world.attempt(1).await;
    assert_eq!(read, Attempt { revision: Revision(1), ..plain.attempt });
    let full = Attempt {
        phase: Phase::Confirming,
        generation: Generation(9),
        refused: Some(Report {
            outcome: Outcome::Refused,
            stage: Some(Stage::Verify),
            error_code: Some(ErrorCode::UnknownKey),
            message: "no \"key\"".to_owned(),
            running_version: version("1.0.0"),
            rolled_back_to: None,
            log_tail: vec!["line".to_owned()],
        }),
        waiting: Some(WaitingSince {
            waiting: Waiting { error_code: ErrorCode::RegistryUnreachable, message: "it's \"away\"".to_owned() },
            since: at(3),
        }),
        rollback_requested: true,
        corrected: true,
        bytes_done: 12,
        bytes_total: u64::from(u32::MAX) * 8,
        deliver_time: Some(at(2)),
        progress_time: Some(at(3)),
        apply_time: Some(at(4)),
        expire_time: at(5),
        requested_by: Actor::System("rollout"),
        ..read
    };
    let full = ended(full, 6);
    let row = world.write(&row, vec![full.clone()]).await;
    let read = world.attempt(1).await;
    assert_eq!(read, Attempt { revision: Revision(2), ..full.attempt });
    let other = AttemptWrite { attempt: Attempt { request_id: None, ..read }, deadline: None };
    let other = ExecutorCommit { attempts: vec![other], ..commit(&row) };
    assert_eq!(refusal(world.store.executor_commit(other).await), "stale attempt", "by which request never changes");
    let actors = [Actor::Executor(uid(1)), Actor::Token(TokenId::new("t").expect("a label")), Actor::Console];
    let mut row = row;
    for (n, actor) in (2..).zip(actors) {
        let mut write = attempt(n, &row);
        write.attempt.requested_by = actor.clone();
        row = world.write(&row, vec![write]).await;
        assert_eq!(world.attempt(n).await.requested_by, actor);
    }
}

pub(super) async fn an_older_revision_undoes_the_whole_commit(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let row = world.write(&row, vec![attempt(1, &row), attempt(2, &row)]).await;
    let read = world.attempt(1).await;
    let moved = AttemptWrite { attempt: Attempt { phase: Phase::Delivered, ..read.clone() }, deadline: None };
    let row = world.write(&row, vec![moved]).await;
    let late = ExecutorCommit {
        executor: Executor { pinned: Some("late".to_owned()), ..row.clone() },
        attempts: vec![
            ended(world.attempt(2).await, 5),
            AttemptWrite { attempt: Attempt { phase: Phase::Verifying, ..read }, deadline: None },
        ],
        events: vec![event(EventKind::AttemptPhaseChanged, "late")],
        ..commit(&row)
    };
    assert_eq!(refusal(world.store.executor_commit(late).await), "stale attempt");
    assert_eq!(world.executor(1).await, row);
    assert_eq!(world.attempt(1).await.phase, Phase::Delivered);
    assert!(!world.attempt(2).await.is_ended());
    assert_eq!(world.events().await, []);
}

pub(super) async fn an_unknown_one_is_missing_and_a_taken_id_stale(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let mut unknown = attempt(9, &row);
    unknown.attempt.revision = Revision(3);
    let unknown = ExecutorCommit { attempts: vec![unknown], ..commit(&row) };
    assert_eq!(refusal(world.store.executor_commit(unknown).await), "missing attempt");
    let row = world.write(&row, vec![attempt(1, &row)]).await;
    let again = ExecutorCommit { attempts: vec![attempt(1, &row)], ..commit(&row) };
    assert_eq!(refusal(world.store.executor_commit(again).await), "stale attempt");
    assert_eq!(world.store.attempt_get(attempt_id(9)).await.expect("a read"), None);
}

pub(super) async fn a_request_id_is_taken_once_per_organization(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.organization("other").await;
    let token = JoinTokenRecord { organization: organization("other"), ..join_token("other", 9) };
    world.store.join_token_insert(&token, &[]).await.expect("a new join token");
    let enrolment = super::fixture::enrolment(3, name_in("other", "web-1"), "other");
    world.store.enrolment_commit(enrolment).await.expect("an enrolment");
    let one = world.enrol(1, "web-1").await;
    let two = world.enrol(2, "web-2").await;
    let three = world.executor(3).await;
    world.write(&one, vec![with_request(attempt(1, &one), "r")]).await;
    let taken = ExecutorCommit { attempts: vec![with_request(attempt(2, &two), "r")], ..commit(&two) };
    assert_eq!(refusal(world.store.executor_commit(taken).await), "exists request");
    world.write(&three, vec![with_request(attempt(3, &three), "r")]).await;
    let find = async |organization: &str, id: &str| {
        let organization = super::fixture::organization(organization);
        let found = world.store.attempt_list_by_request(&organization, &[request_id(id)]).await;
        found.expect("a read").get(&request_id(id)).map(|attempt| attempt.id)
    };
    assert_eq!(find("acme", "r").await, Some(attempt_id(1)));
    assert_eq!(find("other", "r").await, Some(attempt_id(3)));
    assert_eq!(find("acme", "s").await, None);
    assert_eq!(world.executor(2).await, two);
}

pub(super) async fn further_request_ids_find_it_until_it_is_pruned(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let one = world.enrol(1, "web-1").await;
    let two = world.enrol(2, "web-2").await;
    let one = world.write(&one, vec![with_request(attempt(1, &one), "r")]).await;
    let two = world.write(&two, vec![attempt(2, &two)]).await;
    let acme = super::fixture::organization("acme");
    let note = async |n, id: &str| {
        let noted = world.store.attempt_note_requests(&acme, &[(attempt_id(n), request_id(id))]).await;
        noted.expect("a write").remove(0)
    };
    for _ in 0..2 {
        note(1, "s").await.expect("noted");
        note(2, "t").await.expect("noted");
        note(1, "r").await.expect("its own");
    }
    assert_eq!(refusal(note(2, "s").await), "exists request");
    assert_eq!(refusal(note(2, "r").await), "exists request");
    assert_eq!(refusal(note(9, "u").await), "missing attempt");
    let taken = ExecutorCommit { attempts: vec![with_request(attempt(3, &two), "s")], ..commit(&two) };
    assert_eq!(refusal(world.store.executor_commit(taken).await), "exists request");
    let find = async |id: &str| {
        let found = world.store.attempt_list_by_request(&acme, &[request_id(id)]).await;
        found.expect("a read").get(&request_id(id)).map(|attempt| attempt.id)
    };
    assert_eq!(find("s").await, Some(attempt_id(1)));
    world.write(&one, vec![ended(world.attempt(1).await, 5)]).await;
    assert_eq!(find("s").await, Some(attempt_id(1)), "also when it has ended");
    assert_eq!(world.store.attempt_prune(super::fixture::at(100), 10).await.expect("pruned"), 1);
    assert_eq!((find("s").await, find("r").await, find("t").await), (None, None, Some(attempt_id(2))));
}
