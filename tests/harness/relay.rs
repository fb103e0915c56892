//! A way to somewhere that a trial can turn and cut: to a replica's database, or to replicas as a balancer would lead to them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// It ends, and so do its connections, when it is dropped.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    to: watch::Sender<Option<SocketAddr>>,
    held: watch::Sender<bool>,
    n_accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

// === impl Relay ===

impl Relay {
    /// One that leads nowhere yet: who comes is let go.
    ///
    /// # Errors
    /// No port is free.
    pub async fn new() -> Result<Self> {
        Self::at(Ipv4Addr::LOCALHOST.into()).await
    }

    /// The same, at another address of this machine.
    ///
    /// # Errors
    /// As [`Relay::new`].
    pub async fn at(host: IpAddr) -> Result<Self> {
        let listener = TcpListener::bind((host, 0)).await?;
        let address = listener.local_addr()?;
        let (to, turned) = watch::channel(None);
        let (held, holding) = watch::channel(false);
        let n_accepted = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(serve(listener, turned, holding, Arc::clone(&n_accepted)));
        Ok(Self { address, to, held, n_accepted, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads new connections there; those that it has stay.
    pub fn turn_to(&self, address: SocketAddr) {
        self.to.send_replace(Some(address));
    }

    /// Cuts every connection, and takes none until it is turned to somewhere.
    pub fn cut(&self) {
        self.to.send_replace(None);
    }

    /// Keeps every connection, and lets nothing through: as a network that died without a word.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// Lets through what came meanwhile, and what comes.
    pub fn go_on(&self) {
        self.held.send_replace(false);
    }

    /// How many have come.
    #[must_use]
    pub fn n_accepted(&self) -> usize {
        self.n_accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    turned: watch::Receiver<Option<SocketAddr>>,
    held: watch::Receiver<bool>,
    n_accepted: Arc<AtomicUsize>,
) {
    let mut connections = JoinSet::new();
    while let Ok((from, _)) = listener.accept().await {
        n_accepted.fetch_add(1, Ordering::SeqCst);
        connections.spawn(carry(from, turned.clone(), held.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Carries bytes until an end closes, or it is cut.
async fn carry(mut from: TcpStream, mut turned: watch::Receiver<Option<SocketAddr>>, held: watch::Receiver<bool>) {
    let Some(address) = *turned.borrow_and_update() else { return };
    let Ok(mut to) = TcpStream::connect(address).await else { return };
    let nodelay = from.set_nodelay(true).and(to.set_nodelay(true));
    let ((from, back), (answer, on)) = (from.split(), to.split());
    tokio::select! {
        // Whoever broke it: the trial sees what its ends make of it.
        _ = async { tokio::try_join!(one_way(from, on, held.clone()), one_way(answer, back, held)) }, if nodelay.is_ok() => {}
        _ = turned.wait_for(Option::is_none) => {}
    }
}

/// Carries bytes one way until there are no more, while they are not held.
async fn one_way(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut held: watch::Receiver<bool>) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let n = from.read(&mut bytes).await?;
        // Nobody turns it any more: it goes on as it is.
        let _ = held.wait_for(|held| !held).await;
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&bytes[..n]).await?;
    }
}
