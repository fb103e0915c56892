//! Putting a lab together.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, Result};

use super::{
    Lab, Network, PARTS, RootDisk,
    disk::{Disk, Images},
    network::Cable,
    root::Root,
    site::Site,
    strip::Strip,
};

/// No lab outlives this, whatever its test does. Long against any scenario, short against a run of CI.
const LIFE: Duration = Duration::from_secs(20 * 60);
/// Room for a few releases of a binary with debug information.
const DATA_DISK_MIB: u64 = 512;

/// What a lab is made of; from [`Lab::builder`].
#[derive(Debug)]
pub struct Builder {
    name: String,
    root: RootDisk,
    network: Network,
    data: Vec<(PathBuf, u64)>,
    binds: Vec<(PathBuf, PathBuf)>,
}

impl Builder {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            root: RootDisk::Memory,
            network: Network::Host,
            data: Vec::new(),
            binds: Vec::new(),
        }
    }

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
        let lab = Lab { machine: None, cable, strip, root, disks, binds: self.binds, site };
        for (inside, _) in lab.mounts() {
            let mount_point = lab.root.resolve(&lab.strip, &inside)?;
            fs::create_dir_all(&mount_point).with_context(|| format!("make mount point {}", inside.display()))?;
        }
        Ok(lab)
    }
}
