//! At a hundred thousand executors no hot statement reads a whole table. PostgreSQL itself counts: the calls are made, the
//! sessions ended (which is when a session's counts are booked), and the tables asked how often they were scanned.

use std::sync::Arc;
use std::time::Duration;

use cluster::{Cluster, Durability};
use domain::{Channel, Executor, ExecutorId, InstanceId, Kind, RequestId, Timestamp, TokenId};
use libtest_mimic::{Failed, Trial};
use novacula_store::postgres::PostgresStore;
use novacula_store::{
    AttemptStore as _, CertificateStore as _, ChangeFeed as _, ChangeNumber, EventQuery, EventStore as _,
    ExecutorCommit, ExecutorQuery, ExecutorStore as _, JoinTokenStore as _, NodeChange, NodeStore as _, Page,
    ReplicaId, SessionStore as _, TokenStore as _,
};
use tokio::time::timeout;
use uuid::Uuid;

use crate::postgres;
use crate::world::{
    SOON, attempt, attempt_id, commit, digest, enrol, enrolment, executor, name, options, organization, stores, trial,
    uid,
};

/// Tables that grow with the fleet, or with time.
const GROWING: &str = "('executors', 'changes', 'attempts', 'requests', 'certificates', 'sessions', 'nodes', 'events', 'tokens', \
                       'join_tokens')";

/// How an attempt ended, as a column holds it.
const ENDING: &str =
    r#"{"reason":null,"stage":null,"error_code":null,"message":"","rolled_back_to":null,"log_tail":[],"time":0}"#;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("no_hot_statement_scans_a_large_fleet", |_| large()),
        trial("a_batch_costs_no_more_statements_for_a_thousand_than_for_ten", |_| statements()),
    ]
}

fn request_id(n: u32) -> RequestId {
    RequestId::new(&format!("batch-{n}")).expect("an id")
}

/// A batch that asks each of these executors for an upgrade; what it makes is numbered from `first`.
fn asking(rows: &[Executor], first: u32) -> Vec<ExecutorCommit> {
    let numbered = (first..).zip(rows);
    numbered
        .map(|(n, row)| {
            let mut write = attempt(n, row, None);
            write.attempt.request_id = Some(request_id(n));
            ExecutorCommit { attempts: vec![write], ..commit(row) }
        })
        .collect()
}

async fn statements() -> Result<(), Failed> {
    let cluster = Arc::new(tokio::task::spawn_blocking(|| Cluster::start(Durability::Off)).await??);
    let (stores, _) = stores(&cluster, 1).await;
    let mut rows = Vec::new();
    for n in 0..1_010 {
        rows.push(enrol(&stores[0], n).await);
    }
    cluster.sql("ALTER SYSTEM SET log_statement = 'all'")?;
    cluster.sql("SELECT pg_reload_conf()")?;
    let executed = || cluster.log_text().matches("execute <unnamed>").count();
    timeout(SOON, async {
        while executed() == 0 {
            stores[0].change_head().await.expect("a read");
        }
    })
    .await?;
    let mut costs = Vec::new();
    for (first, batch) in [(0, &rows[..10]), (10, &rows[10..])] {
        let before = executed();
        for result in stores[0].executor_commit_batch(asking(batch, first)).await? {
            result?;
        }
        costs.push(executed() - before);
    }
    assert_eq!(costs[0], costs[1], "statements of a batch of 10, and of 1,000");
    assert!((1..=8).contains(&costs[0]), "{costs:?}");
    Ok(())
}

