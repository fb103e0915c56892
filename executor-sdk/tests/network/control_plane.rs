//! A control plane in the test's hand: it takes streams and calls, and does nothing that the test does not say.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::Epoch;
use domain::join::Endpoint;
use domain::sync::{Request, Response, Welcome};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use proto::convert::sync;
use proto::v1;
use proto::v1::enrollment_service_server::{EnrollmentService, EnrollmentServiceServer};
use proto::v1::sync_service_server::{SyncService, SyncServiceServer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::{Status, Streaming};

use crate::authority::{Authority, EXECUTOR, Speaks, UID};

/// Everything that a test waits for comes within this, or it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct ControlPlane {
    pub(crate) endpoint: Endpoint,
    streams: mpsc::Receiver<Stream>,
    pub(crate) office: Arc<Office>,
    server: JoinHandle<()>,
}

/// One stream of an executor.
pub(crate) struct Stream {
    requests: Streaming<v1::SyncExecutorRequest>,
    responses: mpsc::Sender<Result<v1::SyncExecutorResponse, Status>>,
}

/// What issues certificates.
pub(crate) struct Office {
    authority: Arc<Authority>,
    /// Signing requests so far.
    pub(crate) asked: Mutex<Vec<Vec<u8>>>,
    /// Answers that get lost before one arrives.
    pub(crate) lose: Mutex<u32>,
    /// How long certificates count, in days.
    pub(crate) days: i64,
}

struct Desk(Arc<Office>);

struct Counter(mpsc::Sender<Stream>);

impl ControlPlane {
    pub(crate) async fn new(authority: &Arc<Authority>) -> Self {
        Self::named(authority, "localhost").await
    }

    /// One whose certificate is for `name`.
    pub(crate) async fn named(authority: &Arc<Authority>, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let endpoint =
            format!("localhost:{}", listener.local_addr().expect("bound").port()).parse().expect("an endpoint");
        let office = Arc::new(Office {
            authority: Arc::clone(authority),
            asked: Mutex::default(),
            lose: Mutex::default(),
            days: 60,
        });
        let (sender, streams) = mpsc::channel(16);
        let routes = Routes::new(SyncServiceServer::new(Counter(sender)));
        let routes = routes.add_service(EnrollmentServiceServer::new(Desk(Arc::clone(&office)))).prepare();
        let acceptor = TlsAcceptor::from(authority.server(name, Speaks::Grpc));
        let server = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.expect("accepts");
                let (acceptor, routes) = (acceptor.clone(), routes.clone());
                connections.spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    // However it ends, the test sees it at the executor.
                    let _ = builder.serve_connection(TokioIo::new(tls), TowerToHyperService::new(routes)).await;
                });
            }
        });
        Self { endpoint, streams, office, server }
    }

    /// The next stream, before its hello was read.
    pub(crate) async fn stream(&mut self) -> Stream {
        timeout(PATIENCE, self.streams.recv()).await.expect("a stream in time").expect("the server runs")
    }

    /// Streams that were opened and not looked at.
    pub(crate) fn n_waiting(&self) -> usize {
        self.streams.len()
    }

    /// The next stream, welcomed.
    pub(crate) async fn welcome(&mut self, heartbeat: Duration, probation: Duration) -> (Stream, domain::sync::Hello) {
        let mut stream = self.stream().await;
        let Request::Hello(hello) = stream.hear().await else { panic!("hello comes first") };
        stream
            .say(Response::Welcome(Welcome {
                epoch: Epoch(1),
                heartbeat_interval: heartbeat,
                probation,
                server_version: None,
                out_of_support: false,
                renew_certificate_after: None,
            }))
            .await;
        (stream, *hello)
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Stream {
    pub(crate) async fn say(&self, response: Response) {
        self.responses.send(Ok(response.into())).await.expect("the stream is open");
    }

    pub(crate) async fn refuse(self, status: Status) {
        self.responses.send(Err(status)).await.expect("the stream is open");
    }

    /// The next message.
    pub(crate) async fn hear(&mut self) -> Request {
        self.hear_or_end().await.expect("the stream goes on")
    }

    /// The next message; none when the executor ended the stream.
    pub(crate) async fn hear_or_end(&mut self) -> Option<Request> {
        let message = timeout(PATIENCE, self.requests.message()).await.expect("a message in time");
        message.ok().flatten().map(|wire| sync::request(wire).expect("reads").expect("is known"))
    }

    /// The next message that `wanted` takes; others are passed over.
    pub(crate) async fn until<T>(&mut self, wanted: impl Fn(Request) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.hear().await) {
                return found;
            }
        }
    }

    /// Reads until the executor ends the stream.
    pub(crate) async fn ended(&mut self) {
        while self.hear_or_end().await.is_some() {}
    }
}

impl Office {
    fn issue(&self, request: Vec<u8>) -> Result<String, Status> {
        let chain = self.authority.issue(&request, self.days);
        self.asked.lock().expect("not poisoned").push(request);
        let mut lose = self.lose.lock().expect("not poisoned");
        if *lose > 0 {
            *lose -= 1;
            return Err(Status::unavailable("lost on the way"));
        }
        Ok(chain)
    }
}

#[tonic::async_trait]
impl EnrollmentService for Desk {
    async fn enroll(
        &self,
        request: tonic::Request<v1::EnrollRequest>,
    ) -> Result<tonic::Response<v1::EnrollResponse>, Status> {
        let chain = self.0.issue(request.into_inner().certificate_signing_request)?;
        Ok(tonic::Response::new(v1::EnrollResponse {
            certificate_chain: chain,
            trust_bundle: self.0.authority.pem(),
            executor: EXECUTOR.to_owned(),
            uid: UID.to_owned(),
            not_after: None,
        }))
    }

    async fn renew_certificate(
        &self,
        request: tonic::Request<v1::RenewCertificateRequest>,
    ) -> Result<tonic::Response<v1::RenewCertificateResponse>, Status> {
        let chain = self.0.issue(request.into_inner().certificate_signing_request)?;
        let trust_bundle = self.0.authority.pem();
        Ok(tonic::Response::new(v1::RenewCertificateResponse {
            certificate_chain: chain,
            trust_bundle,
            not_after: None,
        }))
    }
}

#[tonic::async_trait]
impl SyncService for Counter {
    type SyncExecutorStream =
        Pin<Box<dyn tokio_stream::Stream<Item = Result<v1::SyncExecutorResponse, Status>> + Send>>;

    async fn sync_executor(
        &self,
        request: tonic::Request<Streaming<v1::SyncExecutorRequest>>,
    ) -> Result<tonic::Response<Self::SyncExecutorStream>, Status> {
        let (responses, outbox) = mpsc::channel(16);
        let stream = Stream { requests: request.into_inner(), responses };
        self.0.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(tonic::Response::new(Box::pin(ReceiverStream::new(outbox))))
    }

    async fn probe(&self, _: tonic::Request<v1::ProbeRequest>) -> Result<tonic::Response<v1::ProbeResponse>, Status> {
        Ok(tonic::Response::new(v1::ProbeResponse { server_version: "1.0.0".to_owned() }))
    }
}
