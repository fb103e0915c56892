//! Embedded stores to import: a file, and what fills it through the traits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::{InstanceId, RequestId, Timestamp};
use novacula_store::conformance::Subject;
use novacula_store::sqlite::SqliteStore;
use novacula_store::{ExecutorCommit, ExecutorFate, ManualClock, Organization, ReplicaId, Store};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::world::{attempt, attempt_id, commit, enrolment, event, join_token, name, organization, uid};

/// Longer than a fork takes to become another program.
const MOMENT: Duration = Duration::from_secs(3);

/// A database file and the clock of its store.
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) clock: Arc<ManualClock>,
    _folder: TempDir,
}

/// A case's subject over a file that outlives it.
pub(crate) struct OverFile {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Arc<ManualClock>,
}

#[async_trait]
impl Subject for OverFile {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

impl File {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
        Self { path: folder.path().join("novacula.db"), clock, _folder: folder }
    }

    pub(crate) async fn open(&self) -> SqliteStore {
        once_free(async || SqliteStore::open(&self.path, Arc::clone(&self.clock) as _)).await.expect("a database")
    }

    /// With a bit of what an installation has, as a server that was killed leaves it.
    pub(crate) async fn filled() -> Self {
        let file = Self::new();
        fill(&file.open().await).await;
        file
    }

    pub(crate) fn sql(&self, sql: &str) {
        Connection::open(&self.path).and_then(|file| file.execute_batch(sql)).expect("a change");
    }
}

/// Three executors, one deleted, one replaced by nobody; an open attempt with two request ids; an open and an ended session.
pub(crate) async fn fill(store: &dyn Store) {
    let acme = Organization { id: organization(), display_name: "Acme".to_owned(), create_time: Timestamp::EPOCH };
    store.organization_insert(&acme, &[event("acme")]).await.expect("an organization");
    for (id, max_uses) in [("many", 100), ("once", 1), ("unused", 1)] {
        store.join_token_insert(&join_token(id, max_uses), &[]).await.expect("a join token");
    }
    for (n, token) in [(1, "many"), (2, "once"), (3, "many")] {
        store.enrolment_commit(enrolment(n, name(n), token)).await.expect("a new executor");
    }
    let row = async |n: u32| store.executor_get(&name(n)).await.expect("a read").expect("it is there");
    let replica = ReplicaId(Uuid::from_u128(9));
    store.replica_renew(replica, Duration::from_secs(1_000_000_000)).await.expect("a lease");
    let instance = InstanceId::new(Uuid::from_u128(5));
    let sessions = [(uid(1), instance), (uid(2), instance), (uid(1), instance)];
    let opened = store.session_open_batch(replica, &sessions).await.expect("sessions");
    store.session_close(uid(2), opened[1].epoch, &[]).await.expect("an end");
    let mut one = row(1).await;
    one.generation = domain::Generation(41);
    one.pending = Some(attempt_id(1));
    one.open_attempt = Some(attempt_id(1));
    one.labels.extend([("b".to_owned(), "\u{1f680}".to_owned()), ("a".to_owned(), "\"".to_owned())]);
    let write = attempt(1, &one, Some("made-it"));
    store.executor_commit(ExecutorCommit { attempts: vec![write], ..commit(&one) }).await.expect("a commit");
    let also = [(attempt_id(1), RequestId::new("also").expect("an id"))];
    let noted = store.attempt_note_requests(&organization(), &also).await.expect("aliases");
    assert!(noted[0].is_ok(), "{noted:?}");
    let gone = commit(&row(3).await);
    store.executor_commit(ExecutorCommit { fate: ExecutorFate::Delete, ..gone }).await.expect("a tombstone");
}

/// Tries again for a moment while the file is held: what another trial has forked holds it, too, until it runs its program.
pub(crate) async fn once_free<T, E: std::error::Error>(work: impl AsyncFn() -> Result<T, E>) -> Result<T, E> {
    let begin = Instant::now();
    loop {
        match work().await {
            Err(error) if chain(&error).contains("in use by process") && begin.elapsed() < MOMENT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            result => return result,
        }
    }
}

/// The whole chain of an error, as a command prints it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
