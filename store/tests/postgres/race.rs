//! Two processes that write the same rows at once.

use std::sync::Arc;
use std::time::Duration;

use cluster::Cluster;
use domain::{Executor, InstanceId};
use futures_util::FutureExt as _;
use libtest_mimic::{Failed, Trial};
use novacula_store::postgres::Options;
use novacula_store::{
    AttemptStore as _, CertificateStore as _, Error, ExecutorCommit, ExecutorStore as _, JoinTokenStore as _,
    ReplicaId, SessionStore as _,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::postgres;
use crate::world::{
    attempt, commit, enrol, enrolment, executor, join_token, name, new_schema, organization, prepare, stores, trial,
    uid,
};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("of_writers_of_one_row_one_wins", one_row),
        trial("a_request_id_makes_one_attempt_wherever_it_arrives", one_request),
        trial("a_join_token_is_used_once_wherever_it_arrives", one_use),
        trial("a_name_is_enrolled_once_wherever_it_arrives", one_name),
        trial("sessions_of_one_executor_get_their_own_epochs", epochs),
        trial("batches_in_opposite_order_do_not_wait_in_a_ring", opposite),
        trial("a_dropped_call_leaves_no_transaction_behind", dropped),
        trial("a_job_is_one_replicas_until_its_lease_ends", job),
    ]
}

fn won<T>(results: &[Result<T, Error>]) -> usize {
    results.iter().filter(|result| result.is_ok()).count()
}

async fn job(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, _) = stores(&cluster, 2).await;
    let [one, two, ended] = [1, 2, 3].map(|n| ReplicaId(Uuid::from_u128(n)));
    let claim = async |n: usize, replica, job| stores[n].replica_claim(replica, job).await.expect("a claim");
    assert!(!claim(0, one, "sweep").await, "without a lease nobody claims anything");
    let long = Duration::from_secs(600);
    for (replica, lease) in [(one, long), (two, long), (ended, Duration::from_micros(1))] {
        stores[0].replica_renew(replica, lease).await?;
    }
    for round in 0..20 {
        let job: &'static str = Box::leak(format!("job-{round}").into_boxed_str());
        let (first, second) = tokio::join!(claim(0, one, job), claim(1, two, job));
        assert!(first != second, "one of two gets it");
        for _ in 0..2 {
            assert_eq!((claim(0, one, job).await, claim(1, two, job).await), (first, second), "and keeps it");
        }
        assert!(!claim(0, ended, job).await);
    }
    assert!(claim(0, one, "sweep").await && !claim(1, two, "sweep").await);
    stores[0].replica_end(one).await?;
    assert!(!claim(0, one, "sweep").await, "with its lease a replica loses its jobs");
    assert!(claim(1, two, "sweep").await, "and another takes over");
    stores[0].replica_renew(one, long).await?;
    assert!(!claim(0, one, "sweep").await && claim(1, two, "sweep").await);
    Ok(())
}

async fn one_row(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, _) = stores(&cluster, 2).await;
    enrol(&stores[0], 1).await;
    for _ in 0..20 {
        let row = executor(&stores[0], 1).await;
        let mut racing = JoinSet::new();
        for n in 0..6 {
            let (store, row) = (stores[n % 2].clone(), row.clone());
            racing.spawn(async move { store.executor_commit(commit(&row)).await });
        }
        let results = racing.join_all().await;
        assert_eq!(won(&results), 1, "{results:?}");
        let stale = results.iter().filter(|result| matches!(result, Err(Error::Stale { noun: "executor", .. })));
        assert_eq!(stale.count(), 5, "{results:?}");
    }
    Ok(())
}

async fn one_request(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, _) = stores(&cluster, 2).await;
    for round in 0..10_u32 {
        let mut racing = JoinSet::new();
        for n in 0..4_u32 {
            let (store, n) = (stores[n as usize % 2].clone(), round * 4 + n);
            let row = enrol(&store, n).await;
            racing.spawn(async move {
                let write = attempt(n, &row, Some(&format!("request-{round}")));
                store.executor_commit(ExecutorCommit { attempts: vec![write], ..commit(&row) }).await
            });
        }
        let results = racing.join_all().await;
        assert_eq!(won(&results), 1, "{results:?}");
        let taken = results.iter().filter(|result| matches!(result, Err(Error::Exists { noun: "request", .. })));
        assert_eq!(taken.count(), 3, "{results:?}");
        let id = domain::RequestId::new(&format!("request-{round}"))?;
        assert!(stores[1].attempt_list_by_request(&organization(), &[id]).await?.len() == 1);
    }
    Ok(())
}

