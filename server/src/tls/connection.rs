//! One connection after its handshake: HTTP/2 or HTTP/1.1 by ALPN, with the deadlines that hyper does not have.
//!
//! ```text
//! served --no first request in time--> dropped
//!        --no request running for the idle time--> GOAWAY, then dropped
//!        --no certificate (executor listener), life over--> dropped
//!        --listener stops--> after a random part of the drain spread: GOAWAY; ends when its requests have
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use domain::{Sha256, Timestamp};
use futures_util::FutureExt as _;
use http::{Request, Response};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tower::Service as _;

use super::authority::{certificate_of, sha256, timestamp};
use super::listener::{Shared, Slots};
use crate::grpc::access::Listener;
use crate::supervise::{OnCancel, OnError, Supervisor};

/// How long a connection that was told to go may take to close.
const LINGER: Duration = Duration::from_secs(5);

/// Who is at the other end, in the extensions of each request (as `Arc<Peer>`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// The client certificate it proved to own. Verified, but not looked up: see [`crate::tls::gate`].
    pub certificate: Option<Certificate>,
    /// The same as it was shown, for who has to read more of it.
    pub shown: Option<CertificateDer<'static>>,
}

/// A client certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// SHA-256 of its DER.
    pub fingerprint: Sha256,
    /// When it ends.
    pub not_after: Timestamp,
}

impl Certificate {
    pub(super) fn of(der: &CertificateDer<'_>) -> Option<Self> {
        let not_after = certificate_of(der)?.validity().not_after.timestamp();
        Some(Self { fingerprint: sha256(der), not_after: timestamp(not_after) })
    }
}

/// A connection that is served; done when it is at its end.
pub(super) type Served = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Serves a connection to its end.
///
/// Boxed, and so is the connection in it: what waits for years is as large as it must be, and not as its beginning was.
pub(super) fn serve(shared: &Shared, tls: TlsStream<TcpStream>, peer: Peer, slots: Slots) -> Served {
    let anonymous = shared.kind == Listener::Executors && peer.certificate.is_none();
    let h2_chosen = tls.get_ref().1.alpn_protocol() == Some(b"h2");
    let activity = Arc::new(Activity::default());
    let requests = Requests { router: shared.router.clone(), peer: Arc::new(peer), activity: Arc::clone(&activity) };
    let life = Life::new(shared, anonymous, activity, slots);
    let io = TokioIo::new(tls);
    if h2_chosen {
        Box::pin(live(Box::pin(h2(shared, anonymous).serve_connection(io, requests)), life))
    } else {
        Box::pin(live(Box::pin(h1().serve_connection(io, requests)), life))
    }
}

fn h2(shared: &Shared, anonymous: bool) -> http2::Builder<Tasks> {
    // Uploads come through the API listener; executors send little.
    let (stream_window, connection_window) = match shared.kind {
        Listener::Api => (1 << 20, 2 << 20),
        Listener::Executors => (64 << 10, 128 << 10),
    };
    let mut builder = http2::Builder::new(Tasks(shared.supervisor.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(if anonymous { 1 } else { shared.limits.streams })
        .max_header_list_size(16 << 10)
        .max_frame_size(16 << 10)
        .max_send_buf_size(64 << 10)
        .initial_stream_window_size(stream_window)
        .initial_connection_window_size(connection_window)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(10))
        .max_pending_accept_reset_streams(32)
        .max_local_error_reset_streams(128);
    builder
}

fn h1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(10))
        .max_headers(64)
        .max_buf_size(64 << 10);
    builder
}

/// Each request of an HTTP/2 connection is a task, owned by the listener's supervisor.
#[derive(Clone, Debug)]
struct Tasks(Supervisor);

impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("request", OnCancel::Drain, OnError::Log, future.map(|_| Ok(())));
    }
}

/// A connection of either protocol.
trait Connection: Future<Output = Result<(), hyper::Error>> {
    /// Tells the peer to go: no new requests; those that run may end.
    fn drain(self: Pin<&mut Self>);
}

