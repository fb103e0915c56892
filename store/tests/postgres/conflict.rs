//! Conflicts that only say "not now": a deadlock and a serialization failure, as the server itself tells them. A decision that
//! meets one is made again from its beginning, and is written once.

use std::sync::Arc;

use cluster::Cluster;
use libtest_mimic::{Failed, Trial};
use novacula_store::{Error, ExecutorCommit, ExecutorStore as _};

use crate::world::{attempt, commit, enrol, executor, stores, trial, uid};

/// How often a conflict is met before the store is said to be too busy: the first time, and five more.
const TRIES: u32 = 6;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_deadlock_is_got_over_and_the_decision_is_written_once", deadlock),
        trial("a_serialization_failure_is_got_over_or_told_in_bounded_time", serialization),
    ]
}

async fn deadlock(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, schema) = stores(&cluster, 1).await;
    let mut commits = Vec::new();
    for n in 1..=2 {
        let row = enrol(&stores[0], n).await;
        commits.push(ExecutorCommit { attempts: vec![attempt(n, &row, None)], ..commit(&row) });
    }
    // Ours takes the first and waits for the second; the other has the second and then asks for the first.
    let lock = |n: u32| format!("SELECT uid FROM {schema}.executors WHERE uid = '{}' FOR UPDATE", uid(n));
    let marker = format!("deadlock of {schema}");
    let ring = format!("BEGIN; {}; SELECT pg_sleep(0.5) /* {marker} */; {}; COMMIT", lock(2), lock(1));
    let other = tokio::task::spawn_blocking({
        let cluster = Arc::clone(&cluster);
        move || cluster.sql(&ring).map(drop)
    });
    let sleeps = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%{marker}%' AND wait_event = 'PgSleep' AND pid <> pg_backend_pid()"
    );
    while cluster.sql(&sleeps)? == "0" {}
    let before: u32 = deadlocks(&cluster)?;
    let written = stores[0].executor_commit_batch(commits).await?;
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    // Whoever of both was chosen to give way.
    let _ = other.await?;
    while deadlocks(&cluster)? == before {}
    for n in 1..=2 {
        assert_eq!(executor(&stores[0], n).await.revision.0, 2, "once");
    }
    Ok(())
}

fn deadlocks(cluster: &Cluster) -> Result<u32, Failed> {
    Ok(cluster.sql("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")?.parse()?)
}

async fn serialization(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, schema) = stores(&cluster, 1).await;
    let row = enrol(&stores[0], 1).await;
    // A sequence is not rolled back: the first so many updates fail, and then none.
    let trap = |failures: u32| {
        format!(
            "CREATE SEQUENCE IF NOT EXISTS {schema}.met; SELECT setval('{schema}.met', 1, false); \
             CREATE OR REPLACE FUNCTION {schema}.conflict() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('{schema}.met') <= {failures} THEN \
             RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF; RETURN new; END $$; \
             CREATE OR REPLACE TRIGGER conflict BEFORE UPDATE ON {schema}.executors FOR EACH ROW \
             EXECUTE FUNCTION {schema}.conflict()"
        )
    };
    cluster.sql(&trap(TRIES - 1))?;
    stores[0].executor_commit(commit(&row)).await?;
    let row = executor(&stores[0], 1).await;
    cluster.sql(&trap(TRIES))?;
    let told = stores[0].executor_commit(commit(&row)).await;
    assert!(matches!(&told, Err(error @ Error::Unavailable { .. }) if error.retryable()), "{told:?}");
    assert_eq!(executor(&stores[0], 1).await, row, "nothing of it");
    stores[0].executor_commit(commit(&row)).await?;
    Ok(())
}
