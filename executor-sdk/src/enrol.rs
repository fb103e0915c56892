//! How an executor gets its certificate and keeps one.
//!
//! Enrolment trusts nobody it cannot check: the join token pins SHA-256 of the authority's public key, the server has to
//! present that authority in its chain, and the chain, the name and the time are verified against it. There is no insecure
//! mode. Enrolment by a cluster's word instead pins the authorities that were given beside it. The executor's own key is made here and on disk before it is named in a request, so that a repeat after a lost
//! answer asks for the same certificate.
//!
//! Renewal goes over the stream's own connection, with a new key. A certificate that is over is still good for that one call.

use std::sync::Arc;

use aws_lc_rs::digest;
use domain::join::Endpoint;
use domain::{ExecutorId, JoinSecret, Sha256};
use proto::v1;
use proto::v1::enrollment_service_client::EnrollmentServiceClient;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::task::spawn_blocking;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use crate::connect::{self, Cause, Connection};
use crate::credentials::{self, Credentials, Identity, Keeper, PendingKey};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server did not present the authority that the join token pins.
    #[error(
        "the control plane at {endpoint} does not present the authority that the join token, or the file of authorities, names; either this is another control plane or someone in between, or the authority is newer: make a new token, or fetch the file again"
    )]
    NotPinned {
        /// Where.
        endpoint: Endpoint,
    },
    /// It could not be reached, or refused.
    #[error("ask for a certificate")]
    Connect(#[from] connect::Error),
    /// What it answered makes no set of credentials, or they could not be kept.
    #[error("keep the certificate")]
    Credentials(#[from] credentials::Error),
    /// A field of the answer is wrong.
    #[error("the control plane's answer has a {field} that cannot be used: {why}")]
    Answer {
        /// Which field.
        field: &'static str,
        /// Why.
        why: String,
    },
}

/// A keeper that can be handed to the blocking pool.
pub trait Keep: Keeper + Clone + 'static {}

impl<K: Keeper + Clone + 'static> Keep for K {}

/// The credentials in `store`, or, where there are none yet, those that `join` is exchanged for: for programs that are started
/// with the same words every time. A token is not used up by a host that is enrolled.
///
/// # Errors
/// [`Error`]; [`credentials::Error::NotEnrolled`] within it when there is neither.
pub async fn once<K: Keep>(join: Option<&JoinSecret>, store: &K) -> Result<Credentials, Error> {
    match (kept(store, |store| store.load()).await, join) {
        (Err(credentials::Error::NotEnrolled { .. }), Some(join)) => enrol(join, None, store).await,
        (loaded, _) => Ok(loaded?),
    }
}

/// What a program in a Kubernetes cluster enrols with instead of a join token: its ServiceAccount token, projected for the
/// control plane's audience, and whom to trust as the control plane, since such a token pins nobody.
#[derive(Clone)]
pub struct ClusterWord {
    /// The token (JWT). Read it from its file for each try: the kubelet replaces it.
    pub token: Zeroizing<String>,
    /// The executor listener.
    pub endpoint: Endpoint,
    /// PEM: the control plane's authorities, and nobody else's.
    pub authorities: String,
}

/// Exchanges a ServiceAccount token for credentials and keeps them in `store`. The control plane names the executor; `name`,
/// when it is given, has to be the same. Repeat it freely after an error, also with a newer token: the same key is used until its
/// certificate is kept.
///
/// The server is verified against `authorities` before the token is sent, so that nobody in between gets it.
///
/// # Errors
/// [`Error`]; nothing is kept but the key.
pub async fn enrol_by_cluster<K: Keep>(
    word: &ClusterWord,
    name: Option<&ExecutorId>,
    store: &K,
) -> Result<Credentials, Error> {
    let authorities = credentials::certificates(&word.authorities)
        .map_err(|why| Error::Answer { field: "authorities", why: format!("{why} (the file that was given)") })?;
    let key = kept(store, |store| store.pending_key()).await?;
    let request = v1::EnrollRequest {
        join_token: String::new(),
        certificate_signing_request: key.signing_request()?,
        executor_id: name.map(ToString::to_string).unwrap_or_default(),
        service_account_token: word.token.trim().to_owned(),
    };
    let trusts = |digest: Sha256| authorities.iter().any(|authority| key_digest(authority) == Some(digest));
    let credentials = exchange(&word.endpoint, connect::tls_of(&authorities)?, request, &key, trusts).await?;
    save(store, &credentials).await?;
    Ok(credentials)
}

/// Exchanges a join token for credentials and keeps them in `store`. `name` is the executor's name when the token does not
/// say it. Repeat it freely after an error: the same key is used until its certificate is on disk.
///
/// # Errors
/// [`Error`]; nothing is kept but the key.
pub async fn enrol<K: Keep>(join: &JoinSecret, name: Option<&ExecutorId>, store: &K) -> Result<Credentials, Error> {
    let key = kept(store, |store| store.pending_key()).await?;
    let request = v1::EnrollRequest {
        join_token: join.reveal().to_string(),
        certificate_signing_request: key.signing_request()?,
        executor_id: name.map(ToString::to_string).unwrap_or_default(),
        service_account_token: String::new(),
    };
    let tls = connect::tls_without_identity(Arc::new(Pinned::new(join.authority)))?;
    let credentials = exchange(&join.endpoint, tls, request, &key, |digest| digest == join.authority).await?;
    save(store, &credentials).await?;
    Ok(credentials)
}

/// Asks at `endpoint`, whose TLS is verified by `tls`. The bundle that is answered has to have an authority that is `pinned`.
async fn exchange(
    endpoint: &Endpoint,
    tls: Arc<ClientConfig>,
    request: v1::EnrollRequest,
    key: &PendingKey,
    is_pinned: impl Fn(Sha256) -> bool,
) -> Result<Credentials, Error> {
    let connection = connect::dial(endpoint, tls).await.map_err(|error| pinned(endpoint, error))?;
    let mut office = EnrollmentServiceClient::new(connection.channel());
    let answer = connection.call(office.enroll(request)).await.map_err(|error| pinned(endpoint, error))?;
    enrolled(endpoint, key, answer, is_pinned)
}

/// Renews over `connection`, and keeps the result in `store`.
///
/// # Errors
/// [`Error`]; the credentials on disk are the old ones still.
pub async fn renew<K: Keep>(
    connection: &Connection,
    credentials: &Credentials,
    store: &K,
) -> Result<Credentials, Error> {
    let key = kept(store, |store| store.pending_key()).await?;
    let request = v1::RenewCertificateRequest { certificate_signing_request: key.signing_request()? };
    let mut office = EnrollmentServiceClient::new(connection.channel());
    let answer = connection.call(office.renew_certificate(request)).await?;
    let renewed = credentials.renewed(&key, answer.certificate_chain, answer.trust_bundle)?;
    // A bundle that makes no TLS client would lock this executor out.
    connect::tls(&renewed)?;
    save(store, &renewed).await?;
    Ok(renewed)
}

async fn save<K: Keep>(store: &K, credentials: &Credentials) -> Result<(), credentials::Error> {
    let credentials = credentials.clone();
    kept(store, move |store| store.save(&credentials)).await
}

/// Keeping takes as long as a disk or a cluster does: on the blocking pool.
async fn kept<K: Keep, T: Send + 'static>(
    store: &K,
    work: impl FnOnce(&K) -> Result<T, credentials::Error> + Send + 'static,
) -> Result<T, credentials::Error> {
    let store = store.clone();
    let place = format!("{store:?}");
    spawn_blocking(move || work(&store))
        .await
        .unwrap_or_else(|error| Err(credentials::Error::Elsewhere { place, source: Box::new(error) }))
}

