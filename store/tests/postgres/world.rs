//! Rows for the trials, and stores that share a schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cluster::Cluster;
use domain::attempt::effect::{Beginning, begin};
use domain::audit::EventKind;
use domain::{
    Actor, Attempt, AttemptId, Event, Executor, ExecutorName, ExecutorUid, Generation, JoinTokenId, OrganizationId,
    RequestId, Sha256, Timestamp,
};
use libtest_mimic::{Failed, Trial};
use novacula_store::postgres::{Options, PostgresStore};
use novacula_store::{
    AttemptWrite, CertificateRecord, CertificateStore as _, EnrolmentCommit, ExecutorCommit, ExecutorFate,
    ExecutorStore as _, JoinTokenRecord, JoinTokenStore as _, Organization, OrganizationStore as _,
};
use uuid::Uuid;

use crate::postgres;

static SCHEMAS: AtomicU32 = AtomicU32::new(0);

/// Longest wait for what takes a moment.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A trial with a runtime of its own.
pub(crate) fn trial<F>(name: &str, body: impl FnOnce(Arc<Cluster>) -> F + Send + 'static) -> Trial
where
    F: Future<Output = Result<(), Failed>>,
{
    postgres::trial(name.to_owned(), |cluster| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(body(cluster))
    })
}

/// A name that no other trial has.
pub(crate) fn new_schema() -> String {
    format!("trial_{}", SCHEMAS.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn options(cluster: &Cluster, schema: &str) -> Options {
    let options = Options::new(&cluster.socket_url()).and_then(|options| options.with_schema(schema));
    options.and_then(|options| options.with_pool_size(4)).expect("good options")
}

/// `n` stores, each as a process of its own would have it, over one new schema with an organization and a join token.
pub(crate) async fn stores(cluster: &Cluster, n: usize) -> (Vec<PostgresStore>, String) {
    let schema = new_schema();
    let mut stores = Vec::new();
    for _ in 0..n {
        stores.push(postgres::serve(&options(cluster, &schema)).await.expect("a store"));
    }
    prepare(&stores[0]).await;
    (stores, schema)
}

/// An organization and a join token.
pub(crate) async fn prepare(store: &PostgresStore) {
    let acme = Organization { id: organization(), display_name: "Acme".to_owned(), create_time: Timestamp::EPOCH };
    store.organization_insert(&acme, &[]).await.expect("an organization");
    store.join_token_insert(&join_token("many", 1_000_000), &[]).await.expect("a join token");
}

pub(crate) fn organization() -> OrganizationId {
    OrganizationId::new("acme").expect("a label")
}

pub(crate) fn name(n: u32) -> ExecutorName {
    format!("organizations/acme/executors/web-{n}").parse().expect("a resource name")
}

pub(crate) fn uid(n: u32) -> ExecutorUid {
    ExecutorUid::new(Uuid::from_u128(u128::from(n) + 1))
}

pub(crate) fn attempt_id(n: u32) -> AttemptId {
    AttemptId::new(Uuid::from_u128(u128::from(n) + 1))
}

pub(crate) fn event(target: &str) -> Event {
    Event {
        kind: EventKind::ExecutorUpdated,
        actor: Actor::Console,
        target: target.to_owned(),
        organization: Some(organization()),
        time: Timestamp::EPOCH,
        details: Vec::new(),
    }
}

pub(crate) fn join_token(id: &str, max_uses: u32) -> JoinTokenRecord {
    JoinTokenRecord {
        id: JoinTokenId::new(id).expect("a label"),
        organization: organization(),
        secret_sha256: digest(7),
        executor: None,
        replace: false,
        max_uses,
        uses: 0,
        create_time: Timestamp::EPOCH,
        expire_time: Timestamp::EPOCH.plus(Duration::from_secs(1_000_000)),
        revoke_time: None,
    }
}

pub(crate) fn digest(n: u32) -> Sha256 {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    Sha256::new(bytes)
}

pub(crate) fn enrolment(n: u32, name: ExecutorName, token: &str) -> EnrolmentCommit {
    let token = JoinTokenId::new(token).expect("a label");
    EnrolmentCommit {
        vouched: None,
        join_token: token.clone(),
        executor: Executor::new(uid(n), name, Timestamp::EPOCH),
        replaces: None,
        replaced_attempts: Vec::new(),
        certificate: CertificateRecord {
            fingerprint: digest(n),
            serial: format!("{n:x}"),
            executor: uid(n),
            authority: None,
            public_key_sha256: digest(n),
            join_token: Some(token),
            chain_pem: String::new(),
            not_before: Timestamp::EPOCH,
            not_after: Timestamp::EPOCH.plus(Duration::from_secs(1_000_000)),
            use_time: None,
            revoke_time: None,
        },
        events: Vec::new(),
        time: Timestamp::EPOCH,
    }
}

/// Enrols executor `n`; its row.
pub(crate) async fn enrol(store: &PostgresStore, n: u32) -> Executor {
    store.enrolment_commit(enrolment(n, name(n), "many")).await.expect("a new executor");
    executor(store, n).await
}

pub(crate) async fn executor(store: &PostgresStore, n: u32) -> Executor {
    store.executor_get(&name(n)).await.expect("a read").expect("it is there")
}

pub(crate) fn commit(executor: &Executor) -> ExecutorCommit {
    ExecutorCommit {
        executor: executor.clone(),
        attempts: Vec::new(),
        events: vec![event("commit")],
        fate: ExecutorFate::Keep,
        while_published: None,
    }
}

pub(crate) fn attempt(n: u32, executor: &Executor, request_id: Option<&str>) -> AttemptWrite {
    let beginning = Beginning {
        id: attempt_id(n),
        release: "agent-1.1.0".parse().expect("a release id"),
        from_version: "1.0.0".parse().expect("a version"),
        clears_hold: false,
        bytes_total: 0,
        ttl: Duration::ZERO,
        requested_by: Actor::Console,
        request_id: request_id.map(|id| RequestId::new(id).expect("an id")),
    };
    let (_, attempt) = begin(executor, beginning, Timestamp::EPOCH);
    let attempt = Attempt { generation: Generation(1), ..attempt };
    AttemptWrite { attempt, deadline: None }
}
