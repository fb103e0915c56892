//! What every statement of the backend has to be: planned by an index, and in step with the schema. The conformance suite
//! is run with every statement and every column that it touches written down; then they are judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use rusqlite::Connection;

use super::{SqliteStore, connection, migrate};
use crate::conformance::{CASES, Subject};
use crate::{ManualClock, Store};

static RAN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static READ: Mutex<BTreeMap<&'static str, BTreeSet<&'static str>>> = Mutex::new(BTreeMap::new());

/// Tables that stay small: a row per server process, per counter, per schema step.
const SMALL: &[&str] =
    &["replicas", "authorities", "restores", "counters", "migrations", "sqlite_master", "sqlite_sequence"];

/// Which noun's mapping reads which table, and the columns that are the store's own and never leave it.
const MAPPINGS: &[(&str, &str, &[&str])] = &[
    ("organizations", "organization", &[]),
    ("tokens", "token", &[]),
    ("join_tokens", "join token", &[]),
    // The tombstone's mark; nothing reads a tombstone.
    ("executors", "executor", &["delete_time"]),
    ("attempts", "attempt", &["deadline"]),
    ("authorities", "authority", &[]),
    ("restores", "restore", &[]),
    ("certificates", "certificate", &[]),
    ("sessions", "session", &["superseded"]),
    // Also in the id.
    ("releases", "release", &["kind"]),
    // The caller names it.
    ("nodes", "node", &["executor"]),
    ("events", "event", &[]),
    // The caller names it.
    ("request_aliases", "request", &["organization", "request_id"]),
];

/// Writes down a statement that was prepared.
pub(super) fn ran(sql: &str) {
    RAN.lock().unwrap_or_else(PoisonError::into_inner).insert(sql.to_owned());
}

/// Writes down a column that a mapping read.
pub(super) fn read(noun: &'static str, column: &'static str) {
    READ.lock().unwrap_or_else(PoisonError::into_inner).entry(noun).or_default().insert(column);
}

struct Sqlite(SqliteStore, Arc<ManualClock>);

#[async_trait]
impl Subject for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn advance(&self, by: Duration) {
        self.1.advance(by);
    }
}

/// Runs the whole suite once.
static SUITE: LazyLock<()> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    for case in CASES {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
        let store = SqliteStore::open(directory.path().join("novacula.db"), Arc::clone(&clock) as _);
        let subject = Sqlite(store.expect("a new database"), clock);
        runtime.block_on((case.run)(&subject));
    }
});

fn all_that_ran() -> BTreeSet<String> {
    LazyLock::force(&SUITE);
    RAN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// An empty database of this build's schema.
fn schema() -> (Connection, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("novacula.db");
    connection::create_private(&path).expect("a file");
    let mut connection = connection::open_writer(&path).expect("a connection");
    migrate::migrate(&mut connection, migrate::MIGRATIONS, Timestamp::EPOCH).expect("a schema");
    (connection, directory)
}

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("it was run before");
    // Unbound parameters are null: the plan is made before they are known, as for the cached statements.
    let mut rows = statement.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().expect("a plan") {
        steps.push(row.get(3).expect("a step"));
    }
    steps
}

fn columns(connection: &Connection, table: &str) -> BTreeSet<String> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?)").expect("a statement");
    let rows = statement.query_map([table], |row| row.get(0)).expect("columns");
    rows.collect::<Result<_, _>>().expect("columns")
}

#[test]
fn no_statement_scans_or_sorts_a_table_that_grows() {
    let (connection, _directory) = schema();
    let mut judged = 0;
    let mut broken = Vec::new();
    for sql in all_that_ran() {
        let transaction = ["BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"];
        if transaction.iter().any(|word| sql.starts_with(word)) {
            continue;
        }
        // Asked by a person who rotates an authority, or has restored a backup, and it says so.
        let rotates = sql.contains("authority") && sql.contains("ORDER BY use_time IS NULL");
        if rotates || sql.contains("INSERT INTO restores") {
            continue;
        }
        judged += 1;
        for step in plan(&connection, &sql) {
            let words: Vec<&str> = step.split(' ').collect();
            let scans = words[0] == "SCAN" && !step.contains("VIRTUAL TABLE") && words[1] != "CONSTANT";
            let scans = scans && !SMALL.contains(&words[1]);
            // What one enrolment and one key made: a row or two.
            let sorts = step.contains("TEMP B-TREE") && !sql.contains("certificates.public_key_sha256 = ");
            if scans || sorts {
                broken.push(format!("{step}:{sql}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    assert!(judged > 60, "the suite runs every statement; only {judged} were seen");
}

#[test]
fn a_target_is_walked_within_one_feed() {
    let (connection, _directory) = schema();
    let ran = all_that_ran();
    let walks: Vec<_> = ran.iter().filter(|sql| sql.contains("INDEXED BY events_by_target")).collect();
    assert_eq!(walks.len(), 2, "both ways");
    for sql in walks {
        let steps = plan(&connection, sql).join("; ");
        assert!(steps.contains("target=? AND organization=? AND sequence"), "{steps}:{sql}");
    }
}

#[test]
fn columns_change_only_with_their_mapping() {
    let (connection, _directory) = schema();
    let ran = all_that_ran();
    let read = READ.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (table, noun, own) in MAPPINGS {
        let columns = columns(&connection, table);
        let insert = ran.iter().find(|sql| sql.contains(&format!("INSERT INTO {table} (")));
        let insert = insert.expect("every table is written by the suite");
        let list = insert.split(['(', ')']).nth(1).expect("a list of columns");
        let written: BTreeSet<String> = list.split(',').map(|column| column.trim().to_owned()).collect();
        // The engine numbers events.
        let numbered = BTreeSet::from(["sequence".to_owned()]);
        let expected: BTreeSet<String> = if *table == "events" { &columns - &numbered } else { columns.clone() };
        assert_eq!(written, expected, "{table}: what INSERT lists is not what the schema has");
        // A join's columns (a session's lease) are another table's.
        let read: BTreeSet<String> = read[noun].iter().map(|column| (*column).to_owned()).collect();
        let mapped: BTreeSet<String> = read.intersection(&columns).cloned().collect();
        let own: BTreeSet<String> = own.iter().map(|column| (*column).to_owned()).collect();
        assert_eq!(mapped, &columns - &own, "{table}: what the mapping reads is not what the schema has");
    }
    let mut statement = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        .expect("a statement");
    let tables = statement.query_map([], |row| row.get::<_, String>(0)).expect("tables");
    for table in tables.map(|table| table.expect("a name")) {
        let known = MAPPINGS.iter().any(|(mapped, ..)| *mapped == table) || SMALL.contains(&table.as_str());
        assert!(known, "{table} has no mapping in this test");
    }
}
