//! What an executor proves itself with: its private key, its certificate chain, and the authorities it trusts.
//!
//! All of it is one file, `credentials.json`, mode 0600, replaced atomically ([`crate::disk`]): key and certificate cannot
//! get out of step, and a crash in a renewal leaves the old or the new pair. The key never leaves the host: it is made
//! here, and only certificate signing requests are sent.
//!
//! A key is on disk (`pending-key.pem`) before any request that names it is sent, and stays until a certificate for it
//! is on disk as well. So when an answer is lost, the request is repeated with the same key and gets its certificate again. A key that
//! may or may not have reached the disk counts as one that has not: it is written again before it is named.

use std::fmt;
use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::join::Endpoint;
use domain::{ExecutorName, ExecutorUid, Timestamp};
use rcgen::{CertificateParams, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::{Zeroize as _, Zeroizing};

use crate::disk;

const FORMAT: u32 = 1;

mod store;

pub use store::CredentialStore;

/// A whole set. Cloning copies the key; clones are wiped like the original.
#[derive(Clone)]
pub struct Credentials {
    /// This enrolment.
    pub uid: ExecutorUid,
    /// Its name.
    pub executor: ExecutorName,
    /// Where the control plane's executor listeners are; tried in turn.
    pub endpoints: Vec<Endpoint>,
    key: Zeroizing<String>,
    chain: String,
    trust: String,
    validity: Validity,
}

/// When a certificate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From when.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
}

/// A key that has no certificate yet; it is kept already.
pub struct PendingKey {
    pair: KeyPair,
    pem: Zeroizing<String>,
}

/// Where credentials are kept: files ([`CredentialStore`]), or a place of the executor's own. Its methods block, and are called
/// where that is allowed.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Reads them.
    ///
    /// # Errors
    /// [`Error::NotEnrolled`] when there are none; otherwise what is wrong with them.
    fn load(&self) -> Result<Credentials, Error>;

    /// Writes them, durable when it returns, and forgets the pending key that is theirs.
    ///
    /// # Errors
    /// [`Error`] when that is not certain.
    fn save(&self, credentials: &Credentials) -> Result<(), Error>;

    /// The key for the next request: the one that a lost answer left, or a new one, durable when it returns.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read, made or written. One that cannot be read is replaced.
    fn pending_key(&self) -> Result<PendingKey, Error>;
}

/// Why credentials could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are none: the executor is not enrolled.
    #[error("no credentials in {place}; enrol this executor first")]
    NotEnrolled {
        /// Where they would be.
        place: String,
    },
    /// A place of the executor's own could not be read or written.
    #[error("keep credentials in {place}")]
    Elsewhere {
        /// Where they are kept.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// They could not be read.
    #[error("read {path}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// They are not what they should be.
    #[error("{what} cannot be used: {why}")]
    Unusable {
        /// Which file or answer.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// They could not be written.
    #[error("write credentials")]
    Write(#[from] disk::Error),
    /// No key could be made.
    #[error("make a private key or a certificate signing request")]
    Key(#[from] rcgen::Error),
}

/// The form on disk.
#[derive(Deserialize, Serialize)]
struct Document {
    format: u32,
    uid: String,
    executor: String,
    endpoints: Vec<String>,
    private_key: String,
    certificate_chain: String,
    trust_bundle: String,
}

impl Drop for Document {
    fn drop(&mut self) {
        self.private_key.zeroize();
    }
}

// === impl Credentials ===

impl Credentials {
    /// Puts a set together; key and certificate have to belong to each other.
    ///
    /// # Errors
    /// [`Error::Unusable`] that says which part is wrong.
    pub fn new(identity: Identity, key: &PendingKey, chain: String, trust: String) -> Result<Self, Error> {
        let Identity { uid, executor, endpoints } = identity;
        Self::checked(uid, executor, endpoints, key.pem.clone(), chain, trust)
            .map_err(|why| unusable("the certificate that was issued", why))
    }

    /// The same identity with the next certificate.
    ///
    /// # Errors
    /// As [`Credentials::new`].
    pub fn renewed(&self, key: &PendingKey, chain: String, trust: String) -> Result<Self, Error> {
        let identity = Identity { uid: self.uid, executor: self.executor.clone(), endpoints: self.endpoints.clone() };
        Self::new(identity, key, chain, trust)
    }

    /// Leads to `endpoint` and nowhere else from now on: what a host says of where the control plane is has the last word. Whether
    /// that is elsewhere than it led to; then it has to be kept.
    #[must_use]
    pub fn move_to(&mut self, endpoint: &Endpoint) -> bool {
        let is_new = self.endpoints != std::slice::from_ref(endpoint);
        if is_new {
            self.endpoints = vec![endpoint.clone()];
        }
        is_new
    }

    /// When its certificate counts.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate chain, the executor's first.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        certificates(&self.chain).expect("checked when it was put together")
    }

    /// The authorities trusted for the control plane.
    #[must_use]
    pub fn trust(&self) -> Vec<CertificateDer<'static>> {
        certificates(&self.trust).expect("checked when it was put together")
    }

    /// Whether `key` is the private key of this set.
    #[must_use]
    pub fn holds(&self, key: &PendingKey) -> bool {
        KeyPair::from_pem(&self.key).is_ok_and(|own| own.public_key_raw() == key.pair.public_key_raw())
    }

    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).expect("checked when it was put together")
    }

    /// Reads the form on disk.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut document: Document =
            serde_json::from_slice(bytes).map_err(|error| format!("it is not a set of credentials: {error}"))?;
        if document.format != FORMAT {
            return Err(format!("it has format {}, and this release reads format {FORMAT}", document.format));
        }
        let uid = document.uid.parse().map_err(|error| format!("uid: {error}"))?;
        let executor = document.executor.parse().map_err(|error| format!("executor: {error}"))?;
        let endpoints: Result<Vec<Endpoint>, _> = document.endpoints.iter().map(|endpoint| endpoint.parse()).collect();
        let endpoints = endpoints.map_err(|error| format!("endpoints: {error}"))?;
        let key = Zeroizing::new(mem::take(&mut document.private_key));
        let (chain, trust) = (mem::take(&mut document.certificate_chain), mem::take(&mut document.trust_bundle));
        Self::checked(uid, executor, endpoints, key, chain, trust)
    }

    fn checked(
        uid: ExecutorUid,
        executor: ExecutorName,
        endpoints: Vec<Endpoint>,
        key: Zeroizing<String>,
        chain: String,
        trust: String,
    ) -> Result<Self, String> {
        if endpoints.is_empty() {
            return Err("it names no endpoint".to_owned());
        }
        let pair = KeyPair::from_pem(&key).map_err(|_| "its private key is not PKCS#8 in PEM".to_owned())?;
        if certificates(&trust)?.is_empty() {
            return Err("its trust bundle is empty".to_owned());
        }
        let certificates = certificates(&chain)?;
        let leaf = certificates.first().ok_or("its certificate chain is empty")?;
        let (_, leaf) =
            X509Certificate::from_der(leaf).map_err(|error| format!("its certificate cannot be read: {error}"))?;
        if leaf.public_key().subject_public_key.data.as_ref() != pair.public_key_raw() {
            return Err("its certificate is for another key".to_owned());
        }
        let time = |seconds: i64| Timestamp::from_micros(seconds.saturating_mul(1_000_000));
        let validity = leaf.validity();
        let validity = Validity {
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        };
        Ok(Self { uid, executor, endpoints, key, chain, trust, validity })
    }

    /// The form that [`Credentials::parse`] reads. It holds the private key.
    #[must_use]
    pub fn print(&self) -> Zeroizing<Vec<u8>> {
        let document = Document {
            format: FORMAT,
            uid: self.uid.to_string(),
            executor: self.executor.to_string(),
            endpoints: self.endpoints.iter().map(ToString::to_string).collect(),
            private_key: self.key.to_string(),
            certificate_chain: self.chain.clone(),
            trust_bundle: self.trust.clone(),
        };
        Zeroizing::new(serde_json::to_vec_pretty(&document).expect("texts always print"))
    }
}

