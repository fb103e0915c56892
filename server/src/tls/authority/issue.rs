//! What the authority signs: executor certificates, good for clients only, and the control plane's own, good for servers only. Neither
//! can pose as the other.

use std::net::IpAddr;
use std::time::Duration;

use domain::{ExecutorUid, OrganizationId, Sha256, Timestamp};
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::request::KeyRequest;
use super::signer::Signer;
use super::{Authority, Error, SKEW, pem, sha256};

/// How long a server certificate lives. It is renewed in memory, so that a short life costs nothing.
pub const SERVER_LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

/// An executor's certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorCertificate {
    /// PEM.
    pub chain_pem: String,
    /// SHA-256 of its DER.
    pub fingerprint: Sha256,
    /// Lower-case hexadecimal.
    pub serial: String,
    /// SHA-256 of the SubjectPublicKeyInfo of the authority that signed it.
    pub authority: Sha256,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub public_key_sha256: Sha256,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
}

/// A name that a server certificate is good for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServerName {
    /// A DNS name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

/// A server certificate with its key.
#[derive(Debug)]
pub struct ServerCertificate {
    /// The leaf, then the authority's own certificate, for enrolment to pin.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    pub key: PrivateKeyDer<'static>,
    /// End of its validity.
    pub not_after: Timestamp,
}

impl Authority {
    /// Signs an executor's certificate: its identity is the URI SAN, the subject is for people.
    ///
    /// # Errors
    /// When signing fails, or the authority itself has ended.
    pub fn issue_executor(
        &self,
        request: &KeyRequest,
        organization: &OrganizationId,
        uid: ExecutorUid,
        life: Duration,
        now: Timestamp,
    ) -> Result<ExecutorCertificate, Error> {
        let (signer, serial) = (&self.executors, serial()?);
        let uri = format!("spiffe://{}/organization/{organization}/executor/{uid}", self.trust_domain);
        let mut params = signer.leaf(&serial, uid.to_string(), life, now);
        params.subject_alt_names = vec![SanType::URI(ia5(uri)?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = signer.sign(&params, request.public_key())?;
        let (not_before, not_after) = signer.validity(life, now);
        Ok(ExecutorCertificate {
            chain_pem: pem("CERTIFICATE", certificate.der()),
            fingerprint: sha256(certificate.der()),
            serial: hex::encode(serial),
            authority: signer.public_key_sha256(),
            public_key_sha256: request.public_key_sha256(),
            not_before,
            not_after,
        })
    }

    /// Makes a key and signs a server certificate for it.
    ///
    /// # Errors
    /// When making or signing fails.
    pub fn issue_server(&self, names: &[ServerName], now: Timestamp) -> Result<ServerCertificate, Error> {
        let signer = &self.servers;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|source| Error::Crypto { operation: "make a server key", source })?;
        let mut params = signer.leaf(&serial()?, "novacula control plane".to_owned(), SERVER_LIFE, now);
        for name in names {
            params.subject_alt_names.push(match name {
                ServerName::Dns(name) => SanType::DnsName(ia5(name.clone())?),
                ServerName::Ip(address) => SanType::IpAddress(*address),
            });
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = signer.sign(&params, &key)?;
        Ok(ServerCertificate {
            chain: vec![certificate.der().clone(), signer.certificate().clone()],
            key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            not_after: signer.validity(SERVER_LIFE, now).1,
        })
    }
}

impl Signer {
    fn leaf(&self, serial: &[u8], common_name: String, life: Duration, now: Timestamp) -> CertificateParams {
        let (not_before, not_after) = self.validity(life, now);
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from_slice(serial));
        set_validity(&mut params, not_before, not_after);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params
    }

    /// In whole seconds, as certificates count; never past the authority's own end.
    fn validity(&self, life: Duration, now: Timestamp) -> (Timestamp, Timestamp) {
        let whole = |time: Timestamp| super::timestamp(time.as_micros().div_euclid(1_000_000));
        (whole(now.minus(SKEW)), whole(now.plus(life)).min(self.not_after()))
    }

    fn sign(&self, params: &CertificateParams, key: &impl PublicKeyData) -> Result<rcgen::Certificate, Error> {
        params.signed_by(key, &self.issuer).map_err(|source| Error::Crypto { operation: "sign a certificate", source })
    }
}

/// 128 random bits, positive and of full length (RFC 5280, 4.1.2.2). Chance keeps them apart: nobody counts.
pub(super) fn serial() -> Result<[u8; 16], Error> {
    let mut serial = [0u8; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| Error::Random)?;
    serial[0] = serial[0] & 0x3f | 0x40;
    Ok(serial)
}

/// As rcgen counts time. Before 1970 there are no certificates of ours.
pub(super) fn set_validity(params: &mut CertificateParams, not_before: Timestamp, not_after: Timestamp) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + not_before.since(Timestamp::EPOCH);
    params.not_after = epoch + not_after.since(Timestamp::EPOCH);
}

fn ia5(text: String) -> Result<Ia5String, Error> {
    Ia5String::try_from(text).map_err(|source| Error::Crypto { operation: "write a subject alternative name", source })
}
