//! Runs the conformance suite against every backend, and against the fault wrapper without faults. `harness = false`, so that a backend whose parts a machine lacks can
//! say so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use libtest_mimic::{Arguments, Trial};
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

fn trial(backend: &str, case: &'static Case, open: fn() -> Sqlite) -> Trial {
    Trial::test(format!("{backend}::{}", case.name), move || {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build()?;
        let subject = open();
        runtime.block_on((case.run)(&subject));
        Ok(())
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
    let trials = sqlite.chain(fault).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
