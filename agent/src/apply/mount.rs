//! How a path is mounted, read from /proc/self/mountinfo: a mount that is read-only for this process alone means that the
//! unit is too hardened, one whose file system is read-only means that the host is.

use std::fs;
use std::path::{Path, PathBuf};

/// How a path is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// This mount refuses writes.
    pub(crate) here_read_only: bool,
    /// The file system itself refuses writes, whoever mounts it.
    pub(crate) filesystem_read_only: bool,
    /// Kept in memory: gone at reboot.
    pub(crate) volatile: bool,
}

/// How `path` (absolute, without links) is mounted; nothing when the kernel does not say.
pub(crate) fn of(path: &Path) -> Option<Mount> {
    find(&fs::read_to_string("/proc/self/mountinfo").ok()?, path)
}

/// The same as another process sees it.
pub(crate) fn seen_by(process: u32, path: &Path) -> Option<Mount> {
    find(&fs::read_to_string(format!("/proc/{process}/mountinfo")).ok()?, path)
}

/// Whether something is mounted at exactly this path.
pub(crate) fn is_point(path: &Path) -> bool {
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|table| has_point(&table, path))
}

fn has_point(mountinfo: &str, path: &Path) -> bool {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).any(|point| unescape(point) == path)
}

/// proc(5): `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn find(mountinfo: &str, path: &Path) -> Option<Mount> {
    let mut best: Option<(usize, Mount)> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let mut left = left.split(' ').skip(4);
        let (Some(point), Some(options)) = (left.next(), left.next()) else {
            continue;
        };
        let mut right = right.split(' ');
        let (Some(kind), Some(super_options)) = (right.next(), right.nth(1)) else {
            continue;
        };
        let point = unescape(point);
        let depth = point.components().count();
        // Of equals the later one lies on top.
        if path.starts_with(&point) && best.is_none_or(|(deepest, _)| depth >= deepest) {
            let read_only = |options: &str| options.split(',').any(|option| option == "ro");
            let mount = Mount {
                here_read_only: read_only(options),
                filesystem_read_only: read_only(super_options),
                volatile: matches!(kind, "tmpfs" | "ramfs"),
            };
            best = Some((depth, mount));
        }
    }
    best.map(|(_, mount)| mount)
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(point: &str) -> PathBuf {
    let mut text = point.to_owned();
    for (code, letter) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(code, letter);
    }
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
22 1 8:1 / / ro,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
23 22 0:5 / /opt/read\\040only ro - squashfs /dev/loop0 ro
24 22 8:1 /opt/novacula/bin /opt/novacula/bin rw,relatime - ext4 /dev/sda1 rw
25 22 0:9 / /var/lib/novacula rw - tmpfs tmpfs rw,size=64k
26 22 8:1 / /stack rw - ext4 /dev/sda1 rw
27 26 8:1 / /stack ro - ext4 /dev/sda1 rw
";

    fn check(path: &str, here: bool, filesystem: bool, volatile: bool) {
        let expected = Mount { here_read_only: here, filesystem_read_only: filesystem, volatile };
        assert_eq!(find(TABLE, Path::new(path)), Some(expected), "{path}");
    }

    #[test]
    fn the_deepest_and_latest_mount_counts() {
        check("/etc", true, false, false);
        check("/opt/novacula/bin/novacula-agent", false, false, false);
        check("/opt/novacula/binary", true, false, false);
        check("/opt/read only/x", true, true, false);
        check("/var/lib/novacula", false, false, true);
        check("/stack/a", true, false, false);
    }

    #[test]
    fn a_mount_of_its_own_is_found() {
        assert!(has_point(TABLE, Path::new("/opt/read only")));
        assert!(!has_point(TABLE, Path::new("/opt/novacula/bin/novacula-agent")));
    }

    #[test]
    fn nonsense_says_nothing() {
        assert_eq!(find("a b c\n - \n1 2 3 4 5 - x", Path::new("/")), None);
        assert!(of(Path::new("/")).is_some());
    }
}
