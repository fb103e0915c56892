//! TLS to the database, on the TLS stack that everything of ours uses.
//!
//! A connector of our own, since the published ones bring another cryptographic library with them.

use std::fs;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as RustlsStream;

use super::options::{Names, Tls};

/// Why the files that TLS needs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not there, or not PEM.
    #[error("cannot read {what} from {}", path.display())]
    File {
        /// Which part of the URL names it.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No authority to check the server by.
    #[error("no certificate authority is known to check the database by: name one with sslrootcert")]
    NoRoots,
    /// What the library says of keys and certificates.
    #[error("the TLS files of the database cannot be used together")]
    Unusable(#[source] rustls::Error),
}

/// Makes TLS sessions to one database.
#[derive(Clone)]
pub(super) struct Connector(Option<Arc<ClientConfig>>);

/// A session about to be made; none: TLS is off, and is not asked for.
pub(super) struct Handshake(Option<(TlsConnector, ServerName<'static>)>);

/// A TLS session.
pub(super) struct Stream(Box<RustlsStream<Socket>>);

/// `verify-ca`: the chain counts, the names do not.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl Connector {
    /// Reads the files that `tls` names.
    pub(super) fn new(tls: &Tls) -> Result<Self, TlsError> {
        let Tls::On { names, roots, client } = tls else {
            return Ok(Self(None));
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?;
        let roots = Arc::new(root_store(roots.as_deref())?);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let verifier = verifier.map_err(|_| TlsError::NoRoots)?;
        let verifier: Arc<dyn ServerCertVerifier> = match names {
            Names::Checked => verifier,
            Names::Ignored => Arc::new(AnyName(verifier)),
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let config = match client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates("sslcert", certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| file_error("sslkey", key, error))?;
                builder.with_client_auth_cert(chain, key).map_err(TlsError::Unusable)?
            }
        };
        Ok(Self(Some(Arc::new(config))))
    }
}

fn root_store(path: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match path {
        Some(path) => {
            for root in certificates("sslrootcert", path)? {
                store.add(root).map_err(TlsError::Unusable)?;
            }
        }
        None => {
            let (_, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() { Err(TlsError::NoRoots) } else { Ok(store) }
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = fs::read(path).map_err(|error| file_error(what, path, error))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| file_error(what, path, error))?;
    if found.is_empty() { Err(file_error(what, path, "it holds no certificate")) } else { Ok(found) }
}

fn file_error(
    what: &'static str,
    path: &Path,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> TlsError {
    TlsError::File { what, path: path.to_owned(), source: source.into() }
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Handshake> {
        // Asked for in every mode, with TLS off, too.
        let Some(config) = &self.0 else {
            return Ok(Handshake(None));
        };
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        Ok(Handshake(Some((TlsConnector::from(Arc::clone(config)), name))))
    }
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let (connector, name) = self.0.ok_or_else(|| io::Error::other("TLS to the database is off"))?;
            Ok(Stream(Box::new(connector.connect(name, socket).await?)))
        })
    }
}

impl TlsStream for Stream {
    /// RFC 5929 `tls-server-end-point`, which ties SCRAM's proof to this very session. The hash is that of the certificate's own
    /// signature, with SHA-256 for the weaker ones; a certificate signed with another gets no binding rather than a wrong one.
    fn channel_binding(&self) -> ChannelBinding {
        let (_, connection) = self.0.get_ref();
        let leaf = connection.peer_certificates().and_then(|chain| chain.first());
        match leaf {
            Some(leaf) if signed_with_sha256(leaf) => {
                ChannelBinding::tls_server_end_point(Sha256::digest(leaf.as_ref()).to_vec())
            }
            _ => ChannelBinding::none(),
        }
    }
}

/// Whether the certificate names a signature algorithm with SHA-256: ecdsa-with-SHA256 (RFC 5758) or
/// sha256WithRSAEncryption (RFC 8017). The identifier stands twice in a certificate; finding its bytes is enough.
fn signed_with_sha256(leaf: &CertificateDer<'_>) -> bool {
    const ECDSA: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    const RSA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
    [ECDSA, RSA].iter().any(|oid| leaf.as_ref().windows(oid.len()).filter(|window| window == oid).count() == 2)
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // The chain is checked before the names, so what is wrong with a name is all that is wrong.
        match self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            result => result,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}
