//! Control groups of a lab's own, which keep units of one name in two labs apart.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// How often an unwilling group is asked to go. A second in all: its processes are dead, but not all collected.
const ATTEMPTS: u32 = 50;

/// One group in each hierarchy that systemd uses, below the test's own.
pub(super) fn make(id: &str) -> Result<Vec<PathBuf>> {
    let folders: Vec<_> = parents()?.into_iter().map(|parent| parent.join(id)).collect();
    for folder in &folders {
        fs::create_dir(folder).with_context(|| format!("make control group {}", folder.display()))?;
    }
    Ok(folders)
}

/// Removes groups whose processes are gone or going. Best effort: an empty group costs nothing.
pub(super) fn remove(folders: &[PathBuf]) {
    for folder in folders {
        for _ in 0..ATTEMPTS {
            remove_empty(folder);
            if !folder.exists() {
                break;
            }
            crate::wait::pause();
        }
    }
}

/// Removes the groups of a lab whose test is gone, if they are there.
pub(super) fn sweep(id: &str) {
    for parent in parents().unwrap_or_default() {
        remove_empty(&parent.join(id));
    }
}

/// The test's own group in each hierarchy that systemd uses: cgroup v1's named one, and v2 wherever it is mounted.
fn parents() -> Result<Vec<PathBuf>> {
    let own = fs::read_to_string("/proc/self/cgroup").context("read the own control groups")?;
    let folders = own.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let roots: &[&str] = match controllers {
            "name=systemd" => &["/sys/fs/cgroup/systemd"],
            "" => &["/sys/fs/cgroup/unified", "/sys/fs/cgroup"],
            _ => return None,
        };
        roots
            .iter()
            .map(|root| Path::new(root).join(path.trim_start_matches('/')))
            .find(|folder| folder.join("cgroup.procs").exists())
    });
    Ok(folders.collect())
}

/// Groups vanish from the leaves up.
fn remove_empty(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    for entry in entries.filter(|entry| entry.path().is_dir()) {
        remove_empty(&entry.path());
    }
    let _ = fs::remove_dir(folder);
}
