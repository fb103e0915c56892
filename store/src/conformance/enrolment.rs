//! Promises of [`crate::CertificateStore`].

use domain::attempt::{Ending, Outcome, OutcomeSource};
use domain::{ExecutorId, Revision, Timestamp};

use super::Subject;
use super::fixture::{World, at, attempt, digest, enrolment, instance, join_token, join_token_id, name, refusal, uid};
use crate::{AttemptWrite, EnrolmentCommit, JoinTokenRecord, Page};

async fn uses(world: &World<'_>, token: &str) -> u32 {
    let token = world.store.join_token_get(&join_token_id(token)).await.expect("a read");
    token.expect("it exists").uses
}

async fn revoked(world: &World<'_>, n: u128) -> Option<Timestamp> {
    let row = world.store.certificate_get(&digest(n)).await.expect("a read");
    row.expect("a certificate that exists").revoke_time
}

pub(super) async fn an_enrolment_writes_everything(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let commit = enrolment(1, name("web-1"), "many");
    world.store.enrolment_commit(commit.clone()).await.expect("an enrolment");
    let row = world.store.executor_get(&name("web-1")).await.expect("a read").expect("enrolled");
    assert_eq!(row.revision, Revision(1));
    assert_eq!(row, domain::Executor { revision: Revision(1), ..commit.executor });
    let read = world.store.certificate_get(&commit.certificate.fingerprint).await;
    assert_eq!(read.expect("a read"), Some(commit.certificate));
    assert_eq!(uses(&world, "many").await, 1);
    assert_eq!(world.events().await.len(), 1);
}

pub(super) async fn a_token_is_used_up(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.store.join_token_insert(&join_token("two", 2), &[]).await.expect("a new join token");
    for n in 1..=2 {
        let commit = enrolment(n, name(&format!("web-{n}")), "two");
        world.store.enrolment_commit(commit).await.expect("a use that is left");
    }
    let third = world.store.enrolment_commit(enrolment(3, name("web-3"), "two")).await;
    assert_eq!(refusal(third), "stale join token");
    assert_eq!(uses(&world, "two").await, 2);
    assert_eq!(world.store.executor_get(&name("web-3")).await.expect("a read"), None);
    assert_eq!(world.events().await.len(), 2);
}

pub(super) async fn an_enrolment_may_bring_its_join_token(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let brings = |n, executor: &str, token: &str| {
        let vouched = Some(join_token(token, 1));
        EnrolmentCommit { vouched, ..enrolment(n, name(executor), token) }
    };
    world.store.enrolment_commit(brings(1, "web-1", "k8s-1")).await.expect("an enrolment");
    assert_eq!(uses(&world, "k8s-1").await, 1);
    let again = world.store.enrolment_commit(brings(2, "web-2", "k8s-1")).await;
    assert_eq!(refusal(again), "exists join token");
    // Nothing of an enrolment that is refused stays.
    let taken = world.store.enrolment_commit(brings(3, "web-1", "k8s-3")).await;
    assert_eq!(refusal(taken), "exists executor");
    assert_eq!(world.store.join_token_get(&join_token_id("k8s-3")).await.expect("a read"), None);
    assert_eq!(uses(&world, "k8s-1").await, 1);
}

pub(super) async fn an_expired_or_revoked_token_enrols_nobody(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let late = EnrolmentCommit { time: at(3600), ..enrolment(1, name("web-1"), "many") };
    assert_eq!(refusal(world.store.enrolment_commit(late).await), "stale join token");
    let revoke = world.store.join_token_revoke(&join_token_id("many"), at(5), &[]).await;
    revoke.expect("a revocation");
    let revoked = world.store.enrolment_commit(enrolment(1, name("web-1"), "many")).await;
    assert_eq!(refusal(revoked), "stale join token");
    let unknown = world.store.enrolment_commit(enrolment(1, name("web-1"), "unknown")).await;
    assert_eq!(refusal(unknown), "stale join token");
    assert_eq!(uses(&world, "many").await, 0);
}

pub(super) async fn a_token_for_one_name_enrols_no_other(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.organization("other").await;
    let token =
        JoinTokenRecord { executor: Some(ExecutorId::new("web-1").expect("a label")), ..join_token("named", 5) };
    world.store.join_token_insert(&token, &[]).await.expect("a new join token");
    let other = world.store.enrolment_commit(enrolment(2, name("web-2"), "named")).await;
    assert_eq!(refusal(other), "stale join token");
    let elsewhere = super::fixture::name_in("other", "web-1");
    let elsewhere = world.store.enrolment_commit(enrolment(3, elsewhere, "named")).await;
    assert_eq!(refusal(elsewhere), "stale join token");
    world.store.enrolment_commit(enrolment(1, name("web-1"), "named")).await.expect("its name");
}

