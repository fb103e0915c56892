//! What one process commits, the others hear.

use std::collections::BTreeMap;
use std::sync::Arc;

use cluster::Cluster;
use domain::{Executor, ExecutorUid, Generation};
use libtest_mimic::{Failed, Trial};
use novacula_store::postgres::PostgresStore;
use novacula_store::{ChangeFeed as _, ChangeNumber, EventQuery, EventStore as _, ExecutorCommit, ExecutorStore as _};
use tokio::time::timeout;

use crate::world::{SOON, commit, enrol, event, executor, organization, stores, trial, uid};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_commit_here_wakes_subscribers_there", heard),
        trial("a_fan_out_past_one_payload_is_heard_whole", fan_out),
        trial("a_cut_listener_loses_no_change", cut),
        trial("a_reader_by_number_never_passes_a_commit_under_way", in_order),
    ]
}

async fn heard(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, _) = stores(&cluster, 2).await;
    let row = enrol(&stores[0], 1).await;
    let (mut here, mut there) = (stores[0].change_subscribe(), stores[1].change_subscribe());
    let mut head = stores[1].event_head();
    head.mark_unchanged();
    let next = Executor { generation: Generation(3), ..row };
    let committed = stores[0].executor_commit(commit(&next)).await?;
    for changes in [&mut here, &mut there] {
        let change = loop {
            let change = timeout(SOON, changes.recv()).await??;
            // The enrolment may still be on its way.
            if change.number >= committed.change {
                break change;
            }
        };
        assert_eq!((change.number, change.executor, change.generation), (committed.change, uid(1), Generation(3)));
    }
    timeout(SOON, head.changed()).await??;
    let query = EventQuery { organization: Some(organization()), limit: 10, ..EventQuery::default() };
    let newest = stores[1].event_list(&query).await?.last().expect("it told").sequence;
    timeout(SOON, head.wait_for(|head| *head == newest)).await??;
    assert!(here.try_recv().is_err(), "once here, not again by its own notification");
    Ok(())
}

async fn fan_out(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, _) = stores(&cluster, 2).await;
    let mut rows = Vec::new();
    for n in 0..250 {
        rows.push(enrol(&stores[0], n).await);
    }
    let mut there = stores[1].change_subscribe();
    let commits: Vec<ExecutorCommit> =
        rows.iter().map(|row| commit(&Executor { generation: Generation(9), ..row.clone() })).collect();
    let mut expected = BTreeMap::new();
    for (row, committed) in rows.iter().zip(stores[0].executor_commit_batch(commits).await?) {
        expected.insert(row.uid, committed?.change);
    }
    let mut found: BTreeMap<ExecutorUid, ChangeNumber> = BTreeMap::new();
    while found.len() < expected.len() {
        let change = timeout(SOON, there.recv()).await??;
        if change.generation == Generation(9) {
            found.insert(change.executor, change.number);
        }
    }
    assert_eq!(found, expected);
    Ok(())
}

async fn cut(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, schema) = stores(&cluster, 2).await;
    let mut row = enrol(&stores[0], 1).await;
    let mut there = stores[1].change_subscribe();
    for round in 1..=3 {
        // Every connection that listens, of both stores: one of them is the other's.
        let killed = cluster.sql(&format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'LISTEN {schema}'"
        ))?;
        assert_eq!(killed, "2", "round {round}");
        let committed = stores[0].executor_commit(commit(&row)).await?;
        row = executor(&stores[0], 1).await;
        timeout(SOON, async { while there.recv().await.expect("the store is open").number < committed.change {} })
            .await?;
        // Both listen again before the next round.
        let listening = format!("SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN {schema}'");
        timeout(SOON, async { while cluster.sql(&listening).expect("psql") != "2" {} }).await?;
    }
    Ok(())
}

/// Writers on two stores, and one that reads on from the last number it saw: it misses none of their commits.
async fn in_order(cluster: Arc<Cluster>) -> Result<(), Failed> {
    const WRITERS: u32 = 8;
    const COMMITS: usize = 25;
    let (stores, _) = stores(&cluster, 2).await;
    for n in 0..WRITERS {
        enrol(&stores[0], n).await;
    }
    let begin = stores[1].change_head().await?;
    let first_event = *stores[1].event_head().borrow();
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..WRITERS {
        let store = stores[n as usize % 2].clone();
        writers.spawn(async move { write(&store, n, COMMITS).await });
    }
    let (mut cursor, mut after) = (begin, first_event);
    let (mut seen, mut events) = (BTreeMap::new(), 0);
    let mut expected = BTreeMap::new();
    loop {
        let done = writers.is_empty();
        let changes = stores[1].change_list_since(cursor, 3).await?;
        let query =
            EventQuery { organization: Some(organization()), after: Some(after), limit: 3, ..EventQuery::default() };
        let rows = stores[1].event_list(&query).await?;
        if done && changes.is_empty() && rows.is_empty() {
            break;
        }
        cursor = changes.last().map_or(cursor, |change| change.number);
        seen.extend(changes.into_iter().map(|change| (change.executor, change.number)));
        after = rows.last().map_or(after, |row| row.sequence);
        events += rows.len();
        while let Some(finished) = writers.try_join_next() {
            let (executor, last) = finished?;
            expected.insert(executor, last);
        }
    }
    assert_eq!(seen, expected, "the newest change of each, none passed over");
    assert_eq!(events, WRITERS as usize * COMMITS, "and every event once");
    Ok(())
}

async fn write(store: &PostgresStore, n: u32, commits: usize) -> (ExecutorUid, ChangeNumber) {
    let mut last = ChangeNumber(0);
    for _ in 0..commits {
        let row = executor(store, n).await;
        let write = ExecutorCommit { events: vec![event("in order")], ..commit(&row) };
        last = store.executor_commit(write).await.expect("nobody else writes it").change;
    }
    (uid(n), last)
}
