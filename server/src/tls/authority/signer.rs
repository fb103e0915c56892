//! One authority: a key, and the certificate that says whose it is.

use std::time::Duration;

use domain::{Sha256, Timestamp};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{Error, SKEW, certificate_of, issue, sha256, timestamp};

/// How long an authority of our own lives: no fleet outlives it unnoticed, and its rotation is a deliberate act.
const LIFE: Duration = Duration::from_secs(3653 * 24 * 3600);

/// A text in PEM, and where it is from: a path, or a row of the store.
#[derive(Clone, Copy)]
pub struct Pem<'a> {
    /// For errors.
    pub origin: &'a str,
    /// The text.
    pub text: &'a [u8],
}

/// Signs, as the authority whose certificate it holds.
pub struct Signer {
    pub(super) issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    public_key_sha256: Sha256,
    not_after: Timestamp,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("public_key_sha256", &self.public_key_sha256).finish_non_exhaustive()
    }
}

// === impl Signer ===

impl Signer {
    /// Reads the first certificate and its key.
    ///
    /// # Errors
    /// See [`Error::Content`].
    pub fn read(certificate: Pem<'_>, key: Pem<'_>) -> Result<Self, Error> {
        let first = certificates(certificate)?.swap_remove(0);
        let parsed =
            certificate_of(&first).ok_or_else(|| certificate.wrong("holds a certificate that cannot be read"))?;
        if !parsed.is_ca() {
            return Err(certificate.wrong("must begin with an authority's certificate (basicConstraints CA:TRUE)"));
        }
        let private = PrivateKeyDer::from_pem_slice(key.text).map_err(|_| key.wrong("holds no private key in PEM"))?;
        let private = KeyPair::try_from(&private).map_err(|_| {
            key.wrong("holds a key of a kind that is not supported; use P-256, P-384 or Ed25519 in PKCS#8")
        })?;
        let public_key = rcgen::PublicKeyData::subject_public_key_info(&private);
        if public_key != parsed.public_key().raw {
            return Err(key.wrong("is not the key of the certificate"));
        }
        let not_after = timestamp(parsed.validity().not_after.timestamp());
        let issuer = Issuer::from_ca_cert_der(&first, private)
            .map_err(|source| Error::Crypto { operation: "read the authority's certificate", source })?;
        Ok(Self { issuer, certificate: first, public_key_sha256: sha256(&public_key), not_after })
    }

    /// Its certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// SHA-256 of the DER of its SubjectPublicKeyInfo.
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

// === impl Pem ===

impl Pem<'_> {
    pub(super) fn wrong(self, rule: &'static str) -> Error {
        Error::Content { origin: self.origin.to_owned(), rule }
    }
}

/// Every certificate of a text; at least one.
///
/// # Errors
/// See [`Error::Content`].
pub fn certificates(pem: Pem<'_>) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_slice_iter(pem.text).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|_| pem.wrong("is not PEM"))?;
    if certificates.is_empty() { Err(pem.wrong("holds no certificate")) } else { Ok(certificates) }
}

/// A new authority: key and certificate in one PEM text.
///
/// # Errors
/// When keys or random bytes cannot be made.
pub fn make(now: Timestamp) -> Result<Zeroizing<Vec<u8>>, Error> {
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
