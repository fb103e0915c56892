//! Can this host swap its own binary? Looked at before the first byte is fetched, and by `doctor`.
//!
//! Looking ([`Host::look`]) and judging ([`Host::obstacles`]) are separate. What cannot be concluded from modes and mounts
//! is tried: a probe file is written, linked and renamed beside the binary, exactly as a swap would.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatVfs, StatxAttributes, StatxFlags, statvfs, statx};
use rustix::process::geteuid;

use crate::apply::mount::{self, Mount};
use crate::apply::obstacle::Obstacle;
use crate::layout::Layout;

/// Room left free beside the artifact and a copy of the old binary: the journal, and a host that goes on living.
const MARGIN: u64 = 1024 * 1024;

/// The temporary file, `.prev.new`, `.back`, and the journal's new file.
const NAMES: u64 = 4;

/// What a probe's name begins with; its process's number follows.
const PROBE: &str = ".novacula-probe.";

/// systemd, or whatever a container runs: not confined by the agent's unit.
const FIRST_PROCESS: u32 = 1;

/// How one file or directory looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub path: PathBuf,
    /// Who owns it.
    pub owner: u32,
    /// Permission bits.
    pub mode: u16,
    /// Whether the immutable or append-only attribute is set.
    pub immutable: bool,
    /// Whether it is a mount of its own.
    pub mount_point: bool,
    /// Its size in bytes.
    pub size: u64,
}

/// Whether state that a reboot forgets is good enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatile {
    /// No: an attempt would be forgotten in the middle.
    Refused,
    /// The host's configuration says that it knows better.
    Allowed,
}

/// What was found on the host.
#[derive(Clone, Debug)]
pub struct Host {
    binary: Result<Entry, Obstacle>,
    directory: Result<Entry, Obstacle>,
    mount: Option<Mount>,
    /// As the host's first process sees it, when we may look.
    host_mount: Option<Mount>,
    state_mount: Option<Mount>,
    uid: u32,
    space: Option<(u64, Inodes)>,
    trial: Result<(), io::ErrorKind>,
    trial_text: String,
    state: Result<(), String>,
}

#[derive(Clone, Copy, Debug)]
enum Inodes {
    /// The file system has no fixed number of them.
    Unlimited,
    Free(u64),
}

impl Host {
    /// Looks, and tries. Leaves nothing behind. Blocks on the disk.
    #[must_use]
    pub fn look(layout: &Layout) -> Self {
        let directory = fs::canonicalize(layout.directory()).unwrap_or_else(|_| layout.directory().to_owned());
        let state_dir = fs::canonicalize(layout.state_dir()).unwrap_or_else(|_| layout.state_dir().to_owned());
        let trial = try_swapping(&directory);
        Self {
            binary: entry(layout.binary()).and_then(|entry| {
                let is_file = fs::symlink_metadata(&entry.path).is_ok_and(|meta| meta.is_file());
                is_file.then_some(entry).ok_or_else(|| not_a_file(layout.binary(), "not a regular file"))
            }),
            directory: entry(&directory),
            mount: mount::of(&directory),
            host_mount: mount::seen_by(FIRST_PROCESS, &directory),
            state_mount: mount::of(&state_dir),
            uid: geteuid().as_raw(),
            space: statvfs(&directory).ok().map(|found| space(&found)),
            trial_text: trial.as_ref().err().map(ToString::to_string).unwrap_or_default(),
            trial: trial.map_err(|error| error.kind()),
            state: try_writing(&state_dir).map_err(|error| error.to_string()),
        }
    }

    /// Everything that stands in the way of swapping in an artifact of `size` bytes, the most telling first.
    #[must_use]
    pub fn obstacles(&self, layout: &Layout, size: u64, volatile: Volatile) -> Vec<Obstacle> {
        let mut found = Vec::new();
        for entry in [&self.binary, &self.directory] {
            match entry {
                Err(obstacle) => found.push(obstacle.clone()),
                Ok(entry) => found.extend(self.of_entry(entry)),
            }
        }
        found.extend(self.of_devices());
        found.extend(self.of_mount(layout.directory()));
        found.extend(self.of_space(layout.directory(), size));
        if let (true, Err(kind)) = (found.is_empty(), self.trial) {
            let (path, why) = (layout.directory().to_owned(), self.trial_text.clone());
            found.push(Obstacle::NotSwappable { path, why, kind });
        }
        let path = layout.state_dir().to_owned();
        if let Err(why) = &self.state {
            found.push(Obstacle::NoState { path, why: why.clone() });
        } else if volatile == Volatile::Refused && self.state_mount.is_some_and(|mount| mount.volatile) {
            found.push(Obstacle::VolatileState { path });
        }
        found
    }

    fn of_entry(&self, entry: &Entry) -> Vec<Obstacle> {
        let path = entry.path.clone();
        let mut found = Vec::new();
        if entry.immutable {
            found.push(Obstacle::Immutable { path: path.clone() });
        }
        if entry.owner != self.uid {
            found.push(Obstacle::WrongOwner { path: path.clone(), owner: entry.owner, own: self.uid });
        }
        if entry.mode & 0o022 != 0 {
            found.push(Obstacle::WrongMode { path, mode: entry.mode });
        }
        found
    }

