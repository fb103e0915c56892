//! Promises of [`crate::EventStore`].

use std::collections::BTreeMap;

use domain::audit::EventKind;
use domain::{Actor, Event};

use super::Subject;
use super::fixture::{World, at, commit, event, executor, name, organization, refusal};
use crate::{EventQuery, ExecutorCommit};

fn acme() -> EventQuery {
    EventQuery { organization: Some(organization("acme")), limit: 100, ..EventQuery::default() }
}

async fn targets(world: &World<'_>, query: EventQuery) -> String {
    let rows = world.store.event_list(&query).await.expect("a page");
    rows.into_iter().map(|row| row.target).collect::<Vec<_>>().join(" ")
}

async fn append(world: &World<'_>, kind: EventKind, target: &str) {
    world.store.event_append(&[event(kind, target)]).await.expect("appended");
}

pub(super) async fn pages_go_both_ways(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let full = Event {
        actor: Actor::System("expiry"),
        time: at(9),
        details: vec![("why", "\"no\"".to_owned()), ("what", String::new())],
        ..event(EventKind::AttemptEnded, "a")
    };
    world.store.event_append(&[full, event(EventKind::AttemptEnded, "b")]).await.expect("appended");
    append(&world, EventKind::AttemptEnded, "c").await;
    let rows = world.events().await;
    let numbers: Vec<u64> = rows.iter().map(|row| row.sequence).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!((rows[0].kind.as_str(), rows[0].actor.as_str()), ("attempt.ended", "system/expiry"));
    assert_eq!((&rows[0].organization, rows[0].time), (&Some(organization("acme")), at(9)));
    let details = BTreeMap::from([("what".to_owned(), String::new()), ("why".to_owned(), "\"no\"".to_owned())]);
    assert_eq!(rows[0].details, details);
    let from = |after| EventQuery { after: Some(after), ..acme() };
    assert_eq!(targets(&world, from(0)).await, "a b c");
    assert_eq!(targets(&world, from(numbers[0])).await, "b c");
    assert_eq!(targets(&world, from(u64::MAX)).await, "");
    let back = |query| EventQuery { newest_first: true, ..query };
    assert_eq!(targets(&world, back(acme())).await, "c b a");
    assert_eq!(targets(&world, back(from(numbers[2]))).await, "b a");
    assert_eq!(targets(&world, back(from(u64::MAX))).await, "c b a");
    assert_eq!(targets(&world, EventQuery { limit: 1, ..back(acme()) }).await, "c");
}

pub(super) async fn kinds_and_families_filter(subject: &dyn Subject) {
    let world = World::new(subject).await;
    append(&world, EventKind::ExecutorConnected, "a").await;
    append(&world, EventKind::AttemptEnded, "b").await;
    append(&world, EventKind::ExecutorDeleted, "c").await;
    append(&world, EventKind::ExecutorConnected, "d").await;
    let of = |kinds: &[&str]| EventQuery { kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(), ..acme() };
    assert_eq!(targets(&world, of(&["executor.connected"])).await, "a d");
    assert_eq!(targets(&world, of(&["executor.*"])).await, "a c d");
    assert_eq!(targets(&world, of(&["executor.deleted", "attempt.*"])).await, "b c");
    assert_eq!(targets(&world, of(&["exec.*"])).await, "", "a family is a whole word");
    assert_eq!(targets(&world, of(&["executor"])).await, "");
    assert_eq!(targets(&world, of(&["*"])).await, "", "nothing but a family is a pattern");
    assert_eq!(targets(&world, of(&["[ae]*.*"])).await, "");
    let of_target = EventQuery { target: Some("d".to_owned()), ..of(&["executor.*"]) };
    assert_eq!(targets(&world, of_target.clone()).await, "d");
    assert_eq!(targets(&world, EventQuery { newest_first: true, ..of_target }).await, "d");
    let last = EventQuery { newest_first: true, limit: 1, ..of(&["executor.*"]) };
    assert_eq!(targets(&world, last).await, "d");
}

pub(super) async fn numbers_that_are_left_out_are_never_given(subject: &dyn Subject) {
    let world = World::new(subject).await;
    // Also where nothing was written yet.
    world.store.event_skip(7).await.expect("left out");
    let newest = async || {
        world.store.event_append(&[event(EventKind::ExecutorUpdated, "a")]).await.expect("appended");
        let rows =
            world.store.event_list(&EventQuery { newest_first: true, limit: 1, ..acme() }).await.expect("a page");
        let sequence = rows[0].sequence;
        assert_eq!(*world.store.event_head().borrow(), sequence, "the head says so");
        sequence
    };
    let first = newest().await;
    assert!(first > 7, "{first}");
    for numbers in [1, 1_000, u32::MAX] {
        let before = newest().await;
        world.store.event_skip(numbers).await.expect("left out");
        let after = newest().await;
        assert!(after > before + u64::from(numbers), "{after} after {before}");
    }
}

