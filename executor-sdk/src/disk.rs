//! Files that must survive a crash: written whole under another name, synced, renamed into place, the directory synced.
//!
//! Nothing here follows a symbolic link that somebody put in the way.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::fault;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its owner: 0600.
    Private,
    /// Everybody: 0644.
    Public,
}

/// Tells whether a file is the one that was looked at before: changed by every write, rename over it and change of its mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that `about` is about.
    #[must_use]
    pub fn of(about: &fs::Metadata) -> Self {
        let changed = (about.ctime(), about.ctime_nsec());
        Self { device: about.dev(), inode: about.ino(), size: about.len(), changed }
    }
}

/// A step of writing a file failed.
#[derive(Debug, thiserror::Error)]
#[error("{step} {path}", path = path.display())]
pub struct Error {
    /// What was being done.
    pub step: &'static str,
    /// To which file or directory.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Replaces `directory/name` by `bytes`, all or nothing, durable when it returns. The caller sees to it that nobody else
/// writes the same file.
///
/// # Errors
/// The step that failed. After a failed rename or a failed sync of the directory either content may be there.
pub fn replace(directory: &Path, name: &str, bytes: &[u8], mode: Mode) -> Result<(), Error> {
    let path = directory.join(name);
    let new = directory.join(format!("{name}.new"));
    let failed = |step| move |source| (step, source);
    let steps = || {
        remove_if_there(&new).map_err(failed("remove"))?;
        let mut file = create_new(&new, mode).map_err(failed("create"))?;
        fault::reach(fault::DISK_CREATED);
        file.write_all(bytes).map_err(failed("write"))?;
        fault::reach(fault::DISK_WRITTEN);
        file.sync_all().map_err(failed("sync"))?;
        fault::reach(fault::DISK_SYNCED);
        fs::rename(&new, &path).map_err(failed("rename into place"))?;
        fault::reach(fault::DISK_RENAMED);
        Ok(())
    };
    match steps() {
        Ok(()) => sync_directory(directory),
        Err((step, source)) => {
            // The next write removes it too; what matters is the error before it.
            let _ = fs::remove_file(&new);
            Err(Error { step, path: new, source })
        }
    }
}

/// Keeps the present `name` under `last` as well, by a hard link or, where there are none, a copy. No sync: `last` is for people and for a
/// broken `name`, and the next write of `name` syncs the directory.
pub(crate) fn keep_last(directory: &Path, name: &str, last: &str) -> Result<(), Error> {
    let (path, kept) = (directory.join(name), directory.join(last));
    let failed = |step| move |source| (step, source);
    let linking = directory.join(format!("{last}.new"));
    let steps = || {
        remove_if_there(&linking).map_err(failed("remove"))?;
        match fs::hard_link(&path, &linking) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(_) => fs::copy(&path, &linking).map(drop).map_err(failed("copy")),
            Ok(()) => Ok(()),
        }?;
        fault::reach(fault::JOURNAL_KEPT_LINKED);
        match fs::rename(&linking, &kept) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(("rename into place", source)),
            _ => Ok(()),
        }?;
        fault::reach(fault::JOURNAL_KEPT);
        Ok(())
    };
    steps().map_err(|(step, source)| {
        // The next write removes it too; what matters is the error before it.
        let _ = fs::remove_file(&linking);
        Error { step, path: kept.clone(), source }
    })
}

/// Reads a file of at most `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = OpenOptions::new().read(true).custom_flags(no_follow()).open(path)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= most) {
        Ok(bytes)
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("more than {most} bytes")))
    }
}

/// Creates a file that was not there, for writing and reading back.
pub(crate) fn create_new(path: &Path, mode: Mode) -> io::Result<File> {
    let mode = match mode {
        Mode::Private => 0o600,
        Mode::Public => 0o644,
    };
    OpenOptions::new().read(true).write(true).create_new(true).mode(mode).custom_flags(no_follow()).open(path)
}

/// Makes renames, links and removals in a directory durable.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> Result<(), Error> {
    let sync = || File::open(directory)?.sync_all();
    sync().map_err(|source| Error { step: "sync the directory", path: directory.to_owned(), source })
}

/// Removes a file, if it is there.
pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// O_NOFOLLOW, in the type that the standard library takes.
pub(crate) fn no_follow() -> i32 {
    i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).expect("O_NOFOLLOW is a small number on every Linux")
}
