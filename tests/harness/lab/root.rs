//! The machine's root: the host's, with an upper layer of the lab's own.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use super::{
    RootDisk,
    disk::{self, Disk, Images},
    proc,
    site::Site,
    strip::Strip,
};

/// Where a machine's own units are.
pub(super) const UNITS: &str = "/etc/systemd/system";

/// Units that Debian enables in every system, such as getty and logind: a machine under test has none of them.
const STOCK_WANTS: &str = "/usr/lib/systemd/system/multi-user.target.wants";

/// Makes units of the host's init scripts.
const SYSV_GENERATOR: &str = "/usr/lib/systemd/system-generators/systemd-sysv-generator";

/// As many links as the kernel would follow.
const MOST_LINKS: usize = 40;

const ROOT_MIB: u64 = 2048;

#[derive(Debug)]
pub(super) struct Root {
    mount: PathBuf,
    /// Holds the upper layer.
    layers: PathBuf,
    disk: Option<Disk>,
}

impl Root {
    pub(super) fn make(strip: &Strip, site: &Site, images: &Images, kind: RootDisk) -> Result<Self> {
        let (layers, disk) = match kind {
            RootDisk::Memory => (images.folder().to_owned(), None),
            RootDisk::Ext4 => {
                let mount = site.path("layers");
                (mount.clone(), Some(Disk::ordinary(strip, images, mount, ROOT_MIB)?))
            }
        };
        let mount = site.path("root");
        fs::create_dir(&mount).with_context(|| format!("make {}", mount.display()))?;
        for layer in ["upper", "work"] {
            fs::create_dir(strip.seen(&layers.join(layer))).with_context(|| format!("make layer {layer}"))?;
        }
        let root = Self { mount, layers, disk };
        root.attach(strip)?;
        root.clear(strip, site)?;
        Ok(root)
    }

    /// Where the root is mounted in the lab.
    pub(super) fn mount(&self) -> &Path {
        &self.mount
    }

    /// Where the host finds a path of the root, its links followed as the machine would.
    pub(super) fn resolve(&self, strip: &Strip, inside: &Path) -> Result<PathBuf> {
        let followed = follow(inside, |path| self.locate(strip, path))?;
        Ok(self.locate(strip, &followed))
    }

    /// Where the host finds a path of the root that has no links on its way.
    pub(super) fn locate(&self, strip: &Strip, inside: &Path) -> PathBuf {
        strip.seen(&self.mount).join(inside.strip_prefix("/").unwrap_or(inside))
    }

    pub(super) fn sync(&self, strip: &Strip) -> Result<()> {
        match &self.disk {
            None => Ok(()),
            Some(_) => disk::sync(&strip.seen(&self.layers)),
        }
    }

    pub(super) fn lose_power(&self, strip: &Strip) -> Result<()> {
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        disk.shut_down(strip)?;
        proc::run(strip.command("umount").arg(&self.mount))?;
        disk.detach(strip)?;
        disk.attach(strip)?;
        self.attach(strip)
    }

    fn attach(&self, strip: &Strip) -> Result<()> {
        let layers = self.layers.display();
        let options = format!("lowerdir=/,upperdir={layers}/upper,workdir={layers}/work");
        let mut mount = strip.command("mount");
        proc::run(mount.args(["-t", "overlay", "-o", &options, "lab"]).arg(&self.mount))?;
        Ok(())
    }

    /// Takes away what makes the root the host's: enabled units, identity, disks.
    fn clear(&self, strip: &Strip, site: &Site) -> Result<()> {
        let units = self.resolve(strip, Path::new(UNITS))?;
        for entry in fs::read_dir(&units).context("list the host's units")?.filter_map(Result::ok) {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.ends_with(".wants") || name.ends_with(".requires") {
                fs::remove_dir_all(entry.path()).with_context(|| format!("clear {name}"))?;
            }
        }
        for (path, remove) in [
            (STOCK_WANTS, fs::remove_dir_all as fn(PathBuf) -> std::io::Result<()>),
            (SYSV_GENERATOR, fs::remove_file),
            ("/var/lib/dbus/machine-id", fs::remove_file),
        ] {
            let path = self.resolve(strip, Path::new(path))?;
            if path.symlink_metadata().is_ok() {
                remove(path.clone()).with_context(|| format!("remove {}", path.display()))?;
            }
        }
        for (path, text) in [
            ("/etc/machine-id", ""),
            ("/etc/hostname", site.name()),
            ("/etc/fstab", ""),
            ("/etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n"),
        ] {
            let path = self.resolve(strip, Path::new(path))?;
            let parent = path.parent().unwrap_or(&path);
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("write {}", path.display()))?;
        }
        let journal = self.resolve(strip, Path::new("/var/log/journal"))?;
        if journal.exists() {
            fs::remove_dir_all(&journal).context("clear the host's journal")?;
        }
        fs::create_dir_all(&journal).context("make the journal's folder")
    }
}

/// Follows every link of a path as the machine would, so that an absolute link cannot lead out to the host.
pub(super) fn follow(inside: &Path, locate: impl Fn(&Path) -> PathBuf) -> Result<PathBuf> {
    let mut rest = names(inside);
    let mut followed = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == ".." {
            followed.pop();
            continue;
        }
        followed.push(&name);
        let Ok(target) = fs::read_link(locate(&followed)) else {
            continue;
        };
        links += 1;
        ensure!(links <= MOST_LINKS, "links of {} run in a circle", inside.display());
        followed.pop();
        if target.is_absolute() {
            followed = PathBuf::from("/");
        }
        let mut before = names(&target);
        before.append(&mut rest);
        rest = before;
    }
    Ok(followed)
}

/// The names of a path, without its root and dots.
fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}
