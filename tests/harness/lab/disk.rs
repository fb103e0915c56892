//! Disks that lose what was not synced.
//!
//! A disk is ext4 on a loop device over a file in memory. `FS_IOC_SHUTDOWN` without a log flush stops it as a power cut
//! does: what ext4 had not written by then never comes to the file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{proc, site::Site, strip::Strip};
use crate::parts::Part;

/// Commits by itself only after five minutes, and a rename over a file does not write the new contents first: both would
/// hide a missing fsync.
const DATA_OPTIONS: &str = "loop,commit=300,noauto_da_alloc";

/// `FS_IOC_SHUTDOWN` with `GOING_FLAGS_NOLOGFLUSH`; the numbers are the kernel's.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// The folder in memory that holds the files behind the disks.
#[derive(Debug)]
pub(super) struct Images {
    folder: PathBuf,
}

#[derive(Debug)]
pub(super) struct Disk {
    image: PathBuf,
    mount: PathBuf,
    inside: PathBuf,
    options: &'static str,
}

impl Images {
    pub(super) fn make(strip: &Strip, site: &Site) -> Result<Self> {
        let folder = site.path("images");
        fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        // An upper bound: only what is written takes memory.
        proc::run(strip.command("mount").args(["-t", "tmpfs", "-o", "size=8g,mode=755", "lab"]).arg(&folder))?;
        Ok(Self { folder })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Disk {
    /// A disk for data, mounted at `mount` of the lab and shown at `inside` of the machine.
    pub(super) fn data(
        strip: &Strip,
        images: &Images,
        mount: PathBuf,
        inside: PathBuf,
        mebibytes: u64,
    ) -> Result<Self> {
        Self::make(strip, images, mount, inside, mebibytes, DATA_OPTIONS)
    }

    /// A disk with the options that Debian would give it.
    pub(super) fn ordinary(strip: &Strip, images: &Images, mount: PathBuf, mebibytes: u64) -> Result<Self> {
        Self::make(strip, images, mount, PathBuf::from("/"), mebibytes, "loop")
    }

    fn make(
        strip: &Strip,
        images: &Images,
        mount: PathBuf,
        inside: PathBuf,
        mebibytes: u64,
        options: &'static str,
    ) -> Result<Self> {
        let name = mount.file_name().context("a disk is mounted on a named folder")?;
        let image = images.folder.join(name).with_extension("img");
        let size = mebibytes.saturating_mul(1 << 20);
        File::create(strip.seen(&image))
            .and_then(|file| file.set_len(size))
            .with_context(|| format!("make {}", image.display()))?;
        // No reserved blocks: a test that fills a disk counts on its size.
        let make = ["-q", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        proc::run(strip.command("mkfs.ext4").args(make).arg(&image))?;
        fs::create_dir(&mount).with_context(|| format!("make {}", mount.display()))?;
        let disk = Self { image, mount, inside, options };
        disk.attach(strip)?;
        Ok(disk)
    }

    /// Where the disk is mounted in the lab.
    pub(super) fn mount(&self) -> &Path {
        &self.mount
    }

    /// Where the machine sees it.
    pub(super) fn inside(&self) -> &Path {
        &self.inside
    }

    pub(super) fn sync(&self, strip: &Strip) -> Result<()> {
        sync(&strip.seen(&self.mount))
    }

    /// Stops the disk without writing anything more, and starts it again from what it holds.
    pub(super) fn lose_power(&self, strip: &Strip) -> Result<()> {
        self.shut_down(strip)?;
        self.detach(strip)?;
        self.check(strip)?;
        self.attach(strip)
    }

    /// Looks at the file system as a boot does: its log is replayed, and nothing may need more mending than that.
    pub(super) fn check(&self, strip: &Strip) -> Result<()> {
        proc::run(strip.command("e2fsck").arg("-p").arg(&self.image))?;
        // A second look, at everything, with the log replayed.
        proc::run(strip.command("e2fsck").args(["-f", "-n"]).arg(&self.image)).map(drop)
    }

    pub(super) fn shut_down(&self, strip: &Strip) -> Result<()> {
        let python = Part::Python3.find()?;
        let mut command = Command::new(python);
        proc::run(command.args(["-c", SHUTDOWN]).arg(strip.seen(&self.mount)))?;
        Ok(())
    }

    pub(super) fn detach(&self, strip: &Strip) -> Result<()> {
        proc::run(strip.command("umount").arg(&self.mount))?;
        Ok(())
    }

    pub(super) fn attach(&self, strip: &Strip) -> Result<()> {
        let mut mount = strip.command("mount");
        proc::run(mount.args(["-o", self.options]).arg(&self.image).arg(&self.mount))?;
        Ok(())
    }
}

/// Writes out the file system that holds `path`.
pub(super) fn sync(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
    rustix::fs::syncfs(&file).with_context(|| format!("sync {}", path.display()))
}
