//! A backend against a plain in-memory model: the same random calls, the same answers, the same state after each.
//!
//! The model is what the traits' words say, written down as simply as possible. SQLite and PostgreSQL run the same sequences.

#[path = "../support/postgres.rs"]
mod postgres;

#[path = "../support/schema.rs"]
mod schema;

mod call;

mod row;

mod snapshot;

mod state;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::{Arguments, Failed, Trial};
use novacula_store::conformance::Subject;
use novacula_store::postgres::PostgresStore;
use novacula_store::sqlite::SqliteStore;
use novacula_store::{ManualClock, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};

use crate::call::Call;
use crate::snapshot::Snapshot;
use crate::state::Model;

/// Short enough for every run; a longer one by `PROPTEST_CASES`.
const CASES: u32 = 20;
const CALLS: usize = 60;

struct Sqlite(SqliteStore, Arc<ManualClock>);

struct Postgres(PostgresStore, schema::Schema);

#[async_trait]
impl Subject for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn advance(&self, by: Duration) {
        self.1.advance(by);
    }
}

#[async_trait]
impl Subject for Postgres {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    async fn advance(&self, by: Duration) {
        self.1.advance(by).await;
    }
}

async fn compare(subject: &dyn Subject, calls: &[Call]) -> Result<(), TestCaseError> {
    let store = subject.store();
    let mut model = Model::new();
    row::prepare(&*store).await;
    // Somebody is there from the first.
    let enrol = |n| Call::Enrol { executor: n, name: n, token: 1, replaces: None };
    let calls = (0..row::NAMES).map(enrol).chain(calls.iter().cloned());
    for (at, call) in calls.enumerate() {
        let call = &model.resolve(&call);
        let expected = model.call(call);
        let answered = call.run(&*store, subject).await;
        prop_assert_eq!(&answered, &expected, "the answer of call {}: {:?}", at, call);
        let stored = Snapshot::of_store(&*store).await;
        prop_assert_eq!(stored, model.snapshot(), "the state after call {}: {:?}", at, call);
    }
    Ok(())
}

fn config() -> Config {
    let config = Config { failure_persistence: None, ..Config::default() };
    match std::env::var_os("PROPTEST_CASES") {
        Some(_) => config,
        None => Config { cases: CASES, ..config },
    }
}

fn random(open: impl AsyncFn() -> Box<dyn Subject>) -> Result<(), Failed> {
    let calls = prop::collection::vec(call::any_call(), 1..CALLS);
    let ran = TestRunner::new(config()).run(&calls, |calls| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let subject = open().await;
            compare(&*subject, &calls).await
        })
    });
    ran.map_err(|error| error.to_string().into())
}

fn main() {
    let arguments = Arguments::from_args();
    let sqlite = Trial::test("sqlite_answers_like_the_model", || {
        let directory = tempfile::tempdir()?;
        let n_opened = std::sync::atomic::AtomicUsize::new(0);
        random(async || {
            let n = n_opened.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let clock = Arc::new(ManualClock::new(row::at(0)));
            let store = SqliteStore::open(directory.path().join(format!("{n}.db")), Arc::clone(&clock) as _);
            Box::new(Sqlite(store.expect("opens"), clock)) as _
        })
    });
    let postgres = postgres::trial("postgres_answers_like_the_model".to_owned(), |cluster| {
        random(async || {
            let (store, schema) = schema::open(&cluster).await;
            Box::new(Postgres(store, schema)) as _
        })
    });
    let conclusion = libtest_mimic::run(&arguments, vec![sqlite, postgres]);
    postgres::stop();
    conclusion.exit();
}