async fn one_use(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, _) = stores(&cluster, 2).await;
    stores[0].join_token_insert(&join_token("once", 1), &[]).await?;
    let mut racing = JoinSet::new();
    for n in 0..6_u32 {
        let store = stores[n as usize % 2].clone();
        racing.spawn(async move { store.enrolment_commit(enrolment(n, name(n), "once")).await });
    }
    let results = racing.join_all().await;
    assert_eq!(won(&results), 1, "{results:?}");
    Ok(())
}

async fn one_name(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, _) = stores(&cluster, 2).await;
    let mut racing = JoinSet::new();
    for n in 0..6_u32 {
        let store = stores[n as usize % 2].clone();
        racing.spawn(async move { store.enrolment_commit(enrolment(n, name(0), "many")).await });
    }
    let results = racing.join_all().await;
    assert_eq!(won(&results), 1, "{results:?}");
    let taken = results.iter().filter(|result| matches!(result, Err(Error::Exists { noun: "executor", .. })));
    assert_eq!(taken.count(), 5, "{results:?}");
    Ok(())
}

async fn epochs(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (stores, _) = stores(&cluster, 2).await;
    enrol(&stores[0], 1).await;
    let mut racing = JoinSet::new();
    for n in 0..8_usize {
        let store = stores[n % 2].clone();
        let replica = ReplicaId(Uuid::from_u128(n as u128 % 2 + 1));
        store.replica_renew(replica, std::time::Duration::from_secs(60)).await?;
        let instance = InstanceId::new(Uuid::from_u128(n as u128 + 1));
        racing.spawn(async move { store.session_open_batch(replica, &[(uid(1), instance)]).await });
    }
    let mut found: Vec<u64> = Vec::new();
    for opened in racing.join_all().await {
        found.extend(opened?.into_iter().map(|opened| opened.epoch.0));
    }
    found.sort_unstable();
    assert_eq!(found, (1..=8).collect::<Vec<_>>());
    Ok(())
}

async fn opposite(cluster: Arc<Cluster>) -> Result<(), Failed> {
    const EXECUTORS: u32 = 20;
    let (stores, _) = stores(&cluster, 2).await;
    for n in 0..EXECUTORS {
        enrol(&stores[0], n).await;
    }
    for _ in 0..5 {
        let mut rows: Vec<Executor> = Vec::new();
        for n in 0..EXECUTORS {
            rows.push(executor(&stores[0], n).await);
        }
        let there: Vec<ExecutorCommit> = rows.iter().map(commit).collect();
        let back: Vec<ExecutorCommit> = rows.iter().rev().map(commit).collect();
        let (there, back) = tokio::join!(stores[0].executor_commit_batch(there), stores[1].executor_commit_batch(back));
        let (there, mut back) = (there?, back?);
        back.reverse();
        for (one, other) in there.iter().zip(&back) {
            assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        }
    }
    Ok(())
}

async fn dropped(cluster: Arc<Cluster>) -> Result<(), Failed> {
    // Told apart from the sessions of other trials.
    let url = format!("{}?application_name=dropped", cluster.socket_url());
    let store = postgres::serve(&Options::new(&url)?.with_schema(&new_schema())?.with_pool_size(4)?).await?;
    prepare(&store).await;
    let store = &store;
    let row = enrol(store, 1).await;
    for n_polls in 0..40 {
        let call = store.executor_commit(commit(&row));
        let mut call = Box::pin(call);
        for _ in 0..n_polls {
            if call.as_mut().now_or_never().is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    // Whatever came of them, the pool's connections are usable, and nobody holds the row.
    for _ in 0..8 {
        let row = executor(store, 1).await;
        store.executor_commit(commit(&row)).await?;
    }
    let open = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' \
                AND application_name = 'dropped'";
    assert_eq!(cluster.sql(open)?, "0");
    Ok(())
}
