//! Rows for the cases: plain ones, to be changed where a case says so, and a world that writes them.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use domain::attempt::effect::{Beginning, begin};
use domain::audit::EventKind;
use domain::{
    Actor, Attempt, AttemptId, Event, Executor, ExecutorName, ExecutorUid, Generation, InstanceId, JoinTokenId,
    OrganizationId, ReleaseId, Sha256, Timestamp, Version,
};
use uuid::Uuid;

use super::Subject;
use crate::{
    AttemptWrite, CertificateRecord, Committed, EnrolmentCommit, Error, EventQuery, EventRow, ExecutorCommit,
    ExecutorFate, JoinTokenRecord, Organization, ReplicaId, Store,
};

/// A lease that outlives the case unless the clock is moved.
pub(super) const LEASE: Duration = Duration::from_secs(15);

/// A store with one organization, `acme`, one replica with a lease, and one join token that may be used a thousand times.
pub(super) struct World<'a> {
    pub(super) store: Arc<dyn Store>,
    pub(super) subject: &'a dyn Subject,
    pub(super) replica: ReplicaId,
}

pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(seconds))
}

pub(super) fn organization(id: &str) -> OrganizationId {
    OrganizationId::new(id).expect("a label")
}

pub(super) fn name(executor: &str) -> ExecutorName {
    name_in("acme", executor)
}

pub(super) fn name_in(organization: &str, executor: &str) -> ExecutorName {
    let text = format!("organizations/{organization}/executors/{executor}");
    text.parse().expect("a resource name")
}

pub(super) fn join_token_id(id: &str) -> JoinTokenId {
    JoinTokenId::new(id).expect("a label")
}

pub(super) fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

pub(super) fn release_id(text: &str) -> ReleaseId {
    text.parse().expect("a release id")
}

pub(super) fn uid(n: u128) -> ExecutorUid {
    ExecutorUid::new(Uuid::from_u128(n))
}

pub(super) fn instance(n: u128) -> InstanceId {
    InstanceId::new(Uuid::from_u128(n))
}

pub(super) fn attempt_id(n: u128) -> AttemptId {
    AttemptId::new(Uuid::from_u128(n))
}

/// A digest that tells `n` apart.
pub(super) fn digest(n: u128) -> Sha256 {
    let mut bytes = [0; 32];
    bytes[..16].copy_from_slice(&n.to_be_bytes());
    Sha256::new(bytes)
}

pub(super) fn event(kind: EventKind, target: &str) -> Event {
    Event {
        kind,
        actor: Actor::Console,
        target: target.to_owned(),
        organization: Some(organization("acme")),
        time: at(0),
        details: Vec::new(),
    }
}

pub(super) fn executor(n: u128, name: ExecutorName) -> Executor {
    Executor::new(uid(n), name, at(0))
}

pub(super) fn attempt(n: u128, executor: &Executor) -> AttemptWrite {
    let beginning = Beginning {
        id: attempt_id(n),
        release: release_id("agent-1.1.0"),
        from_version: version("1.0.0"),
        clears_hold: false,
        bytes_total: 0,
        ttl: Duration::from_secs(899),
        requested_by: Actor::Console,
        request_id: None,
    };
    let (_, attempt) = begin(executor, beginning, at(1));
    let attempt = Attempt { generation: Generation(1), ..attempt };
    AttemptWrite { attempt, deadline: Some(at(900)) }
}

pub(super) fn certificate(n: u128, executor: ExecutorUid) -> CertificateRecord {
    CertificateRecord {
        fingerprint: digest(n),
        serial: format!("{n:x}"),
        executor,
        authority: Some(digest(9_000_000)),
        public_key_sha256: digest(n + 1_000_000),
        join_token: None,
        chain_pem: "-----BEGIN CERTIFICATE-----\n".to_owned(),
        not_before: at(0),
        not_after: at(1000),
        use_time: None,
        revoke_time: None,
    }
}

