//! Runs the conformance suite against every backend, and against the fault wrapper without faults. `harness = false`, so that a backend whose parts a machine lacks can
//! say so.

#[path = "support/postgres.rs"]
mod postgres;

#[path = "support/schema.rs"]
mod schema;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use libtest_mimic::{Arguments, Failed, Trial};
use novacula_store::conformance::{CASES, Case, Subject};
use novacula_store::fault::FaultStore;
use novacula_store::sqlite::SqliteStore;
use novacula_store::{ManualClock, Store};
use tempfile::TempDir;

struct Sqlite {
    store: Arc<dyn Store>,
    clock: Arc<ManualClock>,
    _directory: TempDir,
}

impl Sqlite {
    fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(1_700_000_000_000_000)));
        let store = SqliteStore::open(directory.path().join("novacula.db"), Arc::clone(&clock) as _);
        let store = store.expect("a new database");
        Self { store: Arc::new(store), clock, _directory: directory }
    }
}

#[async_trait]
impl Subject for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

/// A schema of its own in a cluster that all cases share.
struct Postgres {
    store: Arc<dyn Store>,
    schema: schema::Schema,
}

#[async_trait]
impl Subject for Postgres {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    async fn advance(&self, by: Duration) {
        self.schema.advance(by).await;
    }
}

fn run(case: &'static Case, open: impl AsyncFnOnce() -> Box<dyn Subject>) -> Result<(), Failed> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let subject = open().await;
        (case.run)(&*subject).await;
    });
    Ok(())
}

fn trial(backend: &str, case: &'static Case, open: fn() -> Sqlite) -> Trial {
    Trial::test(format!("{backend}::{}", case.name), move || run(case, async || Box::new(open()) as _))
}

fn postgres_trial(case: &'static Case) -> Trial {
    postgres::trial(format!("postgres::{}", case.name), move |cluster| {
        run(case, async || {
            let (store, schema) = schema::open(&cluster).await;
            Box::new(Postgres { store: Arc::new(store), schema }) as _
        })
    })
}

/// The wrapper, without faults, is the store that it wraps.
fn faultless() -> Sqlite {
    let sqlite = Sqlite::open();
    Sqlite { store: Arc::new(FaultStore::new(sqlite.store)), ..sqlite }
}

fn main() {
    let arguments = Arguments::from_args();
    let sqlite = CASES.iter().map(|case| trial("sqlite", case, Sqlite::open));
    let fault = CASES.iter().map(|case| trial("fault", case, faultless));
    let postgres = CASES.iter().map(postgres_trial);
    let trials = sqlite.chain(fault).chain(postgres).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    postgres::stop();
    conclusion.exit();
}
