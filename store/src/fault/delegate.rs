//! Every method of every trait, passed to the store inside by way of its fault.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use domain::audit::EventKind;
use domain::sign_in::SignIn;
use domain::{
    Attempt, AttemptId, Epoch, Event, Executor, ExecutorId, ExecutorName, ExecutorUid, InstanceId, JoinTokenId,
    OrganizationId, Release, ReleaseId, RequestId, Sha256, Timestamp, TokenId,
};
use tokio::sync::{broadcast, watch};

use super::{FaultStore, Kind};
use crate::{
    AttemptStore, AuthorityRecord, AuthorityStore, AuthorityUse, CertificateRecord, CertificateStore, Change,
    ChangeFeed, ChangeNumber, Committed, Enrolled, EnrolmentCommit, Error, EventQuery, EventRow, EventStore,
    ExecutorCommit, ExecutorCount, ExecutorQuery, ExecutorStore, JoinTokenRecord, JoinTokenStore, NodeChange,
    NodeRecord, NodeStore, Organization, OrganizationStore, Page, Presence, ReleaseStore, ReplicaId, Restore,
    SessionOpened, SessionRow, SessionStore, StoreClock, TokenRecord, TokenStore, TokenWithOrigin,
};

macro_rules! delegate {
    ($trait:ident { $($kind:ident $method:ident($($argument:ident: $type:ty),*) -> $output:ty;)* } $($rest:item)*) => {
        #[async_trait]
        impl $trait for FaultStore {
            $(async fn $method(&self, $($argument: $type),*) -> Result<$output, Error> {
                self.call(stringify!($method), Kind::$kind, self.inner.$method($($argument),*)).await
            })*
            $($rest)*
        }
    };
}

delegate!(StoreClock {
    Read store_now() -> Timestamp;
});

delegate!(OrganizationStore {
    Write organization_insert(organization: &Organization, events: &[Event]) -> ();
    Read organization_get(id: &OrganizationId) -> Option<Organization>;
    Read organization_list(page: Page<OrganizationId>) -> Vec<Organization>;
});

delegate!(TokenStore {
    Write token_insert(token: &TokenRecord, events: &[Event]) -> ();
    Read token_get(id: &TokenId) -> Option<TokenRecord>;
    Read token_get_with_origin(id: &TokenId) -> Option<TokenWithOrigin>;
    Read token_list_by_id(ids: &[TokenId]) -> Vec<TokenRecord>;
    Read token_list(organization: Option<&OrganizationId>, page: Page<TokenId>) -> Vec<TokenRecord>;
    Write token_revoke(id: &TokenId, time: Timestamp, events: &[Event]) -> TokenRecord;
    Write token_extend(id: &TokenId, expire_time: Timestamp) -> TokenRecord;
    Read token_list_signed_in(by: &SignIn, page: Page<TokenId>) -> Vec<TokenRecord>;
    Write token_prune(expired_before: Timestamp, limit: usize) -> usize;
});

delegate!(JoinTokenStore {
    Write join_token_insert(token: &JoinTokenRecord, events: &[Event]) -> ();
    Read join_token_get(id: &JoinTokenId) -> Option<JoinTokenRecord>;
    Read join_token_list(organization: &OrganizationId, page: Page<JoinTokenId>) -> Vec<JoinTokenRecord>;
    Write join_token_revoke(id: &JoinTokenId, time: Timestamp, events: &[Event]) -> JoinTokenRecord;
    Write join_token_prune(expired_before: Timestamp, limit: usize) -> usize;
});

delegate!(AuthorityStore {
    Read authority_list() -> Vec<AuthorityRecord>;
    Write authority_insert(authority: &AuthorityRecord, events: &[Event]) -> ();
    Write authority_retire(number: u32, time: Timestamp, events: &[Event]) -> ();
    Write authority_reseal(number: u32, from: &str, to: &str) -> ();
    Read authority_uses(ended_after: Timestamp) -> Vec<AuthorityUse>;
    Read authority_dependents(authority: Option<Sha256>, ended_after: Timestamp, limit: usize) -> Vec<ExecutorName>;
});

delegate!(CertificateStore {
    Write enrolment_commit(commit: EnrolmentCommit) -> ();
    Read enrolment_find(join_token: &JoinTokenId, public_key_sha256: &Sha256) -> Option<Enrolled>;
    Write certificate_insert(certificate: &CertificateRecord, events: &[Event]) -> ();
    Read certificate_get(fingerprint: &Sha256) -> Option<CertificateRecord>;
    Write certificate_note_used(fingerprints: &[Sha256], time: Timestamp) -> ();
    Write restore_note(time: Timestamp) -> ();
    Read restore_list() -> Vec<Restore>;
    Write certificate_prune(ended_before: Timestamp, limit: usize) -> usize;
});

