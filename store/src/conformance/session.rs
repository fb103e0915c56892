//! Promises of [`crate::SessionStore`].

use std::time::Duration;

use domain::audit::EventKind;
use domain::{Epoch, ExecutorUid};
use uuid::Uuid;

use super::Subject;
use super::fixture::{LEASE, World, event, instance, refusal, uid};
use crate::{Presence, ReplicaId, SessionOpened, SessionRow};

const OTHER: ReplicaId = ReplicaId(Uuid::from_u128(2));

async fn open(world: &World<'_>, replica: ReplicaId, executor: u128, process: u128) -> SessionOpened {
    let opened = world.store.session_open_batch(replica, &[(uid(executor), instance(process))]).await;
    opened.expect("a session").pop().expect("one answer for one session")
}

async fn presence(world: &World<'_>, executor: u128) -> Option<Presence> {
    world.store.presence_list(&[uid(executor)]).await.expect("a list").pop()
}

async fn recent(world: &World<'_>, executor: ExecutorUid) -> Vec<SessionRow> {
    world.store.session_list_recent(executor, domain::Timestamp::EPOCH).await.expect("a list")
}

pub(super) async fn epochs_grow_and_name_the_previous(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    world.enrol(2, "web-2").await;
    let now = world.store.store_now().await.expect("now");
    assert_eq!(open(&world, world.replica, 1, 1).await, SessionOpened { epoch: Epoch(1), previous: None });
    world.store.replica_renew(OTHER, LEASE).await.expect("a lease");
    let second = open(&world, OTHER, 1, 2).await;
    assert_eq!(second.epoch, Epoch(2));
    let previous = second.previous.expect("the first");
    assert_eq!((previous.epoch, previous.replica, previous.instance), (Epoch(1), world.replica, instance(1)));
    assert!(previous.open_time >= now);
    assert_eq!(previous.end_time, None, "it had not ended when the second came");
    assert!(world.store.session_close(uid(1), Epoch(2), &[]).await.expect("closed"));
    let third = open(&world, world.replica, 1, 3).await;
    assert_eq!(third.epoch, Epoch(3));
    assert!(third.previous.expect("the second").end_time.is_some());
    assert_eq!(open(&world, world.replica, 2, 4).await.epoch, Epoch(1), "each executor counts for itself");
}

pub(super) async fn a_batch_opens_all_or_none(subject: &dyn Subject) {
    let world = World::new(subject).await;
    for n in 1..=3 {
        world.enrol(n, &format!("web-{n}")).await;
    }
    let batch = [(uid(2), instance(2)), (uid(1), instance(1)), (uid(2), instance(3))];
    let opened = world.store.session_open_batch(world.replica, &batch).await.expect("sessions");
    assert_eq!(opened.iter().map(|opened| opened.epoch.0).collect::<Vec<_>>(), [1, 1, 2]);
    let with_unknown = [(uid(3), instance(4)), (uid(9), instance(5))];
    let refused = world.store.session_open_batch(world.replica, &with_unknown).await;
    assert_eq!(refusal(refused), "missing executor");
    assert_eq!(presence(&world, 3).await, None, "nothing of a refused batch is written");
    let nowhere = ReplicaId(Uuid::from_u128(77));
    let refused = world.store.session_open_batch(nowhere, &[(uid(1), instance(1))]).await;
    assert_eq!(refusal(refused), "missing lease");
    assert_eq!(world.store.session_open_batch(world.replica, &[]).await.expect("nothing"), []);
    let everybody = world.store.presence_list(&[uid(1), uid(2), uid(3), uid(9)]).await.expect("a list");
    assert_eq!(everybody.len(), 2, "those without a session are left out: {everybody:?}");
}

pub(super) async fn only_the_newest_is_closed_and_once(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    let first = open(&world, world.replica, 1, 1).await.epoch;
    let second = open(&world, world.replica, 1, 2).await.epoch;
    let told = [event(EventKind::ExecutorDisconnected, "web-1")];
    let close = async |epoch| world.store.session_close(uid(1), epoch, &told).await.expect("an answer");
    assert!(!close(first).await, "the older does not speak for the executor");
    assert!(presence(&world, 1).await.expect("seen").connected);
    assert!(close(second).await);
    assert!(!close(second).await, "it ended once");
    assert!(!close(Epoch(99)).await);
    assert_eq!(world.events().await.len(), 1);
    assert!(!presence(&world, 1).await.expect("seen").connected);
}

