//! A backend against a plain in-memory model: the same random calls, the same answers, the same state after each.
//!
//! The model is what the traits' words say, written down as simply as possible. PostgreSQL runs the same sequences.

mod call;

mod row;

mod snapshot;

mod state;

use std::sync::Arc;

use novacula_store::sqlite::SqliteStore;
use novacula_store::{ManualClock, Store};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError};

use crate::call::Call;
use crate::snapshot::Snapshot;
use crate::state::Model;

/// Short enough for every run; a longer one by `PROPTEST_CASES`.
const CASES: u32 = 20;
const CALLS: usize = 60;

async fn compare(store: Arc<dyn Store>, clock: &ManualClock, calls: &[Call]) -> Result<(), TestCaseError> {
    let mut model = Model::new();
    row::prepare(&*store).await;
    // Somebody is there from the first.
    let enrol = |n| Call::Enrol { executor: n, name: n, token: 1, replaces: None };
    let calls = (0..row::NAMES).map(enrol).chain(calls.iter().cloned());
    for (at, call) in calls.enumerate() {
        let call = &model.resolve(&call);
        let expected = model.call(call);
        let answered = call.run(&*store, clock).await;
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

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sqlite_answers_like_the_model(calls in prop::collection::vec(call::any_call(), 1..CALLS)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let directory = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(ManualClock::new(row::at(0)));
        let store = SqliteStore::open(directory.path().join("novacula.db"), Arc::clone(&clock) as _).expect("opens");
        runtime.block_on(compare(Arc::new(store), &clock, &calls))?;
    }
}
