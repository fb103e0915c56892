//! Accepts connections of one listener, within limits, and hands each to [`super::connection`].
//!
//! Three numbers bound a flood. Connections that have not finished their handshake: past the limit nothing is accepted and the
//! kernel's backlog waits, ten seconds at most for each. Handshakes that compute at once: a slot is taken only once
//! the client's first message is there, so that silent clients hold none. Connections that are served: past the limit a new one is closed.
//! Clients without a certificate have a cap of their own on the executor listener, so that they can neither starve executors nor be starved by them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::Acceptor;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::config::TlsConfigs;
use super::connection::{self, Certificate, Peer, Served};
use crate::grpc::access;
use crate::supervise::{BoxError, OnCancel, OnError, Supervisor};

/// Connections that the kernel keeps for us: a fleet that comes back at once (LIMITS section 3).
const BACKLOG: i32 = 4096;

/// How long the loop rests when the system has no more file descriptors: it must not spin.
const REST: Duration = Duration::from_millis(50);

/// How long a client without a certificate waits for others of its kind to leave.
const CROWD: Duration = Duration::from_secs(1);

/// How much one listener bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Served at once.
    pub connections: usize,
    /// Accepted, and not yet through their handshake.
    pub pending: usize,
    /// Handshakes that compute at once.
    pub handshakes: usize,
    /// From accept to the end of the handshake.
    pub handshake: Duration,
    /// From the end of the handshake to the first request.
    pub first_request: Duration,
    /// Without any request running.
    pub idle: Duration,
    /// Served at once without a client certificate, on the executor listener.
    pub anonymous: usize,
    /// How long such a connection lives.
    pub anonymous_life: Duration,
    /// Requests of one connection at once; one without a certificate on the executor listener has one.
    pub streams: u32,
    /// Over how long connections are told to go when the server drains.
    pub drain_spread: Duration,
}

impl Limits {
    /// For people and programs: browsers and uploads, few connections.
    #[must_use]
    pub const fn api() -> Self {
        Self {
            connections: 2_048,
            pending: 512,
            handshakes: 64,
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(300),
            anonymous: 0,
            anonymous_life: Duration::ZERO,
            streams: 100,
            drain_spread: Duration::from_secs(1),
        }
    }

    /// For executors: many connections with a stream, a probe and a download each.
    #[must_use]
    pub const fn executors() -> Self {
        Self {
            connections: 16_384,
            pending: 2_048,
            handshakes: 256,
            handshake: Duration::from_secs(10),
            first_request: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            anonymous: 256,
            anonymous_life: Duration::from_secs(30),
            streams: 16,
            drain_spread: Duration::from_secs(5),
        }
    }
}

/// One listener, bound and not yet accepting.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    shared: Arc<Shared>,
}

/// What all its connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) kind: access::Listener,
    pub(super) limits: Limits,
    pub(super) supervisor: Supervisor,
    pub(super) router: axum::Router,
    tls: Arc<TlsConfigs>,
    handshakes: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
}

/// Permits that a connection holds while it is served.
#[derive(Debug)]
pub(super) struct Slots {
    _connection: OwnedSemaphorePermit,
    _anonymous: Option<OwnedSemaphorePermit>,
}

