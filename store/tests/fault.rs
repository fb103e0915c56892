//! The fault wrapper does what its rules say, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use domain::audit::EventKind;
use domain::{Actor, Event, OrganizationId, Timestamp};
use novacula_store::fault::{Calls, Fault, FaultStore, Faults};
use novacula_store::sqlite::SqliteStore;
use novacula_store::{Error, EventQuery, EventStore, ManualClock, Organization, OrganizationStore};
use tempfile::TempDir;

struct Bench {
    store: FaultStore,
    faults: Faults,
    _directory: TempDir,
}

fn bench() -> Bench {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = Arc::new(ManualClock::new(Timestamp::EPOCH));
    let store = SqliteStore::open(directory.path().join("novacula.db"), clock).expect("opens");
    let store = FaultStore::new(Arc::new(store));
    Bench { faults: store.faults(), store, _directory: directory }
}

fn event() -> Event {
    Event {
        kind: EventKind::ReleaseCreated,
        actor: Actor::Console,
        target: "releases/agent-1.0.0".to_owned(),
        organization: None,
        time: Timestamp::EPOCH,
        details: Vec::new(),
    }
}

impl Bench {
    async fn append(&self) -> Result<(), Error> {
        self.store.event_append(&[event()]).await
    }

    async fn n_events(&self) -> usize {
        let query = EventQuery { limit: 100, ..EventQuery::default() };
        self.store.event_list(&query).await.expect("a list").len()
    }
}

#[tokio::test]
async fn a_call_that_fails_before_wrote_nothing() {
    let bench = bench();
    bench.faults.inject(Fault::Before.nth(2, Calls::Writes));
    bench.append().await.expect("the first");
    assert!(matches!(bench.append().await, Err(Error::Unavailable { operation: "event_append", .. })));
    assert_eq!(bench.n_events().await, 1);
    bench.append().await.expect("the third");
    assert_eq!(bench.faults.n_calls("event_append"), 3);
}

#[tokio::test]
async fn a_call_that_fails_after_wrote_all_the_same() {
    let bench = bench();
    let mut head = bench.store.event_head();
    bench.faults.inject(Fault::After.next(1, Calls::Of("event_append")));
    assert!(matches!(bench.append().await, Err(Error::Unavailable { .. })));
    assert_eq!(bench.n_events().await, 1);
    head.changed().await.expect("others hear of it");
}

#[tokio::test]
async fn the_stores_own_refusal_is_not_hidden() {
    let bench = bench();
    let organization = Organization {
        id: OrganizationId::new("acme").expect("a label"),
        display_name: String::new(),
        create_time: Timestamp::EPOCH,
    };
    bench.store.organization_insert(&organization, &[]).await.expect("new");
    bench.faults.inject(Fault::After.next(1, Calls::Any));
    let again = bench.store.organization_insert(&organization, &[]).await;
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
}

#[tokio::test]
async fn rules_choose_their_calls_and_heal() {
    let bench = bench();
    bench.faults.inject(Fault::Before.always(Calls::Reads));
    bench.append().await.expect("writes pass");
    assert!(bench.store.event_list(&EventQuery::default()).await.is_err());
    assert!(bench.store.event_list(&EventQuery::default()).await.is_err());
    bench.faults.heal();
    assert_eq!(bench.n_events().await, 1);
}

#[tokio::test]
async fn a_paused_write_waits_on_the_side_it_was_told() {
    for (fault, n_written) in [(Fault::PauseBefore, 0), (Fault::PauseAfter, 1)] {
        let bench = bench();
        bench.faults.inject(fault.next(1, Calls::Writes));
        let watch = async {
            bench.faults.paused(1).await;
            let n_events = bench.n_events().await;
            bench.faults.resume();
            n_events
        };
        let (written, seen) = tokio::join!(bench.append(), watch);
        written.expect("it goes on");
        assert_eq!(seen, n_written, "{fault:?}");
        assert_eq!(bench.n_events().await, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delayed_call_answers_later() {
    let bench = bench();
    bench.faults.inject(Fault::Delay(Duration::from_secs(60)).next(1, Calls::Any));
    let begin = tokio::time::Instant::now();
    bench.append().await.expect("it is only slow");
    assert!(begin.elapsed() >= Duration::from_secs(60));
}

#[tokio::test]
async fn muted_wakes_are_lost_for_good() {
    let bench = bench();
    let mut head = bench.store.event_head();
    head.mark_unchanged();
    bench.faults.mute_wakes();
    bench.append().await.expect("a write");
    assert!(!head.has_changed().expect("open"));
    bench.faults.heal();
    assert!(!head.has_changed().expect("open"));
    bench.append().await.expect("a write");
    head.changed().await.expect("open");
}
