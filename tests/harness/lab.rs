//! A machine of its own for a test: real systemd, disks that can lose power, and a cable that can be pulled.
//!
//! ```no_run
//! # fn main() -> anyhow::Result<()> {
//! use harness::lab::Lab;
//!
//! let mut lab = Lab::builder("swap").data_disk("/opt/novacula").build()?;
//! lab.install("target/debug/novacula-agent", "/opt/novacula/bin/novacula-agent")?;
//! lab.unit("app.service", "[Service]\nExecStart=/opt/novacula/bin/novacula-agent run\n")?;
//! lab.enable("app.service")?;
//! lab.boot()?;
//! lab.power_cut()?; // what was not synced is gone
//! lab.boot()?;
//! let pid = lab.property("app.service", "MainPID")?;
//! # let _ = pid; Ok(()) }
//! ```
//!
//! # How it holds together
//!
//! ```text
//! test ── pipe ──> holder: first process of a PID namespace, in a mount (and network) namespace of its own
//!                    ├ mounts: tmpfs for images, overlay over the host's /, loop disks     seen by nobody else
//!                    └ systemd-nspawn ─> leader: systemd of the machine, booted and cut many times
//! ```
//!
//! When the test ends in any way, panic and SIGKILL included, the pipe closes, the holder exits, and the kernel ends every
//! process and mount of the lab. Nothing can be left running or mounted; empty folders of a killed test are swept by the
//! next one. So labs need no order among them: as many as the machine can carry run at once.
//!
//! # What is inside
//!
//! The host's disk shows through, writable for the lab alone, but for `/tmp` and `/run`, which are fresh at each boot and
//! can be reached by [`Lab::exec`] only. No unit of the host is enabled. Network is the host's, unless [`Network::Own`].
//! `MemoryMax=` and `TasksMax=` are not enforced on hosts with cgroup v1, and clocks are the host's.

mod disk;
mod journal;
mod machine;
mod network;
mod proc;
mod root;
mod site;
mod strip;

use std::{
    ffi::OsStr,
    fs,
    net::Ipv4Addr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{parts::Part, wait};
use disk::{Disk, Images};
use machine::Machine;
use network::Cable;
use root::Root;
use site::Site;
use strip::Strip;

pub use journal::Entry;

/// What a trial that uses a lab needs.
pub const PARTS: &[Part] = &[
    Part::Root,
    Part::Nspawn,
    Part::Nsenter,
    Part::LoopDevice,
    Part::MkfsExt4,
    Part::Python3,
    Part::Ip,
];

/// No lab outlives this, whatever its test does. Long against any scenario, short against a run of CI.
const LIFE: Duration = Duration::from_secs(20 * 60);
/// A boot takes half a second on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// An orderly stop takes a fifth of a second, unless a unit waits for its own time limit.
const STOP_LIMIT: Duration = Duration::from_secs(100);
/// Room for a few releases of a binary with debug information.
const DATA_DISK_MIB: u64 = 512;

/// Where the machine's root keeps what is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RootDisk {
    /// In memory: quick, and a power cut loses nothing of it.
    Memory,
    /// A loop disk with ext4 as Debian makes it: a power cut loses what was not synced in the last five seconds.
    Ext4,
}

/// Whose network the machine is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The host's: `127.0.0.1` is the host.
    Host,
    /// A cable to the host that can be pulled: see [`Lab::host_address`] and [`Lab::unplug`].
    Own,
}

/// What a lab is made of; from [`Lab::builder`].
#[derive(Debug)]
pub struct Builder {
    name: String,
    root: RootDisk,
    network: Network,
    data: Vec<(PathBuf, u64)>,
    binds: Vec<(PathBuf, PathBuf)>,
}

/// A machine, off or on. Everything about it ends with the value.
#[derive(Debug)]
pub struct Lab {
    // In the order in which they must end.
    machine: Option<Machine>,
    cable: Option<Cable>,
    strip: Strip,
    root: Root,
    disks: Vec<Disk>,
    binds: Vec<(PathBuf, PathBuf)>,
    site: Site,
}

// === impl Builder ===

impl Builder {
    /// Where the root is kept; in memory unless told.
    #[must_use]
    pub fn root(mut self, root: RootDisk) -> Self {
        self.root = root;
        self
    }

