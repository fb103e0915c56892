//! Certificate authorities that are kept in the store, their keys sealed: what replicas share, and what a rotation moves along.

use std::fmt;

use async_trait::async_trait;
use domain::{Event, ExecutorName, Sha256, Timestamp};

use crate::error::Error;

/// An authority.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthorityRecord {
    /// The first has 1, and each is one more than the one before.
    pub number: u32,
    /// SHA-256 of its SubjectPublicKeyInfo: what join tokens pin, and certificates name it by.
    pub public_key_sha256: Sha256,
    /// Its certificate, in PEM.
    pub certificate_pem: String,
    /// Its key as text that only a sealing key opens. Empty once it is retired: then nothing can sign with it again.
    pub sealed_key: String,
    /// When it was made. It is trusted from then on.
    pub create_time: Timestamp,
    /// From when on it signs executor certificates: every replica has read it by then.
    pub sign_time: Timestamp,
    /// When it was retired. It is trusted no more.
    pub retire_time: Option<Timestamp>,
}

/// How many executors hold a certificate of an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthorityUse {
    /// Which one; none: certificates that do not name theirs, from before they did.
    pub authority: Option<Sha256>,
    /// Executors whose certificate in hand it signed.
    pub executors: u64,
}

/// Authorities on disk.
///
/// The certificate that an executor has in hand is the newest that it was seen with, or the newest that it was given when it
/// was seen with none: an answer may be lost on its way.
#[async_trait]
pub trait AuthorityStore: Send + Sync {
    /// All of them, by number.
    async fn authority_list(&self) -> Result<Vec<AuthorityRecord>, Error>;

    /// Writes a new one. [`Error::Exists`] when its number is taken: another was made at the same time.
    async fn authority_insert(&self, authority: &AuthorityRecord, events: &[Event]) -> Result<(), Error>;

    /// Retires one and forgets its key. [`Error::Stale`] when it is retired already, or unknown.
    async fn authority_retire(&self, number: u32, time: Timestamp, events: &[Event]) -> Result<(), Error>;

    /// Puts the same key, sealed anew, in the place of `from`. [`Error::Stale`] when that is not what is there.
    async fn authority_reseal(&self, number: u32, from: &str, to: &str) -> Result<(), Error>;

    /// How many executors hold a certificate of each authority that ends after `ended_after`, in any order. Walks the fleet.
    async fn authority_uses(&self, ended_after: Timestamp) -> Result<Vec<AuthorityUse>, Error>;

    /// The first executors, by name, that [`AuthorityStore::authority_uses`] counts for one authority. Walks the fleet.
    async fn authority_dependents(
        &self,
        authority: Option<Sha256>,
        ended_after: Timestamp,
        limit: usize,
    ) -> Result<Vec<ExecutorName>, Error>;
}

impl fmt::Debug for AuthorityRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sealed or not, a key is nobody's to read in a log.
        f.debug_struct("AuthorityRecord")
            .field("number", &self.number)
            .field("public_key_sha256", &self.public_key_sha256)
            .field("sign_time", &self.sign_time)
            .field("retire_time", &self.retire_time)
            .finish_non_exhaustive()
    }
}
