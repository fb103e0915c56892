//! Clients of both listeners: HTTP/2 for gRPC, HTTP/1.1 for pages, bare TLS and TCP for abuse.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use domain::Reason;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proto::v1;
use proto::v1::enrollment_service_client::EnrollmentServiceClient;
use proto::v1::sync_service_client::SyncServiceClient;
use rcgen::KeyPair;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::harness::Server;

/// A client certificate with its key.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl Identity {
    pub(super) fn new(chain: &str, key: &KeyPair) -> Self {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().unwrap();
        Self { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
    }
}

/// TLS that trusts the server's authority.
pub(super) fn config(server: &Server, identity: Option<&Identity>, alpn: &[&[u8]]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    for certificate in server.app.authority().trusted() {
        roots.add(certificate.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

pub(super) async fn tls(address: SocketAddr, config: Arc<ClientConfig>) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), tcp).await
}

/// An HTTP/2 connection, as tonic's clients want it.
#[derive(Clone, Debug)]
pub(super) struct Http2(http2::SendRequest<tonic::body::Body>);

impl Http2 {
    pub(super) async fn over(stream: TlsStream<TcpStream>) -> Result<Self, hyper::Error> {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        drop(tokio::spawn(connection));
        Ok(Self(sender))
    }

    pub(super) async fn connect(
        address: SocketAddr,
        config: ClientConfig,
    ) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self::over(tls(address, Arc::new(config)).await?).await?)
    }
}

impl tower::Service<Request<tonic::body::Body>> for Http2 {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, hyper::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// A connection to the executor listener; fails when the handshake does, or the first round trip.
pub(super) async fn executor_channel(
    server: &Server,
    identity: Option<&Identity>,
) -> Result<Http2, Box<dyn std::error::Error + Send + Sync>> {
    Http2::connect(server.bound.executor_addr, config(server, identity, &[b"h2"])).await
}

pub(super) async fn enroll(server: &Server, word: &str, csr: &[u8], name: &str) -> Result<v1::EnrollResponse, Status> {
    let request = v1::EnrollRequest {
        join_token: word.to_owned(),
        certificate_signing_request: csr.to_vec(),
        executor_id: name.to_owned(),
        service_account_token: String::new(),
    };
    enroll_by(server, request).await
}

pub(super) async fn enroll_by(server: &Server, request: v1::EnrollRequest) -> Result<v1::EnrollResponse, Status> {
    let channel = executor_channel(server, None).await.unwrap();
    let mut client = EnrollmentServiceClient::with_origin(channel, origin());
    client.enroll(request).await.map(tonic::Response::into_inner)
}

pub(super) async fn renew(channel: &Http2, csr: &[u8]) -> Result<v1::RenewCertificateResponse, Status> {
    let request = v1::RenewCertificateRequest { certificate_signing_request: csr.to_vec() };
    let mut client = EnrollmentServiceClient::with_origin(channel.clone(), origin());
    client.renew_certificate(request).await.map(tonic::Response::into_inner)
}

pub(super) async fn probe(channel: &Http2) -> Result<v1::ProbeResponse, Status> {
    let mut client = SyncServiceClient::with_origin(channel.clone(), origin());
    client.probe(v1::ProbeRequest {}).await.map(tonic::Response::into_inner)
}

/// Any unary RPC with an empty message: only its status counts.
pub(super) async fn call(
    address: SocketAddr,
    config: ClientConfig,
    path: &str,
    bearer: Option<&str>,
) -> (Code, http::HeaderMap) {
    use tower::Service as _;
    let mut channel = Http2::connect(address, config).await.unwrap();
    let mut request = Request::post(format!("https://localhost{path}")).header("content-type", "application/grpc");
    if let Some(bearer) = bearer {
        request = request.header("authorization", format!("Bearer {bearer}"));
    }
    let empty = http_body_util::Full::new(bytes::Bytes::from_static(&[0; 5]));
    let answer = channel.call(request.body(tonic::body::Body::new(empty)).unwrap()).await.unwrap();
    let headers = answer.headers().clone();
    let body = answer.into_body().collect().await;
    let trailers = body.ok().and_then(|body| body.trailers().cloned());
    let status = headers.get("grpc-status").or_else(|| trailers.as_ref()?.get("grpc-status"));
    (Code::from_bytes(status.unwrap().as_bytes()), headers)
}

/// A page over HTTP/1.1.
pub(super) async fn get(
    address: SocketAddr,
    config: ClientConfig,
    path: &str,
    headers: &[(&str, &str)],
) -> (http::response::Parts, bytes::Bytes) {
    let stream = tls(address, Arc::new(config)).await.unwrap();
    let (mut sender, connection) = http1::handshake::<_, Empty<bytes::Bytes>>(TokioIo::new(stream)).await.unwrap();
    drop(tokio::spawn(connection));
    let mut request = Request::get(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, body) = sender.send_request(request.body(Empty::new()).unwrap()).await.unwrap().into_parts();
    (parts, body.collect().await.unwrap().to_bytes())
}

pub(super) fn reason(status: &Status) -> Option<Reason> {
    status.get_error_details().error_info().and_then(|info| Reason::parse(&info.reason))
}

fn origin() -> http::Uri {
    http::Uri::from_static("https://localhost")
}