/// Who the credentials are for, as enrolment answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// This enrolment.
    pub uid: ExecutorUid,
    /// Its name.
    pub executor: ExecutorName,
    /// Where the control plane is.
    pub endpoints: Vec<Endpoint>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({} {})", self.executor, self.uid)
    }
}

// === impl Validity ===

impl Validity {
    /// How long to wait from `now` until the certificate is renewed: a third of its life after it began, and up to a tenth
    /// of its life later, by `jitter` (0 to 1), so that a fleet enrolled in one hour does not renew in one hour.
    ///
    /// Nothing when it is due. A clock that runs before the certificate began tells nothing; the wait is then counted from
    /// its beginning, and never longer than that.
    #[must_use]
    pub fn renew_in(self, now: Timestamp, jitter: f64) -> Duration {
        let life = self.not_after.since(self.not_before);
        let wait = life / 3 + (life / 10).mul_f64(jitter.clamp(0.0, 1.0));
        let now = now.max(self.not_before);
        self.not_before.plus(wait).since(now)
    }

    /// Whether it is over by the host's clock. The control plane has the last word: it still renews it for 180 days.
    #[must_use]
    pub fn is_over(self, now: Timestamp) -> bool {
        now > self.not_after
    }
}

// === impl PendingKey ===

impl PendingKey {
    /// A new one; it is to be kept before it is used.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn generate() -> Result<Self, Error> {
        let pair = KeyPair::generate()?;
        let pem = Zeroizing::new(pair.serialize_pem());
        Ok(Self { pair, pem })
    }

    /// One that was kept; nothing when it is none.
    #[must_use]
    pub fn parse(pem: Zeroizing<String>) -> Option<Self> {
        let pair = KeyPair::from_pem(&pem).ok()?;
        Some(Self { pair, pem })
    }

    /// What is kept of it: PKCS#8 in PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate signing request in DER. It asks for nothing: subject and names are the control plane's to say.
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn signing_request(&self) -> Result<Vec<u8>, Error> {
        let request = CertificateParams::default().serialize_request(&self.pair)?;
        Ok(request.der().to_vec())
    }
}

impl std::fmt::Debug for PendingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingKey")
    }
}

impl<K: Keeper + ?Sized> Keeper for Arc<K> {
    fn load(&self) -> Result<Credentials, Error> {
        self.as_ref().load()
    }

    fn save(&self, credentials: &Credentials) -> Result<(), Error> {
        self.as_ref().save(credentials)
    }

    fn pending_key(&self) -> Result<PendingKey, Error> {
        self.as_ref().pending_key()
    }
}

/// The certificates of a PEM text.
///
/// # Errors
/// A sentence that says what is wrong.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    all.map_err(|error| format!("a certificate is not PEM: {error}"))
}

fn unusable(what: impl std::fmt::Display, why: String) -> Error {
    Error::Unusable { what: what.to_string(), why }
}

#[cfg(test)]
mod tests;