delegate!(ExecutorStore {
    Read executor_get(name: &ExecutorName) -> Option<Executor>;
    Read executor_list_by_uid(uids: &[ExecutorUid]) -> Vec<Executor>;
    Read executor_list_by_name(organization: &OrganizationId, names: &[ExecutorId]) -> Vec<Executor>;
    Read executor_count(organization: &OrganizationId) -> Vec<ExecutorCount>;
    Read executor_list(query: &ExecutorQuery, page: Page<ExecutorId>) -> Vec<Executor>;
    Write executor_commit(commit: ExecutorCommit) -> Committed;
    Write executor_commit_batch(commits: Vec<ExecutorCommit>) -> Vec<Result<Committed, Error>>;
    Write executor_prune(deleted_before: Timestamp, limit: usize) -> usize;
});

delegate!(AttemptStore {
    Read attempt_get(id: AttemptId) -> Option<Attempt>;
    Read attempt_list_by_id(ids: &[AttemptId]) -> Vec<Attempt>;
    Read attempt_list_by_request(organization: &OrganizationId, request_ids: &[RequestId]) -> HashMap<RequestId, Attempt>;
    Write attempt_note_requests(organization: &OrganizationId, notes: &[(AttemptId, RequestId)]) -> Vec<Result<(), Error>>;
    Read attempt_list(executor: ExecutorUid, page: Page<AttemptId>) -> Vec<Attempt>;
    Read attempt_list_by_organization(organization: &OrganizationId, page: Page<AttemptId>) -> Vec<Attempt>;
    Read attempt_list_open_by_release(release: &ReleaseId, organization: Option<&OrganizationId>, page: Page<AttemptId>) -> Vec<Attempt>;
    Read attempt_list_due(now: Timestamp, limit: usize) -> Vec<Attempt>;
    Read attempt_count_pending() -> u64;
    Write attempt_prune(older_than: Timestamp, limit: usize) -> usize;
});

delegate!(SessionStore {
    Write replica_renew(replica: ReplicaId, lease: Duration) -> Timestamp;
    Write replica_end(replica: ReplicaId) -> ();
    Write replica_claim(replica: ReplicaId, job: &'static str) -> bool;
    Write session_open_batch(replica: ReplicaId, sessions: &[(ExecutorUid, InstanceId)]) -> Vec<SessionOpened>;
    Write session_close(executor: ExecutorUid, epoch: Epoch, events: &[Event]) -> bool;
    Read presence_list(executors: &[ExecutorUid]) -> Vec<Presence>;
    Read session_list_newest(executors: &[ExecutorUid]) -> Vec<SessionRow>;
    Read session_list_recent(executor: ExecutorUid, since: Timestamp) -> Vec<SessionRow>;
    Write session_prune(ended_before: Timestamp, limit: usize) -> usize;
});

delegate!(NodeStore {
    Write node_apply(executor: ExecutorUid, change: &NodeChange) -> usize;
    Read node_list(executor: ExecutorUid, page: Page<String>) -> Vec<NodeRecord>;
});

delegate!(ReleaseStore {
    Write release_insert(release: &Release, events: &[Event]) -> ();
    Read release_get(id: &ReleaseId) -> Option<Release>;
    Read release_list(kind: domain::Kind) -> Vec<Release>;
    Write release_commit(release: &Release, events: &[Event]) -> ();
});

delegate!(EventStore {
    Write event_append(events: &[Event]) -> ();
    Read event_list(query: &EventQuery) -> Vec<EventRow>;
    Read event_list_first(organization: &OrganizationId, kind: EventKind, targets: &[String]) -> Vec<EventRow>;
    Write event_skip(numbers: u32) -> ();
    Write event_prune(older_than: Timestamp, limit: usize) -> usize;
}
fn event_head(&self) -> watch::Receiver<u64> {
    self.wakes.event_head.subscribe()
});

delegate!(ChangeFeed {
    Read change_head() -> ChangeNumber;
    Read change_list_since(number: ChangeNumber, limit: usize) -> Vec<Change>;
}
fn change_subscribe(&self) -> broadcast::Receiver<Change> {
    self.wakes.changes.subscribe()
});
