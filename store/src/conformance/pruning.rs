//! What is over and means nothing any more goes; what something else means stays as long as that.

use std::time::Duration;

use domain::{Executor, Role, Timestamp, TokenId};

use super::Subject;
use super::attempt_list::ended;
use super::fixture::{
    World, at, attempt, attempt_id, commit, digest, enrolment, instance, join_token, join_token_id, name, uid,
};
use crate::{
    CertificateRecord, EnrolmentCommit, ExecutorCommit, ExecutorFate, JoinTokenRecord, NodeChange, NodeRecord,
    TokenRecord,
};

/// Deletes it; answers with a time after that.
async fn delete(world: &World<'_>, executor: &Executor) -> Timestamp {
    world.commit(ExecutorCommit { fate: ExecutorFate::Delete, ..commit(executor) }).await;
    world.store.store_now().await.expect("now").plus(Duration::from_secs(1))
}

async fn prune(world: &World<'_>, deleted_before: Timestamp) -> usize {
    world.store.executor_prune(deleted_before, 10).await.expect("pruned")
}

/// What the change feed shows.
async fn changed(world: &World<'_>) -> usize {
    world.store.change_list_since(crate::ChangeNumber(0), 100).await.expect("a list").len()
}

pub(super) async fn expired_tokens_are_pruned(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let id = |text: &str| TokenId::new(text).expect("a label");
    for (text, expire_time, revoke_time) in
        [("a", 10, None), ("b", 20, Some(at(5))), ("c", 30, Some(at(5))), ("d", 40, None)]
    {
        let token = TokenRecord {
            id: id(text),
            secret_sha256: digest(1),
            role: Role::Publisher,
            display_name: text.to_owned(),
            create_time: at(1),
            expire_time: at(expire_time),
            revoke_time,
            signed_in_by: None,
        };
        world.store.token_insert(&token, &[]).await.expect("a new token");
    }
    assert_eq!(world.store.token_prune(at(30), 1).await.expect("pruned"), 1);
    assert_eq!(world.store.token_prune(at(30), 10).await.expect("pruned"), 1);
    assert_eq!(world.store.token_prune(at(30), 10).await.expect("pruned"), 0);
    for (text, is_there) in [("a", false), ("b", false), ("c", true), ("d", true)] {
        assert_eq!(world.store.token_get(&id(text)).await.expect("a read").is_some(), is_there, "{text}");
    }
}

pub(super) async fn expired_join_tokens_are_pruned_when_no_certificate_means_them(subject: &dyn Subject) {
    let world = World::new(subject).await;
    for (id, seconds) in [("used", 20), ("unused", 20), ("good", 40)] {
        let token = JoinTokenRecord { expire_time: at(seconds), ..join_token(id, 5) };
        world.store.join_token_insert(&token, &[]).await.expect("a new join token");
    }
    world.store.enrolment_commit(enrolment(1, name("web-1"), "used")).await.expect("an enrolment");
    let left = async || {
        let mut left = Vec::new();
        for id in ["good", "unused", "used"] {
            let row = world.store.join_token_get(&join_token_id(id)).await.expect("a read");
            left.extend(row.map(|row| row.id.as_str().to_owned()));
        }
        left
    };
    assert_eq!(world.store.join_token_prune(at(20), 10).await.expect("pruned"), 0, "not before its end");
    assert_eq!(world.store.join_token_prune(at(30), 10).await.expect("pruned"), 1);
    assert_eq!(left().await, ["good", "used"]);
    // The same key is given its certificate again as long as that is kept.
    let again = world.store.enrolment_find(&join_token_id("used"), &digest(1_000_001)).await;
    assert!(again.expect("a read").is_some());
    assert_eq!(world.store.certificate_prune(at(1001), 10).await.expect("pruned"), 1);
    assert_eq!(world.store.join_token_prune(at(30), 10).await.expect("pruned"), 1);
    assert_eq!(left().await, ["good"]);
}

pub(super) async fn deleted_executors_are_pruned_when_nothing_means_them(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let row = world.write(&row, vec![attempt(1, &row)]).await;
    world.store.session_open_batch(world.replica, &[(uid(1), instance(1))]).await.expect("a session");
    let node = NodeRecord {
        name: "web-1".to_owned(),
        platform: "linux/amd64".parse().expect("a platform"),
        kernel_version: String::new(),
        os_image: String::new(),
        kubelet_version: String::new(),
        ready: true,
        report_time: at(1),
    };
    world.store.node_apply(uid(1), &NodeChange::Full(vec![node])).await.expect("a node");
    world.enrol(2, "web-2").await;
    let row = world.write(&row, vec![ended(world.attempt(1).await, 20)]).await;
    let later = delete(&world, &row).await;

    let before = world.store.store_now().await.expect("now").minus(Duration::from_secs(3600));
    assert_eq!(prune(&world, before).await, 0, "it was deleted a moment ago");
    assert_eq!(prune(&world, later).await, 0, "an attempt means it");
    assert_eq!(world.store.attempt_prune(at(21), 10).await.expect("pruned"), 1);
    assert_eq!(prune(&world, later).await, 0, "its certificate, revoked, has to be refused");
    assert!(world.store.certificate_get(&digest(1)).await.expect("a read").expect("kept").revoke_time.is_some());
    assert_eq!(world.store.certificate_prune(at(1001), 1).await.expect("pruned"), 1);
    let changes = changed(&world).await;
    assert_eq!(world.store.executor_prune(later, 0).await.expect("pruned"), 0);
    assert_eq!(prune(&world, later).await, 1);
    assert_eq!(prune(&world, later).await, 0);
    assert_eq!(changed(&world).await, changes - 1, "the sweep has nothing to see");
    assert!(world.store.attempt_get(attempt_id(1)).await.expect("a read").is_none());
    let alive = world.executor(2).await;
    assert_eq!(alive.name, name("web-2"), "whoever lives is not touched");
    // Its name was free before, its uid is now; what comes next is numbered on.
    let head = world.store.change_head().await.expect("a number");
    let written = world.commit(commit(&alive)).await;
    assert!(written.change > head, "{:?} after {head:?}", written.change);
}

/// One replaced by another goes as any that was deleted, and takes nothing of its heir's along.
pub(super) async fn a_replaced_executor_is_pruned_without_its_heir(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    let heir = EnrolmentCommit { replaces: Some(uid(1)), ..enrolment(2, name("web-1"), "many") };
    let lasting = CertificateRecord { not_after: at(5000), ..heir.certificate.clone() };
    let heir = EnrolmentCommit { certificate: lasting, ..heir };
    world.store.enrolment_commit(heir).await.expect("a replacement");
    world.store.session_open_batch(world.replica, &[(uid(2), instance(2))]).await.expect("a session");
    assert_eq!(world.store.certificate_prune(at(1001), 10).await.expect("pruned"), 1);
    // The enrolment says when.
    assert_eq!(prune(&world, at(10)).await, 0);
    assert_eq!(prune(&world, at(11)).await, 1);
    let found = world.store.executor_get(&name("web-1")).await.expect("a read").expect("the heir");
    assert_eq!(found.uid, uid(2));
    assert!(world.store.certificate_get(&digest(2)).await.expect("a read").is_some());
    assert_eq!(world.store.presence_list(&[uid(2)]).await.expect("a list").len(), 1);
}