pub(super) async fn presence_follows_the_lease(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    open(&world, world.replica, 1, 1).await;
    let seen = presence(&world, 1).await.expect("seen");
    assert!(seen.connected);
    world.subject.advance(LEASE / 3).await;
    let before = world.store.store_now().await.expect("now");
    let lease_end = world.store.replica_renew(world.replica, LEASE).await.expect("a lease");
    assert!(lease_end >= before.plus(LEASE));
    let renewed = presence(&world, 1).await.expect("seen");
    assert!(renewed.connected && renewed.last_seen >= Some(before), "{renewed:?} {before:?}");
    world.subject.advance(LEASE + Duration::from_secs(1)).await;
    let lapsed = presence(&world, 1).await.expect("seen");
    assert!(!lapsed.connected, "a replica without a lease holds nobody");
    let refused = world.store.session_open_batch(world.replica, &[(uid(1), instance(2))]).await;
    assert_eq!(refusal(refused), "missing lease", "and admits nobody");
    assert_eq!(lapsed.last_seen, renewed.last_seen, "last seen when the lease was renewed");
    world.store.replica_renew(world.replica, LEASE).await.expect("a lease");
    assert!(presence(&world, 1).await.expect("seen").connected, "a lost lease does not end sessions");
}

pub(super) async fn a_session_end_is_last_seen(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    let epoch = open(&world, world.replica, 1, 1).await.epoch;
    world.subject.advance(Duration::from_secs(3)).await;
    let before = world.store.store_now().await.expect("now");
    assert!(world.store.session_close(uid(1), epoch, &[]).await.expect("closed"));
    world.subject.advance(Duration::from_secs(3)).await;
    world.store.replica_renew(world.replica, LEASE).await.expect("a lease");
    let seen = presence(&world, 1).await.expect("seen");
    assert!(!seen.connected);
    let last_seen = seen.last_seen.expect("it had a session");
    assert!(last_seen >= before && last_seen < before.plus(Duration::from_secs(3)), "not the later renewal");
}

pub(super) async fn an_ended_replica_holds_nobody(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    world.enrol(2, "web-2").await;
    world.store.replica_renew(OTHER, LEASE).await.expect("a lease");
    open(&world, world.replica, 1, 1).await;
    open(&world, OTHER, 2, 2).await;
    world.store.replica_end(world.replica).await.expect("an end");
    assert!(!presence(&world, 1).await.expect("seen").connected);
    assert!(presence(&world, 2).await.expect("seen").connected);
    assert!(recent(&world, uid(1)).await[0].end_time.is_some());
    world.store.replica_renew(world.replica, LEASE).await.expect("a lease");
    assert!(!presence(&world, 1).await.expect("seen").connected, "its sessions ended with it");
    world.store.replica_end(ReplicaId(Uuid::from_u128(99))).await.expect("nothing to end");
}

pub(super) async fn the_newest_of_many_are_found_at_once(subject: &dyn Subject) {
    let world = World::new(subject).await;
    for n in 1..=3 {
        world.enrol(n, &format!("web-{n}")).await;
    }
    world.store.replica_renew(OTHER, LEASE).await.expect("a lease");
    open(&world, world.replica, 1, 1).await;
    open(&world, OTHER, 1, 2).await;
    let closed = open(&world, world.replica, 2, 3).await.epoch;
    assert!(world.store.session_close(uid(2), closed, &[]).await.expect("closed"));
    let found = world.store.session_list_newest(&[uid(1), uid(2), uid(3), uid(9)]).await.expect("a list");
    let mut found: Vec<_> =
        found.iter().map(|row| (row.executor, row.epoch.0, row.replica, row.end_time.is_some())).collect();
    found.sort_by_key(|found| found.0);
    assert_eq!(found, [(uid(1), 2, OTHER, false), (uid(2), 1, world.replica, true)]);
    assert_eq!(world.store.session_list_newest(&[]).await.expect("nothing"), []);
}

pub(super) async fn recent_ones_are_newest_first(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    for n in 0..20 {
        open(&world, world.replica, 1, n).await;
        world.subject.advance(Duration::from_secs(1)).await;
        world.store.replica_renew(world.replica, LEASE).await.expect("a lease");
    }
    let rows = recent(&world, uid(1)).await;
    let epochs: Vec<u64> = rows.iter().map(|row| row.epoch.0).collect();
    assert_eq!(epochs, (5..=20).rev().collect::<Vec<_>>(), "sixteen, newest first");
    assert_eq!(rows[0].instance, instance(19));
    let since = rows[2].open_time;
    let rows = world.store.session_list_recent(uid(1), since).await.expect("a list");
    assert_eq!(rows.len(), 3);
}

pub(super) async fn pruning_keeps_the_newest(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    for n in 0..4 {
        open(&world, world.replica, 1, n).await;
    }
    assert!(world.store.session_close(uid(1), Epoch(4), &[]).await.expect("closed"));
    world.subject.advance(Duration::from_secs(10)).await;
    let now = world.store.store_now().await.expect("now");
    assert_eq!(world.store.session_prune(now, 2).await.expect("pruned"), 2);
    assert_eq!(world.store.session_prune(now, 10).await.expect("pruned"), 1);
    assert_eq!(world.store.session_prune(now, 10).await.expect("pruned"), 0);
    assert_eq!(open(&world, world.replica, 1, 9).await.epoch, Epoch(5), "epochs go on");
}
