//! Who may finish a TLS handshake on the executor listener: nobody with a foreign certificate, whoever has none (for
//! `Enroll`), and executors whose certificate is ours, for clients, and in its time, or late by at most 180 days.
//!
//! A late one is let through to be renewed, and only for that: the gate ([`crate::tls::gate`]) looks at the time again for each request.
//! Nothing here replaces that look at the store: a certificate that verifies may have been revoked.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::authority::certificate_of;

/// How late a certificate may be and still be renewed (DESIGN section 6): a fleet that was off comes back alone.
pub const LATE: Duration = Duration::from_secs(180 * 24 * 3600);

/// Verifies executor certificates.
#[derive(Debug)]
pub struct ExecutorVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
}

/// Why there is no verifier.
#[derive(Debug, thiserror::Error)]
#[error("make a verifier of client certificates")]
pub struct BuildError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl ExecutorVerifier {
    /// Trusts what `trusted` signed.
    ///
    /// # Errors
    /// When one of them is no authority's certificate.
    pub fn new(trusted: &[CertificateDer<'static>], provider: Arc<CryptoProvider>) -> Result<Self, BuildError> {
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots.add(certificate.clone()).map_err(|error| BuildError(error.into()))?;
        }
        let webpki = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| BuildError(error.into()))?;
        Ok(Self { webpki })
    }
}

impl ClientCertVerifier for ExecutorVerifier {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        match self.webpki.verify_client_cert(end_entity, intermediates, now) {
            Err(Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. })) => {
                let then = last_good(end_entity, now).ok_or(Error::InvalidCertificate(CertificateError::Expired))?;
                // Everything but the time is as strict as before.
                self.webpki.verify_client_cert(end_entity, intermediates, then)
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// The last second of a certificate that ended at most [`LATE`] ago.
fn last_good(end_entity: &CertificateDer<'_>, now: UnixTime) -> Option<UnixTime> {
    let end = certificate_of(end_entity)?.validity().not_after.timestamp();
    let end = u64::try_from(end).ok()?;
    let late = now.as_secs().checked_sub(end)?;
    (late <= LATE.as_secs()).then(|| UnixTime::since_unix_epoch(Duration::from_secs(end)))
}

#[cfg(test)]
mod tests {
    use domain::{ExecutorUid, OrganizationId, Timestamp};
    use rcgen::{CertificateParams, KeyPair};
    use rustls_pki_types::pem::PemObject as _;

    use super::super::authority::Authority;
    use super::super::authority::request::KeyRequest;
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn authority() -> Authority {
        let folder = tempfile::tempdir().expect("a folder");
        Authority::load(folder.path(), None, "novacula", NOW).expect("made")
    }

    fn executor(authority: &Authority) -> CertificateDer<'static> {
        let key = KeyPair::generate().expect("a key");
        let csr = CertificateParams::default().serialize_request(&key).expect("a request");
        let request = KeyRequest::parse(csr.der()).expect("fine");
        let acme = OrganizationId::new("acme").expect("a label");
        let uid = ExecutorUid::new(uuid::Uuid::from_u128(1));
        let issued = authority.issue_executor(&request, &acme, uid, 30 * DAY, NOW).expect("issued");
        CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).expect("PEM")
    }

    fn verdict(authority: &Authority, leaf: &CertificateDer<'_>, later: Duration) -> Result<(), Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = ExecutorVerifier::new(authority.trusted(), provider).expect("made");
        let now = UnixTime::since_unix_epoch(NOW.plus(later).since(Timestamp::EPOCH));
        verifier.verify_client_cert(leaf, &[], now).map(|_| ())
    }

    #[test]
    fn an_executor_is_let_through_up_to_180_days_late() {
        let authority = authority();
        let leaf = executor(&authority);
        for (days, passes) in [(0, true), (29, true), (31, true), (209, true), (211, false), (3000, false)] {
            assert_eq!(verdict(&authority, &leaf, days * DAY).is_ok(), passes, "{days} days");
        }
    }

    #[test]
    fn a_certificate_of_a_foreign_authority_is_refused_late_or_not() {
        let leaf = executor(&authority());
        for days in [0, 31] {
            assert!(verdict(&authority(), &leaf, days * DAY).is_err());
        }
    }

    #[test]
    fn a_server_only_leaf_is_no_client_late_or_not() {
        let authority = authority();
        let server = authority.issue_server(&[], NOW).expect("issued");
        for days in [0, 31] {
            assert!(verdict(&authority, &server.chain[0], days * DAY).is_err(), "{days} days");
        }
    }
}
