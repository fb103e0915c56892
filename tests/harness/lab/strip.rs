//! The power strip: one process that everything of a lab hangs on.
//!
//! The holder is a shell that waits for its input to end. It is the first process of a PID namespace, so that with it
//! every process of the lab ends, and the last user of the lab's mount namespace, so that every mount goes as well.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{Network, cgroups, proc, site::Site};

#[derive(Debug)]
pub(super) struct Strip {
    /// `unshare`, the holder's parent.
    parent: Child,
    /// The holder ends when this closes.
    input: Option<ChildStdin>,
    holder: u32,
    handle: OwnedFd,
    network: Network,
    cgroups: Vec<PathBuf>,
}

impl Strip {
    pub(super) fn plug_in(site: &Site, network: Network, life: Duration) -> Result<Self> {
        let mut command = Command::new("unshare");
        // Slave, so that what the host unmounts is not kept busy here, and nothing of ours shows there.
        command.args(["--mount", "--propagation", "slave", "--pid", "--fork", "--kill-child", "--mount-proc"]);
        if network == Network::Own {
            command.arg("--net");
        }
        // unshare complains about a signal when its child is killed, which is how a lab ends.
        let log = File::create(site.path("strip.log")).context("make the strip's log")?;
        let script = format!("echo ready; read -r -t {}", life.as_secs());
        let mut parent = command
            .args(["bash", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .context("start unshare")?;
        let input = parent.stdin.take();
        let mut line = String::new();
        let output = parent.stdout.take().context("unshare has an output")?;
        BufReader::new(output).read_line(&mut line).context("wait for the holder")?;
        let complaint = || fs::read_to_string(site.path("strip.log")).unwrap_or_default();
        ensure!(line == "ready\n", "unshare made no namespaces: {}", complaint());
        let holder = *proc::children(parent.id()).first().context("the holder is unshare's only child")?;
        Ok(Self { handle: handle(holder)?, parent, input, holder, network, cgroups: cgroups::make(&site.id())? })
    }

    /// A command in the lab's namespaces, with the host's programs and files.
    pub(super) fn command(&self, program: &str) -> Command {
        // The lab's own control groups keep units of one name in two labs apart.
        let mut command = Command::new("sh");
        let join = "for folder in $GROUPS_OF_LAB; do echo $$ > $folder/cgroup.procs; done; exec \"$@\"";
        let groups: Vec<_> = self.cgroups.iter().map(|path| path.to_string_lossy()).collect();
        command.env("GROUPS_OF_LAB", groups.join(" ")).args([
            "-c",
            join,
            "sh",
            "nsenter",
            "--target",
            &self.holder.to_string(),
            "--mount",
            "--pid",
        ]);
        if self.network == Network::Own {
            command.arg("--net");
        }
        command.args(["--", program]);
        command
    }

    /// Where the host finds a path of the lab's mount namespace. Links on the way must be relative.
    pub(super) fn seen(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").unwrap_or(path);
        Path::new("/proc").join(self.holder.to_string()).join("root").join(inside)
    }

    pub(super) fn holder(&self) -> u32 {
        self.holder
    }

    /// Ends every process and mount of the lab. Safe to call twice.
    pub(super) fn pull(&mut self) {
        drop(self.input.take());
        // Not asked but told: the holder might be busy collecting orphans.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
        let _ = self.parent.wait();
        cgroups::remove(&self.cgroups);
    }
}

impl Drop for Strip {
    fn drop(&mut self) {
        self.pull();
    }
}

/// A hold on a process that cannot come to mean another one.
pub(super) fn handle(pid: u32) -> Result<OwnedFd> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).context("a process number is positive")?;
    pidfd_open(number, PidfdFlags::empty()).with_context(|| format!("hold process {pid}"))
}