    /// A disk of its own at `inside`, on which nothing is durable by accident: it commits every five minutes instead of
    /// five seconds, nobody else syncs it, and a rename does not flush what it renames. So a missing fsync shows.
    #[must_use]
    pub fn data_disk(self, inside: impl Into<PathBuf>) -> Self {
        self.data_disk_of(inside, DATA_DISK_MIB)
    }

    /// A [`data_disk`](Self::data_disk) of a size in MiB, at least 8: small ones run full.
    #[must_use]
    pub fn data_disk_of(mut self, inside: impl Into<PathBuf>, mebibytes: u64) -> Self {
        self.data.push((inside.into(), mebibytes));
        self
    }

    /// Whose network the machine is in; the host's unless told.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// Shows a folder of the host at `inside`, writable.
    #[must_use]
    pub fn bind(mut self, host: impl Into<PathBuf>, inside: impl Into<PathBuf>) -> Self {
        self.binds.push((host.into(), inside.into()));
        self
    }

    /// Makes disks and root. The machine is off.
    ///
    /// # Errors
    ///
    /// When a part is missing or the kernel refuses; the error says which command failed and what it printed.
    pub fn build(self) -> Result<Lab> {
        for part in PARTS {
            part.find()?;
        }
        let site = Site::claim(&self.name)?;
        let strip = Strip::plug_in(&site, self.network, LIFE)?;
        let images = Images::make(&strip, &site)?;
        let root = Root::make(&strip, &site, &images, self.root)?;
        let mut disks = Vec::new();
        for (index, (inside, mebibytes)) in self.data.into_iter().enumerate() {
            let mount = site.path(&format!("data-{index}"));
            disks.push(Disk::data(&strip, &images, mount, inside, mebibytes)?);
        }
        let cable = match self.network {
            Network::Host => None,
            Network::Own => Some(Cable::lay(&strip)?),
        };
        let lab = Lab {
            machine: None,
            cable,
            strip,
            root,
            disks,
            binds: self.binds,
            site,
        };
        for (inside, _) in lab.mounts() {
            let mount_point = lab.root.resolve(&lab.strip, &inside)?;
            fs::create_dir_all(&mount_point)
                .with_context(|| format!("make mount point {}", inside.display()))?;
        }
        Ok(lab)
    }
}

// === impl Lab: files ===

impl Lab {
    /// Begins a lab. The name becomes its host name: letters, digits and hyphens.
    #[must_use]
    pub fn builder(name: &str) -> Builder {
        Builder {
            name: name.to_owned(),
            root: RootDisk::Memory,
            network: Network::Host,
            data: Vec::new(),
            binds: Vec::new(),
        }
    }

    /// Where the host finds a file of the machine, on or off. Links are followed as inside. Not for `/tmp` and `/run`.
    ///
    /// # Errors
    ///
    /// When the path is relative or its links run in a circle.
    pub fn path(&self, inside: impl AsRef<Path>) -> Result<PathBuf> {
        let inside = inside.as_ref();
        ensure!(inside.is_absolute(), "{} is not absolute", inside.display());
        let followed = root::follow(inside, |path| self.locate(path))?;
        Ok(self.locate(&followed))
    }

