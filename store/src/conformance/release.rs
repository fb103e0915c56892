//! Promises of [`crate::ReleaseStore`].

use domain::audit::EventKind;
use domain::release::{Location, Status};
use domain::{Artifact, Channel, Kind, Release, Revision};

use super::Subject;
use super::fixture::{World, at, attempt, commit, digest, event, refusal, release_id, version};
use crate::ExecutorCommit;

fn draft(id: &str) -> Release {
    Release {
        id: release_id(id),
        revision: Revision::default(),
        channel: Channel::Stable,
        status: Status::Draft,
        notes: String::new(),
        floor: None,
        sequence: None,
        artifacts: Vec::new(),
        create_time: at(1),
        publish_time: None,
        yank_reason: None,
    }
}

fn artifact(location: Location) -> Artifact {
    Artifact::Agent {
        platform: "linux/amd64".parse().expect("a platform"),
        file: "novacula-agent".to_owned(),
        size: u64::MAX,
        sha256: digest(5),
        location,
        signatures: vec!["untrusted comment: x\nRUQ\n".to_owned(), String::new()],
    }
}

pub(super) async fn every_field_reads_back(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let written = draft("agent-1.1.0-rc.1");
    world.store.release_insert(&written, &[]).await.expect("a new release");
    let read = world.store.release_get(&written.id).await.expect("a read").expect("it exists");
    assert_eq!(read, Release { revision: Revision(1), ..written });
    let full = Release {
        channel: Channel::Beta,
        status: Status::Yanked,
        notes: "# better\n\u{1f680}".to_owned(),
        floor: Some(version("1.0.0")),
        sequence: Some(7),
        artifacts: vec![
            artifact(Location::Stored),
            artifact(Location::External("https://example.org/a?b=\"c\"".to_owned())),
            Artifact::Operator {
                image: "registry.example/novacula/operator".to_owned(),
                digest: digest(6),
                signatures: Vec::new(),
            },
        ],
        publish_time: Some(at(2)),
        yank_reason: Some("broken".to_owned()),
        ..read
    };
    world.store.release_commit(&full, &[]).await.expect("a commit");
    let read = world.store.release_get(&full.id).await.expect("a read");
    assert_eq!(read, Some(Release { revision: Revision(2), ..full }));
}

pub(super) async fn an_older_revision_is_stale(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let told = [event(EventKind::ReleaseCreated, "releases/agent-1.1.0")];
    let first = draft("agent-1.1.0");
    world.store.release_insert(&first, &told).await.expect("a new release");
    assert_eq!(refusal(world.store.release_insert(&first, &told).await), "exists release");
    assert_eq!(refusal(world.store.release_commit(&first, &told).await), "stale release");
    let unknown = draft("agent-9.0.0");
    assert_eq!(refusal(world.store.release_commit(&unknown, &told).await), "missing release");
    let read = Release { revision: Revision(1), notes: "a".to_owned(), ..first };
    let other = Release { notes: "b".to_owned(), ..read.clone() };
    let (a, b) = tokio::join!(world.store.release_commit(&read, &told), world.store.release_commit(&other, &told));
    assert_eq!(usize::from(a.is_ok()) + usize::from(b.is_ok()), 1, "{a:?} {b:?}");
    assert_eq!(world.events().await.len(), 2);
}

pub(super) async fn a_commit_that_stands_on_it_is_stale_once_it_is_yanked(subject: &dyn Subject) {
    let world = World::new(subject).await;
    let row = world.enrol(1, "web-1").await;
    let id = release_id("agent-1.1.0");
    let standing = |row: &domain::Executor| ExecutorCommit {
        attempts: vec![attempt(1, row)],
        events: vec![event(EventKind::ExecutorUpdated, "web-1")],
        while_published: Some(id.clone()),
        ..commit(row)
    };
    let refused = async || refusal(world.store.executor_commit(standing(&row)).await);
    assert_eq!(refused().await, "stale release", "there is none");
    let release = draft("agent-1.1.0");
    world.store.release_insert(&release, &[]).await.expect("a new release");
    assert_eq!(refused().await, "stale release", "a draft");
    let published = Release { revision: Revision(1), status: Status::Published, ..release };
    world.store.release_commit(&published, &[]).await.expect("a commit");
    let yanked = Release { revision: Revision(2), status: Status::Yanked, ..published };
    world.store.release_commit(&yanked, &[]).await.expect("a commit");
    assert_eq!(refused().await, "stale release", "yanked");
    let batch = world.store.executor_commit_batch(vec![standing(&row)]).await.expect("a batch");
    let batch: Vec<String> = batch.into_iter().map(refusal).collect();
    assert_eq!(batch, ["stale release"]);
    assert_eq!(world.executor(1).await, row, "nothing was written");
    assert!(world.events().await.is_empty());
    let back = Release { revision: Revision(3), status: Status::Published, ..yanked };
    world.store.release_commit(&back, &[]).await.expect("a commit");
    world.commit(standing(&row)).await;
    assert_eq!(world.attempt(1).await.executor, row.uid);
}

pub(super) async fn lists_are_by_kind(subject: &dyn Subject) {
    let world = World::new(subject).await;
    for id in ["agent-1.1.0", "operator-1.1.0", "agent-1.0.0"] {
        world.store.release_insert(&draft(id), &[]).await.expect("a new release");
    }
    let list = async |kind| {
        let rows = world.store.release_list(kind).await.expect("a list");
        let mut ids: Vec<String> = rows.into_iter().map(|row| row.id.to_string()).collect();
        ids.sort();
        ids
    };
    assert_eq!(list(Kind::Agent).await, ["agent-1.0.0", "agent-1.1.0"]);
    assert_eq!(list(Kind::Operator).await, ["operator-1.1.0"]);
    assert_eq!(world.store.release_get(&release_id("agent-2.0.0")).await.expect("a read"), None);
}
