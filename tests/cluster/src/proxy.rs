//! A way to a cluster that a test disturbs: connections are cut, a direction stands still, and a chosen commit is caught at
//! any of its steps.
//!
//! ```text
//! client ─TCP, plain─> proxy ─unix socket─> PostgreSQL
//! ```
//!
//! Plain, so that what is said can be read. A transaction is chosen by words that it says (an event's kind, a statement's
//! text); the steps are those of a commit that is sent in one go: what it tells, `COMMIT`, and their answer.

mod link;

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::link::pump;
use crate::{Cluster, DATABASE, Error, USER};

/// Which way something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Toward {
    /// What clients say.
    Server,
    /// What PostgreSQL answers.
    Client,
}

/// Where a transaction is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Its words are not passed on, nor is what follows.
    Said,
    /// Its words are passed on, `COMMIT` is not.
    BeforeCommit,
    /// `COMMIT` was passed on this moment.
    Committing,
    /// PostgreSQL has answered `COMMIT`; the answer is not passed on.
    Committed,
}

/// What becomes of the connection that is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is cut, on both sides.
    Cut,
    /// It stands still, until it is let go or cut.
    Hold,
}

/// The way to one cluster; its connections are cut when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    socket: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    over: bool,
    refusing: bool,
    still: Vec<Toward>,
    trap: Option<Trap>,
    caught: bool,
    links: HashMap<u64, Link>,
    n_links: u64,
}

/// A connection and its counterpart.
#[derive(Debug)]
struct Link {
    client: TcpStream,
    server: UnixStream,
    /// It said the words of the trap.
    chosen: Option<Trap>,
    /// It stands still.
    held: bool,
}

#[derive(Clone, Debug)]
struct Trap {
    words: Vec<String>,
    step: Step,
    then: Then,
}

// === impl Proxy ===

impl Proxy {
    /// Opens a way to this cluster, also over its restarts.
    ///
    /// # Errors
    /// The system's.
    pub fn start(cluster: &Cluster) -> Result<Self, Error> {
        let io = |error| Error::Io("open a proxy", error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io)?;
        let address = listener.local_addr().map_err(io)?;
        let socket = cluster.socket_folder().join(format!(".s.PGSQL.{}", cluster.port()));
        let shared = Arc::new(Shared { socket, state: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Ok(Self { address, shared })
    }

    /// Through it, without TLS or password.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/{DATABASE}?sslmode=disable", self.address)
    }

    /// Cuts every connection; new ones are welcome.
    pub fn cut(&self) {
        self.shared.change(State::cut);
    }

    /// Cuts every connection, and every new one at once.
    pub fn close(&self) {
        self.shared.change(|state| {
            state.refusing = true;
            state.cut();
        });
    }

    /// Passes nothing on in this direction: connections stay open, and what is said waits.
    pub fn stop(&self, toward: Toward) {
        self.shared.change(|state| state.still.push(toward));
    }

    /// All goes on: what was stopped is passed on, what is caught is let go, new connections are welcome.
    pub fn open(&self) {
        self.shared.change(|state| {
            (state.refusing, state.trap) = (false, None);
            state.still.clear();
            state.links.values_mut().for_each(|link| (link.held, link.chosen) = (false, None));
        });
    }

    /// Catches the next transaction that says all of these words in one go.
    pub fn catch(&self, words: &[&str], step: Step, then: Then) {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.shared.change(|state| (state.trap, state.caught) = (Some(Trap { words, step, then }), false));
    }

    /// Whether one was caught within `limit`.
    #[must_use]
    pub fn caught(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        let mut state = self.shared.lock();
        while !state.caught {
            let Some(left) = end.checked_duration_since(Instant::now()) else {
                return false;
            };
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| {
            state.over = true;
            state.cut();
        });
        // Its last connection wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let Ok(client) = client else { continue };
        if shared.lock().over {
            return;
        }
        // Away, or refused: the client sees its connection end.
        let _ = connect(client, shared);
    }
}

fn connect(client: TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    let server = UnixStream::connect(&shared.socket)?;
    client.set_nodelay(true)?;
    let ways = (client.try_clone()?, server.try_clone()?, client.try_clone()?, server.try_clone()?);
    let mut state = shared.lock();
    if state.refusing || state.over {
        return Ok(());
    }
    let id = state.n_links;
    state.n_links += 1;
    state.links.insert(id, Link { client, server, chosen: None, held: false });
    drop(state);
    let (said, to_server, to_client, answered) = ways;
    let there = Arc::clone(shared);
    thread::spawn(move || pump(&there, id, Toward::Server, said, to_server));
    let back = Arc::clone(shared);
    thread::spawn(move || pump(&back, id, Toward::Client, answered, to_client));
    Ok(())
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }
}

// === impl State ===

impl State {
    fn cut(&mut self) {
        self.links.drain().for_each(|(_, link)| link.cut());
    }
}

// === impl Link ===

impl Link {
    fn cut(&self) {
        // One that is gone already is cut.
        let _ = self.client.shutdown(Shutdown::Both);
        let _ = self.server.shutdown(Shutdown::Both);
    }
}
