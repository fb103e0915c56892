//! Whom executors and servers of this installation are signed by, and whom they trust: an authority in the data directory, one that
//! is given in files, or those in the store, which can be rotated while streams are open ([`shared`], [`standing`]).
//! It signs executor certificates and the control plane's server certificates; nothing else may.
//!
//! An own one is two files. `authority.pem` (0600) holds key and certificate together, so that no crash can part them;
//! `ca.pem` is the certificate alone, for people and programs, and is written again at each start if it differs. Server
//! certificates are made in memory at each start: their keys are never on a disk.

pub mod claim;

pub mod issue;

pub mod request;

pub mod seal;

pub mod shared;

pub mod signer;

pub mod standing;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::{Sha256, Timestamp};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::X509Certificate;
use zeroize::Zeroizing;

use self::seal::SealingKeys;
use self::signer::{Pem, Signer, certificates, make};
use self::standing::Unnamed;
use crate::tls::files::{self, Mode};

/// Key and certificate of the own authority, in the data directory.
pub const OWN_FILE: &str = "authority.pem";

/// The certificates to trust, in the data directory (API.md).
pub const BUNDLE_FILE: &str = "ca.pem";

/// Certificates begin this much before they are issued, for hosts whose clocks are behind.
pub const SKEW: Duration = Duration::from_secs(3600);

/// Where the authority comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Made on first start, and kept in the data directory.
    #[default]
    Own,
    /// PEM files: the first certificate signs; the others are trusted beside it.
    Given(Files),
    /// The store, its keys sealed. Where it holds none yet, the files' are taken in, or those of the data directory.
    Store {
        /// What opens them.
        keys: Sealing,
        /// The first, when one is given.
        first: Option<Files>,
    },
}

/// Where the keys that seal are from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealing {
    /// The environment, or the settings.
    Given(SealingKeys),
    /// A file.
    File(PathBuf),
}

/// An authority in PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// One or more certificates.
    pub certificate: PathBuf,
    /// The key of the first (PKCS#8).
    pub key: PathBuf,
}

impl Sealing {
    /// The keys. Blocks on the disk.
    ///
    /// # Errors
    /// A file that cannot be read, or holds none.
    pub fn read(&self) -> Result<SealingKeys, Error> {
        match self {
            Self::Given(keys) => Ok(keys.clone()),
            Self::File(path) => {
                let text = Zeroizing::new(files::read(path)?);
                // What is not text holds no digits either.
                let keys = SealingKeys::parse(std::str::from_utf8(&text).unwrap_or("?"));
                keys.map_err(|why| Error::SealingFile { path: path.clone(), why })
            }
        }
    }
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file.
    #[error(transparent)]
    File(#[from] files::Error),
    /// What a file, or a row of the store, holds is not what it should be.
    #[error("{origin} {rule}")]
    Content {
        /// Which.
        origin: String,
        /// What it must be, and is not.
        rule: &'static str,
    },
    /// A key in the store cannot be opened.
    #[error(transparent)]
    Sealed(#[from] seal::Error),
    /// A file of keys that seal.
    #[error("{} {why}", path.display())]
    SealingFile {
        /// Which.
        path: PathBuf,
        /// What it must be, and is not.
        why: seal::Error,
    },
    /// The store holds none that is trusted.
    #[error("the store holds no authority that is trusted")]
    NoneTrusted,
    /// Making keys or certificates failed.
    #[error("{operation}")]
    Crypto {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: rcgen::Error,
    },
    /// The system's source of random bytes failed.
    #[error("read random bytes")]
    Random,
}

/// Who signs, and whom to trust.
pub struct Authority {
    executors: Arc<Signer>,
    servers: Arc<Signer>,
    trusted: Vec<CertificateDer<'static>>,
    trusted_keys: Vec<Sha256>,
    unnamed: Unnamed,
    bundle: String,
    changed: Option<Timestamp>,
    trust_domain: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("executors", &self.executors)
            .field("servers", &self.servers)
            .finish_non_exhaustive()
    }
}

// === impl Authority ===

impl Authority {
    /// Loads an own or given authority, making an own one where there is none yet, and sees to `ca.pem`. Blocks on the disk.
    ///
    /// # Errors
    /// See [`Error`]. An own authority that cannot be read is never replaced by a new one: executors would be lost.
    pub fn load(data_dir: &Path, files: Option<&Files>, trust_domain: &str, now: Timestamp) -> Result<Self, Error> {
        let authority = match files {
            Some(files) => Self::given(files, trust_domain)?,
            None => {
                let path = data_dir.join(OWN_FILE);
                let text = match files::read_if_there(&path)? {
                    Some(text) => Zeroizing::new(text),
                    None => {
                        let text = make(now)?;
                        files::replace(&path, &text, Mode::Private)?;
                        text
                    }
                };
                let path = path.display().to_string();
                let pem = Pem { origin: &path, text: &text };
                Self::of_one(pem, pem, trust_domain)?
            }
        };
        authority.publish(data_dir)?;
        Ok(authority)
    }

