//! A certificate signing request (RFC 2986), read strictly. Only its key is used: whose certificate it becomes is the
//! control plane's to say, so a request that asks for a name is refused rather than quietly given another.

use domain::Sha256;
use rcgen::{PublicKeyData as _, SubjectPublicKeyInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Version;

use super::sha256;

/// Longest request: one with a P-384 key and a generous subject is under 1 KiB.
pub const MAX_BYTES: usize = 4096;

/// The key of a request that proved to hold its private half.
#[derive(Clone, Debug)]
pub struct KeyRequest {
    public_key: SubjectPublicKeyInfo,
    sha256: Sha256,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its length.
    #[error("is longer than {MAX_BYTES} bytes")]
    TooLong,
    /// Its form.
    #[error("is not one PKCS#10 request in DER, with nothing behind it")]
    Form,
    /// Its signature.
    #[error("is not signed by its own key")]
    Signature,
    /// Its key.
    #[error("has a key that is neither P-256, P-384 nor Ed25519")]
    KeyType,
    /// A name in it.
    #[error("asks for a subject alternative name; the control plane names executors")]
    AlternativeName,
}

impl KeyRequest {
    /// Reads a request and checks that it is signed by its own key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(der: &[u8]) -> Result<Self, Error> {
        if der.len() > MAX_BYTES {
            return Err(Error::TooLong);
        }
        let Ok(([], request)) = X509CertificationRequest::from_der(der) else {
            return Err(Error::Form);
        };
        let info = &request.certification_request_info;
        if info.version != X509Version::V1 {
            return Err(Error::Form);
        }
        for attribute in info.iter_attributes() {
            // Every one of them: a second extension request is as good a hiding place as the first.
            if let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute()
                && asked.extensions.iter().any(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME)
            {
                return Err(Error::AlternativeName);
            }
        }
        let public_key = SubjectPublicKeyInfo::from_der(info.subject_pki.raw).map_err(|_| Error::KeyType)?;
        let kinds = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519];
        if !kinds.contains(&public_key.algorithm()) {
            return Err(Error::KeyType);
        }
        request.verify_signature().map_err(|_| Error::Signature)?;
        // Of the canonical encoding, so that one key has one digest however it was written.
        let sha256 = sha256(&public_key.subject_public_key_info());
        Ok(Self { public_key, sha256 })
    }

    /// Its key.
    #[must_use]
    pub const fn public_key(&self) -> &SubjectPublicKeyInfo {
        &self.public_key
    }

    /// SHA-256 of the DER of its SubjectPublicKeyInfo.
    #[must_use]
    pub const fn public_key_sha256(&self) -> Sha256 {
        self.sha256
    }
}
