//! One child process: started with its output in one pipe, ended by SIGTERM and then SIGKILL.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};

use crate::output::Impatient;
use crate::rollback::crash_loop::Exit;
use crate::service_manager::SUPERVISED;
use crate::service_manager::supervise::handover;
use crate::service_manager::supervise::output::Log;

/// Bytes of output taken at a time.
const CHUNK: usize = 8192;

/// Pieces passed on after a child's end: more than a pipe holds (64 KiB), and an end to what a grandchild can say.
const DRAIN_MAX: usize = 128;

/// A child that runs.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    output: Option<pipe::Receiver>,
    chunk: Vec<u8>,
}

impl Process {
    /// Starts `binary`, which finds the parent's socket where systemd's would be.
    pub(super) fn start(binary: &Path, arguments: &[OsString], socket: &Path, invocation: &str) -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        let child = Command::new(binary)
            .args(arguments)
            .env("NOTIFY_SOCKET", socket)
            .env("INVOCATION_ID", invocation)
            .env(SUPERVISED, std::process::id().to_string())
            .env_remove(handover::SETTINGS)
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .kill_on_drop(true)
            .spawn()?;
        let output = Some(pipe::Receiver::from_owned_fd(reader.into())?);
        Ok(Self { child, output, chunk: vec![0; CHUNK] })
    }

    /// Waits for its end, or for a piece of output, which is passed on. Cancel-safe.
    pub(super) async fn wait(&mut self, log: &mut Log) -> Option<io::Result<ExitStatus>> {
        tokio::select! {
            status = self.child.wait() => Some(status),
            more = next(self.output.as_ref(), &mut self.chunk, log) => {
                if !more {
                    self.output = None;
                }
                None
            }
        }
    }

    /// Passes on what is left after its end, without waiting for grandchildren that keep the pipe open.
    pub(super) fn drain(&mut self, log: &mut Log) {
        if let Some(output) = self.output.take() {
            for _ in 0..DRAIN_MAX {
                let Ok(n @ 1..) = output.try_read(&mut self.chunk) else { break };
                keep(&self.chunk[..n], log);
            }
        }
    }

    /// Asks it to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::debug!(%error, "the child is gone already");
        }
    }
}

/// How a status reads as the end of a start.
pub(super) fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Status(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Other(status.to_string()),
    }
}

/// Passes the next piece on; says whether there may be more. Never ends without a pipe, so that it may stand in a select.
async fn next(output: Option<&pipe::Receiver>, chunk: &mut [u8], log: &mut Log) -> bool {
    let Some(output) = output else {
        return std::future::pending().await;
    };
    output.readable().await.is_ok() && read(output, chunk, log)
}

fn read(output: &pipe::Receiver, chunk: &mut [u8], log: &mut Log) -> bool {
    match output.try_read(chunk) {
        Ok(0) => false,
        Ok(n) => {
            keep(&chunk[..n], log);
            true
        }
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

fn keep(bytes: &[u8], log: &mut Log) {
    log.write(bytes);
    // Nobody may be listening to us any more, or nobody may read what they asked for; the child goes on, and so do we.
    let _ = Impatient.write_all(bytes);
}
