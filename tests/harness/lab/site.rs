//! The folder of a lab, and the sweeping of folders whose tests are gone.
//!
//! A site is claimed by a lock that the kernel gives back when its process ends, however it ends. So whoever gets the lock
//! of an existing site knows that it is nobody's, and removes it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};

use super::cgroups;

/// On a disk, because an overlay's layers need not fit into memory; outside `/tmp`, which containers hide.
const SITES: &str = "/var/tmp/novacula-lab";

/// A folder and the lock that says whose it is.
#[derive(Debug)]
pub(super) struct Site {
    name: String,
    folder: PathBuf,
    _lock: File,
}

/// A lock by number, for things that are counted.
#[derive(Debug)]
pub(super) struct Number {
    pub(super) value: u32,
    _lock: File,
}

impl Site {
    /// Sweeps what dead tests left, and makes a new folder.
    pub(super) fn claim(name: &str) -> Result<Self> {
        ensure!(
            !name.is_empty()
                && name.len() <= 40
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
            "lab name {name:?} is not 1 to 40 letters, digits and hyphens"
        );
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        fs::create_dir_all(SITES).with_context(|| format!("make {SITES}"))?;
        // Held while folders come and go, so that none is swept between its making and its locking.
        let gate = lock_file(&Path::new(SITES).join(".gate"))?;
        flock(&gate, FlockOperation::LockExclusive).context("wait for the sites' gate")?;
        sweep();
        let folder = Path::new(SITES).join(format!("{name}-{}-{number}", process::id()));
        fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
        let lock = lock_file(&folder.join("lock"))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).context("lock a new site")?;
        Ok(Self { name: name.to_owned(), folder, _lock: lock })
    }

    /// What the machine is called.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Unique among the labs that exist.
    pub(super) fn id(&self) -> String {
        id(&self.folder)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the machine's console is written.
    pub(super) fn console(&self) -> PathBuf {
        self.path("console.log")
    }
}

impl Number {
    /// The lowest number below `limit` that no living test holds.
    pub(super) fn claim(purpose: &str, limit: u32) -> Result<Self> {
        for value in 0..limit {
            let lock = lock_file(&Path::new(SITES).join(format!(".{purpose}-{value}")))?;
            if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                return Ok(Self { value, _lock: lock });
            }
        }
        anyhow::bail!("all {limit} numbers for {purpose} are taken")
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Best effort: what stays is swept by the next lab.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn sweep() {
    let Ok(entries) = fs::read_dir(SITES) else {
        return;
    };
    let folders = entries.filter_map(Result::ok).map(|entry| entry.path());
    for folder in folders.filter(|path| path.is_dir()) {
        let Ok(lock) = lock_file(&folder.join("lock")) else {
            continue;
        };
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            cgroups::sweep(&id(&folder));
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

fn id(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or_default();
    format!("novacula-lab-{}", name.to_string_lossy())
}

fn lock_file(path: &Path) -> Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .with_context(|| format!("open lock {}", path.display()))
}
