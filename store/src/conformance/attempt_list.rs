//! Promises of the lists of [`crate::AttemptStore`], and of its pruning.

use domain::attempt::{Ending, ErrorCode, Outcome, OutcomeSource, Stage};
use domain::{Attempt, AttemptId, Executor, Reason};

use super::Subject;
use super::fixture::{World, at, attempt, attempt_id, commit, organization, release_id, uid, version};
use crate::{AttemptWrite, ExecutorCommit, Page};

pub(super) fn ended(mut attempt: Attempt, seconds: u64) -> AttemptWrite {
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

fn ids(attempts: &[Attempt]) -> Vec<AttemptId> {
    attempts.iter().map(|attempt| attempt.id).collect()
}

fn page(after: Option<u128>, limit: usize) -> Page<AttemptId> {
    Page { after: after.map(attempt_id), limit }
}

pub(super) async fn lists_are_newest_first(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let mut one = world.enrol(1, "web-1").await;
    let two = world.enrol(2, "web-2").await;
    for n in [10, 30, 40] {
        one = world.write(&one, vec![attempt(n, &one)]).await;
    }
    world.write(&two, vec![attempt(20, &two)]).await;
    let list = async |page| ids(&world.store.attempt_list(uid(1), page).await.expect("a page"));
    assert_eq!(list(page(None, 2)).await, [40, 30].map(attempt_id));
    assert_eq!(list(page(Some(30), 2)).await, [10].map(attempt_id));
    assert_eq!(list(page(Some(10), 2)).await, []);
    let acme = organization("acme");
    let list = async |page| {
        let found = world.store.attempt_list_by_organization(&acme, page).await;
        ids(&found.expect("a page"))
    };
    assert_eq!(list(page(None, 3)).await, [40, 30, 20].map(attempt_id));
    assert_eq!(list(page(Some(20), 3)).await, [10].map(attempt_id));
    let nobody = world.store.attempt_list_by_organization(&organization("x"), page(None, 3)).await;
    assert_eq!(nobody.expect("a page"), []);
}

pub(super) async fn open_ones_are_found_by_release(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let mut other = attempt(3, &row);
    other.attempt.release = release_id("agent-1.1.1");
    let row = world.write(&row, vec![attempt(1, &row), attempt(2, &row), other]).await;
    world.write(&row, vec![ended(world.attempt(1).await, 5)]).await;
    let row = world.executor(1).await;
    world.write(&row, vec![attempt(5, &row), attempt(4, &row)]).await;
    let list = async |release: &str, after: Option<u128>, limit| {
        let page = Page { after: after.map(attempt_id), limit };
        let found = world.store.attempt_list_open_by_release(&release_id(release), None, page).await;
        ids(&found.expect("a list"))
    };
    assert_eq!(list("agent-1.1.0", None, 10).await, [2, 4, 5].map(attempt_id));
    assert_eq!(list("agent-1.1.0", None, 2).await, [2, 4].map(attempt_id));
    assert_eq!(list("agent-1.1.0", Some(2), 2).await, [4, 5].map(attempt_id));
    assert_eq!(list("agent-1.1.0", Some(5), 2).await, []);
    assert_eq!(list("agent-1.1.1", None, 10).await, [attempt_id(3)]);
    assert_eq!(list("operator-1.1.0", None, 10).await, []);
    assert_eq!(list("agent-1.1.0", None, 0).await, []);
    for (name, found) in [("acme", vec![2, 4, 5]), ("other", vec![])] {
        let (release, organization) = (release_id("agent-1.1.0"), organization(name));
        let page = Page { after: None, limit: 10 };
        let rows = world.store.attempt_list_open_by_release(&release, Some(&organization), page).await;
        assert_eq!(ids(&rows.expect("a list")), found.into_iter().map(attempt_id).collect::<Vec<_>>(), "{name}");
    }
}

pub(super) async fn due_ones_are_found_by_deadline(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let due = |n: u128, deadline: Option<u64>| AttemptWrite { deadline: deadline.map(at), ..attempt(n, &row) };
    let writes = vec![due(1, Some(30)), due(2, Some(10)), due(3, None), due(4, Some(20))];
    let row = world.write(&row, writes).await;
    let list = async |now, limit| ids(&world.store.attempt_list_due(at(now), limit).await.expect("a list"));
    assert_eq!(list(9, 10).await, []);
    assert_eq!(list(20, 10).await, [2, 4].map(attempt_id));
    assert_eq!(list(99, 2).await, [2, 4].map(attempt_id));
    let done = AttemptWrite { attempt: world.attempt(2).await, deadline: None };
    world.write(&row, vec![done]).await;
    assert_eq!(list(99, 10).await, [4, 1].map(attempt_id));
}

pub(super) async fn pending_ones_are_counted(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let count = async || world.store.attempt_count_pending().await.expect("a count");
    assert_eq!(count().await, 0);
    let one = world.enrol(1, "web-1").await;
    let two = world.enrol(2, "web-2").await;
    let one = world.write(&Executor { pending: Some(attempt_id(1)), ..one }, Vec::new()).await;
    let two = world.write(&Executor { pending: Some(attempt_id(2)), ..two }, Vec::new()).await;
    assert_eq!(count().await, 2);
    world.write(&Executor { pending: None, ..one }, Vec::new()).await;
    assert_eq!(count().await, 1);
    let fate = crate::ExecutorFate::Delete;
    world.commit(ExecutorCommit { fate, ..commit(&two) }).await;
    assert_eq!(count().await, 0, "the deleted have nothing pending");
}

pub(super) async fn pruning_forgets_ended_ones_only(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let row = world.write(&row, (1..=4).map(|n| attempt(n, &row)).collect()).await;
    let mut writes = Vec::new();
    for (n, seconds) in [(1, 10), (2, 20), (3, 30)] {
        writes.push(ended(world.attempt(n).await, seconds));
    }
    world.write(&Executor { pending: Some(attempt_id(2)), ..row }, writes).await;
    assert_eq!(world.store.attempt_prune(at(30), 10).await.expect("pruned"), 1);
    assert_eq!(world.store.attempt_get(attempt_id(1)).await.expect("a read"), None);
    // 2 is what its executor still points at, 3 is too young, 4 is open.
    assert_eq!(world.store.attempt_prune(at(30), 10).await.expect("pruned"), 0);
    assert_eq!(world.store.attempt_prune(at(31), 0).await.expect("pruned"), 0);
    assert_eq!(world.store.attempt_prune(at(31), 1).await.expect("pruned"), 1);
    assert_eq!(world.attempt(4).await.id, attempt_id(4));
}

pub(super) async fn many_are_found_by_id_at_once(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    world.write(&row, (1..=3).map(|n| attempt(n, &row)).collect()).await;
    let wanted = [3, 9, 1, 3].map(attempt_id);
    let mut found = ids(&world.store.attempt_list_by_id(&wanted).await.expect("a list"));
    found.sort();
    assert_eq!(found, [1, 3].map(attempt_id));
    assert_eq!(world.store.attempt_list_by_id(&[]).await.expect("a list"), []);
}
