//! Child processes of the story: started with their output in a file, ended by pid, never left behind.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};

/// How long a program may take to end after SIGTERM.
const END: Duration = Duration::from_secs(15);

/// A running program; ended when dropped.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; its output goes to `<folder>/<name>.log`.
    pub(crate) fn start(name: &'static str, command: &mut Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let other = file.try_clone().context("share the log")?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(other).spawn();
        Ok(Self { name, child: child.with_context(|| format!("start {name}"))?, log })
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it holds in memory, its children included, in MiB.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        let children = format!("/proc/{0}/task/{0}/children", self.id());
        let children = fs::read_to_string(&children).with_context(|| format!("read {children}"))?;
        let own = self.id().to_string();
        let all = std::iter::once(own.as_str()).chain(children.split_whitespace());
        all.map(resident).sum()
    }

    /// Whether it runs; an error with its last lines when it ended.
    pub(crate) fn alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait().context("look at a child")? {
            None => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.last_lines()),
        }
    }

    /// The end of its log.
    pub(crate) fn last_lines(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// Leaves it running.
    pub(crate) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let began = Instant::now();
        while began.elapsed() < END {
            match self.child.try_wait() {
                Ok(None) => pause(),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `VmRSS` of `proc_pid_status(5)`, in MiB.
fn resident(pid: &str) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).with_context(|| format!("VmRSS in {path}"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().with_context(|| format!("VmRSS in {path}"))?;
    Ok(kib / 1024.0)
}

/// Waits for READY=1 as systemd would (`sd_notify(3)`), so that nothing is guessed by sleeping.
pub(crate) struct Readiness {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Readiness {
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("notify");
        let socket = UnixDatagram::bind(&path).with_context(|| format!("bind {}", path.display()))?;
        socket.set_read_timeout(Some(Duration::from_millis(200))).context("limit waiting")?;
        Ok(Self { socket, path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn wait(&self, process: &mut Process, limit: Duration) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut message = [0u8; 4096];
        while began.elapsed() < limit {
            process.alive()?;
            if let Ok(n) = self.socket.recv(&mut message)
                && message[..n].split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
            {
                return Ok(());
            }
        }
        bail!("{} was not ready after {limit:?}:\n{}", process.name, process.last_lines())
    }
}

/// Asks until there is an answer.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        pause();
    }
    bail!("waited {limit:?} for {what}")
}

#[expect(clippy::disallowed_methods, reason = "a plain thread that waits for other processes; nothing else runs in it")]
fn pause() {
    std::thread::sleep(Duration::from_millis(50));
}