    /// Writes a file (0644), and the folders above it.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&self, inside: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<()> {
        let inside = inside.as_ref();
        let path = self.with_parent(inside)?;
        fs::write(&path, contents).with_context(|| format!("write {} of the lab", inside.display()))
    }

    /// Copies a program of the host (0755).
    ///
    /// # Errors
    ///
    /// When it cannot be read here or written there.
    pub fn install(&self, program: impl AsRef<Path>, inside: impl AsRef<Path>) -> Result<()> {
        let (program, inside) = (program.as_ref(), inside.as_ref());
        let path = self.with_parent(inside)?;
        fs::copy(program, &path)
            .and_then(|_| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .with_context(|| {
                format!(
                    "install {} as {} of the lab",
                    program.display(),
                    inside.display()
                )
            })
    }

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn read(&self, inside: impl AsRef<Path>) -> Result<Vec<u8>> {
        let inside = inside.as_ref();
        fs::read(self.path(inside)?)
            .with_context(|| format!("read {} of the lab", inside.display()))
    }

    /// Whether something is there; a link that leads nowhere is not.
    ///
    /// # Errors
    ///
    /// When the path is relative or its links run in a circle.
    pub fn exists(&self, inside: impl AsRef<Path>) -> Result<bool> {
        Ok(self.path(inside)?.exists())
    }

    /// Writes a unit file. A running machine learns of it by `systemctl daemon-reload`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn unit(&self, name: &str, text: &str) -> Result<()> {
        self.write(Path::new(root::UNITS).join(name), text)
    }

    /// Lets the next boot start a unit, whatever its `[Install]` section says.
    ///
    /// # Errors
    ///
    /// When the link cannot be made.
    pub fn enable(&self, unit: &str) -> Result<()> {
        let target = if unit.ends_with(".timer") {
            "timers"
        } else {
            "multi-user"
        };
        let link = self
            .with_parent(&Path::new(root::UNITS).join(format!("{target}.target.wants/{unit}")))?;
        match std::os::unix::fs::symlink(format!("../{unit}"), &link) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error).with_context(|| format!("enable {unit}"))
            }
            _ => Ok(()),
        }
    }

    /// Where the host finds a path without links on its way: on the deepest disk that holds it, or on the root.
    fn locate(&self, inside: &Path) -> PathBuf {
        let held = self
            .disks
            .iter()
            .filter_map(|disk| Some((disk, inside.strip_prefix(disk.inside()).ok()?)))
            .min_by_key(|(_, rest)| rest.components().count());
        match held {
            Some((disk, rest)) => self.strip.seen(&disk.mount().join(rest)),
            None => self.root.locate(&self.strip, inside),
        }
    }

    fn with_parent(&self, inside: &Path) -> Result<PathBuf> {
        let path = self.path(inside)?;
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)
                .with_context(|| format!("make the folder of {}", inside.display()))?;
        }
        Ok(path)
    }

    /// What is mounted where at boot, deepest last: path inside, path among the lab's own mounts.
    fn mounts(&self) -> Vec<(PathBuf, PathBuf)> {
        let disks = self
            .disks
            .iter()
            .map(|disk| (disk.inside().to_owned(), disk.mount().to_owned()));
        let binds = self
            .binds
            .iter()
            .map(|(host, inside)| (inside.clone(), host.clone()));
        let mut mounts: Vec<_> = disks.chain(binds).collect();
        mounts.sort_by_key(|(inside, _)| inside.components().count());
        mounts
    }
}

// === impl Lab: power ===

impl Lab {
    /// Turns the machine on, and returns when it takes commands: `basic.target` is reached, enabled units are starting.
    /// Everything written so far is made durable first.
    ///
    /// # Errors
    ///
    /// When it is on already, or not up in a minute: the error shows the end of the console.
    pub fn boot(&mut self) -> Result<()> {
        ensure!(!self.is_running(), "the machine is on already");
        self.sync()?;
        let mut machine = Machine::start(&self.strip, &self.site, &self.root, &self.mounts())?;
        machine.wait_for_systemd(&self.site, BOOT_LIMIT)?;
        self.machine = Some(machine);
        Ok(())
    }

    /// Turns the machine off in order: units are stopped, disks are synced.
    ///
    /// # Errors
    ///
    /// When it is off already, or still on after 100 s.
    pub fn stop(&mut self) -> Result<()> {
        let mut machine = self.machine.take().context("the machine is off")?;
        machine.power_off()?;
        machine.wait_for_end(&self.site, STOP_LIMIT)
    }

    /// Turns the machine off in order and on again.
    ///
    /// # Errors
    ///
    /// As [`stop`](Self::stop) and [`boot`](Self::boot).
    pub fn reboot(&mut self) -> Result<()> {
        self.stop()?;
        self.boot()
    }

    /// Takes the power away: every process dies at once, and the disks lose what was not synced. The machine is off then.
    ///
    /// Processes die before the disks lose power, so that none of them sees an error that a real cut would not show.
    ///
    /// # Errors
    ///
    /// When the machine is off, or a disk does not come back.
    pub fn power_cut(&mut self) -> Result<()> {
        let mut machine = self.machine.take().context("the machine is off")?;
        machine.kill()?;
        machine.wait_for_end(&self.site, STOP_LIMIT)?;
        for disk in &self.disks {
            disk.lose_power(&self.strip)?;
        }
        self.root.lose_power(&self.strip)
    }

    /// Whether the machine is on. One that turned itself off is not.
    pub fn is_running(&mut self) -> bool {
        self.machine.as_mut().is_some_and(Machine::is_running)
    }