fn enrolled(
    endpoint: &Endpoint,
    key: &PendingKey,
    answer: v1::EnrollResponse,
    is_pinned: impl Fn(Sha256) -> bool,
) -> Result<Credentials, Error> {
    let wrong = |field, why: String| Error::Answer { field, why };
    let identity = Identity {
        uid: answer.uid.parse().map_err(|error: domain::id::Error| wrong("uid", error.to_string()))?,
        executor: answer.executor.parse().map_err(|error: domain::id::Error| wrong("executor", error.to_string()))?,
        endpoints: vec![endpoint.clone()],
    };
    let trust = credentials::certificates(&answer.trust_bundle).map_err(|why| wrong("trust_bundle", why))?;
    if !trust.iter().filter_map(key_digest).any(is_pinned) {
        return Err(wrong("trust_bundle", "it lacks the authority that was named for this enrolment".to_owned()));
    }
    let credentials = Credentials::new(identity, key, answer.certificate_chain, answer.trust_bundle)?;
    connect::tls(&credentials)?;
    Ok(credentials)
}

/// At enrolment "not trusted" can mean one thing only, which deserves its own words.
fn pinned(endpoint: &Endpoint, error: connect::Error) -> Error {
    match error {
        connect::Error::Dial { cause: Cause::NotTrusted, .. } => Error::NotPinned { endpoint: endpoint.clone() },
        error => error.into(),
    }
}

/// SHA-256 of a certificate's SubjectPublicKeyInfo; nothing when it cannot be read.
fn key_digest(certificate: &CertificateDer<'_>) -> Option<Sha256> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let digest = digest::digest(&digest::SHA256, certificate.public_key().raw);
    Sha256::from_slice(digest.as_ref()).ok()
}

/// Trusts the one authority whose key the join token pins, when the server presents it.
#[derive(Debug)]
struct Pinned {
    authority: Sha256,
    provider: Arc<CryptoProvider>,
}

impl Pinned {
    fn new(authority: Sha256) -> Self {
        Self { authority, provider: connect::provider() }
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = intermediates.iter().find(|certificate| key_digest(certificate) == Some(self.authority));
        let authority = authority.ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider)).build();
        let verifier = verifier.map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
