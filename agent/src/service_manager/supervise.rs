//! Hosts without systemd: a parent of our own keeps the same contract for its child.
//!
//! The parent runs the old code all through an upgrade, so it is the one that counts, times and brings back; after the
//! confirmation it re-executes itself from the new binary. A parent that is started anew in between gives way to the old code. Two things are shared through the state directory: a datagram
//! socket, on which the child says what sd_notify says and asks for a restart, and the child's output in [`output::FILE`].

pub mod elder;

pub mod handover;

pub mod output;

pub mod parent;

mod process;

mod watch;

use std::env;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use crate::layout::Layout;
use crate::service_manager::{Error, SUPERVISED, ServiceManager};

/// The parent's socket in the state directory.
const SOCKET: &str = "supervise.sock";

/// Asks for a healthy restart.
const RESTART: &[u8] = b"X_NOVACULA=restart";

/// Says that the running version was confirmed.
const CONFIRMED: &[u8] = b"X_NOVACULA=confirmed";

/// What a supervised child, or a command typed beside it, asks of the parent.
#[derive(Clone, Debug)]
pub struct Child {
    state_dir: PathBuf,
}

impl Child {
    /// The child of whoever supervises this layout.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        Self { state_dir: layout.state_dir().to_owned() }
    }

    /// Whether a parent is there.
    #[must_use]
    pub fn is_listening(&self) -> bool {
        UnixDatagram::unbound().and_then(|socket| socket.connect(self.socket())).is_ok()
    }

    /// Tells the parent that the running version was confirmed, so that it re-executes itself.
    ///
    /// # Errors
    /// When the parent is gone.
    pub fn confirmed(&self) -> Result<(), Error> {
        self.say(CONFIRMED)
    }

    fn say(&self, word: &[u8]) -> Result<(), Error> {
        let said = UnixDatagram::unbound().and_then(|socket| socket.send_to(word, self.socket()));
        said.map(drop).map_err(Error::Supervisor)
    }

    fn socket(&self) -> PathBuf {
        self.state_dir.join(SOCKET)
    }
}

impl ServiceManager for Child {
    async fn restart(&self) -> Result<(), Error> {
        self.say(RESTART)
    }

    /// The start that runs: what comes after it was said by a later one.
    async fn log_cursor(&self) -> Option<String> {
        env::var("INVOCATION_ID").ok()
    }

    async fn log_tail(&self, cursor: Option<&str>) -> Vec<String> {
        if env::var_os(SUPERVISED).is_some() {
            output::wait_for_own_lines(&self.state_dir).await;
        }
        output::tail_after(&self.state_dir, cursor)
    }
}
