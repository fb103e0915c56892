//! Promises of [`crate::ExecutorStore`].

use std::collections::BTreeMap;

use domain::audit::EventKind;
use domain::executor::State;
use domain::{Attempt, Channel, Executor, Generation, Hold, Kind, RequestId, Revision};

use super::Subject;
use super::fixture::{
    World, at, attempt, attempt_id, commit, digest, event, executor, name, refusal, release_id, uid, version,
};
use crate::{AttemptWrite, ExecutorCommit, ExecutorFate, NodeChange, Page};

fn deletion(executor: &Executor) -> ExecutorCommit {
    ExecutorCommit { fate: ExecutorFate::Delete, ..commit(executor) }
}

pub(super) async fn every_field_reads_back(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let enrolled = world.enrol(1, "web-1").await;
    let hold = Hold {
        version: version("1.2.0-rc.1"),
        attempt: attempt_id(3),
        cause: "it said \"no\"\n\u{0}".to_owned(),
        since: at(7),
    };
    let full = Executor {
        state: State::Deactivated,
        kind: Some(Kind::Agent),
        version: Some(version("1.0.0")),
        platform: Some("linux/arm64".parse().expect("a platform")),
        channel: Channel::Dev,
        channel_ceiling: Some(Channel::Beta),
        labels: BTreeMap::from([("zone".to_owned(), "\u{e4}'\"".to_owned()), ("empty".to_owned(), String::new())]),
        pinned: Some("by hand".to_owned()),
        floor: Some(version("0.9.0")),
        holds: vec![hold],
        release_key_ids: vec!["0123456789ABCDEF".to_owned()],
        generation: Generation(7),
        pending: Some(attempt_id(4)),
        open_attempt: Some(attempt_id(5)),
        duplicated_since: Some(at(8)),
        ..enrolled
    };
    let now = world.write(&full, Vec::new()).await;
    assert_eq!(now, Executor { revision: Revision(2), ..full });
    let emptied =
        Executor { kind: now.kind, generation: now.generation, revision: now.revision, ..executor(1, name("web-1")) };
    let now = world.write(&emptied, Vec::new()).await;
    assert_eq!(now, Executor { revision: Revision(3), ..emptied });
}

pub(super) async fn an_older_revision_is_stale_and_writes_nothing(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let first = world.enrol(1, "web-1").await;
    let second = world.write(&first, Vec::new()).await;
    let late = ExecutorCommit {
        executor: Executor { pinned: Some("late".to_owned()), ..first.clone() },
        attempts: vec![attempt(1, &first)],
        events: vec![event(EventKind::AttemptRequested, "late")],
        ..commit(&first)
    };
    assert_eq!(refusal(world.store.executor_commit(late).await), "stale executor");
    let future = Executor { revision: Revision(9), ..second.clone() };
    assert_eq!(refusal(world.store.executor_commit(commit(&future)).await), "stale executor");
    assert_eq!(world.executor(1).await, second);
    assert_eq!(world.store.attempt_get(attempt_id(1)).await.expect("a read"), None);
    assert_eq!(world.events().await, []);
}

pub(super) async fn unknown_and_deleted_are_missing(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let unknown = world.store.executor_commit(commit(&executor(9, name("web-9")))).await;
    assert_eq!(refusal(unknown), "missing executor");
    let row = world.enrol(1, "web-1").await;
    world.commit(deletion(&row)).await;
    let later = Executor { revision: row.revision.next(), ..row };
    assert_eq!(refusal(world.store.executor_commit(commit(&later)).await), "missing executor");
    assert_eq!(refusal(world.store.executor_commit(deletion(&later)).await), "missing executor");
}

pub(super) async fn deletion_frees_the_name_and_revokes(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let row = world.write(&row, vec![attempt(1, &row)]).await;
    world.commit(deletion(&row)).await;
    assert_eq!(world.store.executor_get(&name("web-1")).await.expect("a read"), None);
    let old = world.store.certificate_get(&digest(1)).await.expect("a read").expect("kept");
    assert!(old.revoke_time.is_some());
    assert_eq!(world.attempt(1).await.executor, uid(1), "its attempts stay");
    let heir = world.enrol(2, "web-1").await;
    assert_eq!(heir.uid, uid(2));
    let attempts = world.store.attempt_list(uid(2), Page { after: None, limit: 10 }).await;
    assert_eq!(attempts.expect("a page"), [], "and are not inherited");
    let nodes = world.store.node_apply(uid(1), &NodeChange::Full(Vec::new())).await;
    assert_eq!(refusal(nodes), "missing executor");
}

pub(super) async fn each_commit_of_a_batch_stands_alone(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let one = world.enrol(1, "web-1").await;
    let two = world.enrol(2, "web-2").await;
    let three = world.enrol(3, "web-3").await;
    let told = |row: &Executor, name: &str| ExecutorCommit {
        events: vec![event(EventKind::ExecutorUpdated, name)],
        ..commit(&Executor { pinned: Some(name.to_owned()), ..row.clone() })
    };
    let stale = Executor { revision: Revision(0), ..two };
    let mut refused = told(&stale, "two");
    refused.attempts = vec![attempt(2, &stale)];
    let unknown = executor(9, name("web-9"));
    let batch = vec![told(&one, "one"), refused, told(&unknown, "nine"), told(&three, "three")];
    let results = world.store.executor_commit_batch(batch).await.expect("a batch");
    let results: Vec<String> = results
        .into_iter()
        .map(|result| result.map_or_else(|error| refusal::<()>(Err(error)), |_| "done".to_owned()))
        .collect();
    assert_eq!(results, ["done", "stale executor", "missing executor", "done"]);
    let pinned = async |n| world.executor(n).await.pinned;
    assert_eq!(pinned(1).await.as_deref(), Some("one"));
    assert_eq!(pinned(2).await, None);
    assert_eq!(pinned(3).await.as_deref(), Some("three"));
    let told: Vec<String> = world.events().await.into_iter().map(|row| row.target).collect();
    assert_eq!(told, ["one", "three"]);
    let changes = world.store.change_list_since(crate::ChangeNumber(0), 10).await.expect("a list");
    assert_eq!(changes.iter().map(|change| change.executor).collect::<Vec<_>>(), [uid(2), uid(1), uid(3)]);
    assert!(world.store.executor_commit_batch(Vec::new()).await.expect("nothing").is_empty());
}

