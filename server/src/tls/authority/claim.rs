//! What an executor certificate says of itself, for the one case in which the store does not know it: it was issued after the
//! backup that the store was restored from ([`crate::app::restore`]).

use domain::{ExecutorUid, OrganizationId, Sha256, Timestamp};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;

use super::{Authority, SKEW, certificate_of, pem, sha256, timestamp};

/// A certificate of ours, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub uid: ExecutorUid,
    /// Its tenant.
    pub organization: OrganizationId,
    /// SHA-256 of its DER.
    pub fingerprint: Sha256,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// Who signed it, by public key.
    pub authority: Sha256,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub public_key_sha256: Sha256,
    /// PEM.
    pub chain_pem: String,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
}

impl Claim {
    /// When it was issued.
    #[must_use]
    pub fn issue_time(&self) -> Timestamp {
        self.not_before.plus(SKEW)
    }
}

impl Authority {
    /// Reads a certificate that one of the trusted authorities signed for an executor of this trust domain; nothing, if it is
    /// another kind of certificate, or another's.
    #[must_use]
    pub fn claim(&self, der: &CertificateDer<'_>) -> Option<Claim> {
        let leaf = certificate_of(der)?;
        let signer = self.trusted().iter().filter_map(certificate_of).find(|authority| {
            authority.subject().as_raw() == leaf.issuer().as_raw()
                && leaf.verify_signature(Some(authority.public_key())).is_ok()
        })?;
        let usage = leaf.extended_key_usage().ok()??.value;
        if !usage.client_auth || usage.server_auth {
            return None;
        }
        let names = &leaf.subject_alternative_name().ok()??.value.general_names;
        let [GeneralName::URI(uri)] = names.as_slice() else {
            return None;
        };
        let path = uri.strip_prefix("spiffe://")?.strip_prefix(self.trust_domain.as_str())?;
        let (organization, uid) = path.strip_prefix("/organization/")?.split_once("/executor/")?;
        Some(Claim {
            uid: uid.parse().ok()?,
            organization: OrganizationId::new(organization).ok()?,
            fingerprint: sha256(der),
            serial: hex::encode(leaf.raw_serial()),
            authority: sha256(signer.public_key().raw),
            public_key_sha256: sha256(leaf.public_key().raw),
            chain_pem: pem("CERTIFICATE", der),
            not_before: timestamp(leaf.validity().not_before.timestamp()),
            not_after: timestamp(leaf.validity().not_after.timestamp()),
        })
    }
}
