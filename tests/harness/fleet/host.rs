//! A host with an agent: a lab with the units that `novacula-agent install` writes, or a folder with `run --supervise`.

mod folder;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::NAME;
use super::process::last_lines;
use crate::lab::{Builder, Lab};
use crate::parts::workspace;
use crate::wait;

use folder::Disk;

pub use folder::Folder;

/// Where the packaged layout keeps the binary.
const BINARY: &str = "/opt/novacula/bin/novacula-agent";

/// Where a person would put a download: the binary, and the join token beside it.
const DOWNLOAD: &str = "/opt/download";

/// The binary there.
const INSTALLER: &str = "/opt/download/novacula-agent";

/// How README's line for a host begins.
const FIRST_STEP: &str = "./novacula-agent install";

/// The agent's unit.
pub const UNIT: &str = "novacula-agent.service";

/// A clock that ticks faster than a person would set it.
const TIMER: &str =
    "[Timer]\nOnActiveSec=\nOnUnitInactiveSec=\nOnActiveSec=1\nOnUnitInactiveSec=1\nAccuracySec=100ms\n";

/// A start that is given up sooner than a person would set it.
const IMPATIENT: &str = "[Service]\nTimeoutStartSec=3\n";

/// A host with an agent.
#[derive(Debug)]
pub enum Host {
    /// Under systemd.
    Machine(Box<Lab>),
    /// Under `run --supervise`.
    Folder(Folder),
}

/// A lab for an agent.
#[must_use]
pub fn lab(name: &str) -> Builder {
    Lab::builder(name)
}

// === impl Host ===

impl Host {
    /// A machine on which `agent` has installed itself; not enrolled, not started.
    pub(super) fn under_systemd(builder: Builder, agent: &Path, window: Duration) -> Result<Self> {
        let mut lab = builder.build()?;
        lab.install(agent, INSTALLER)?;
        lab.write("/etc/novacula/agent.toml", config(window))?;
        lab.unit("novacula-agent-deadman.timer.d/pace.conf", TIMER)?;
        lab.unit("novacula-agent.service.d/pace.conf", IMPATIENT)?;
        lab.boot()?;
        typed(&lab, &readme_steps()?[0])?;
        Ok(Self::Machine(Box::new(lab)))
    }

    /// A folder of `above` that holds `agent`; not enrolled, not started.
    pub(super) fn supervised(above: &Path, agent: &Path, window: Duration) -> Result<Self> {
        let path = above.join(NAME);
        for folder in ["bin", "state"] {
            fs::create_dir_all(path.join(folder))?;
            fs::set_permissions(path.join(folder), fs::Permissions::from_mode(0o755))?;
        }
        fs::write(path.join("agent.toml"), config(window))?;
        let folder = Folder { path, environment: Vec::new(), parent: None, disk: Disk::Shared };
        fs::copy(agent, folder.binary()).context("put the agent in place")?;
        Ok(Self::Folder(folder))
    }

    /// Exchanges a join token for a certificate.
    ///
    /// # Errors
    /// With what the agent said.
    pub fn enroll(&self, secret: &str) -> Result<()> {
        if let Self::Machine(lab) = self {
            lab.write(Path::new(DOWNLOAD).join("join-token"), secret)?;
            return typed(lab, &readme_steps()?[1]);
        }
        let words = ["enroll", "--name", NAME, "--join-token", secret];
        let output = self.agent(&words)?;
        ensure!(
            output.status.success(),
            "enroll ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    /// Starts the agent, and what looks after it.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(&mut self) -> Result<()> {
        match self {
            Self::Machine(lab) => typed(lab, &readme_steps()?[2]),
            Self::Folder(folder) => folder.start(),
        }
    }

    /// Kills a supervised agent and its parent on the spot, as the end of a container would; [`start`](Self::start) begins anew
    /// with the binary that is live then.
    ///
    /// # Errors
    /// For a machine, whose power can be cut.
    pub fn kill(&mut self) -> Result<()> {
        match self {
            Self::Machine(_) => anyhow::bail!("cut the machine's power instead"),
            Self::Folder(folder) => {
                folder.parent = None;
                Ok(())
            }
        }
    }

    /// Another variable for a supervised agent and its parent, from their next [`start`](Self::start) on.
    ///
    /// # Errors
    /// For a machine, whose units can have drop-ins.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) -> Result<()> {
        self.folder_mut()?.environment.push((name.to_owned(), value.into()));
        Ok(())
    }

    /// Gives a supervised agent's state a disk of its own of 1 MiB, from the next [`start`](Self::start) on. It begins with what is
    /// kept now; what is written on it ends with the agent and its parent.
    ///
    /// # Errors
    /// For a machine, which can have disks.
    pub fn keep_state_on_a_small_disk(&mut self) -> Result<()> {
        self.folder_mut()?.disk = Disk::Small;
        Ok(())
    }

    /// Where a supervised agent keeps what it must not forget, as this side sees it; on a disk of its own only while it runs.
    ///
    /// # Errors
    /// For a machine.
    pub fn state_dir(&mut self) -> Result<PathBuf> {
        Ok(self.folder_mut()?.state_seen())
    }

    fn folder_mut(&mut self) -> Result<&mut Folder> {
        match self {
            Self::Machine(_) => anyhow::bail!("this host is a machine"),
            Self::Folder(folder) => Ok(folder),
        }
    }

