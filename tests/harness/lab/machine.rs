//! The machine while it is on: systemd-nspawn, and the systemd it started.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::fd::OwnedFd,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Signal, pidfd_send_signal};

use super::{
    proc,
    root::Root,
    site::Site,
    strip::{self, Strip},
};
use crate::wait;

/// What programs inside find, whatever the test was started with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug)]
pub(super) struct Machine {
    /// `nsenter`, which waits for systemd-nspawn.
    child: Child,
    leader: Option<Leader>,
}

#[derive(Debug)]
struct Leader {
    pid: u32,
    handle: OwnedFd,
    nspawn: OwnedFd,
}

impl Machine {
    pub(super) fn start(strip: &Strip, site: &Site, root: &Root, mounts: &[(PathBuf, PathBuf)]) -> Result<Self> {
        let console = File::options().create(true).append(true).open(site.console()).context("open the console")?;
        let uuid = uuid(site)?;
        let mut command = strip.command("systemd-nspawn");
        // No manager on the host is asked for anything, so that this works on hosts without systemd.
        command
            .args([
                "--quiet",
                "--register=no",
                "--keep-unit",
                "--resolv-conf=off",
                "--timezone=off",
                "--link-journal=no",
            ])
            .arg(format!("--machine={}", site.name()))
            .arg(format!("--uuid={uuid}"))
            .arg("--directory")
            .arg(root.mount());
        for (inside, mount) in mounts {
            command.arg(format!("--bind={}:{}", mount.display(), inside.display()));
        }
        let child = command
            .args(["--boot", "--", "--unit=multi-user.target"])
            .stdin(Stdio::null())
            .stdout(console.try_clone().context("share the console")?)
            .stderr(console)
            .spawn()
            .context("start systemd-nspawn")?;
        Ok(Self { child, leader: None })
    }

    /// Waits until systemd takes commands. Not for `multi-user.target`, which waits in turn for units that a test may
    /// have hang.
    pub(super) fn wait_for_systemd(&mut self, site: &Site, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while self.leader.is_none() {
            if let Some(status) = self.ended()? {
                bail!("systemd-nspawn ended at boot: {status}\n{}", console(site));
            }
            if start.elapsed() > limit {
                self.kill_all();
                bail!("not booted after {limit:?}\n{}", console(site));
            }
            self.leader = self.find_leader();
            wait::pause();
        }
        Ok(())
    }

    /// A command among the machine's processes.
    pub(super) fn command(&self, program: &OsStr) -> Command {
        enter(self.leader(), program)
    }

    pub(super) fn leader(&self) -> u32 {
        self.leader.as_ref().map_or(0, |leader| leader.pid)
    }

    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.ended(), Ok(None))
    }

    /// Asks for an orderly end.
    pub(super) fn power_off(&self) -> Result<()> {
        let leader = self.leader.as_ref().context("the machine has no leader")?;
        pidfd_send_signal(&leader.nspawn, Signal::TERM).context("ask systemd-nspawn to power off")
    }

    /// Ends every process at once. Not by killing systemd-nspawn, whose end leaves the leader running.
    pub(super) fn kill(&self) -> Result<()> {
        let leader = self.leader.as_ref().context("the machine has no leader")?;
        pidfd_send_signal(&leader.handle, Signal::KILL).context("kill the leader")
    }

    pub(super) fn wait_for_end(&mut self, site: &Site, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while self.ended()?.is_none() {
            if start.elapsed() > limit {
                self.kill_all();
                bail!("still on after {limit:?}\n{}", console(site));
            }
            wait::pause();
        }
        Ok(())
    }

    /// Collects a child that is ending.
    pub(super) fn collect(&mut self) {
        let _ = self.child.wait();
    }

    fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("look after systemd-nspawn")
    }

    fn find_leader(&self) -> Option<Leader> {
        let nspawn = *proc::children(self.child.id()).first()?;
        let pid = proc::children(nspawn).into_iter().find(|&pid| proc::is_first_of_namespace(pid))?;
        // Held before it is asked, so that the answer is about the process held.
        let leader = Leader { pid, handle: strip::handle(pid).ok()?, nspawn: strip::handle(nspawn).ok()? };
        let mut ask = enter(pid, OsStr::new("systemctl"));
        let answer = ask.args(["is-active", "--quiet", "basic.target"]).output().ok()?;
        answer.status.success().then_some(leader)
    }

    /// The last resort when a limit has passed.
    fn kill_all(&mut self) {
        for nspawn in proc::children(self.child.id()) {
            for pid in proc::children(nspawn) {
                if let Ok(handle) = strip::handle(pid) {
                    let _ = pidfd_send_signal(&handle, Signal::KILL);
                }
            }
        }
        self.collect();
    }
}

fn enter(leader: u32, program: &OsStr) -> Command {
    let mut command = Command::new("nsenter");
    command
        .env_clear()
        .env("PATH", PATH)
        .env("LANG", "C.UTF-8")
        .env("HOME", "/root")
        .stdin(Stdio::null())
        .args(["--target", &leader.to_string(), "--all", "--"])
        .arg(program);
    command
}

/// A machine keeps its identity over boots.
fn uuid(site: &Site) -> Result<String> {
    let path = site.path("uuid");
    if !path.exists() {
        fs::copy("/proc/sys/kernel/random/uuid", &path).context("choose the machine's identity")?;
    }
    Ok(fs::read_to_string(&path).context("read the machine's identity")?.trim().to_owned())
}

/// The end of the console, for an error.
fn console(site: &Site) -> String {
    let text = fs::read(site.console()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    let tail = lines.iter().skip(lines.len().saturating_sub(20));
    tail.fold("console:".to_owned(), |shown, line| shown + "\n  " + line)
}
