//! Small worlds: few names, few ids, so that random calls meet each other.

use std::time::Duration;

use domain::attempt::{Ending, Outcome, OutcomeSource, Phase};
use domain::audit::EventKind;
use domain::release::Status;
use domain::{
    Actor, Attempt, AttemptId, Channel, Event, Executor, ExecutorName, ExecutorUid, Generation, JoinTokenId,
    OrganizationId, Release, ReleaseId, RequestId, Revision, Sha256, Timestamp,
};
use novacula_store::{CertificateRecord, JoinTokenRecord, Organization, ReplicaId, Store};
use uuid::Uuid;

/// How many of each there are.
pub(crate) const EXECUTORS: u8 = 7;
pub(crate) const NAMES: u8 = 4;
pub(crate) const ATTEMPTS: u8 = 8;
pub(crate) const REPLICAS: u8 = 2;
pub(crate) const TOKENS: u8 = 2;
pub(crate) const RELEASES: u8 = 2;

/// Uses of each join token.
pub(crate) const USES: u32 = 6;

/// What a replica's lease is for, in seconds.
pub(crate) const LEASE: u64 = 15;

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000).plus(Duration::from_secs(seconds))
}

pub(crate) fn organization() -> OrganizationId {
    OrganizationId::new("acme").expect("a label")
}

pub(crate) fn uid(n: u8) -> ExecutorUid {
    ExecutorUid::new(Uuid::from_u128(u128::from(n) + 1))
}

pub(crate) fn attempt_id(n: u8) -> AttemptId {
    AttemptId::new(Uuid::from_u128(u128::from(n) + 1))
}

pub(crate) fn replica(n: u8) -> ReplicaId {
    ReplicaId(Uuid::from_u128(u128::from(n) + 1))
}

pub(crate) fn name(n: u8) -> ExecutorName {
    format!("organizations/acme/executors/web-{n}").parse().expect("a resource name")
}

pub(crate) fn token(n: u8) -> JoinTokenId {
    JoinTokenId::new(&format!("t-{n}")).expect("a label")
}

pub(crate) fn release(n: u8) -> ReleaseId {
    format!("agent-1.{}.0", n % 2).parse().expect("a release id")
}

pub(crate) fn request_id(n: u8) -> RequestId {
    RequestId::new(&format!("r-{n}")).expect("printable")
}

pub(crate) fn fingerprint(n: u8) -> Sha256 {
    Sha256::new([n; 32])
}

pub(crate) fn event(target: String, seconds: u64) -> Event {
    Event {
        kind: EventKind::ExecutorUpdated,
        actor: Actor::Console,
        target,
        organization: Some(organization()),
        time: at(seconds),
        details: Vec::new(),
    }
}

pub(crate) fn executor(n: u8, name: ExecutorName) -> Executor {
    Executor::new(uid(n), name, at(0))
}

pub(crate) fn attempt(n: u8, executor: u8, name: ExecutorName, request: Option<u8>) -> Attempt {
    Attempt {
        id: attempt_id(n),
        executor: uid(executor),
        executor_name: name,
        revision: Revision::default(),
        release: release(n),
        from_version: "1.0.0".parse().expect("a version"),
        generation: Generation(1),
        phase: Phase::Requested,
        refused: None,
        waiting: None,
        rollback_requested: false,
        ending: None,
        corrected: false,
        bytes_done: 0,
        bytes_total: 0,
        request_time: at(0),
        deliver_time: None,
        progress_time: None,
        apply_time: None,
        end_time: None,
        expire_time: at(900),
        requested_by: Actor::Console,
        request_id: request.map(request_id),
    }
}

pub(crate) fn ending(seconds: u64) -> Ending {
    Ending {
        outcome: Outcome::Failed,
        source: OutcomeSource::Inferred,
        reason: None,
        stage: None,
        error_code: None,
        message: String::new(),
        rolled_back_to: None,
        log_tail: Vec::new(),
        time: at(seconds),
    }
}

pub(crate) fn certificate(n: u8, join_token: u8) -> CertificateRecord {
    CertificateRecord {
        fingerprint: fingerprint(n),
        serial: n.to_string(),
        executor: uid(n),
        authority: None,
        public_key_sha256: fingerprint(n),
        join_token: Some(token(join_token)),
        chain_pem: String::new(),
        not_before: at(0),
        not_after: at(10_000),
        use_time: None,
        revoke_time: None,
    }
}

/// The rows that are there before the first call.
pub(crate) async fn prepare(store: &dyn Store) {
    let row = Organization { id: organization(), display_name: String::new(), create_time: at(0) };
    store.organization_insert(&row, &[]).await.expect("new");
    for n in 0..TOKENS {
        let row = JoinTokenRecord {
            id: token(n),
            organization: organization(),
            secret_sha256: Sha256::new([0; 32]),
            executor: None,
            replace: true,
            max_uses: USES,
            uses: 0,
            create_time: at(0),
            expire_time: at(10_000),
            revoke_time: None,
        };
        store.join_token_insert(&row, &[]).await.expect("new");
    }
    for n in 0..RELEASES {
        let row = Release {
            id: release(n),
            revision: Revision::default(),
            channel: Channel::Stable,
            status: Status::Published,
            notes: String::new(),
            floor: None,
            sequence: None,
            artifacts: Vec::new(),
            create_time: at(0),
            publish_time: Some(at(0)),
            yank_reason: None,
        };
        store.release_insert(&row, &[]).await.expect("new");
    }
    for n in 0..REPLICAS {
        store.replica_renew(replica(n), Duration::from_secs(LEASE)).await.expect("a lease");
    }
}
