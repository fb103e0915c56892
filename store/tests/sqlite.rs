//! What only the embedded store promises: one process, one private file, groups that commit together, damage that is named.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use domain::audit::EventKind;
use domain::{Actor, Event, OrganizationId, Role, Sha256, Timestamp, TokenId};
use novacula_store::sqlite::SqliteStore;
use novacula_store::{
    Error, EventQuery, EventStore, ManualClock, Organization, OrganizationStore, Page, TokenRecord, TokenStore,
};
use rusqlite::Connection;

fn open(path: &Path) -> Result<SqliteStore, Error> {
    SqliteStore::open(path, Arc::new(ManualClock::new(Timestamp::EPOCH)))
}

fn event(target: &str) -> Event {
    Event {
        kind: EventKind::ReleaseCreated,
        actor: Actor::Console,
        target: target.to_owned(),
        organization: None,
        time: Timestamp::EPOCH,
        details: Vec::new(),
    }
}

fn organization(id: &str) -> Organization {
    Organization {
        id: OrganizationId::new(id).expect("a label"),
        display_name: String::new(),
        create_time: Timestamp::EPOCH,
    }
}

fn all() -> EventQuery {
    EventQuery { limit: 100_000, ..EventQuery::default() }
}

/// The whole chain of an error, as a log prints it.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_second_server_is_told_who_holds_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("novacula.db");
    let first = open(&path).expect("opens");
    let error = open(&path).expect_err("it is held");
    assert!(error.retryable());
    let text = chain(&error);
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(text.contains(&path.display().to_string()), "{text}");
    let clone = first.clone();
    drop(first);
    assert!(open(&path).is_err(), "a clone still holds it");
    drop(clone);
    open(&path).expect("it was given up");
}

#[tokio::test]
async fn files_are_private() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("novacula.db");
    let store = open(&path).expect("opens");
    store.event_append(&[event("a")]).await.expect("a write");
    for file in ["novacula.db", "novacula.db-wal", "novacula.db-shm", "novacula.db.lock"] {
        assert_eq!(mode(&directory.path().join(file)), 0o600, "{file}");
    }
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("ours");
    drop(open(&path).expect("opens"));
    assert_eq!(mode(&path), 0o600, "what was opened to others is closed");
}

#[tokio::test]
async fn closing_folds_the_log_into_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("novacula.db");
    let store = open(&path).expect("opens");
    store.event_append(&[event("a")]).await.expect("a write");
    drop(store);
    assert!(!directory.path().join("novacula.db-wal").exists());
    let store = open(&path).expect("opens");
    assert_eq!(*store.event_head().borrow(), 1, "the head is where it was");
    assert_eq!(store.event_list(&all()).await.expect("a list").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_write_undoes_only_itself_in_its_group() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("novacula.db")).expect("opens");
    let mut writes = tokio::task::JoinSet::new();
    for n in 0..600 {
        let store = store.clone();
        // Every third is refused: its organization is taken.
        writes.spawn(async move {
            let id = if n % 3 == 0 { "taken".to_owned() } else { format!("o-{n}") };
            store.organization_insert(&organization(&id), &[event(&id)]).await.is_ok()
        });
    }
    let n_written = writes.join_all().await.into_iter().filter(|written| *written).count();
    assert_eq!(n_written, 401, "all but the repeated");
    let page = Page { after: None, limit: 1000 };
    assert_eq!(store.organization_list(page).await.expect("a page").len(), 401);
    let rows = store.event_list(&all()).await.expect("a list");
    assert_eq!(rows.len(), 401, "events only with their write");
    assert!(rows.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
}

#[tokio::test]
async fn a_write_whose_caller_left_stands() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("novacula.db")).expect("opens");
    let gone = organization("gone");
    {
        let write = store.organization_insert(&gone, &[]);
        let mut write = std::pin::pin!(write);
        // Polled once: queued, then dropped.
        let polled = std::future::poll_fn(|context| std::task::Poll::Ready(write.as_mut().poll(context))).await;
        drop(polled);
    }
    store.organization_insert(&organization("next"), &[]).await.expect("the thread goes on");
    assert!(store.organization_get(&gone.id).await.expect("a read").is_some());
}

#[tokio::test]
async fn damage_names_noun_and_key() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("novacula.db");
    let store = open(&path).expect("opens");
    let id = TokenId::new("t-1").expect("a label");
    let token = TokenRecord {
        id: id.clone(),
        secret_sha256: Sha256::new([0; 32]),
        role: Role::Publisher,
        display_name: String::new(),
        create_time: Timestamp::EPOCH,
        expire_time: Timestamp::EPOCH,
        revoke_time: None,
        signed_in_by: None,
    };
    store.token_insert(&token, &[]).await.expect("new");
    let stranger = Connection::open(&path).expect("a second door");
    for damage in [
        "UPDATE tokens SET role = 'emperor'",
        "UPDATE tokens SET role = 'owner'",
        "UPDATE tokens SET role = 'publisher', secret_sha256 = 'zz'",
        "UPDATE tokens SET secret_sha256 = CAST(x'ff00' AS TEXT)",
    ] {
        stranger.execute(damage, []).expect("damaged");
        let error = store.token_get(&id).await.expect_err("it cannot be read");
        assert!(matches!(&error, Error::Corrupt { noun: "token", key, .. } if key == "t-1"), "{error:?}");
        assert!(!error.retryable());
        assert!(chain(&error).contains("column"), "{}", chain(&error));
    }
    store
        .token_insert(&TokenRecord { id: TokenId::new("t-2").expect("a label"), ..token }, &[])
        .await
        .expect("others live on");
}