pub(super) async fn feeds_are_kept_apart(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let of = |organization: Option<&str>, target: &str| Event {
        organization: organization.map(super::fixture::organization),
        ..event(EventKind::ReleasePublished, target)
    };
    let told = [of(Some("acme"), "a"), of(None, "b"), of(Some("other"), "a")];
    world.store.event_append(&told).await.expect("appended");
    assert_eq!(targets(&world, acme()).await, "a");
    assert_eq!(targets(&world, EventQuery { organization: None, ..acme() }).await, "b");
    let target = Some("a".to_owned());
    let query = EventQuery { target: target.clone(), organization: Some(organization("other")), ..acme() };
    assert_eq!(world.store.event_list(&query).await.expect("a page").len(), 1);
    assert_eq!(targets(&world, EventQuery { target, organization: None, ..acme() }).await, "");
}

pub(super) async fn a_target_that_feeds_share_is_listed_for_each(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let of = |organization: Option<&str>, seconds| Event {
        organization: organization.map(super::fixture::organization),
        time: at(seconds),
        ..event(EventKind::ArtifactRefused, "releases/agent-1.2.0")
    };
    let told = [of(Some("acme"), 1), of(Some("other"), 2), of(None, 3), of(Some("acme"), 4), of(Some("other"), 5)];
    world.store.event_append(&told).await.expect("appended");
    let about = EventQuery { target: Some("releases/agent-1.2.0".to_owned()), ..acme() };
    let times = async |query: EventQuery| {
        let rows = world.store.event_list(&query).await.expect("a page");
        rows.into_iter().map(|row| row.time).collect::<Vec<_>>()
    };
    let back = |query| EventQuery { newest_first: true, ..query };
    let other = EventQuery { organization: Some(organization("other")), ..about.clone() };
    assert_eq!(times(about.clone()).await, [at(1), at(4)]);
    assert_eq!(times(back(about.clone())).await, [at(4), at(1)]);
    assert_eq!(times(EventQuery { limit: 1, ..back(other) }).await, [at(5)]);
    assert_eq!(times(back(EventQuery { organization: None, ..about })).await, [at(3)]);
    let first = async |kind, asked: &[&str]| {
        let asked: Vec<String> = asked.iter().map(|target| (*target).to_owned()).collect();
        let rows = world.store.event_list_first(&organization("acme"), kind, &asked).await.expect("a list");
        rows.into_iter().map(|row| row.time).collect::<Vec<_>>()
    };
    let asked = ["releases/agent-1.2.0", "releases/agent-9.9.9"];
    assert_eq!(
        first(EventKind::ArtifactRefused, &asked).await,
        [at(1)],
        "the first of its feed, for each that has one"
    );
    assert_eq!(first(EventKind::ReleasePublished, &asked).await, []);
    assert_eq!(first(EventKind::ArtifactRefused, &[]).await, []);
}

pub(super) async fn the_head_follows_commits(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let mut head = world.store.event_head();
    head.mark_unchanged();
    append(&world, EventKind::AttemptEnded, "a").await;
    head.changed().await.expect("the store is open");
    let newest = world.events().await.last().expect("written").sequence;
    assert_eq!(*head.borrow_and_update(), newest);
    let row = world.enrol(1, "web-1").await;
    let told = vec![event(EventKind::ExecutorUpdated, "b"), event(EventKind::ExecutorUpdated, "c")];
    world.commit(ExecutorCommit { events: told, ..commit(&row) }).await;
    let newest = world.events().await.last().expect("written").sequence;
    head.wait_for(|head| *head == newest).await.expect("the store is open");
}

pub(super) async fn pruned_numbers_are_not_given_again(subject: &dyn Subject) {
    let world = World::new(subject).await;
    for seconds in [1, 2, 3] {
        let row = Event { time: at(seconds), ..event(EventKind::AttemptEnded, "a") };
        world.store.event_append(&[row]).await.expect("appended");
    }
    let newest = world.events().await.last().expect("written").sequence;
    assert_eq!(world.store.event_prune(at(3), 1).await.expect("pruned"), 1);
    assert_eq!(world.store.event_prune(at(3), 10).await.expect("pruned"), 1);
    assert_eq!(world.store.event_prune(at(99), 10).await.expect("pruned"), 1);
    assert_eq!(world.events().await, []);
    append(&world, EventKind::AttemptEnded, "b").await;
    assert!(world.events().await[0].sequence > newest);
}

pub(super) async fn refused_writes_tell_nothing(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let head = *world.store.event_head().borrow();
    let told = vec![event(EventKind::ExecutorUpdated, "a")];
    let unknown = ExecutorCommit { events: told, ..commit(&executor(9, name("web-9"))) };
    assert_eq!(refusal(world.store.executor_commit(unknown).await), "missing executor");
    assert_eq!(world.events().await, []);
    assert_eq!(*world.store.event_head().borrow(), head);
}