/// A hundred thousand executors, each with a certificate, a session, a node, two attempts that ended, three events, and a token of
/// either kind.
fn fill(cluster: &Cluster, schema: &str) -> Result<(), cluster::Error> {
    let replica = Uuid::from_u128(1);
    cluster.sql(&format!(
        "SET search_path = {schema};
         INSERT INTO replicas VALUES ('{replica}', now(), now() + interval '1 hour');
         INSERT INTO executors (uid, organization, name, revision, state, channel, labels, holds, release_key_ids, generation,
             create_time)
         SELECT lpad(to_hex(n + 1), 32, '0')::uuid, 'acme', 'web-' || n, 1, 'active', 'stable', '{{}}', '[]', '[]', 0, now()
         FROM generate_series(0, 99999) AS n;
         INSERT INTO changes SELECT uid, nextval('change_numbers') FROM executors;
         INSERT INTO certificates
         SELECT sha256(uid::text::bytea), 'a', uid, sha256(uid::text::bytea), 'many', '', now(), now() + interval '30 days', NULL
         FROM executors;
         INSERT INTO sessions SELECT uid, 1, '{replica}', uid, now(), NULL, false FROM executors;
         INSERT INTO attempts
         SELECT gen_random_uuid(), uid, 'acme', name, 1, 'agent-1.0.0', '0.9.0', 1, 'confirming', NULL, false, 'succeeded',
             'reported', '{ENDING}', false, 0, 0, now(), NULL, NULL, NULL, now(), now(), 'console', NULL, NULL
         FROM executors, generate_series(1, 2);
         INSERT INTO tokens
         SELECT uid::text, sha256(uid::text::bytea), 'publisher', NULL, '', now(), now() + interval '1 day', NULL, 'token:' || uid::text
         FROM executors;
         INSERT INTO join_tokens SELECT uid::text, 'acme', '', NULL, false, 1, 0, now(), now() + interval '1 day', NULL FROM executors;
         INSERT INTO requests SELECT organization, id::text, id FROM attempts;
         INSERT INTO nodes SELECT uid, name, 'linux/amd64', '6.1', 'Debian', '', true, now() FROM executors;
         INSERT INTO events
         SELECT nextval('event_numbers'), 'executor.connected', 'console', name, 'acme', now(), '{{}}'
         FROM executors, generate_series(1, 3);
         ANALYZE"
    ))?;
    Ok(())
}

async fn large() -> Result<(), Failed> {
    let cluster = Arc::new(tokio::task::spawn_blocking(|| Cluster::start(Durability::Off)).await??);
    let (first, schema) = stores(&cluster, 1).await;
    drop(first);
    let filled = {
        let (cluster, schema) = (Arc::clone(&cluster), schema.clone());
        move || fill(&cluster, &schema)
    };
    tokio::task::spawn_blocking(filled).await??;
    ended(&cluster).await?;
    let scans = format!(
        "SELECT relname || ' ' || seq_scan FROM pg_stat_user_tables WHERE schemaname = '{schema}' AND relname IN {GROWING} \
         ORDER BY relname"
    );
    // What filled the tables, and ANALYZE, scanned them.
    let before = cluster.sql(&scans)?;
    let store = postgres::serve(&options(&cluster, &schema)).await?;
    hot(&store).await?;
    drop(store);
    ended(&cluster).await?;
    let after = cluster.sql(&scans)?;
    assert_eq!(after, before, "full scans of each table, before and after");
    let used =
        cluster.sql(&format!("SELECT sum(idx_scan) > 50 FROM pg_stat_user_tables WHERE schemaname = '{schema}'"))?;
    assert_eq!(used, "t", "the calls were counted");
    Ok(())
}