pub(super) async fn two_enrolments_race_for_one_use(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.store.join_token_insert(&join_token("one", 1), &[]).await.expect("a new join token");
    let (left, right) = tokio::join!(
        world.store.enrolment_commit(enrolment(1, name("web-1"), "one")),
        world.store.enrolment_commit(enrolment(2, name("web-2"), "one")),
    );
    assert_eq!(usize::from(left.is_ok()) + usize::from(right.is_ok()), 1, "{left:?} {right:?}");
    assert_eq!(uses(&world, "one").await, 1);
    assert_eq!(world.events().await.len(), 1);
}

pub(super) async fn a_taken_name_exists_and_uses_nothing(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    let newcomer = world.store.enrolment_commit(enrolment(2, name("web-1"), "many")).await;
    assert_eq!(refusal(newcomer), "exists executor");
    let wrong = EnrolmentCommit { replaces: Some(uid(9)), ..enrolment(2, name("web-1"), "many") };
    assert_eq!(refusal(world.store.enrolment_commit(wrong).await), "exists executor");
    assert_eq!(uses(&world, "many").await, 1, "the refused did not count");
    assert_eq!(world.store.certificate_get(&digest(2)).await.expect("a read"), None);
    assert_eq!(world.events().await, []);
}

pub(super) async fn a_replacement_ends_what_it_replaces(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.enrol(1, "web-1").await;
    let sessions = [(uid(1), instance(1))];
    world.store.session_open_batch(world.replica, &sessions).await.expect("a session");
    let mut changes = world.store.change_subscribe();
    let commit = EnrolmentCommit { replaces: Some(uid(1)), ..enrolment(2, name("web-1"), "many") };
    world.store.enrolment_commit(commit).await.expect("a replacement");
    let holder = world.store.executor_get(&name("web-1")).await.expect("a read");
    assert_eq!(holder.expect("the newcomer").uid, uid(2));
    assert_eq!(world.store.executor_list_by_uid(&[uid(1)]).await.expect("a list"), []);
    assert_eq!(revoked(&world, 1).await, Some(at(10)));
    assert_eq!(revoked(&world, 2).await, None);
    let presence = world.store.presence_list(&[uid(1)]).await.expect("a list");
    assert!(presence.iter().all(|presence| !presence.connected), "{presence:?}");
    let woken = [changes.recv().await, changes.recv().await];
    let woken = woken.map(|change| change.expect("a change").executor);
    assert!(woken.contains(&uid(1)) && woken.contains(&uid(2)), "{woken:?}");
}

pub(super) async fn a_replacement_ends_open_attempts(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let old = world.enrol(1, "web-1").await;
    world.write(&old, vec![attempt(1, &old)]).await;
    let commit = EnrolmentCommit { replaces: Some(uid(1)), ..enrolment(2, name("web-1"), "many") };
    let forgotten = world.store.enrolment_commit(commit.clone()).await;
    assert_eq!(refusal(forgotten), "stale attempt");
    let mut open = world.attempt(1).await;
    open.ending = Some(Ending {
        outcome: Outcome::Cancelled,
        source: OutcomeSource::Inferred,
        reason: None,
        stage: None,
        error_code: None,
        message: "replaced".to_owned(),
        rolled_back_to: None,
        log_tail: Vec::new(),
        time: at(10),
    });
    open.end_time = Some(at(10));
    let ended = AttemptWrite { attempt: open, deadline: None };
    let commit = EnrolmentCommit { replaced_attempts: vec![ended], ..commit };
    world.store.enrolment_commit(commit).await.expect("a replacement");
    assert!(world.attempt(1).await.is_ended());
    let page = Page { after: None, limit: 10 };
    let kept = world.store.attempt_list(uid(1), page).await.expect("a page");
    assert_eq!(kept.len(), 1, "the attempts of the replaced stay");
}

pub(super) async fn a_replacement_of_the_gone_is_stale(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let commit = EnrolmentCommit { replaces: Some(uid(1)), ..enrolment(2, name("web-1"), "many") };
    assert_eq!(refusal(world.store.enrolment_commit(commit).await), "stale executor");
    assert_eq!(world.store.executor_get(&name("web-1")).await.expect("a read"), None);
}