    /// Makes everything durable that the test wrote.
    fn sync(&self) -> Result<()> {
        self.root.sync(&self.strip)?;
        self.disks
            .iter()
            .try_for_each(|disk| disk.sync(&self.strip))
    }
}

// === impl Lab: inside ===

impl Lab {
    /// A command inside, not started yet, with a clean environment; give it arguments as usual.
    ///
    /// # Errors
    ///
    /// When the machine is off.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        let machine = self.machine.as_ref().context("the machine is off")?;
        Ok(machine.command(program.as_ref()))
    }

    /// Runs a command inside to its end, whatever its exit code.
    ///
    /// # Errors
    ///
    /// When the machine is off or the command cannot be started.
    pub fn exec<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Result<Output> {
        let mut words = command.into_iter();
        let program = words.next().context("a command has at least one word")?;
        let output = self.command(program)?.args(words).output();
        output.context("start nsenter")
    }

    /// Runs a command inside that must succeed, and returns what it printed, without the last line's end.
    ///
    /// # Errors
    ///
    /// When it fails: the error shows the exit code and both outputs.
    pub fn run<S: AsRef<OsStr>>(&self, command: impl IntoIterator<Item = S>) -> Result<String> {
        let words: Vec<_> = command.into_iter().collect();
        let output = self.exec(&words)?;
        let shown = words.iter().map(|word| word.as_ref().to_string_lossy());
        proc::succeeded(&shown.collect::<Vec<_>>().join(" "), &output)
    }

    /// One property of a unit, as `systemctl show` prints it.
    ///
    /// # Errors
    ///
    /// When the machine is off.
    pub fn property(&self, unit: &str, property: &str) -> Result<String> {
        self.run(["systemctl", "show", "--value", "--property", property, unit])
    }

    /// Waits until a property of a unit has a value, such as `ActiveState` `active`.
    ///
    /// # Errors
    ///
    /// When `limit` passes first: the error says the last value and ends with the unit's journal.
    pub fn wait_for(&self, unit: &str, property: &str, value: &str, limit: Duration) -> Result<()> {
        let what = format!("{property} of {unit} to be `{value}`");
        let waited = wait::until(
            &what,
            limit,
            || self.property(unit, property),
            |seen| seen == value,
        );
        match waited {
            Ok(_) => Ok(()),
            Err(error) => bail!("{error:#}\n{}", self.last_words(unit)),
        }
    }

    /// The journal, oldest first and of all boots: of one unit, or of everything. The machine may be off.
    ///
    /// # Errors
    ///
    /// When `journalctl` fails.
    pub fn journal(&self, unit: Option<&str>) -> Result<Vec<Entry>> {
        journal::read(&self.path("/var/log/journal")?, unit)
    }

    /// The process that is the machine's first, as the host numbers it.
    ///
    /// # Errors
    ///
    /// When the machine is off.
    pub fn leader(&self) -> Result<u32> {
        Ok(self
            .machine
            .as_ref()
            .context("the machine is off")?
            .leader())
    }

    fn last_words(&self, unit: &str) -> String {
        let entries = self.journal(Some(unit)).unwrap_or_default();
        let tail = entries.iter().skip(entries.len().saturating_sub(30));
        tail.map(|entry| format!("  {}: {}\n", entry.identifier, entry.message))
            .collect()
    }
}

// === impl Lab: network ===

impl Lab {
    /// The host as the machine sees it, with [`Network::Own`].
    #[must_use]
    pub fn host_address(&self) -> Option<Ipv4Addr> {
        self.cable.as_ref().map(Cable::host)
    }

    /// The machine as the host sees it, with [`Network::Own`].
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.cable.as_ref().map(Cable::machine)
    }

    /// Pulls the cable: packets vanish both ways, and nobody is told.
    ///
    /// # Errors
    ///
    /// Without [`Network::Own`].
    pub fn unplug(&self) -> Result<()> {
        self.cable
            .as_ref()
            .context("the machine shares the host's network")?
            .unplug()
    }

    /// Puts the cable back.
    ///
    /// # Errors
    ///
    /// Without [`Network::Own`].
    pub fn plug(&self) -> Result<()> {
        self.cable
            .as_ref()
            .context("the machine shares the host's network")?
            .plug()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // The strip ends every process of the lab; the machine's handle then only has to be collected.
        self.strip.pull();
        if let Some(machine) = &mut self.machine {
            machine.collect();
        }
    }
}