    fn of_devices(&self) -> Option<Obstacle> {
        // Device numbers tell nothing: overlayfs shows files with their lower layer's.
        let binary = self.binary.as_ref().ok()?;
        binary.mount_point.then(|| Obstacle::CrossDevice { path: binary.path.clone() })
    }

    fn of_mount(&self, path: &Path) -> Option<Obstacle> {
        let path = path.to_owned();
        match (self.mount, self.trial) {
            (Some(mount), _) if mount.filesystem_read_only => Some(Obstacle::ReadOnly { path }),
            // Read-only for everyone, by its mount: no unit is to blame.
            (Some(mount), _) if mount.here_read_only && self.host_mount.is_some_and(|host| host.here_read_only) => {
                Some(Obstacle::ReadOnly { path })
            }
            (Some(mount), _) if mount.here_read_only => Some(Obstacle::TooHardened { path }),
            (_, Err(io::ErrorKind::ReadOnlyFilesystem)) => Some(Obstacle::ReadOnly { path }),
            _ => None,
        }
    }

    fn of_space(&self, path: &Path, size: u64) -> Option<Obstacle> {
        let (free, inodes) = self.space?;
        let old = self.binary.as_ref().map_or(0, |entry| entry.size);
        let needed = size.saturating_add(old).saturating_add(MARGIN);
        if free < needed {
            return Some(Obstacle::NoSpace { path: path.to_owned(), free, needed });
        }
        match inodes {
            Inodes::Free(free) if free < NAMES => {
                Some(Obstacle::NoInodes { path: path.to_owned(), free, needed: NAMES })
            }
            Inodes::Free(_) | Inodes::Unlimited => None,
        }
    }
}

fn not_a_file(path: &Path, why: impl ToString) -> Obstacle {
    Obstacle::NotAFile { path: path.to_owned(), why: why.to_string() }
}

fn entry(path: &Path) -> Result<Entry, Obstacle> {
    let meta = fs::symlink_metadata(path).map_err(|error| not_a_file(path, error))?;
    let bits = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    // An old kernel says nothing: the trial tells.
    let attributes = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
        .map_or(StatxAttributes::empty(), |found| found.stx_attributes & found.stx_attributes_mask);
    Ok(Entry {
        path: path.to_owned(),
        owner: meta.uid(),
        mode: u16::try_from(meta.mode() & 0o7777).unwrap_or(0),
        immutable: attributes.intersects(bits),
        mount_point: attributes.contains(StatxAttributes::MOUNT_ROOT) || mount::is_point(path),
        size: meta.len(),
    })
}

fn space(found: &StatVfs) -> (u64, Inodes) {
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let inodes = if found.f_files == 0 { Inodes::Unlimited } else { Inodes::Free(found.f_favail) };
    (free, inodes)
}

/// Writes, links and renames beside the binary as a swap does.
fn try_swapping(directory: &Path) -> io::Result<()> {
    sweep(directory);
    let name = |suffix: &str| directory.join(format!("{PROBE}{}{suffix}", std::process::id()));
    let (file, link, renamed) = (name(""), name(".link"), name(".renamed"));
    let tried = create(&file)
        .and_then(|()| fs::hard_link(&file, &link))
        .and_then(|()| fs::rename(&link, &renamed))
        .and_then(|()| fs::rename(&file, &renamed));
    for left in [&file, &link, &renamed] {
        // Not there, mostly; and the error that counts was met above.
        let _ = fs::remove_file(left);
    }
    tried
}

fn try_writing(directory: &Path) -> io::Result<()> {
    sweep(directory);
    let file = directory.join(format!("{PROBE}{}", std::process::id()));
    let tried = create(&file);
    let _ = fs::remove_file(&file);
    tried
}