/// Why a connection was not served. The peer's doing, as a rule: logged at debug.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("no handshake inside its deadline")]
    Slow,
    #[error("the handshake failed")]
    Handshake(#[source] io::Error),
    #[error("a resumed session carries a certificate that is refused")]
    Resumed(#[source] rustls::Error),
    #[error("the client certificate cannot be read")]
    Certificate,
    #[error("too many connections")]
    Full,
    #[error("too many connections without a certificate")]
    AnonymousFull,
    #[error("the listener stops")]
    Stopping,
}

// === impl Listener ===

impl Listener {
    /// Over a socket that [`bind`] made.
    #[must_use]
    pub fn new(
        kind: access::Listener,
        socket: TcpListener,
        limits: Limits,
        tls: Arc<TlsConfigs>,
        supervisor: Supervisor,
        router: axum::Router,
    ) -> Self {
        let shared = Shared {
            kind,
            limits,
            supervisor,
            router,
            tls,
            handshakes: Arc::new(Semaphore::new(limits.handshakes)),
            connections: Arc::new(Semaphore::new(limits.connections)),
            anonymous: Arc::new(Semaphore::new(limits.anonymous)),
        };
        Self { socket, shared: Arc::new(shared) }
    }

    /// Accepts until the supervisor stops; connections are tasks of their own.
    ///
    /// # Errors
    /// Never in practice: an accept that fails is tried again.
    pub async fn serve(self) -> Result<(), BoxError> {
        let pending = Arc::new(Semaphore::new(self.shared.limits.pending));
        loop {
            let permit = Arc::clone(&pending).acquire_owned().await?;
            let (tcp, address) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "accept failed");
                    tokio::time::sleep(REST).await;
                    continue;
                }
            };
            let shared = Arc::clone(&self.shared);
            let supervisor = shared.supervisor.clone();
            supervisor.spawn("connection", OnCancel::Drain, OnError::Log, async move {
                // What the handshake needed is gone before the connection is served.
                let admitted = Box::pin(admit(&shared, tcp, address)).await;
                drop(permit);
                match admitted {
                    Ok(served) => served.await,
                    Err(rejected) => {
                        tracing::debug!(%address, error = crate::observe::chain(&rejected), "connection rejected");
                    }
                }
                Ok(())
            });
        }
    }
}

/// Binds `address`. Port 0 takes any that is free.
///
/// # Errors
/// What the system says, such as that the address is in use.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The handshake, and a place among the served.
async fn admit(shared: &Shared, tcp: TcpStream, address: SocketAddr) -> Result<Served, Rejected> {
    let deadline = Instant::now() + shared.limits.handshake;
    tcp.set_nodelay(true).map_err(Rejected::Handshake)?;
    let tls = tokio::select! {
        () = shared.supervisor.cancelled().cancelled_owned() => return Err(Rejected::Stopping),
        tls = timeout_at(deadline, handshake(shared, tcp)) => tls.map_err(|_| Rejected::Slow)??,
    };
    let (_, session) = tls.get_ref();
    let (certificate, shown) = match session.peer_certificates() {
        None | Some([]) => (None, None),
        Some([leaf, rest @ ..]) => {
            if session.handshake_kind() == Some(rustls::HandshakeKind::Resumed) {
                use rustls::server::danger::ClientCertVerifier as _;
                let (verifier, now) = shared.tls.verifier();
                verifier.verify_client_cert(leaf, rest, now).map_err(Rejected::Resumed)?;
            }
            (Some(Certificate::of(leaf).ok_or(Rejected::Certificate)?), Some(leaf.clone()))
        }
    };
    let connection = Arc::clone(&shared.connections).try_acquire_owned().map_err(|_| Rejected::Full)?;
    let anonymous = match (shared.kind, &certificate) {
        (access::Listener::Executors, None) => {
            // A burst of enrolments is over in no time; a crowd that stays is not waited for.
            let permit = Arc::clone(&shared.anonymous).acquire_owned();
            let permit = tokio::time::timeout(CROWD, permit).await;
            let permit = permit.map_err(|_| Rejected::AnonymousFull)?;
            Some(permit.map_err(|_| Rejected::Stopping)?)
        }
        (access::Listener::Executors, Some(_)) | (access::Listener::Api, _) => None,
    };
    let slots = Slots { _connection: connection, _anonymous: anonymous };
    Ok(connection::serve(shared, tls, Peer { address, certificate, shown }, slots))
}

async fn handshake(shared: &Shared, tcp: TcpStream) -> Result<TlsStream<TcpStream>, Rejected> {
    // Nothing is computed, and no slot is held, until the client has said hello.
    let hello = LazyConfigAcceptor::new(Acceptor::default(), tcp).await.map_err(Rejected::Handshake)?;
    let _slot = shared.handshakes.acquire().await.map_err(|_| Rejected::Stopping)?;
    hello.into_stream(shared.tls.current(shared.kind)).await.map_err(Rejected::Handshake)
}