    /// Judges given files, and writes nothing. Blocks on the disk.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn given(files: &Files, trust_domain: &str) -> Result<Self, Error> {
        let certificates = files::read(&files.certificate)?;
        let key = Zeroizing::new(files::read(&files.key)?);
        let (certificate_origin, key_origin) =
            (files.certificate.display().to_string(), files.key.display().to_string());
        let certificates = Pem { origin: &certificate_origin, text: &certificates };
        Self::of_one(certificates, Pem { origin: &key_origin, text: &key }, trust_domain)
    }

    /// One signs everything; what stands behind its certificate is trusted beside it.
    fn of_one(certificate: Pem<'_>, key: Pem<'_>, trust_domain: &str) -> Result<Self, Error> {
        let trusted = certificates(certificate)?;
        let signer = Arc::new(Signer::read(certificate, key)?);
        let trusted_keys = trusted.iter().filter_map(|der| Some(sha256(certificate_of(der)?.public_key().raw)));
        Ok(Self {
            trusted_keys: trusted_keys.collect(),
            bundle: bundle(&trusted),
            trusted,
            unnamed: Unnamed::Trusted,
            changed: None,
            executors: Arc::clone(&signer),
            servers: signer,
            trust_domain: trust_domain.to_owned(),
        })
    }

    /// Writes `ca.pem` where it is not so yet. Blocks on the disk.
    ///
    /// # Errors
    /// The file's.
    pub fn publish(&self, data_dir: &Path) -> Result<(), Error> {
        let path = data_dir.join(BUNDLE_FILE);
        if files::read_if_there(&path)?.as_deref() != Some(self.bundle.as_bytes()) {
            files::replace(&path, self.bundle.as_bytes(), Mode::Public)?;
        }
        Ok(())
    }

    /// The certificates to trust, in PEM: what `ca.pem` holds.
    #[must_use]
    pub fn trust_bundle(&self) -> &str {
        &self.bundle
    }

    /// The certificates to trust.
    #[must_use]
    pub fn trusted(&self) -> &[CertificateDer<'static>] {
        &self.trusted
    }

    /// Whether what an authority signed counts, by its public key; none: a certificate from before they named theirs.
    #[must_use]
    pub fn trusts(&self, authority: Option<Sha256>) -> bool {
        match authority {
            Some(authority) => self.trusted_keys.contains(&authority),
            None => self.unnamed == Unnamed::Trusted,
        }
    }

    /// Whether an executor whose certificate was issued at `issue_time` was told to trust others than are trusted now; since
    /// when. It has to renew.
    #[must_use]
    pub fn stale_since(&self, issue_time: Timestamp) -> Option<Timestamp> {
        self.changed.filter(|changed| issue_time < *changed)
    }

    /// Who signs executor certificates, by its public key.
    #[must_use]
    pub fn signs_executors(&self) -> Sha256 {
        self.executors.public_key_sha256()
    }

    /// The certificate that signs what servers show; it ends their chain, so that enrolment can pin it.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        self.servers.certificate()
    }

    /// SHA-256 of the DER of its SubjectPublicKeyInfo: the pin that join tokens carry.
    #[must_use]
    pub fn public_key_sha256(&self) -> Sha256 {
        self.servers.public_key_sha256()
    }
}

fn bundle(trusted: &[CertificateDer<'static>]) -> String {
    trusted.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

/// A parsed certificate with nothing behind it.
#[must_use]
pub fn certificate_of<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(([], certificate)) => Some(certificate),
        Ok(_) | Err(_) => None,
    }
}

/// SHA-256 of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Sha256 {
    use sha2::Digest as _;
    Sha256::new(sha2::Sha256::digest(bytes).into())
}

/// A point in time from seconds since the Unix epoch, as certificates count.
#[must_use]
pub fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds.saturating_mul(1_000_000))
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        // RFC 7468: lines of 64. Base64 is ASCII, so any index is a boundary.
        let (line, tail) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = tail;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing;