pub(super) fn join_token(id: &str, max_uses: u32) -> JoinTokenRecord {
    JoinTokenRecord {
        id: join_token_id(id),
        organization: organization("acme"),
        secret_sha256: digest(7),
        executor: None,
        replace: false,
        max_uses,
        uses: 0,
        create_time: at(0),
        expire_time: at(3600),
        revoke_time: None,
    }
}

/// The enrolment of executor `n` under `name` with the token `token`.
pub(super) fn enrolment(n: u128, name: ExecutorName, token: &str) -> EnrolmentCommit {
    EnrolmentCommit {
        vouched: None,
        join_token: join_token_id(token),
        executor: executor(n, name),
        replaces: None,
        replaced_attempts: Vec::new(),
        certificate: CertificateRecord { join_token: Some(join_token_id(token)), ..certificate(n, uid(n)) },
        events: vec![event(EventKind::ExecutorEnrolled, "enrolled")],
        time: at(10),
    }
}

/// A commit of `executor` alone.
pub(super) fn commit(executor: &Executor) -> ExecutorCommit {
    ExecutorCommit {
        executor: executor.clone(),
        attempts: Vec::new(),
        events: Vec::new(),
        fate: ExecutorFate::Keep,
        while_published: None,
    }
}

/// How a call was refused: `stale executor`.
pub(super) fn refusal<T: Debug>(result: Result<T, Error>) -> String {
    match result {
        Ok(value) => format!("not refused: {value:?}"),
        Err(Error::Stale { noun, .. }) => format!("stale {noun}"),
        Err(Error::Exists { noun, .. }) => format!("exists {noun}"),
        Err(Error::Missing { noun, .. }) => format!("missing {noun}"),
        Err(Error::Corrupt { noun, .. }) => format!("corrupt {noun}"),
        Err(error @ Error::Unavailable { .. }) => format!("{error:?}"),
    }
}

impl<'a> World<'a> {
    pub(super) async fn new(subject: &'a dyn Subject) -> Self {
        let world = Self { store: subject.store(), subject, replica: ReplicaId(Uuid::from_u128(1)) };
        world.organization("acme").await;
        let token = join_token("many", 1000);
        world.store.join_token_insert(&token, &[]).await.expect("a new join token");
        world.store.replica_renew(world.replica, LEASE).await.expect("a lease");
        world
    }

    pub(super) async fn organization(&self, id: &str) {
        let organization = Organization { id: organization(id), display_name: id.to_uppercase(), create_time: at(0) };
        self.store.organization_insert(&organization, &[]).await.expect("a new organization");
    }

    /// Enrols executor `n` under `name`; its row as it was written.
    pub(super) async fn enrol(&self, n: u128, name: &str) -> Executor {
        let mut commit = enrolment(n, self::name(name), "many");
        commit.events.clear();
        self.store.enrolment_commit(commit).await.expect("a new executor");
        self.executor(n).await
    }

    /// The row of executor `n`.
    pub(super) async fn executor(&self, n: u128) -> Executor {
        let found = self.store.executor_list_by_uid(&[uid(n)]).await.expect("a list");
        found.into_iter().next().expect("an executor that exists")
    }

    pub(super) async fn commit(&self, commit: ExecutorCommit) -> Committed {
        self.store.executor_commit(commit).await.expect("a commit")
    }

    /// Writes attempts with their executor; its row as it is now.
    pub(super) async fn write(&self, executor: &Executor, attempts: Vec<AttemptWrite>) -> Executor {
        self.commit(ExecutorCommit { attempts, ..commit(executor) }).await;
        let found = self.store.executor_get(&executor.name).await.expect("a read");
        found.expect("an executor that exists")
    }

    pub(super) async fn attempt(&self, n: u128) -> Attempt {
        let found = self.store.attempt_get(attempt_id(n)).await.expect("a read");
        found.expect("an attempt that exists")
    }

    /// All events of `acme`, oldest first.
    pub(super) async fn events(&self) -> Vec<EventRow> {
        let query = EventQuery { organization: Some(organization("acme")), limit: 1000, ..EventQuery::default() };
        self.store.event_list(&query).await.expect("a list")
    }
}
