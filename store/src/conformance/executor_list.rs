//! Promises of the lists of [`crate::ExecutorStore`].

use std::collections::BTreeMap;

use domain::executor::State;
use domain::{Channel, Executor, ExecutorId, Hold, Kind};

use super::Subject;
use super::fixture::{World, at, attempt_id, commit, join_token, name_in, organization, uid, version};
use crate::{ExecutorCommit, ExecutorFate, ExecutorQuery, JoinTokenRecord, Page};

fn page(after: Option<&str>, limit: usize) -> Page<ExecutorId> {
    Page { after: after.map(|after| ExecutorId::new(after).expect("a label")), limit }
}

fn names(executors: &[Executor]) -> Vec<&str> {
    executors.iter().map(|executor| executor.name.executor.as_str()).collect()
}

fn deletion(executor: &Executor) -> ExecutorCommit {
    ExecutorCommit { fate: ExecutorFate::Delete, ..commit(executor) }
}

pub(super) async fn a_deleted_one_is_left_out_of_lists(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    world.enrol(2, "web-2").await;
    world.commit(deletion(&row)).await;
    let list = world.store.executor_list_by_uid(&[uid(1), uid(2), uid(3), uid(2)]).await;
    assert_eq!(names(&list.expect("a list")), ["web-2"]);
    assert_eq!(world.store.executor_list_by_uid(&[]).await.expect("a list"), []);
    let query = ExecutorQuery { organization: Some(organization("acme")), ..ExecutorQuery::default() };
    let list = world.store.executor_list(&query, page(None, 10)).await.expect("a page");
    assert_eq!(names(&list), ["web-2"]);
}

pub(super) async fn lists_are_paged_by_name(subject: &dyn Subject) {
    let world = World::new(subject).await;
    for (n, name) in ["web-2", "db-1", "web-10", "a"].into_iter().enumerate() {
        world.enrol(n as u128 + 1, name).await;
    }
    let query = ExecutorQuery { organization: Some(organization("acme")), ..ExecutorQuery::default() };
    let list = world.store.executor_list(&query, page(None, 3)).await.expect("a page");
    assert_eq!(names(&list), ["a", "db-1", "web-10"]);
    let list = world.store.executor_list(&query, page(Some("web-10"), 3)).await.expect("a page");
    assert_eq!(names(&list), ["web-2"]);
    let list = world.store.executor_list(&query, page(Some("zzz"), 3)).await.expect("a page");
    assert_eq!(names(&list), [""; 0]);
}

/// Three executors that differ in everything that a query may say.
async fn furnished(subject: &dyn Subject) -> World<'_> {
    let world = World::new(subject).await;
    let hold = Hold { version: version("1.2.0"), attempt: attempt_id(3), cause: "it hung".to_owned(), since: at(7) };
    for (n, name, running, labels) in [
        (1, "web-1", "1.0.0", [("zone", "a"), ("tier", "front")]),
        (2, "web-2", "1.1.0", [("zone", "b"), ("tier", "front")]),
        (3, "db-1", "1.1.0", [("zone", "a"), ("a.\"b'$[0]", "x%")]),
    ] {
        let mut row = world.enrol(n, name).await;
        row.version = Some(version(running));
        row.labels = BTreeMap::from(labels.map(|(key, value)| (key.to_owned(), value.to_owned())));
        row.kind = Some(if name == "db-1" { Kind::Operator } else { Kind::Agent });
        row.channel = if name == "web-1" { Channel::Beta } else { Channel::Stable };
        row.state = if name == "web-2" { State::Deactivated } else { State::Active };
        row.pinned = (name == "web-1").then(|| "by hand".to_owned());
        row.holds = if name == "db-1" { vec![hold.clone()] } else { Vec::new() };
        world.write(&row, Vec::new()).await;
    }
    world
}

fn acme() -> ExecutorQuery {
    ExecutorQuery { organization: Some(organization("acme")), ..ExecutorQuery::default() }
}

