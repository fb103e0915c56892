//! A store whose process dies, or whose disk is full: what was answered is there, what was not is whole or absent.
//!
//! The dying process is this program again (`harness = false`), told by an environment variable what to do. The full disk
//! is a small tmpfs in a mount namespace of the child's own, which vanishes with it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use domain::audit::EventKind;
use domain::{Actor, Event, OrganizationId, Timestamp};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use novacula_store::sqlite::SqliteStore;
use novacula_store::{Error, EventQuery, EventStore, Organization, OrganizationStore, Page, SystemClock};

/// What the child is to do, and in which directory.
const ROLE: &str = "NOVACULA_STORE_CRASH_ROLE";
const DIRECTORY: &str = "NOVACULA_STORE_CRASH_DIRECTORY";

/// Deaths per run, each after another number of answers.
const DEATHS: usize = 12;
/// Callers that write at once, so that a death falls into a group.
const WRITERS: usize = 8;

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory.join("novacula.db"), Arc::new(SystemClock)).expect("opens")
}

fn event(target: String) -> Event {
    Event {
        kind: EventKind::OrganizationCreated,
        actor: Actor::System("crash"),
        target,
        organization: None,
        time: Timestamp::EPOCH,
        details: vec![("ballast", "x".repeat(200))],
    }
}

fn organization(id: &str) -> Organization {
    Organization {
        id: OrganizationId::new(id).expect("a label"),
        display_name: String::new(),
        create_time: Timestamp::EPOCH,
    }
}

async fn targets(store: &SqliteStore) -> BTreeSet<String> {
    let query = EventQuery { limit: usize::MAX, ..EventQuery::default() };
    let rows = store.event_list(&query).await.expect("a list");
    rows.into_iter().map(|row| row.target).collect()
}

async fn organizations(store: &SqliteStore) -> BTreeSet<String> {
    let page = Page { after: None, limit: usize::MAX };
    let rows = store.organization_list(page).await.expect("a page");
    rows.into_iter().map(|row| row.id.as_str().to_owned()).collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn child(role: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.env(ROLE, role).env(DIRECTORY, directory);
    command
}

// === the children ===

/// Writes for ever, a line for each answer.
fn write_until_killed(directory: &Path) -> ExitCode {
    runtime().block_on(async {
        let store = open(directory);
        let run = targets(&store).await.len();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            writers.spawn(async move {
                for n in 0.. {
                    let id = format!("r{run}-w{writer}-{n}");
                    store.organization_insert(&organization(&id), &[event(id.clone())]).await.expect("a write");
                    // One write call per line: a line is whole or absent.
                    let line = format!("{id}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent reads");
                }
            });
        }
        writers.join_all().await;
    });
    ExitCode::SUCCESS
}

/// Fills the disk, is told so, makes room, and goes on.
fn write_until_full(directory: &Path) -> ExitCode {
    let ballast = directory.join("ballast");
    std::fs::write(&ballast, vec![1u8; 512 << 10]).expect("room for the ballast");
    let answered = runtime().block_on(async {
        let store = open(directory);
        let mut answered = BTreeSet::new();
        let error = loop {
            let id = format!("full-{}", answered.len());
            match store.organization_insert(&organization(&id), &[event(id.clone())]).await {
                Ok(()) => answered.insert(id),
                Err(error) => break error,
            };
            assert!(answered.len() < 100_000, "the disk never was full");
        };
        assert!(matches!(error, Error::Unavailable { operation: "organization_insert", .. }), "{error:?}");
        assert_eq!(organizations(&store).await, answered, "what was answered, and nothing else");
        assert_eq!(targets(&store).await, answered);
        let head = *store.event_head().borrow();
        assert_eq!(head, answered.len() as u64, "nobody heard of what was not written");
        std::fs::remove_file(&ballast).expect("the ballast");
        let id = "after".to_owned();
        store.organization_insert(&organization(&id), &[event(id.clone())]).await.expect("there is room again");
        answered.insert(id);
        answered
    });
    let store = open(directory);
    assert_eq!(runtime().block_on(targets(&store)), answered, "and all of it is there later");
    ExitCode::SUCCESS
}

// === the parents ===

fn acknowledged_writes_survive_sigkill() -> Result<Completion, Failed> {
    let directory = tempfile::tempdir()?;
    let mut answered = BTreeSet::new();
    for death in 0..DEATHS {
        let mut child = child("killed", directory.path()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        // Another moment each time: among the first writes, in the middle of a group, around a checkpoint.
        let n_answers = 1 + death * death * 37 % 2_000;
        answered.extend(lines.by_ref().take(n_answers).collect::<Result<Vec<_>, _>>()?);
        child.kill()?;
        // What was answered and not yet read counts too.
        answered.extend(lines.collect::<Result<Vec<_>, _>>()?);
        child.wait()?;
        let store = open(directory.path());
        let (events, rows) = runtime().block_on(async { (targets(&store).await, organizations(&store).await) });
        let lost: Vec<_> = answered.difference(&events).collect();
        assert!(lost.is_empty(), "death {death}: answered and lost: {lost:?}");
        assert_eq!(events, rows, "death {death}: a row without its event, or an event without its row");
        drop(store);
        let file = rusqlite::Connection::open(directory.path().join("novacula.db"))?;
        let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        assert_eq!(sound, "ok", "death {death}");
    }
    Ok(Completion::Completed)
}

fn a_full_disk_loses_nothing_and_recovers() -> Result<Completion, Failed> {
    let directory = tempfile::tempdir()?;
    // A namespace of its own: root makes one, others a user namespace where the host allows it.
    let namespace = ["--mount", "--propagation", "private", "--map-root-user"];
    let mount = r#"mount -t tmpfs -o size=2m,mode=0700 none "$NOVACULA_STORE_CRASH_DIRECTORY""#;
    let unshare = |script: String| {
        let mut command = Command::new("unshare");
        command.args(namespace).args(["sh", "-c", &script]).env(DIRECTORY, directory.path());
        command
    };
    let probe = unshare(mount.to_owned()).output();
    if !probe.as_ref().is_ok_and(|probe| probe.status.success()) {
        let reason =
            "needs a mount namespace: run as root, or allow unprivileged user namespaces (util-linux `unshare`)";
        return match std::env::var("NOVACULA_REQUIRE").is_ok_and(|required| required == "all") {
            true => Err(format!("{reason}: {probe:?}").into()),
            false => Ok(Completion::ignored_with(reason)),
        };
    }
    let program: PathBuf = std::env::current_exe()?;
    let output = unshare(format!("{mount} && exec \"$0\"",)).arg(program).env(ROLE, "full").output()?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(Completion::Completed) } else { Err(text.into_owned().into()) }
}

fn main() -> ExitCode {
    let directory = std::env::var_os(DIRECTORY).map(PathBuf::from);
    match (std::env::var(ROLE).ok().as_deref(), directory) {
        (Some("killed"), Some(directory)) => write_until_killed(&directory),
        (Some("full"), Some(directory)) => write_until_full(&directory),
        _ => {
            let trials = vec![
                Trial::ignorable_test("acknowledged_writes_survive_sigkill", acknowledged_writes_survive_sigkill),
                Trial::ignorable_test("a_full_disk_loses_nothing_and_recovers", a_full_disk_loses_nothing_and_recovers),
            ];
            libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
        }
    }
}
