//! Promises of [`crate::NodeStore`].

use super::Subject;
use super::fixture::{World, at, refusal, uid};
use crate::{NODES_MAX, NodeChange, NodeRecord, Page};

fn node(name: &str, seconds: u64) -> NodeRecord {
    NodeRecord {
        name: name.to_owned(),
        platform: "linux/amd64".to_owned(),
        kernel_version: "6.18.0".to_owned(),
        os_image: "Debian \"13\"".to_owned(),
        kubelet_version: String::new(),
        ready: seconds.is_multiple_of(2),
        report_time: at(seconds),
    }
}

async fn list(world: &World<'_>, executor: u128) -> Vec<NodeRecord> {
    world.store.node_list(uid(executor), Page { after: None, limit: 100 }).await.expect("a page")
}

pub(super) async fn a_full_report_replaces(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    world.enrol(2, "web-2").await;
    let full = |nodes: &[NodeRecord]| NodeChange::Full(nodes.to_vec());
    world.store.node_apply(uid(1), &full(&[node("b", 1), node("a", 2)])).await.expect("applied");
    world.store.node_apply(uid(2), &full(&[node("a", 9)])).await.expect("applied");
    let second = full(&[node("c", 3), node("b", 4)]);
    for _ in 0..2 {
        world.store.node_apply(uid(1), &second).await.expect("applied");
        assert_eq!(list(&world, 1).await, [node("b", 4), node("c", 3)]);
    }
    assert_eq!(list(&world, 2).await, [node("a", 9)]);
    world.store.node_apply(uid(1), &full(&[])).await.expect("applied");
    assert_eq!(list(&world, 1).await, []);
}

pub(super) async fn a_delta_adds_and_removes(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    let full = NodeChange::Full(vec![node("a", 1), node("b", 1)]);
    world.store.node_apply(uid(1), &full).await.expect("applied");
    let delta = NodeChange::Delta {
        present: vec![node("c", 2), node("a", 2)],
        removed: vec!["b".to_owned(), "never-there".to_owned()],
    };
    for _ in 0..2 {
        world.store.node_apply(uid(1), &delta).await.expect("applied");
        assert_eq!(list(&world, 1).await, [node("a", 2), node("c", 2)]);
    }
}

pub(super) async fn no_more_are_kept_than_an_executor_may_have(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    world.enrol(2, "web-2").await;
    let numbered = |n: usize| node(&format!("n-{n:05}"), 1);
    let full = NodeChange::Full((1..NODES_MAX).map(numbered).collect());
    assert_eq!(world.store.node_apply(uid(1), &full).await.expect("applied"), 0);
    let other = NodeChange::Full(vec![numbered(1)]);
    world.store.node_apply(uid(2), &other).await.expect("applied");
    let delta = NodeChange::Delta { present: (0..=NODES_MAX).map(numbered).collect(), removed: Vec::new() };
    assert_eq!(world.store.node_apply(uid(1), &delta).await.expect("applied"), 1);
    let page = Page { after: None, limit: 2 * NODES_MAX };
    let kept = world.store.node_list(uid(1), page).await.expect("a page");
    assert_eq!(kept, (0..NODES_MAX).map(numbered).collect::<Vec<_>>(), "the first by name");
    assert_eq!(list(&world, 2).await, [numbered(1)], "others keep theirs");
}

pub(super) async fn lists_are_paged_by_name(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    let full = NodeChange::Full(["d", "a", "c", "b"].map(|name| node(name, 1)).to_vec());
    world.store.node_apply(uid(1), &full).await.expect("applied");
    let page = async |after: Option<&str>, limit| {
        let page = Page { after: after.map(str::to_owned), limit };
        let rows = world.store.node_list(uid(1), page).await.expect("a page");
        rows.into_iter().map(|row| row.name).collect::<String>()
    };
    assert_eq!(page(None, 3).await, "abc");
    assert_eq!(page(Some("b"), 3).await, "cd");
}

pub(super) async fn unknown_executors_have_none(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let change = NodeChange::Full(vec![node("a", 1)]);
    assert_eq!(refusal(world.store.node_apply(uid(9), &change).await), "missing executor");
    assert_eq!(list(&world, 9).await, []);
}