    /// What README lets a person ask last: whether all is as an upgrade needs it.
    ///
    /// # Errors
    /// With what it said when it is not, or without systemd.
    pub fn doctor(&mut self) -> Result<()> {
        let steps = readme_steps()?;
        typed(self.machine()?, &steps[3])
    }

    /// Installs from the download and starts everything, as a person who read `--help` may.
    ///
    /// # Errors
    /// With what it said, or without systemd.
    pub fn install(&mut self) -> Result<()> {
        self.machine()?.run([INSTALLER, "install"]).map(drop)
    }

    /// Runs a command of the live binary.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn agent(&self, words: &[&str]) -> Result<Output> {
        match self {
            Self::Machine(lab) => lab.exec([&[BINARY], words].concat()),
            Self::Folder(folder) => folder.command().args(words).output().context("start the agent"),
        }
    }

    /// Where the live binary is, on this side.
    ///
    /// # Errors
    /// When its links run in a circle.
    pub fn live(&self) -> Result<PathBuf> {
        match self {
            Self::Machine(lab) => lab.path(BINARY),
            Self::Folder(folder) => Ok(folder.binary()),
        }
    }

    /// Where `.prev` is, on this side.
    ///
    /// # Errors
    /// As [`live`](Self::live).
    pub fn previous(&self) -> Result<PathBuf> {
        match self {
            Self::Machine(lab) => lab.path(format!("{BINARY}.prev")),
            Self::Folder(folder) => Ok(folder.path.join("bin/novacula-agent.prev")),
        }
    }

    /// The process that speaks for the executor now.
    ///
    /// # Errors
    /// When there is none.
    pub fn pid(&self) -> Result<u32> {
        match self {
            Self::Machine(lab) => Ok(lab.property(UNIT, "MainPID")?.parse()?),
            Self::Folder(folder) => {
                let parent = folder.parent.as_ref().context("nothing was started")?;
                wait::until("the supervised agent", super::SOON, || Ok(parent.only_child()), Option::is_some)?
                    .context("the supervised agent")
            }
        }
    }

    /// The parent of a supervised agent.
    ///
    /// # Errors
    /// For a machine, or when nothing was started.
    pub fn parent_pid(&self) -> Result<u32> {
        match self {
            Self::Machine(_) => anyhow::bail!("systemd is the parent"),
            Self::Folder(folder) => Ok(folder.parent.as_ref().context("nothing was started")?.id()),
        }
    }

    /// Checks that nothing was left failed.
    ///
    /// # Errors
    /// With the names of failed units.
    pub fn expect_nothing_failed(&self) -> Result<()> {
        let Self::Machine(lab) = self else {
            return Ok(());
        };
        let failed = lab.run(["systemctl", "--failed", "--plain", "--no-legend"])?;
        ensure!(failed.is_empty(), "failed units: {failed}");
        Ok(())
    }

    /// In how many lines the agent, its ways back or whoever runs them said these words, of all boots.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn said(&self, words: &str) -> Result<usize> {
        match self {
            Self::Machine(lab) => {
                let entries = lab.journal(None)?;
                Ok(entries.iter().filter(|entry| entry.message.contains(words)).count())
            }
            Self::Folder(folder) => {
                // The parent passes its child's lines on.
                let log = fs::read(folder.log()).context("read the log")?;
                Ok(String::from_utf8_lossy(&log).lines().filter(|line| line.contains(words)).count())
            }
        }
    }

    /// The machine, where there is one.
    ///
    /// # Errors
    /// For a host without systemd.
    pub fn machine(&mut self) -> Result<&mut Lab> {
        match self {
            Self::Machine(lab) => Ok(lab),
            Self::Folder(_) => anyhow::bail!("this host is not run by systemd"),
        }
    }

    /// What the agent and its ways back said last.
    #[must_use]
    pub fn last_words(&self) -> String {
        match self {
            Self::Machine(lab) => {
                let entries = lab.journal(None).unwrap_or_default();
                let ours = entries.iter().filter(|entry| {
                    entry.identifier.starts_with("novacula") || entry.message.contains("novacula-agent")
                });
                let lines: Vec<_> = ours.map(|entry| format!("{}: {}", entry.identifier, entry.message)).collect();
                lines[lines.len().saturating_sub(60)..].join("\n")
            }
            Self::Folder(folder) => {
                let output = last_lines(&folder.state_seen().join("supervise.log"));
                format!("{}\n{output}", last_lines(&folder.log()))
            }
        }
    }
}

/// README's block for a host, so that what it says is what every machine here does: install, enroll, start, doctor.
fn readme_steps() -> Result<[String; 4]> {
    let readme = fs::read_to_string(workspace().join("README.md")).context("read README.md")?;
    let mut lines = readme.lines().skip_while(|line| !line.starts_with(FIRST_STEP));
    let (line, doctor) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let steps: Vec<_> = line.split(" && ").chain([doctor]).map(str::to_owned).collect();
    steps.try_into().map_err(|steps| anyhow::anyhow!("README's steps for a host are no longer four: {steps:?}"))
}

/// As a person types it where the download is.
fn typed(lab: &Lab, line: &str) -> Result<()> {
    lab.run(["bash", "-c", &format!("cd {DOWNLOAD} && {line}")]).map(drop)
}

/// The host's settings: the defaults, and a shorter window.
fn config(window: Duration) -> String {
    format!("[upgrade]\ndead_man_window = \"{}ms\"\nallow_volatile_state = true\n", window.as_millis())
}
