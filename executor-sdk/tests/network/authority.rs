//! A certificate authority of the test's own.

use std::sync::Arc;

use domain::Sha256;
use domain::join::Endpoint;
use novacula_executor_sdk::credentials::{CredentialStore, Credentials, Identity};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, PublicKeyData as _,
};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) const UID: &str = "7b1f1f4e-29a6-4b61-8f3a-5a1c0e9d7c01";
pub(crate) const EXECUTOR: &str = "organizations/acme/executors/web-1";

/// Which protocol a listener speaks.
#[derive(Clone, Copy)]
pub(crate) enum Speaks {
    Grpc,
    Http,
}

pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Arc<Self> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "a test's authority");
        let key = KeyPair::generate().expect("a key");
        Arc::new(Self { issuer: CertifiedIssuer::self_signed(parameters, key).expect("a certificate") })
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate().pem()
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        self.issuer.as_ref()
    }

    /// SHA-256 of its key, as a join token pins it.
    pub(crate) fn pin(&self) -> Sha256 {
        let digest =
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.issuer.key().subject_public_key_info());
        Sha256::from_slice(digest.as_ref()).expect("32 bytes")
    }

    /// Signs a request, as the control plane would.
    pub(crate) fn issue(&self, request: &[u8], days: i64) -> String {
        let request = CertificateSigningRequestParams::from_der(&request.into()).expect("a request");
        let mut parameters = CertificateParams::default();
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let now = x509_parser::time::ASN1Time::now().to_datetime();
        let day = x509_parser::time::ASN1Time::from_timestamp(24 * 60 * 60).expect("a day").to_datetime();
        let epoch = x509_parser::time::ASN1Time::from_timestamp(0).expect("a time").to_datetime();
        let day = day - epoch;
        parameters.not_before = now - day * 30;
        parameters.not_after = now + day * i32::try_from(days).expect("few");
        parameters.signed_by(&request.public_key, &self.issuer).expect("a certificate").pem()
    }

    /// Credentials that are good for `days` (negative: were, until so long ago), kept in `store`.
    pub(crate) fn enrolled(&self, store: &CredentialStore, endpoint: &Endpoint, days: i64) -> Credentials {
        let key = store.pending_key().expect("a key");
        let identity = Identity {
            uid: UID.parse().expect("a uid"),
            executor: EXECUTOR.parse().expect("a name"),
            endpoints: vec![endpoint.clone()],
        };
        let chain = self.issue(&key.signing_request().expect("a request"), days);
        let credentials = Credentials::new(identity, &key, chain, self.pem()).expect("credentials");
        store.save(&credentials).expect("saves");
        credentials
    }

    /// A server's side of TLS for `name`. Client certificates of this authority are asked for and not demanded.
    pub(crate) fn server(&self, name: &str, speaks: Speaks) -> Arc<ServerConfig> {
        let key = KeyPair::generate().expect("a key");
        let mut parameters = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let leaf = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let chain = vec![leaf.der().clone(), self.certificate().der().clone()];
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate().der().clone()).expect("an authority");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let clients = clients.allow_unauthenticated().build().expect("a verifier");
        let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]);
        let config = config.expect("TLS 1.3").with_client_cert_verifier(clients);
        let mut config = config.with_single_cert(chain, key).expect("a certificate");
        config.alpn_protocols = match speaks {
            Speaks::Grpc => vec![b"h2".to_vec()],
            Speaks::Http => vec![b"http/1.1".to_vec()],
        };
        Arc::new(config)
    }
}
