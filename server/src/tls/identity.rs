//! Who an executor is, as the gate of the executor listener found it: its certificate's fingerprint and its state were
//! looked up in the store for this very request, so that a deactivated executor is refused whatever its TLS session says.

use domain::{ExecutorUid, OrganizationId, Sha256, Timestamp};
use tonic::Status;

use crate::grpc::error;

/// What the gate puts into the extensions of each request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorIdentity {
    /// Whose certificate it is.
    pub uid: ExecutorUid,
    /// Its tenant.
    pub organization: OrganizationId,
    /// What it shows.
    pub certificate: Certificate,
    /// Whether the certificate is in its time.
    pub standing: Standing,
}

/// What is known of an executor's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER.
    pub fingerprint: Sha256,
    /// Who signed it, by public key; none: from before that was written.
    pub authority: Option<Sha256>,
    /// When it was issued.
    pub issue_time: Timestamp,
    /// When it ends. A stream that is still open then is closed: nobody looks again after the handshake.
    pub not_after: Timestamp,
    /// Whether its executor was seen with it before.
    pub seen: Seen,
}

impl Certificate {
    /// Its fingerprint, when its executor was not seen with it before.
    #[must_use]
    pub fn first_seen(&self) -> Option<Sha256> {
        (self.seen == Seen::Never).then_some(self.fingerprint)
    }
}

/// Whether an executor was seen with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not yet, as far as is written.
    Never,
    /// It was.
    Before,
}

/// Whether a certificate is in its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is.
    Valid,
    /// It ended at most 180 days ago: good for `RenewCertificate`, and the gate lets it to nothing else.
    Late,
}

/// The identity that the gate found.
///
/// # Errors
/// UNAUTHENTICATED when the request came without one: the gate is not in front of this handler.
pub fn executor<T>(request: &tonic::Request<T>) -> Result<ExecutorIdentity, Status> {
    request.extensions().get::<ExecutorIdentity>().cloned().ok_or_else(error::no_certificate)
}