pub(super) async fn lists_filter(subject: &dyn Subject) {
    let world = furnished(subject).await;
    let by_version = ExecutorQuery { version: Some("1.1.0".to_owned()), ..acme() };
    let by_name = |part: &str| ExecutorQuery { name_contains: Some(part.to_owned()), ..acme() };
    let by_label = |labels: &[(&str, &str)]| ExecutorQuery {
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..acme()
    };
    let elsewhere = ExecutorQuery { organization: Some(organization("other")), ..acme() };
    for (query, expected) in [
        (by_version, "db-1 web-2"),
        (by_name("b-1"), "db-1 web-1"),
        (by_name("%"), ""),
        (by_label(&[("zone", "a")]), "db-1 web-1"),
        (by_label(&[("zone", "a"), ("tier", "front")]), "web-1"),
        (by_label(&[("zone", "a"), ("zone", "b")]), ""),
        (by_label(&[("a.\"b'$[0]", "x%")]), "db-1"),
        (by_label(&[("tier", "")]), ""),
        (ExecutorQuery { kind: Some(Kind::Agent), ..acme() }, "web-1 web-2"),
        (ExecutorQuery { channel: Some(Channel::Stable), ..acme() }, "db-1 web-2"),
        (ExecutorQuery { state: Some(State::Deactivated), ..acme() }, "web-2"),
        (ExecutorQuery { pinned: Some(true), ..acme() }, "web-1"),
        (ExecutorQuery { pinned: Some(false), ..acme() }, "db-1 web-2"),
        (ExecutorQuery { held: Some(true), ..acme() }, "db-1"),
        (ExecutorQuery { held: Some(false), kind: Some(Kind::Agent), pinned: Some(false), ..acme() }, "web-2"),
        (elsewhere, ""),
    ] {
        let found = world.store.executor_list(&query, page(None, 10)).await.expect("a page");
        assert_eq!(names(&found).join(" "), expected, "{query:?}");
    }
}

pub(super) async fn lists_without_an_organization_lose_nobody(subject: &dyn Subject) {
    let world = World::new(subject).await;
    world.organization("other").await;
    let token = JoinTokenRecord { organization: organization("other"), ..join_token("other", 9) };
    world.store.join_token_insert(&token, &[]).await.expect("a new join token");
    world.enrol(1, "web-1").await;
    world.enrol(2, "web-2").await;
    for (n, executor) in [(3, "web-1"), (4, "web-2"), (5, "web-3")] {
        let commit = super::fixture::enrolment(n, name_in("other", executor), "other");
        world.store.enrolment_commit(commit).await.expect("an enrolment");
    }
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = page(after.as_deref(), 1);
        let found = world.store.executor_list(&ExecutorQuery::default(), page).await.expect("a page");
        let Some(last) = found.last() else { break };
        after = Some(last.name.executor.as_str().to_owned());
        seen.extend(found.iter().map(|executor| executor.uid));
    }
    assert_eq!(seen, [uid(1), uid(3), uid(2), uid(4), uid(5)]);
}

pub(super) async fn many_are_found_by_name_at_once(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    world.enrol(2, "web-2").await;
    world.enrol(3, "web-3").await;
    let deletion = ExecutorCommit { fate: ExecutorFate::Delete, ..commit(&row) };
    world.commit(deletion).await;
    let wanted = ["web-3", "web-1", "web-9", "web-2", "web-3"].map(|name| ExecutorId::new(name).expect("a label"));
    let list = async |organization: &str, names: &[ExecutorId]| {
        let organization = super::fixture::organization(organization);
        let found = world.store.executor_list_by_name(&organization, names).await.expect("a list");
        let mut found: Vec<String> = names_of(&found);
        found.sort();
        found
    };
    assert_eq!(list("acme", &wanted).await, ["web-2", "web-3"]);
    assert_eq!(list("other", &wanted).await, [""; 0]);
    assert_eq!(list("acme", &[]).await, [""; 0]);
}

fn names_of(executors: &[Executor]) -> Vec<String> {
    names(executors).into_iter().map(str::to_owned).collect()
}

pub(super) async fn executors_are_counted_by_what_they_run(subject: &dyn Subject) {
    let world = furnished(subject).await;
    let row = world.enrol(4, "web-4").await;
    world.commit(deletion(&row)).await;
    world.enrol(5, "web-5").await;
    let counts = world.store.executor_count(&organization("acme")).await.expect("counts");
    let said = counts.iter().map(|count| {
        let version = count.version.as_ref().map_or_else(String::new, ToString::to_string);
        let kind = count.kind.map_or("", Kind::as_str);
        (format!("{kind} {version} {}", count.channel.as_str()), count.executors)
    });
    let mut said: Vec<_> = said.collect();
    said.sort();
    let expected = [("  stable", 1), ("agent 1.0.0 beta", 1), ("agent 1.1.0 stable", 1), ("operator 1.1.0 stable", 1)];
    assert_eq!(said, expected.map(|(what, n)| (what.to_owned(), n)));
    assert_eq!(world.store.executor_count(&organization("other")).await.expect("counts"), []);
}
