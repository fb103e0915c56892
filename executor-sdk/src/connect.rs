//! Reaching the control plane: mutual TLS 1.3 to one of its executor listeners, and what went wrong when it cannot be reached.
//!
//! The TLS client is ours ([`rustls`] under tonic's channel), so that the name is always checked, only the authorities of the
//! credentials are trusted, and an alert can be told from a cut cable. In TLS 1.3 a client learns only from its first read
//! that its certificate was refused, long after "connected", and HTTP/2 makes a text of that alert; so each [`Connection`] notes what
//! its own socket said last.
//!
//! There is no HTTP/2 keep-alive: the stream's own heartbeat is answered by the application, which says more, and an idle
//! executor wakes for nothing else.

mod backoff;
mod cause;
mod noting;

use std::sync::Arc;
use std::time::Duration;

use domain::Reason;
use domain::join::Endpoint;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{AlertDescription, ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;
use tower::{Service as _, service_fn};

use crate::credentials::Credentials;

use noting::{Note, Noting};

pub use backoff::Backoff;
pub use cause::Cause;

/// Name lookup, TCP, TLS and HTTP/2 together have to be done within this.
pub const DIAL_DEADLINE: Duration = Duration::from_secs(10);

/// An answer to a single call has to be there within this.
pub const CALL_DEADLINE: Duration = Duration::from_secs(30);

/// HTTP/2 windows: the stream carries specs of a few KiB; artifacts come over another connection.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 128 * 1024;

/// A connection to one endpoint. Cloning it shares it.
#[derive(Clone, Debug)]
pub struct Connection {
    endpoint: Endpoint,
    channel: Channel,
    note: Note,
}

/// Why the control plane could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The credentials make no TLS client.
    #[error("use the credentials for TLS")]
    Credentials(#[source] rustls::Error),
    /// The endpoint did not let us in.
    #[error("connect to {endpoint}: {cause}")]
    Dial {
        /// Where.
        endpoint: Endpoint,
        /// What it comes down to.
        cause: Cause,
    },
    /// The control plane answered with a refusal or an error.
    #[error("the control plane answered {code}: {message}")]
    Answer {
        /// The gRPC code's name.
        code: tonic::Code,
        /// The reason's public name, when it gave one.
        reason: Option<String>,
        /// Its sentence.
        message: String,
    },
}

impl Error {
    /// Whether it is this executor's certificate that was not taken. Its renewal may be.
    #[must_use]
    pub fn is_of_the_certificate(&self) -> bool {
        match self {
            Self::Answer { reason, .. } => reason.as_deref() == Some(Reason::CertificateInvalid.as_str()),
            Self::Dial { cause, .. } => *cause == Cause::Refused(AlertDescription::CertificateExpired),
            Self::Credentials(_) => false,
        }
    }
}

/// The TLS client that proves itself with `credentials` and trusts their authorities only.
///
/// # Errors
/// [`Error::Credentials`].
pub fn tls(credentials: &Credentials) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    for authority in credentials.trust() {
        roots.add(authority).map_err(Error::Credentials)?;
    }
    let config = builder().map_err(Error::Credentials)?.with_root_certificates(roots);
    let config = config.with_client_auth_cert(credentials.chain(), credentials.key()).map_err(Error::Credentials)?;
    Ok(finished(config))
}

/// The TLS client of enrolment by a cluster's word: no certificate yet, and these authorities only.
pub(crate) fn tls_of(authorities: &[CertificateDer<'static>]) -> Result<Arc<ClientConfig>, Error> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority.clone()).map_err(Error::Credentials)?;
    }
    let config = builder().map_err(Error::Credentials)?;
    Ok(finished(config.with_root_certificates(roots).with_no_client_auth()))
}

/// The TLS client of enrolment: no certificate yet, and a verifier of its own.
pub(crate) fn tls_without_identity(verifier: Arc<dyn ServerCertVerifier>) -> Result<Arc<ClientConfig>, Error> {
    let config = builder().map_err(Error::Credentials)?;
    Ok(finished(config.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
}

pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&rustls::version::TLS13])
}

fn finished(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    // One connection for days: tickets would only keep an older certificate's identity alive.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Connects to one endpoint. The connection is up on our side when this returns; whether the control plane took our
/// certificate shows at the first answer.
///
/// # Errors
/// [`Error::Dial`], after [`DIAL_DEADLINE`] at the latest.
pub async fn dial(endpoint: &Endpoint, tls: Arc<ClientConfig>) -> Result<Connection, Error> {
    let failed = |cause| Error::Dial { endpoint: endpoint.clone(), cause };
    // For tonic the scheme says that it need not do TLS itself; `origin` is what requests carry.
    let plain = format!("http://{endpoint}");
    let secure = format!("https://{endpoint}").parse().map_err(|_| failed(Cause::Name))?;
    let name = ServerName::try_from(endpoint.host().to_owned()).map_err(|_| failed(Cause::Name))?;
    let plain = Channel::from_shared(plain)
        .map_err(|_| failed(Cause::Name))?
        .origin(secure)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    let note = Note::default();
    let noted = note.clone();
    let connector = service_fn(move |uri| connect(uri, name.clone(), Arc::clone(&tls), noted.clone()));
    match tokio::time::timeout(DIAL_DEADLINE, plain.connect_with_connector(connector)).await {
        Ok(Ok(channel)) => Ok(Connection { endpoint: endpoint.clone(), channel, note }),
        Ok(Err(error)) => Err(failed(Cause::of(&error))),
        Err(_) => Err(failed(Cause::Timeout)),
    }
}

type Tls = TokioIo<Noting<TlsStream<TcpStream>>>;

async fn connect(
    uri: http::Uri,
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    note: Note,
) -> Result<Tls, tower::BoxError> {
    // Races IPv6 and IPv4: one of them is often a black hole.
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let tcp = connector.call(uri).await?;
    let tls = TlsConnector::from(tls).connect(name, tcp.into_inner()).await?;
    Ok(TokioIo::new(Noting::new(tls, note)))
}

impl Connection {
    /// Where it leads.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// For clients of the control plane's services.
    #[must_use]
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Waits for one call's answer, at most [`CALL_DEADLINE`].
    ///
    /// # Errors
    /// [`Error::Answer`], or [`Error::Dial`] when the connection did not last.
    pub async fn call<T>(
        &self,
        call: impl Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    ) -> Result<T, Error> {
        match tokio::time::timeout(CALL_DEADLINE, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(self.error(&status)),
            Err(_) => Err(self.failed(Cause::Timeout)),
        }
    }

    /// What a status says: the control plane's own refusal, or what became of the connection.
    #[must_use]
    pub fn error(&self, status: &tonic::Status) -> Error {
        use tonic_types::StatusExt as _;
        let reason = status.get_error_details().error_info().map(|info| info.reason.clone());
        // A status that was made on this side of the wire has the transport's error as its source; one from the wire has none.
        if std::error::Error::source(status).is_some() && reason.is_none() {
            return self.failed(self.note.read().unwrap_or_else(|| Cause::of(status)));
        }
        Error::Answer { code: status.code(), reason, message: status.message().to_owned() }
    }

    pub(crate) fn failed(&self, cause: Cause) -> Error {
        Error::Dial { endpoint: self.endpoint.clone(), cause }
    }
}