pub(super) async fn a_batch_refuses_each_in_the_words_that_it_hears_alone(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let mut rows = Vec::new();
    for n in 1..=9 {
        rows.push(world.enrol(n, &format!("web-{n}")).await);
    }
    let row = |n: usize| rows[n - 1].clone();
    let asked = |n: u128, row: &Executor, id: &str| {
        let mut write = attempt(n, row);
        write.attempt.request_id = Some(RequestId::new(id).expect("an id"));
        ExecutorCommit { attempts: vec![write], ..commit(row) }
    };
    let one = world.write(&row(1), asked(1, &row(1), "taken").attempts).await;
    let two = world.write(&row(2), vec![attempt(2, &row(2))]).await;
    let behind = AttemptWrite { attempt: Attempt { revision: Revision(9), ..world.attempt(2).await }, deadline: None };
    let nobody =
        AttemptWrite { attempt: Attempt { revision: Revision(1), ..attempt(99, &row(9)).attempt }, deadline: None };
    let one = world.write(&Executor { generation: Generation(5), ..one }, Vec::new()).await;
    let back = Executor { generation: Generation(4), ..one };
    let again = Executor { revision: row(9).revision.next(), pinned: Some("twice".to_owned()), ..row(9) };
    let batches = [
        vec![
            (asked(10, &row(3), "taken"), "exists request"),
            (asked(11, &row(4), "new"), "done"),
            (asked(12, &row(5), "new"), "exists request"),
            (ExecutorCommit { attempts: vec![nobody], ..commit(&row(9)) }, "missing attempt"),
            (ExecutorCommit { attempts: vec![behind], ..commit(&two) }, "stale attempt"),
            (ExecutorCommit { attempts: vec![attempt(13, &row(7))], ..commit(&row(6)) }, "corrupt attempt"),
            (ExecutorCommit { while_published: Some(release_id("agent-9.9.9")), ..commit(&row(7)) }, "stale release"),
        ],
        // An id that is taken, a row that the store's own rules refuse, and an executor that comes twice.
        vec![
            (asked(2, &row(8), "another"), "stale attempt"),
            (commit(&back), "corrupt executor"),
            (commit(&row(9)), "done"),
            (commit(&again), "done"),
        ],
    ];
    for batch in batches {
        let (commits, expected): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let results = world.store.executor_commit_batch(commits).await.expect("a batch");
        let said = results.into_iter().map(|one| one.map_or_else(|error| refusal::<()>(Err(error)), |_| "done".into()));
        assert_eq!(said.collect::<Vec<String>>(), expected);
    }
    assert_eq!(world.executor(9).await.pinned.as_deref(), Some("twice"));
    assert_eq!(world.attempt(11).await.executor, uid(4));
    assert_eq!(world.executor(3).await, row(3), "what is refused is not written");
}

pub(super) async fn of_two_writers_one_wins(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let write = async |who: &str| {
        let mine = Executor { pinned: Some(who.to_owned()), ..row.clone() };
        world.store.executor_commit(commit(&mine)).await.map(|_| who.to_owned())
    };
    let results = tokio::join!(write("a"), write("b"), write("c"), write("d"));
    let results = [results.0, results.1, results.2, results.3];
    let winners: Vec<&String> = results.iter().flatten().collect();
    assert_eq!(winners.len(), 1, "{results:?}");
    assert_eq!(world.executor(1).await.pinned.as_ref(), Some(winners[0]));
    assert_eq!(world.executor(1).await.revision, Revision(2));
}

pub(super) async fn generation_and_kind_never_go_back(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let row = Executor { generation: Generation(5), kind: Some(Kind::Agent), ..row };
    let row = world.write(&row, Vec::new()).await;
    let told = vec![event(EventKind::ExecutorUpdated, "web-1")];
    for broken in [
        Executor { generation: Generation(4), ..row.clone() },
        Executor { kind: Some(Kind::Operator), ..row.clone() },
        Executor { kind: None, ..row.clone() },
        Executor { name: name("web-2"), ..row.clone() },
    ] {
        let commit = ExecutorCommit { events: told.clone(), ..commit(&broken) };
        assert_eq!(refusal(world.store.executor_commit(commit).await), "corrupt executor");
    }
    assert_eq!(world.executor(1).await, row);
    assert_eq!(world.events().await, []);
    world.write(&row, Vec::new()).await;
}

pub(super) async fn numbers_past_63_bits_are_refused(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let told = Executor { generation: Generation(u64::MAX), ..row.clone() };
    assert_eq!(refusal(world.store.executor_commit(commit(&told)).await), "corrupt executor");
    let mut huge = attempt(1, &row);
    huge.attempt.bytes_total = u64::MAX;
    let huge = ExecutorCommit { attempts: vec![huge], ..commit(&row) };
    assert_eq!(refusal(world.store.executor_commit(huge).await), "corrupt attempt");
    assert_eq!(world.executor(1).await, row);
    let largest = Executor { generation: Generation(i64::MAX.unsigned_abs()), ..row };
    let largest = world.write(&largest, Vec::new()).await;
    assert_eq!(largest.generation, Generation(i64::MAX.unsigned_abs()));
}
