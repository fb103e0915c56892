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

mod builder;
mod cgroups;
mod disk;
mod files;
mod inside;
mod journal;
mod machine;
mod network;
mod power;
mod proc;
mod root;
mod site;
mod strip;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context, Result, ensure};

use crate::parts::Part;
use disk::Disk;
use machine::Machine;
use network::Cable;
use root::Root;
use site::Site;
use strip::Strip;

pub(crate) use proc::children;
pub use {builder::Builder, journal::Entry};

/// What a trial that uses a lab needs.
pub const PARTS: &[Part] = &[
    Part::Root,
    Part::Namespaces,
    Part::Nspawn,
    Part::Nsenter,
    Part::LoopDevice,
    Part::MkfsExt4,
    Part::Python3,
    Part::Ip,
];

/// A boot takes half a second on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(60);
/// An orderly stop takes a fifth of a second, unless a unit waits for its own time limit.
const STOP_LIMIT: Duration = Duration::from_secs(100);
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

// === impl Lab ===

impl Lab {
    /// Begins a lab. The name becomes its host name: letters, digits and hyphens.
    #[must_use]
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

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

    /// What is mounted where at boot, deepest last: path inside, path among the lab's own mounts.
    fn mounts(&self) -> Vec<(PathBuf, PathBuf)> {
        let disks = self.disks.iter().map(|disk| (disk.inside().to_owned(), disk.mount().to_owned()));
        let binds = self.binds.iter().map(|(host, inside)| (inside.clone(), host.clone()));
        let mut mounts: Vec<_> = disks.chain(binds).collect();
        mounts.sort_by_key(|(inside, _)| inside.components().count());
        mounts
    }

    /// Makes everything durable that the test wrote.
    fn sync(&self) -> Result<()> {
        self.root.sync(&self.strip)?;
        self.disks.iter().try_for_each(|disk| disk.sync(&self.strip))
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