impl Connection for http2::Connection<TokioIo<TlsStream<TcpStream>>, Requests, Tasks> {
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl Connection for http1::Connection<TokioIo<TlsStream<TcpStream>>, Requests> {
    fn drain(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// What ends a connection beside its peer.
struct Life {
    activity: Arc<Activity>,
    first_request: Instant,
    idle: Duration,
    end: Option<Instant>,
    drain_after: Duration,
    supervisor: Supervisor,
    _slots: Slots,
}

/// What is next for a connection.
enum Verdict {
    /// Look again then.
    Look(Instant),
    /// Tell it to go.
    Drain,
    /// Drop it.
    Drop,
}

impl Life {
    fn new(shared: &Shared, anonymous: bool, activity: Arc<Activity>, slots: Slots) -> Self {
        let now = Instant::now();
        let spread = shared.limits.drain_spread.as_secs_f64() * rand::random::<f64>();
        Self {
            activity,
            first_request: now + shared.limits.first_request,
            idle: shared.limits.idle,
            end: anonymous.then(|| now + shared.limits.anonymous_life),
            drain_after: Duration::from_secs_f64(spread),
            supervisor: shared.supervisor.clone(),
            _slots: slots,
        }
    }

    /// Decides by what was seen; `idle_since` is when a look first found no request running.
    fn look(&self, now: Instant, idle_since: &mut Option<Instant>) -> Verdict {
        if self.end.is_some_and(|end| now >= end) {
            return Verdict::Drop;
        }
        let next = if !self.activity.served.load(Ordering::Relaxed) {
            if now >= self.first_request {
                return Verdict::Drop;
            }
            self.first_request
        } else if self.activity.running.load(Ordering::Relaxed) > 0
            || self.activity.began.swap(false, Ordering::Relaxed)
        {
            *idle_since = None;
            now + self.idle / 2
        } else {
            let since = *idle_since.get_or_insert(now);
            if now >= since + self.idle / 2 {
                return Verdict::Drain;
            }
            since + self.idle / 2
        };
        Verdict::Look(self.end.map_or(next, |end| next.min(end)))
    }
}

async fn live<C: Connection>(mut connection: Pin<Box<C>>, life: Life) {
    let cancelled = life.supervisor.cancelled();
    let mut stopping = pin!(cancelled.cancelled());
    let mut alarm = pin!(tokio::time::sleep_until(life.first_request));
    let (mut idle_since, mut told, mut draining) = (None, false, false);
    loop {
        tokio::select! {
            // The peer closed, or broke the protocol.
            end = connection.as_mut() => {
                if let Err(error) = end {
                    tracing::debug!(error = crate::observe::chain(&error), "connection ended");
                }
                return;
            }
            // The listener stops: go, but not all at once.
            () = stopping.as_mut(), if !draining => {
                draining = true;
                alarm.as_mut().reset(Instant::now() + life.drain_after);
            }
            // Time to look.
            () = alarm.as_mut() => {
                if draining && !told {
                    told = true;
                    connection.as_mut().drain();
                    // Its requests end when the application ends them; the supervisor's limit bounds it.
                    alarm.as_mut().reset(Instant::now() + Duration::from_secs(24 * 3600));
                    continue;
                }
                if told {
                    return;
                }
                match life.look(Instant::now(), &mut idle_since) {
                    Verdict::Look(next) => alarm.as_mut().reset(next),
                    Verdict::Drop => return,
                    Verdict::Drain => {
                        told = true;
                        connection.as_mut().drain();
                        alarm.as_mut().reset(Instant::now() + LINGER);
                    }
                }
            }
        }
    }
}

/// What requests of a connection do.
#[derive(Debug, Default)]
struct Activity {
    served: AtomicBool,
    /// One began since the last look.
    began: AtomicBool,
    running: AtomicUsize,
}

/// Counts a request as running until its answer's body is gone.
#[derive(Debug)]
struct Running(Arc<Activity>);

impl Running {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.served.store(true, Ordering::Relaxed);
        activity.began.store(true, Ordering::Relaxed);
        activity.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Hands the requests of one connection to the router, with their [`Peer`].
#[derive(Debug)]
struct Requests {
    router: axum::Router,
    peer: Arc<Peer>,
    activity: Arc<Activity>,
}

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response<Counted>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let running = Running::begin(&self.activity);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&self.peer));
        // A router is always ready.
        let answer = self.router.clone().call(request);
        Box::pin(async move {
            let answer = answer.await?;
            Ok(answer.map(|body| Counted { body, _running: running }))
        })
    }
}

/// A body that keeps its request counted as running.
#[derive(Debug)]
struct Counted {
    body: Body,
    _running: Running,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
