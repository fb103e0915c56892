//! Who may call what: every RPC of both listeners, once. A path that has no row is answered UNIMPLEMENTED, whatever is behind it.

use domain::role::Demand;
use tonic::Status;

use crate::app::caller::Caller;
use crate::grpc::error;

/// Where an RPC is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// People and programs.
    Api,
    /// Agents and operators.
    Executors,
}

/// What a caller shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: it tells only what is public.
    Nothing,
    /// A bearer token whose role meets this.
    Token(Demand),
    /// A join token, in the request itself.
    JoinToken,
    /// A client certificate in its time.
    Certificate,
    /// A client certificate, at most 180 days late.
    LateCertificate,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// `/package.Service/Method`.
    pub path: &'static str,
    /// Where it is offered.
    pub listener: Listener,
    /// What its caller shows.
    pub proof: Proof,
}

const fn api(path: &'static str, demand: Demand) -> Access {
    Access { path, listener: Listener::Api, proof: Proof::Token(demand) }
}

const fn open(path: &'static str) -> Access {
    Access { path, listener: Listener::Api, proof: Proof::Nothing }
}

const fn executors(path: &'static str, proof: Proof) -> Access {
    Access { path, listener: Listener::Executors, proof }
}

/// Every RPC.
pub const TABLE: &[Access] = &[
    executors("/novacula.v1.SyncService/SyncExecutor", Proof::Certificate),
    executors("/novacula.v1.SyncService/Probe", Proof::Certificate),
    executors("/novacula.v1.EnrollmentService/Enroll", Proof::JoinToken),
    executors("/novacula.v1.EnrollmentService/RenewCertificate", Proof::LateCertificate),
    api("/novacula.v1.ExecutorService/GetExecutor", Demand::Look),
    api("/novacula.v1.ExecutorService/ListExecutors", Demand::Look),
    api("/novacula.v1.ExecutorService/SummarizeExecutors", Demand::Look),
    api("/novacula.v1.ExecutorService/WatchExecutors", Demand::Look),
    api("/novacula.v1.ExecutorService/UpdateExecutor", Demand::Deploy),
    api("/novacula.v1.ExecutorService/DeactivateExecutor", Demand::Deploy),
    api("/novacula.v1.ExecutorService/ActivateExecutor", Demand::Deploy),
    api("/novacula.v1.ExecutorService/DeleteExecutor", Demand::Deploy),
    api("/novacula.v1.ExecutorService/ListNodes", Demand::Look),
    api("/novacula.v1.ExecutorService/ClearHold", Demand::Deploy),
    api("/novacula.v1.UpgradeService/ListUpgradeTargets", Demand::Look),
    api("/novacula.v1.UpgradeService/RequestUpgrade", Demand::Deploy),
    api("/novacula.v1.UpgradeService/BatchRequestUpgrade", Demand::Deploy),
    api("/novacula.v1.UpgradeService/CancelUpgrade", Demand::Deploy),
    api("/novacula.v1.UpgradeService/GetAttempt", Demand::Look),
    api("/novacula.v1.UpgradeService/ListAttempts", Demand::Look),
    api("/novacula.v1.UpgradeService/WatchAttempt", Demand::Look),
    api("/novacula.v1.UpgradeService/ExplainUpgrade", Demand::Look),
    api("/novacula.v1.ReleaseService/CreateRelease", Demand::Publish),
    api("/novacula.v1.ReleaseService/UploadArtifact", Demand::Publish),
    api("/novacula.v1.ReleaseService/AddReleaseSignature", Demand::Publish),
    api("/novacula.v1.ReleaseService/GetRelease", Demand::AnyToken),
    api("/novacula.v1.ReleaseService/ListReleases", Demand::AnyToken),
    api("/novacula.v1.ReleaseService/PublishRelease", Demand::Publish),
    api("/novacula.v1.ReleaseService/YankRelease", Demand::Publish),
    api("/novacula.v1.ReleaseService/CompareReleases", Demand::AnyToken),
    api("/novacula.v1.OrganizationService/CreateOrganization", Demand::Install),
    api("/novacula.v1.OrganizationService/GetOrganization", Demand::Look),
    // The answer holds only what the caller's role reaches.
    api("/novacula.v1.OrganizationService/ListOrganizations", Demand::AnyToken),
    api("/novacula.v1.OrganizationService/CreateJoinToken", Demand::Own),
    api("/novacula.v1.OrganizationService/ListJoinTokens", Demand::Own),
    api("/novacula.v1.OrganizationService/RevokeJoinToken", Demand::Own),
    api("/novacula.v1.OrganizationService/CreateToken", Demand::Own),
    api("/novacula.v1.OrganizationService/ListTokens", Demand::Own),
    api("/novacula.v1.OrganizationService/RevokeToken", Demand::Own),
    api("/novacula.v1.OrganizationService/WhoAmI", Demand::AnyToken),
    api("/novacula.v1.EventService/ListEvents", Demand::Look),
    api("/novacula.v1.EventService/WatchEvents", Demand::Look),
    // The proto files are public, and so is whether the server serves: grpcurl and probes come without a token.
    open("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    open("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
    open("/grpc.health.v1.Health/Check"),
    open("/grpc.health.v1.Health/List"),
    open("/grpc.health.v1.Health/Watch"),
];

/// Before the digest in the path of a plain upload.
pub const UPLOADS: &str = "/upload/";

/// What a plain upload is.
const UPLOAD: &str = "/novacula.v1.ReleaseService/UploadArtifact";

/// The row of a path on a listener, a plain upload being a call of UploadArtifact; none: it is not offered there.
#[must_use]
pub fn find(listener: Listener, path: &str) -> Option<&'static Access> {
    let path = if path.starts_with(UPLOADS) { UPLOAD } else { path };
    TABLE.iter().find(|row| row.listener == listener && row.path == path)
}

/// The caller that the layer found.
///
/// # Errors
/// UNAUTHENTICATED when the request came without one: the layer is not in front of this handler.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(error::no_token)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_path_has_two_rows() {
        let paths: BTreeSet<_> = TABLE.iter().map(|row| row.path).collect();
        assert_eq!(paths.len(), TABLE.len());
    }

    #[test]
    fn an_rpc_is_offered_on_its_own_listener_only() {
        let path = "/novacula.v1.SyncService/SyncExecutor";
        assert!(find(Listener::Executors, path).is_some());
        assert!(find(Listener::Api, path).is_none());
        assert!(find(Listener::Executors, "/novacula.v1.UpgradeService/RequestUpgrade").is_none());
        assert!(find(Listener::Executors, "/upload/x").is_none());
        assert_eq!(find(Listener::Api, "/upload/x").map(|row| row.proof), Some(Proof::Token(Demand::Publish)));
    }
}