/// Removes the probes of processes that are gone. A power cut keeps a probe, which was synced, and forgets its removal; and
/// after a boot its process number is soon another's.
fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let whose = name.to_str().and_then(|name| name.strip_prefix(PROBE)).and_then(|rest| rest.split('.').next());
        let is_ours = |pid: u32| pid == std::process::id() || !Path::new("/proc").join(pid.to_string()).exists();
        if whose.and_then(|pid| pid.parse().ok()).is_some_and(is_ours) {
            // One that stays is met again by whoever tries its name.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn create(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(b"probe")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use domain::attempt::ErrorCode;

    use super::*;

    struct Bench {
        dir: tempfile::TempDir,
        layout: Layout,
    }

    fn bench() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let (bin, state) = (dir.path().join("bin"), dir.path().join("state"));
        fs::create_dir(&bin).unwrap();
        fs::create_dir(&state).unwrap();
        let binary = bin.join("novacula-agent");
        fs::write(&binary, "binary").unwrap();
        for path in [&bin, &binary] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let layout = Layout::new(binary, state, dir.path().join("agent.toml"));
        Bench { dir, layout }
    }

    fn codes(bench: &Bench, size: u64) -> Vec<ErrorCode> {
        let found = Host::look(&bench.layout).obstacles(&bench.layout, size, Volatile::Allowed);
        found.iter().map(Obstacle::code).collect()
    }

    #[test]
    fn a_good_host_is_left_as_it_was() {
        let bench = bench();
        assert_eq!(codes(&bench, 100), []);
        assert_eq!(fs::read_dir(bench.layout.directory()).unwrap().count(), 1);
        assert_eq!(fs::read_dir(bench.layout.state_dir()).unwrap().count(), 0);
    }

    #[test]
    fn probes_that_a_power_cut_left_stand_in_nobodys_way() {
        let bench = bench();
        // No process has the greatest number that there is.
        let left = [std::process::id().to_string(), format!("{}.link", std::process::id()), u32::MAX.to_string()];
        for directory in [bench.layout.directory(), bench.layout.state_dir()] {
            for name in &left {
                fs::write(directory.join(format!("{PROBE}{name}")), "probe").unwrap();
            }
        }
        assert_eq!(codes(&bench, 1), []);
        for directory in [bench.layout.directory(), bench.layout.state_dir()] {
            let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with(PROBE)));
        }
    }

    #[test]
    fn space_is_checked_from_the_size() {
        let bench = bench();
        assert_eq!(codes(&bench, u64::MAX / 2), [ErrorCode::NoSpace]);
    }

    #[test]
    fn what_others_may_write_is_refused() {
        let bench = bench();
        fs::set_permissions(bench.layout.directory(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(codes(&bench, 1), [ErrorCode::NotPermitted]);
    }

    #[test]
    fn a_link_or_nothing_in_the_binarys_place_is_refused() {
        let bench = bench();
        fs::remove_file(bench.layout.binary()).unwrap();
        assert_eq!(codes(&bench, 1), [ErrorCode::NotPermitted]);
        std::os::unix::fs::symlink(bench.dir.path().join("elsewhere"), bench.layout.binary()).unwrap();
        let found = Host::look(&bench.layout).obstacles(&bench.layout, 1, Volatile::Allowed);
        assert!(found.iter().any(|one| matches!(one, Obstacle::NotAFile { .. })), "{found:?}");
    }

    #[test]
    fn no_state_directory_is_refused_by_name() {
        let bench = bench();
        fs::remove_dir(bench.layout.state_dir()).unwrap();
        assert_eq!(codes(&bench, 1), [ErrorCode::Journal]);
    }

    fn judged(change: impl FnOnce(&mut Host)) -> Vec<Obstacle> {
        let bench = bench();
        let mut host = Host::look(&bench.layout);
        change(&mut host);
        host.obstacles(&bench.layout, 1, Volatile::Refused)
            .into_iter()
            .filter(|one| !matches!(one, Obstacle::VolatileState { .. }))
            .collect()
    }

    #[test]
    fn each_obstacle_has_its_name() {
        let mount = Mount { here_read_only: true, filesystem_read_only: false, volatile: false };
        let hardened = judged(|host| host.mount = Some(mount));
        assert!(matches!(hardened[..], [Obstacle::TooHardened { .. }]), "{hardened:?}");
        let mounted_so = judged(|host| (host.mount, host.host_mount) = (Some(mount), Some(mount)));
        assert!(matches!(mounted_so[..], [Obstacle::ReadOnly { .. }]), "{mounted_so:?}");
        let read_only = judged(|host| host.mount = Some(Mount { filesystem_read_only: true, ..mount }));
        assert!(matches!(read_only[..], [Obstacle::ReadOnly { .. }]), "{read_only:?}");
        let immutable = judged(|host| host.binary.as_mut().unwrap().immutable = true);
        assert!(matches!(immutable[..], [Obstacle::Immutable { .. }]), "{immutable:?}");
        let owner = judged(|host| host.directory.as_mut().unwrap().owner = 4242);
        assert!(matches!(owner[..], [Obstacle::WrongOwner { owner: 4242, .. }]), "{owner:?}");
        let mounted = judged(|host| host.binary.as_mut().unwrap().mount_point = true);
        assert!(matches!(mounted[..], [Obstacle::CrossDevice { .. }]), "{mounted:?}");
        let inodes = judged(|host| host.space = Some((u64::MAX, Inodes::Free(1))));
        assert!(matches!(inodes[..], [Obstacle::NoInodes { .. }]), "{inodes:?}");
        let tried = [
            (io::ErrorKind::PermissionDenied, ErrorCode::NotPermitted),
            (io::ErrorKind::StorageFull, ErrorCode::NoSpace),
            (io::ErrorKind::Other, ErrorCode::Io),
        ];
        let trials = tried.map(|(kind, code)| {
            let trial = judged(|host| host.trial = Err(kind));
            assert!(
                matches!(&trial[..], [obstacle @ Obstacle::NotSwappable { .. }] if obstacle.code() == code),
                "{trial:?}"
            );
            trial
        });
        for obstacle in [hardened, read_only, immutable, owner, mounted, inodes].into_iter().chain(trials).flatten() {
            assert!(!obstacle.remedy(&Layout::default()).is_empty(), "{obstacle}");
        }
    }
}
