//! Runs the conformance suite against every backend. `harness = false`, so that a backend whose parts a machine lacks can
//! say so.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::Timestamp;
use libtest_mimic::{Arguments, Trial};
use novacula_store::conformance::{CASES, Case, Subject};
use novacula_store::sqlite::SqliteStore;
use novacula_store::{ManualClock, Store};
use tempfile::TempDir;

struct Sqlite {
    store: SqliteStore,
    clock: Arc<ManualClock>,
    _directory: TempDir,
}

impl Sqlite {
    fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::new(Timestamp::from_micros(
            1_700_000_000_000_000,
        )));
        let store = SqliteStore::open(
            directory.path().join("novacula.db"),
            Arc::clone(&clock) as _,
        );
        let store = store.expect("a new database");
        Self {
            store,
            clock,
            _directory: directory,
        }
    }
}

#[async_trait]
impl Subject for Sqlite {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn on_sqlite(case: &'static Case) -> Trial {
    Trial::test(format!("sqlite::{}", case.name), || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let subject = Sqlite::open();
        runtime.block_on((case.run)(&subject));
        Ok(())
    })
}

fn main() {
    let arguments = Arguments::from_args();
    let trials = CASES.iter().map(on_sqlite).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