/// Waits until no session of a store is left.
async fn ended(cluster: &Cluster) -> Result<(), Failed> {
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'novacula-server'";
    timeout(SOON, async {
        while cluster.sql(left).expect("psql") != "0" {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await?;
    Ok(())
}

/// Everything that a connect, an upgrade, a sweep and a page of a list ask for.
async fn hot(store: &PostgresStore) -> Result<(), Failed> {
    let (now, replica) = (Timestamp::EPOCH, ReplicaId(Uuid::from_u128(2)));
    let uids: Vec<_> = (0..100).map(|n| uid(n * 500)).collect();
    store.replica_renew(replica, Duration::from_secs(60)).await?;
    let opening: Vec<_> = uids.iter().map(|uid| (*uid, InstanceId::new(Uuid::from_u128(7)))).collect();
    let opened = store.session_open_batch(replica, &opening).await?;
    store.presence_list(&uids).await?;
    store.session_list_newest(&uids).await?;
    store.session_list_recent(uids[0], now).await?;
    store.session_close(uids[0], opened[0].epoch, &[]).await?;
    store.session_prune(now, 100).await?;
    store.replica_end(replica).await?;
    store.certificate_get(&digest(7)).await?;
    store.certificate_note_used(&[digest(7), digest(8)], now).await?;
    store.certificate_prune(now, 100).await?;
    // Its id is its executor's number.
    let token = TokenId::new(&Uuid::from_u128(7).to_string())?;
    assert!(store.token_get_with_origin(&token).await?.is_some());
    store.token_prune(now, 100).await?;
    store.join_token_prune(now, 100).await?;
    store.executor_prune(now, 100).await?;
    store.enrolment_commit(enrolment(200_000, name(200_000), "many")).await?;
    store.enrolment_find(&"many".parse()?, &digest(200_000)).await?;
    store.executor_list_by_uid(&uids).await?;
    let row = executor(store, 77).await;
    let asked = ExecutorCommit { attempts: vec![attempt(1, &row, Some("request-1"))], ..commit(&row) };
    let committed = store.executor_commit(asked).await?;
    let names: Vec<ExecutorId> = (1_000..2_000).map(|n| name(n).executor).collect();
    let rows = store.executor_list_by_name(&organization(), &names).await?;
    for result in store.executor_commit_batch(asking(&rows, 1_000)).await? {
        result?;
    }
    let uids: Vec<_> = rows.iter().map(|row| row.uid).collect();
    store.executor_list_by_uid(&uids).await?;
    store.presence_list(&uids).await?;
    store.attempt_list_by_id(&(1_000..2_000).map(attempt_id).collect::<Vec<_>>()).await?;
    let ids: Vec<RequestId> = (1_000..2_000).map(request_id).collect();
    assert_eq!(store.attempt_list_by_request(&organization(), &ids).await?.len(), 1_000);
    store.change_list_since(ChangeNumber(committed.change.0 - 1), 100).await?;
    store.change_head().await?;
    lists(store).await?;
    store.attempt_list(uid(77), Page { after: None, limit: 100 }).await?;
    store.attempt_list_by_organization(&organization(), Page { after: None, limit: 100 }).await?;
    store.attempt_list_open_by_release(&"agent-1.1.0".parse()?, None, Page { after: None, limit: 100 }).await?;
    store.attempt_list_due(now, 100).await?;
    store.attempt_count_pending().await?;
    store.attempt_prune(now, 100).await?;
    store.event_prune(now, 100).await?;
    store.node_apply(uid(77), &NodeChange::Full(Vec::new())).await?;
    store.node_list(uid(77), Page { after: None, limit: 100 }).await?;
    Ok(())
}

async fn lists(store: &PostgresStore) -> Result<(), Failed> {
    let names: Vec<ExecutorId> = (0..100).map(|n| name(n).executor).collect();
    store.executor_list_by_name(&organization(), &names).await?;
    store.executor_count(&organization()).await?;
    for organization in [Some(organization()), None] {
        let query = ExecutorQuery { organization, ..ExecutorQuery::default() };
        let page = store.executor_list(&query, Page { after: None, limit: 100 }).await?;
        let last = page.last().map(|last| last.name.executor.clone());
        store.executor_list(&query, Page { after: last, limit: 100 }).await?;
        let rare = ExecutorQuery {
            version: Some("9.9.9".to_owned()),
            kind: Some(Kind::Operator),
            channel: Some(Channel::Dev),
            held: Some(true),
            labels: vec![("rack".to_owned(), "none".to_owned())],
            ..query
        };
        store.executor_list(&rare, Page { after: None, limit: 100 }).await?;
    }
    for newest_first in [false, true] {
        for target in [None, Some("web-7".to_owned())] {
            let query = EventQuery {
                organization: Some(organization()),
                target,
                newest_first,
                limit: 100,
                ..EventQuery::default()
            };
            store.event_list(&query).await?;
        }
    }
    Ok(())
}
