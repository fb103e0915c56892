//! The control plane's own certificate authority, or the one that it is given. It signs executor certificates and the
//! control plane's server certificates; nothing else may.
//!
//! On disk there are two files. `authority.pem` (0600) holds key and certificate together, so that no crash can part them;
//! `ca.pem` is the certificate alone, for people and programs, and is written again at each start if it differs. Server
//! certificates are made in memory at each start: their keys are never on a disk.

pub mod issue;

pub mod request;

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{Sha256, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::X509Certificate;
use zeroize::Zeroizing;

use crate::tls::files::{self, Mode};

/// Key and certificate of the own authority, in the data directory.
pub const OWN_FILE: &str = "authority.pem";

/// The certificates to trust, in the data directory (API.md).
pub const BUNDLE_FILE: &str = "ca.pem";

/// How long an own authority lives: no fleet outlives it unnoticed, and its rotation is a deliberate act.
const LIFE: Duration = Duration::from_secs(3653 * 24 * 3600);

/// Certificates begin this much before they are issued, for hosts whose clocks are behind.
const SKEW: Duration = Duration::from_secs(3600);

/// Where the authority comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// Made on first start, and kept in the data directory.
    #[default]
    Own,
    /// PEM files: the first certificate signs; the others are trusted beside it.
    Given {
        /// One or more certificates.
        certificate: PathBuf,
        /// The key of the first (PKCS#8).
        key: PathBuf,
    },
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file.
    #[error(transparent)]
    File(#[from] files::Error),
    /// What a file holds is not what it should be.
    #[error("{} {rule}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What it must be, and is not.
        rule: &'static str,
    },
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

/// Signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    trusted: Vec<CertificateDer<'static>>,
    bundle: String,
    public_key_sha256: Sha256,
    not_after: Timestamp,
    trust_domain: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("public_key_sha256", &self.public_key_sha256).finish_non_exhaustive()
    }
}

// === impl Authority ===

impl Authority {
    /// Loads the authority, making an own one where there is none yet, and sees to `ca.pem`. Blocks on the disk.
    ///
    /// # Errors
    /// See [`Error`]. An own authority that cannot be read is never replaced by a new one: executors would be lost.
    pub fn load(data_dir: &Path, source: &Source, trust_domain: &str, now: Timestamp) -> Result<Self, Error> {
        let authority = match source {
            Source::Own => {
                let path = data_dir.join(OWN_FILE);
                let pem = match files::read_if_there(&path)? {
                    Some(pem) => Zeroizing::new(pem),
                    None => {
                        let pem = make(now)?;
                        files::replace(&path, &pem, Mode::Private)?;
                        pem
                    }
                };
                Self::parse(&path, &pem, &path, &pem, trust_domain)?
            }
            Source::Given { certificate, key } => Self::given(certificate, key, trust_domain)?,
        };
        let path = data_dir.join(BUNDLE_FILE);
        if files::read_if_there(&path)?.as_deref() != Some(authority.bundle.as_bytes()) {
            files::replace(&path, authority.bundle.as_bytes(), Mode::Public)?;
        }
        Ok(authority)
    }

    /// Judges given files, and writes nothing. Blocks on the disk.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn check(source: &Source, trust_domain: &str) -> Result<(), Error> {
        match source {
            Source::Own => Ok(()),
            Source::Given { certificate, key } => Self::given(certificate, key, trust_domain).map(drop),
        }
    }

    fn given(certificate: &Path, key: &Path, trust_domain: &str) -> Result<Self, Error> {
        let certificates = files::read(certificate)?;
        let pem = Zeroizing::new(files::read(key)?);
        Self::parse(certificate, &certificates, key, &pem, trust_domain)
    }

    fn parse(
        certificate_path: &Path,
        certificates: &[u8],
        key_path: &Path,
        key: &[u8],
        trust_domain: &str,
    ) -> Result<Self, Error> {
        let wrong = |path: &Path, rule| Error::Content { path: path.to_owned(), rule };
        let trusted = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| wrong(certificate_path, "is not PEM"))?;
        let certificate = trusted.first().ok_or_else(|| wrong(certificate_path, "holds no certificate"))?.clone();
        let parsed = certificate_of(&certificate)
            .ok_or_else(|| wrong(certificate_path, "holds a certificate that cannot be read"))?;
        if !parsed.is_ca() {
            return Err(wrong(
                certificate_path,
                "must begin with an authority's certificate (basicConstraints CA:TRUE)",
            ));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| wrong(key_path, "holds no private key in PEM"))?;
        let key = KeyPair::try_from(&key).map_err(|_| {
            wrong(key_path, "holds a key of a kind that is not supported; use P-256, P-384 or Ed25519 in PKCS#8")
        })?;
        let public_key = rcgen::PublicKeyData::subject_public_key_info(&key);
        if public_key != parsed.public_key().raw {
            return Err(wrong(key_path, "is not the key of the certificate"));
        }
        let not_after = timestamp(parsed.validity().not_after.timestamp());
        let issuer = Issuer::from_ca_cert_der(&certificate, key)
            .map_err(|source| Error::Crypto { operation: "read the authority's certificate", source })?;
        let bundle = trusted.iter().map(|der| pem("CERTIFICATE", der)).collect();
        let public_key_sha256 = sha256(&public_key);
        Ok(Self {
            issuer,
            certificate,
            trusted,
            bundle,
            public_key_sha256,
            not_after,
            trust_domain: trust_domain.to_owned(),
        })
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

    /// The certificate that signs; it ends the chain that servers show, so that enrolment can pin it.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the DER of its SubjectPublicKeyInfo: the pin that join tokens carry.
    #[must_use]
    pub const fn public_key_sha256(&self) -> Sha256 {
        self.public_key_sha256
    }

    /// When its certificate ends; nothing it signs lives longer.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// A new authority: key and certificate in one PEM text.
fn make(now: Timestamp) -> Result<Zeroizing<Vec<u8>>, Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(|source| Error::Crypto { operation: "make the authority's key", source })?;
    let serial = issue::serial()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    // A name of its own, so that two authorities in one bundle are told apart.
    params.distinguished_name.push(DnType::CommonName, format!("novacula authority {}", hex::encode(&serial[..4])));
    params.serial_number = Some(rcgen::SerialNumber::from_slice(&serial));
    issue::set_validity(&mut params, now.minus(SKEW), now.plus(LIFE));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params
        .self_signed(&key)
        .map_err(|source| Error::Crypto { operation: "sign the authority's certificate", source })?;
    let key = Zeroizing::new(key.serialize_pem());
    Ok(Zeroizing::new([key.as_bytes(), certificate.pem().as_bytes()].concat()))
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

fn pem(label: &str, der: &[u8]) -> String {
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