#[test]
fn what_is_no_database_of_ours_is_refused_and_kept() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = directory.path().join("text.db");
    fs::write(&text, "this is not a database, but somebody's diary ".repeat(100)).expect("written");
    let error = open(&text).expect_err("not a database");
    assert!(matches!(error, Error::Corrupt { noun: "database", .. }), "{error:?}");
    assert!(fs::read_to_string(&text).expect("kept").starts_with("this is not"));
    let foreign = directory.path().join("foreign.db");
    Connection::open(&foreign).and_then(|theirs| theirs.execute_batch("CREATE TABLE theirs (a)")).expect("theirs");
    let error = open(&foreign).expect_err("not ours");
    assert!(matches!(error, Error::Corrupt { noun: "database", .. }), "{error:?}");
    assert!(chain(&error).contains("not one of Novacula"), "{}", chain(&error));
    let nowhere = directory.path().join("no/such/directory.db");
    let error = open(&nowhere).expect_err("no directory");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(chain(&error).contains("no/such"), "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_one_moment_of_a_store_that_is_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = open(&directory.path().join("novacula.db")).expect("opens");
    let writer = store.clone();
    let (begun, begin) = tokio::sync::oneshot::channel();
    let writes = tokio::spawn(async move {
        let mut begun = Some(begun);
        for n in 0..300 {
            // An organization and its event: a backup has both or neither.
            let id = format!("o-{n}");
            writer.organization_insert(&organization(&id), &[event(&id)]).await.expect("a write");
            if n == 20 {
                begun.take().map(|begun| begun.send(()));
            }
        }
    });
    begin.await.expect("writing");
    let copy = directory.path().join("backup.db");
    store.backup(&copy).await.expect("a backup");
    writes.await.expect("written");
    assert_eq!(mode(&copy), 0o600);
    let again = store.backup(&copy).await.expect_err("it exists");
    assert!(chain(&again).contains("exists already"), "{}", chain(&again));
    let nowhere = store.backup(directory.path().join("no/such.db")).await.expect_err("no directory");
    assert!(matches!(nowhere, Error::Unavailable { operation: "store_backup", .. }));
    let restored = open(&copy).expect("a database");
    let n_events = restored.event_list(&all()).await.expect("a list").len();
    let page = Page { after: None, limit: 1000 };
    assert_eq!(restored.organization_list(page).await.expect("a page").len(), n_events);
    assert!(n_events > 20, "{n_events}");
    let left: Vec<_> = fs::read_dir(directory.path()).expect("a directory").collect();
    assert!(left.iter().flatten().all(|entry| !entry.file_name().to_string_lossy().contains("partial")));
}

#[tokio::test]
async fn the_observer_hears_of_every_operation() {
    let directory = tempfile::tempdir().expect("a directory");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let store = open(&directory.path().join("novacula.db")).expect("opens");
    let store = store.with_observer(Arc::new(move |operation, _| sink.lock().expect("whole").push(operation)));
    store.event_append(&[]).await.expect("a write");
    store.event_list(&all()).await.expect("a read");
    let taken = organization("a");
    store.organization_insert(&taken, &[]).await.expect("new");
    store.organization_insert(&taken, &[]).await.expect_err("taken");
    let heard = heard.lock().expect("whole").clone();
    assert_eq!(heard, ["event_append", "event_list", "organization_insert", "organization_insert"]);
}

#[test]
fn nothing_blocks_the_runtime() {
    // One thread, on which a ticker counts while a stranger holds the write lock.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("novacula.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let store = open(&path).expect("opens");
        let stranger = Connection::open(&path).expect("a second door");
        stranger.execute_batch("BEGIN IMMEDIATE").expect("locked");
        let ticks = AtomicUsize::new(0);
        let free = async {
            while ticks.load(Ordering::Relaxed) < 100 {
                tokio::task::yield_now().await;
                ticks.fetch_add(1, Ordering::Relaxed);
            }
            stranger.execute_batch("ROLLBACK").expect("freed");
        };
        let told = [event("a")];
        let (written, ()) = tokio::join!(store.event_append(&told), free);
        written.expect("it waited for the lock, and only it");
        assert!(ticks.load(Ordering::Relaxed) >= 100);
    });
}
