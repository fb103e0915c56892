//! What the two listeners show and demand in TLS. Both configurations are read anew for each connection, so that renewing
//! the server certificate, reloading a given one or rotating the authority touches no open connection and needs no restart.
//!
//! Session tickets are off on the executor listener: a resumed session would carry a certificate that nobody verified
//! again. Should one be resumed all the same, the listener verifies it again, and the gate asks the store for each request.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use domain::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use store::Clock;
use zeroize::Zeroizing;

use super::authority::issue::{SERVER_LIFE, ServerName};
use super::authority::shared::Authorities;
use super::authority::{self, certificate_of};
use super::files;
use super::verifier::{BuildError, ExecutorVerifier};
use crate::grpc::access::Listener;

/// A server certificate is renewed when this much of its life is left.
const RENEW_WITHIN: Duration = Duration::from_secs(SERVER_LIFE.as_secs() / 3);

/// What the API listener shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ApiCertificate {
    /// A certificate of the control plane's own authority.
    #[default]
    Own,
    /// PEM files: the chain, leaf first, and its key. Read again on reload.
    Given {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
}

/// Whether something was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// New certificates are shown from now on.
    Renewed,
    /// Those that are shown have time.
    NotDue,
}

/// Why there is no configuration. What was shown before is shown still.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Issuing failed.
    #[error("issue a server certificate")]
    Authority(#[from] authority::Error),
    /// A given file.
    #[error(transparent)]
    File(#[from] files::Error),
    /// What a given file holds.
    #[error("{} {rule}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What it must be, and is not.
        rule: &'static str,
    },
    /// The verifier.
    #[error(transparent)]
    Verifier(#[from] BuildError),
    /// TLS.
    #[error("configure TLS")]
    Tls(#[from] rustls::Error),
}

/// Both listeners' TLS.
#[derive(Debug)]
pub struct TlsConfigs {
    authorities: Arc<Authorities>,
    names: Vec<ServerName>,
    api_certificate: ApiCertificate,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Current>,
}

#[derive(Debug)]
struct Current {
    api: Arc<ServerConfig>,
    executors: Arc<ServerConfig>,
    verifier: Arc<ExecutorVerifier>,
    renew_after: Timestamp,
}

/// Certificates are judged by the clock that the whole process uses.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(self.0.now().since(Timestamp::EPOCH)))
    }
}

// === impl TlsConfigs ===

impl TlsConfigs {
    /// Makes both configurations. Blocks on the disk when certificates are given.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn new(
        authorities: Arc<Authorities>,
        names: Vec<ServerName>,
        api_certificate: ApiCertificate,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let parts = Parts {
            authorities: &authorities,
            names: &names,
            api_certificate: &api_certificate,
            clock: &clock,
            provider: &provider,
        };
        let current = ArcSwap::from_pointee(parts.build()?);
        Ok(Self { authorities, names, api_certificate, clock, provider, current })
    }

    /// What a listener shows now.
    #[must_use]
    pub fn current(&self, listener: Listener) -> Arc<ServerConfig> {
        let current = self.current.load();
        match listener {
            Listener::Api => Arc::clone(&current.api),
            Listener::Executors => Arc::clone(&current.executors),
        }
    }

    /// The verifier of executor certificates, and the time to verify by.
    #[must_use]
    pub fn verifier(&self) -> (Arc<ExecutorVerifier>, UnixTime) {
        let verifier = Arc::clone(&self.current.load().verifier);
        (verifier, UnixTime::since_unix_epoch(self.clock.now().since(Timestamp::EPOCH)))
    }

    /// Makes everything anew, given files included. Blocks on the disk.
    ///
    /// # Errors
    /// See [`Error`]; what was shown before is shown still.
    pub fn reload(&self) -> Result<(), Error> {
        let parts = Parts {
            authorities: &self.authorities,
            names: &self.names,
            api_certificate: &self.api_certificate,
            clock: &self.clock,
            provider: &self.provider,
        };
        self.current.store(Arc::new(parts.build()?));
        Ok(())
    }

    /// Renews what nears its end.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub fn renew_if_due(&self) -> Result<Renewal, Error> {
        if self.clock.now() < self.current.load().renew_after {
            return Ok(Renewal::NotDue);
        }
        self.reload()?;
        Ok(Renewal::Renewed)
    }
}

/// What a configuration is made from.
struct Parts<'a> {
    authorities: &'a Authorities,
    names: &'a [ServerName],
    api_certificate: &'a ApiCertificate,
    clock: &'a Arc<dyn Clock>,
    provider: &'a Arc<CryptoProvider>,
}

impl Parts<'_> {
    fn build(&self) -> Result<Current, Error> {
        let authority = self.authorities.current();
        let verifier = Arc::new(ExecutorVerifier::new(authority.trusted(), Arc::clone(self.provider))?);
        let own = authority.issue_server(self.names, self.clock.now())?;
        let own_key = CertifiedKey::from_der(own.chain, own.key, self.provider)?;
        let mut renew_after = own.not_after.minus(RENEW_WITHIN);
        let api_key = match self.api_certificate {
            ApiCertificate::Own => own_key.clone(),
            ApiCertificate::Given { certificate, key } => {
                let (given, not_after) = certified(certificate, key, self.provider)?;
                // Looked at again while it nears its end, for a file that someone renewed in place.
                renew_after = renew_after.min(not_after.minus(RENEW_WITHIN));
                given
            }
        };
        let versions: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
        let mut api = self.builder(versions)?.with_no_client_auth().with_cert_resolver(resolver(api_key));
        api.alpn_protocols = alpn();
        let judge: Arc<dyn rustls::server::danger::ClientCertVerifier> = Arc::<ExecutorVerifier>::clone(&verifier);
        // Every executor is ours and speaks TLS 1.3.
        let mut executors =
            self.builder(&[&TLS13])?.with_client_cert_verifier(judge).with_cert_resolver(resolver(own_key));
        executors.alpn_protocols = alpn();
        executors.send_tls13_tickets = 0;
        executors.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Current { api: Arc::new(api), executors: Arc::new(executors), verifier, renew_after })
    }

    fn builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, rustls::Error> {
        let time = Arc::new(ClockTime(Arc::clone(self.clock)));
        ServerConfig::builder_with_details(Arc::clone(self.provider), time).with_protocol_versions(versions)
    }
}

/// Reads a given certificate and its key, for whether they fit.
///
/// # Errors
/// See [`Error`].
pub fn read_given(certificate: &Path, key: &Path) -> Result<(), Error> {
    certified(certificate, key, &rustls::crypto::aws_lc_rs::default_provider()).map(drop)
}

fn certified(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<(CertifiedKey, Timestamp), Error> {
    let wrong = |path: &Path, rule| Error::Content { path: path.to_owned(), rule };
    let chain = CertificateDer::pem_slice_iter(&files::read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| wrong(certificate, "is not PEM"))?;
    let leaf = chain.first().and_then(certificate_of);
    let leaf = leaf.ok_or_else(|| wrong(certificate, "holds no certificate that can be read"))?;
    let not_after = authority::timestamp(leaf.validity().not_after.timestamp());
    let pem = Zeroizing::new(files::read(key)?);
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| wrong(key, "holds no private key in PEM"))?;
    // Checks that the key is the certificate's.
    let given = CertifiedKey::from_der(chain.clone(), private, provider)
        .map_err(|_| wrong(key, "is not the key of the certificate"))?;
    Ok((given, not_after))
}

fn resolver(key: CertifiedKey) -> Arc<dyn rustls::server::ResolvesServerCert> {
    Arc::new(rustls::sign::SingleCertAndKey::from(key))
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}
