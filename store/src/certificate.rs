//! Executor certificates: who was issued what, so that every RPC can ask whether it still holds.

use async_trait::async_trait;
use domain::{Event, Executor, ExecutorUid, JoinTokenId, Sha256, Timestamp};

use crate::error::Error;
use crate::executor::AttemptWrite;
use crate::token::JoinTokenRecord;

/// One issued certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRecord {
    /// SHA-256 of its DER: what a connection's leaf is looked up by.
    pub fingerprint: Sha256,
    /// Its serial number, lower-case hexadecimal.
    pub serial: String,
    /// Whose.
    pub executor: ExecutorUid,
    /// SHA-256 of the public key of the authority that signed it; none: from before this was written.
    pub authority: Option<Sha256>,
    /// SHA-256 of its SubjectPublicKeyInfo: the same CSR key gets its certificate again.
    pub public_key_sha256: Sha256,
    /// The join token that it was enrolled with; none for renewals.
    pub join_token: Option<JoinTokenId>,
    /// PEM, as it was answered.
    pub chain_pem: String,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
    /// When its executor was first seen with it.
    pub use_time: Option<Timestamp>,
    /// When it was revoked.
    pub revoke_time: Option<Timestamp>,
}

/// An enrolment, in one transaction: the join token's use, the executor's row, its certificate, the events.
#[derive(Clone, Debug)]
pub struct EnrolmentCommit {
    /// A join token that is written with it: somebody other than a person vouches. [`Error::Exists`] when it is there already.
    pub vouched: Option<JoinTokenRecord>,
    /// The join token, counted up by one if it may still be used at `time`; otherwise [`Error::Stale`].
    pub join_token: JoinTokenId,
    /// The new executor.
    pub executor: Executor,
    /// The executor of the same name that it takes the place of: deleted, its certificates revoked, its session ended.
    pub replaces: Option<ExecutorUid>,
    /// The open attempts of the executor that is replaced, ended: once it is deleted nobody else can. When one is not among
    /// them, or was written since, the answer is [`Error::Stale`]. Empty when nothing is replaced.
    pub replaced_attempts: Vec<AttemptWrite>,
    /// Its first certificate.
    pub certificate: CertificateRecord,
    /// For the feed.
    pub events: Vec<Event>,
    /// When.
    pub time: Timestamp,
}

/// What an earlier enrolment with the same token and key left behind: a lost answer is given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The executor.
    pub executor: Executor,
    /// Its first certificate.
    pub certificate: CertificateRecord,
}

/// A restored backup. Certificates that were issued after what it knew, and before it was restored, are genuine and not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restore {
    /// When it was made safe to run.
    pub time: Timestamp,
    /// The beginning of the newest certificate that it knew.
    pub known_until: Timestamp,
}

/// Certificates on disk.
#[async_trait]
pub trait CertificateStore: Send + Sync {
    /// Enrols. [`Error::Exists`] when the name is taken by another executor than `replaces`.
    async fn enrolment_commit(&self, commit: EnrolmentCommit) -> Result<(), Error>;

    /// What this token and key have enrolled before.
    async fn enrolment_find(
        &self,
        join_token: &JoinTokenId,
        public_key_sha256: &Sha256,
    ) -> Result<Option<Enrolled>, Error>;

    /// Writes a renewed certificate and its events.
    async fn certificate_insert(&self, certificate: &CertificateRecord, events: &[Event]) -> Result<(), Error>;

    /// One certificate, by its fingerprint.
    async fn certificate_get(&self, fingerprint: &Sha256) -> Result<Option<CertificateRecord>, Error>;

    /// Writes that executors were seen with these at `time`, where that was not written before. Unknown ones are left out.
    async fn certificate_note_used(&self, fingerprints: &[Sha256], time: Timestamp) -> Result<(), Error>;

    /// Writes that a backup was restored at `time`. Walks the certificates.
    async fn restore_note(&self, time: Timestamp) -> Result<(), Error>;

    /// Every backup that was restored, oldest first.
    async fn restore_list(&self) -> Result<Vec<Restore>, Error>;

    /// Forgets certificates that ended before `time` (the 180 days of late renewal lie between), at most `limit`; answers how many.
    async fn certificate_prune(&self, ended_before: Timestamp, limit: usize) -> Result<usize, Error>;
}
