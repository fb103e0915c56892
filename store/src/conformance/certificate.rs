//! Promises of [`crate::CertificateStore`], but for the enrolment itself.

use super::Subject;
use super::fixture::{World, at, certificate, digest, enrolment, join_token_id, name, refusal, uid};
use crate::{CertificateRecord, EnrolmentCommit, Restore};

pub(super) async fn the_same_key_finds_its_enrolment_again(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let commit = enrolment(1, name("web-1"), "many");
    world.store.enrolment_commit(commit.clone()).await.expect("an enrolment");
    let find = async |key| {
        let found = world.store.enrolment_find(&join_token_id("many"), &key).await;
        found.expect("a read")
    };
    let found = find(commit.certificate.public_key_sha256).await.expect("what was enrolled");
    assert_eq!(found.executor.uid, uid(1));
    assert_eq!(found.certificate, commit.certificate);
    assert_eq!(find(digest(42)).await, None);
    let other = world.store.enrolment_find(&join_token_id("x"), &digest(1_000_001)).await;
    assert_eq!(other.expect("a read"), None);
    let again = EnrolmentCommit { replaces: Some(uid(1)), ..enrolment(2, name("web-1"), "many") };
    world.store.enrolment_commit(again).await.expect("a replacement");
    let gone = find(commit.certificate.public_key_sha256).await;
    assert_eq!(gone, None, "the deleted is not given again");
}

pub(super) async fn certificates_are_renewed_and_looked_up(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    let renewed = certificate(2, uid(1));
    world.store.certificate_insert(&renewed, &[]).await.expect("a renewal");
    let again = world.store.certificate_insert(&renewed, &[]).await;
    assert_eq!(refusal(again), "exists certificate");
    let read = world.store.certificate_get(&renewed.fingerprint).await.expect("a read");
    assert_eq!(read, Some(renewed));
    let foreign = world.store.certificate_insert(&certificate(3, uid(3)), &[]).await;
    assert_eq!(refusal(foreign), "missing executor");
    assert_eq!(world.store.certificate_get(&digest(3)).await.expect("a read"), None);
}

pub(super) async fn ended_certificates_are_pruned(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    for n in 2..=5 {
        let not_after = at(u64::try_from(n).expect("small") * 100);
        let row = CertificateRecord { not_after, ..certificate(n, uid(1)) };
        world.store.certificate_insert(&row, &[]).await.expect("a renewal");
    }
    assert_eq!(world.store.certificate_prune(at(400), 1).await.expect("pruned"), 1);
    assert_eq!(world.store.certificate_prune(at(400), 10).await.expect("pruned"), 1);
    assert_eq!(world.store.certificate_prune(at(400), 10).await.expect("pruned"), 0);
    assert!(world.store.certificate_get(&digest(4)).await.expect("a read").is_some());
}

pub(super) async fn a_restore_says_what_the_backup_knew(subject: &dyn Subject) {
    let world = World::new(subject).await;
    assert_eq!(world.store.restore_list().await.expect("a read"), []);
    world.store.restore_note(at(5)).await.expect("a backup of nothing");
    world.enrol(1, "web-1").await;
    let newest = CertificateRecord { not_before: at(700), ..certificate(2, uid(1)) };
    world.store.certificate_insert(&newest, &[]).await.expect("a renewal");
    world.store.restore_note(at(900)).await.expect("noted");
    world.store.restore_note(at(900)).await.expect("the same again");
    let restore = |time, known_until| Restore { time: at(time), known_until: at(known_until) };
    assert_eq!(world.store.restore_list().await.expect("a read"), [restore(5, 5), restore(900, 700)]);
}
