//! Promises of [`crate::ChangeFeed`] and [`crate::StoreClock`].

use std::time::Duration;

use domain::{Executor, Generation, Revision};

use super::Subject;
use super::fixture::{World, commit, refusal, uid};
use crate::{Change, ChangeNumber, ExecutorCommit, ExecutorFate};

async fn since(world: &World<'_>, number: ChangeNumber, limit: usize) -> Vec<Change> {
    world.store.change_list_since(number, limit).await.expect("a list")
}

pub(super) async fn a_commit_wakes_subscribers(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let mut changes = world.store.change_subscribe();
    let committed = world.commit(commit(&Executor { generation: Generation(3), ..row })).await;
    let change = changes.recv().await.expect("a change");
    assert_eq!(change, Change { number: committed.change, executor: uid(1), generation: Generation(3) });
    assert_eq!(world.store.change_head().await.expect("a head"), committed.change);
    let seen = world.executor(1).await;
    assert_eq!(seen.generation, Generation(3), "what woke is there to read");
    let next = world.commit(commit(&seen)).await;
    assert!(next.change > committed.change);
}

pub(super) async fn catching_up_tells_each_executor_once(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let before = world.store.change_head().await.expect("a head");
    let one = world.enrol(1, "web-1").await;
    let two = world.enrol(2, "web-2").await;
    let three = world.enrol(3, "web-3").await;
    let one = world.write(&Executor { generation: Generation(1), ..one }, Vec::new()).await;
    let last = world.write(&Executor { generation: Generation(2), ..one }, Vec::new()).await;
    let told = since(&world, before, 10).await;
    let executors: Vec<_> = told.iter().map(|change| change.executor).collect();
    assert_eq!(executors, [uid(2), uid(3), uid(1)], "oldest first, each with its newest change");
    assert_eq!(told[2].generation, last.generation);
    assert!(told.is_sorted_by(|a, b| a.number < b.number));
    let page = since(&world, before, 2).await;
    assert_eq!(page, told[..2]);
    assert_eq!(since(&world, page[1].number, 2).await, told[2..]);
    assert_eq!(since(&world, told[2].number, 2).await, []);
    assert_eq!(since(&world, ChangeNumber(u64::MAX), 2).await, []);
    let deletion = ExecutorCommit { fate: ExecutorFate::Delete, ..commit(&two) };
    let deleted = world.commit(deletion).await;
    let told = since(&world, told[2].number, 10).await;
    assert_eq!(told.len(), 1, "a deletion is a change");
    assert_eq!((told[0].executor, told[0].number), (uid(2), deleted.change));
    drop(three);
}

pub(super) async fn a_refused_commit_wakes_nobody(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let head = world.store.change_head().await.expect("a head");
    let mut changes = world.store.change_subscribe();
    let stale = Executor { revision: Revision(7), ..row.clone() };
    assert_eq!(refusal(world.store.executor_commit(commit(&stale)).await), "stale executor");
    assert_eq!(since(&world, head, 10).await, []);
    let committed = world.commit(commit(&row)).await;
    let first = changes.recv().await.expect("a change");
    assert_eq!(first.number, committed.change, "the first to wake is the one that was written");
}

pub(super) async fn the_clock_is_the_stores(subject: &dyn Subject) {
    let store = subject.store();
    let before = store.store_now().await.expect("now");
    subject.advance(Duration::from_secs(100)).await;
    let after = store.store_now().await.expect("now");
    assert!(after.since(before) >= Duration::from_secs(100));
}
