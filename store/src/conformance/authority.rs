//! Promises of [`crate::AuthorityStore`].

use std::time::Duration;

use domain::audit::EventKind;
use domain::{Event, Sha256};

use super::Subject;
use super::fixture::{World, at, certificate, digest, event, refusal, uid};
use crate::{AuthorityRecord, AuthorityUse, CertificateRecord, EventQuery};

fn authority(number: u32) -> AuthorityRecord {
    AuthorityRecord {
        number,
        public_key_sha256: digest(number.into()),
        certificate_pem: format!("certificate {number}"),
        sealed_key: format!("sealed {number}"),
        create_time: at(u64::from(number)),
        sign_time: at(u64::from(number) + 30),
        retire_time: None,
    }
}

fn told(kind: EventKind) -> Vec<Event> {
    vec![Event { organization: None, ..event(kind, "authority") }]
}

async fn count_told(world: &World<'_>) -> usize {
    let query = EventQuery { organization: None, limit: 100, ..EventQuery::default() };
    world.store.event_list(&query).await.expect("a read").len()
}

pub(super) async fn authorities_read_back_by_number(subject: &dyn Subject) {
    let world = World::new(subject).await;
    assert_eq!(world.store.authority_list().await.expect("a read"), []);
    for number in [2, 1] {
        world.store.authority_insert(&authority(number), &[]).await.expect("a new one");
    }
    let retired = AuthorityRecord { retire_time: Some(at(9)), ..authority(3) };
    world.store.authority_insert(&retired, &[]).await.expect("a new one");
    assert_eq!(world.store.authority_list().await.expect("a read"), [authority(1), authority(2), retired]);
}

pub(super) async fn a_taken_number_exists(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let before = count_told(&world).await;
    world.store.authority_insert(&authority(1), &told(EventKind::AuthorityCreated)).await.expect("the first");
    let other = AuthorityRecord { public_key_sha256: digest(7), ..authority(1) };
    let refused = world.store.authority_insert(&other, &told(EventKind::AuthorityCreated)).await;
    assert_eq!(refusal(refused), "exists authority");
    assert_eq!(world.store.authority_list().await.expect("a read"), [authority(1)]);
    assert_eq!(count_told(&world).await, before + 1, "what is refused tells nothing");
}

pub(super) async fn a_retired_one_has_no_key_and_stays_retired(subject: &dyn Subject) {
    let world = World::new(subject).await;
    for number in [1, 2] {
        world.store.authority_insert(&authority(number), &[]).await.expect("a new one");
    }
    let retire = async |number, seconds| {
        world.store.authority_retire(number, at(seconds), &told(EventKind::AuthorityRetired)).await
    };
    retire(1, 100).await.expect("retired");
    assert_eq!(refusal(retire(1, 200).await), "stale authority");
    assert_eq!(refusal(retire(3, 200).await), "stale authority");
    let retired = AuthorityRecord { sealed_key: String::new(), retire_time: Some(at(100)), ..authority(1) };
    assert_eq!(world.store.authority_list().await.expect("a read"), [retired, authority(2)]);
}

pub(super) async fn a_key_is_sealed_anew_once(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.store.authority_insert(&authority(1), &[]).await.expect("a new one");
    world.store.authority_reseal(1, "sealed 1", "anew").await.expect("sealed");
    assert_eq!(refusal(world.store.authority_reseal(1, "sealed 1", "again").await), "stale authority");
    assert_eq!(world.store.authority_list().await.expect("a read")[0].sealed_key, "anew");
}

pub(super) async fn the_certificate_in_hand_counts(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let issued = |n: u128, executor: u128, authority: Option<Sha256>, minutes: u64| CertificateRecord {
        authority,
        not_before: at(minutes * 60),
        not_after: at(minutes * 60).plus(Duration::from_secs(86_400)),
        ..certificate(n, uid(executor))
    };
    let (older, newer) = (Some(digest(1)), Some(digest(2)));
    // What each is given at its enrolment names the fixture's own authority, and is over soon.
    for n in 1..=5 {
        world.enrol(n, &format!("web-{n}")).await;
    }
    let rows = [
        // Renewed, and seen with the newer.
        issued(11, 1, older, 60),
        issued(12, 1, newer, 120),
        // Renewed, and seen with the older only: the answer may be lost.
        issued(21, 2, older, 60),
        issued(22, 2, newer, 120),
        // Never seen: the newest.
        issued(31, 3, older, 60),
        issued(32, 3, newer, 120),
        // From before certificates named their authority.
        issued(41, 4, None, 60),
    ];
    for row in &rows {
        world.store.certificate_insert(row, &[]).await.expect("a renewal");
    }
    let seen = [11, 12, 21].map(digest);
    world.store.certificate_note_used(&seen, at(7000)).await.expect("noted");
    world.store.certificate_note_used(&[digest(11), digest(99)], at(8000)).await.expect("noted");
    let first = world.store.certificate_get(&digest(11)).await.expect("a read").expect("it is there");
    assert_eq!(first.use_time, Some(at(7000)), "the first time stays");

    let ended_after = at(2000);
    let mut uses = world.store.authority_uses(ended_after).await.expect("a walk");
    uses.sort_by_key(|used| used.authority);
    let used = |authority, executors| AuthorityUse { authority, executors };
    assert_eq!(uses, [used(None, 1), used(older, 1), used(newer, 2)], "the fifth's is over");
    let dependents = async |authority, limit| {
        let names = world.store.authority_dependents(authority, ended_after, limit).await.expect("a walk");
        names.iter().map(|name| name.executor.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(dependents(older, 10).await, ["web-2"]);
    assert_eq!(dependents(newer, 10).await, ["web-1", "web-3"]);
    assert_eq!(dependents(newer, 1).await, ["web-1"]);
    assert_eq!(dependents(None, 10).await, ["web-4"]);
}
