//! What a supervising parent listens to while a child runs, in the order in which it counts.
//!
//! Signals and time come first, talk last: a child that never pauses in what it says or logs keeps nobody from ending it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use executor_sdk::program::Signals;
use tokio::net::UnixDatagram;
use tokio::time::{Instant, sleep_until};

use crate::layout::Layout;
use crate::service_manager::supervise::SOCKET;
use crate::service_manager::supervise::output::Log;
use crate::service_manager::supervise::parent::Error;
use crate::service_manager::supervise::process::Process;

/// Longer than anything said here.
const MESSAGE_MAX: usize = 4096;

/// More than Linux lets wait in a datagram socket by default (`net.unix.max_dgram_qlen`), and an end to what a talker can do.
const UNHEARD_MAX: usize = 1024;

/// What outlives a child.
pub(super) struct Watch {
    socket: UnixDatagram,
    path: PathBuf,
    signals: Signals,
    pub(super) log: Log,
}

/// What may happen while a child runs.
#[derive(Debug)]
pub(super) enum Happened {
    Signal,
    Deadline,
    Tick,
    Said(Vec<u8>),
    Exited(io::Result<ExitStatus>),
    Output,
}

impl Watch {
    pub(super) fn new(layout: &Layout) -> Result<Self, Error> {
        let path = layout.state_dir().join(SOCKET);
        let socket = bind(&path).map_err(|source| Error::Socket { path: path.clone(), source })?;
        Ok(Self { socket, path, signals: Signals::new().map_err(Error::Signals)?, log: Log::open(layout.state_dir()) })
    }

    /// Where a child finds the socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn next(&mut self, process: &mut Process, deadline: Instant, tick: Instant) -> Happened {
        let mut message = [0; MESSAGE_MAX];
        // The runtime looks at the clock and at signals between two polls, and output that never pauses would never end one.
        tokio::task::yield_now().await;
        tokio::select! {
            biased;
            // Whoever started us wants us gone.
            () = self.signals.recv() => Happened::Signal,
            // It was not ready, or has not ended, in time.
            () = sleep_until(deadline) => Happened::Deadline,
            // Is an attempt open, and is its version silent?
            () = sleep_until(tick) => Happened::Tick,
            // What the child said before its end comes before its end.
            received = self.socket.recv(&mut message) => Happened::Said(message[..received.unwrap_or(0)].to_vec()),
            status = process.wait(&mut self.log) => status.map_or(Happened::Output, Happened::Exited),
        }
    }

    /// What was said and has not been listened to yet.
    pub(super) fn unheard(&self) -> Vec<Vec<u8>> {
        let mut message = [0; MESSAGE_MAX];
        let next = || self.socket.try_recv(&mut message).ok().map(|length| message[..length].to_vec());
        std::iter::from_fn(next).take(UNHEARD_MAX).collect()
    }

    /// Waits; says whether a signal came meanwhile.
    pub(super) async fn stopped_within(&mut self, pause: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(pause) => false,
            () = self.signals.recv() => true,
        }
    }
}

/// Takes the socket over from a parent that is gone.
fn bind(path: &Path) -> io::Result<UnixDatagram> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    UnixDatagram::bind(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::Bench;

    const FAR: Duration = Duration::from_secs(3600);

    /// More pieces of output than anybody waits for who has a deadline that is [`SOON`].
    const PIECES: usize = 500_000;

    const SOON: Duration = Duration::from_millis(50);

    fn endless(watch: &Watch) -> Process {
        let words = ["-c", "yes"].map(Into::into);
        Process::start(Path::new("/bin/sh"), &words, watch.path(), "one").unwrap()
    }

    /// What happens beside output and talk, to a child that stops neither.
    async fn beside_talk(deadline: Instant, tick: Instant) -> Option<Happened> {
        let bench = Bench::new("old");
        let mut watch = Watch::new(&bench.layout).unwrap();
        let mut process = endless(&watch);
        let talker = std::os::unix::net::UnixDatagram::unbound().unwrap();
        for _ in 0..PIECES {
            talker.set_nonblocking(true).unwrap();
            // A full socket is as good.
            let _ = talker.send_to(b"STATUS=talking", watch.path());
            match watch.next(&mut process, deadline, tick).await {
                Happened::Output | Happened::Said(_) => {}
                happened => return Some(happened),
            }
        }
        None
    }

    #[tokio::test]
    async fn a_child_that_talks_without_pause_meets_its_deadline_and_the_dead_man() {
        let far = Instant::now() + FAR;
        assert!(matches!(beside_talk(Instant::now() + SOON, far).await, Some(Happened::Deadline)));
        assert!(matches!(beside_talk(far, Instant::now() + SOON).await, Some(Happened::Tick)));
    }

    #[tokio::test]
    async fn what_was_said_in_time_is_found_at_the_deadline() {
        let bench = Bench::new("old");
        let watch = Watch::new(&bench.layout).unwrap();
        let talker = std::os::unix::net::UnixDatagram::unbound().unwrap();
        for word in ["STATUS=on its way", "READY=1"] {
            talker.send_to(word.as_bytes(), watch.path()).unwrap();
        }
        watch.socket.readable().await.unwrap();
        assert_eq!(watch.unheard(), [b"STATUS=on its way".to_vec(), b"READY=1".to_vec()]);
        assert!(watch.unheard().is_empty());
    }
}
