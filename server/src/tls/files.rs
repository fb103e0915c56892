//! Files that must never be half written: to a sibling, fsync, rename, fsync of the directory. A crash between any two of
//! them leaves the old file or the new one, whole; a left-over sibling is overwritten by the next write.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Its owner only: it holds a key.
    Private,
    /// Everybody.
    Public,
}

/// Why a file was not written or read. Nothing of its content is in it.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}", path.display())]
pub struct Error {
    /// What was being done.
    pub operation: &'static str,
    /// To which file.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl Mode {
    const fn bits(self) -> u32 {
        match self {
            Self::Private => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// Replaces the file at `path`, durably.
///
/// # Errors
/// The first step that failed; the file is then as it was.
pub fn replace(path: &Path, content: &[u8], mode: Mode) -> Result<(), Error> {
    let mut sibling = path.as_os_str().to_owned();
    sibling.push(".new");
    let sibling = PathBuf::from(sibling);
    let failed = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| Error { operation, path, source }
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::remove_file(&sibling) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("remove", &sibling)(error)),
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode.bits())
        .open(&sibling)
        .map_err(failed("create", &sibling))?;
    // The process's umask may have taken bits away.
    file.set_permissions(Permissions::from_mode(mode.bits())).map_err(failed("set mode of", &sibling))?;
    file.write_all(content).map_err(failed("write", &sibling))?;
    file.sync_all().map_err(failed("fsync", &sibling))?;
    fs::rename(&sibling, path).map_err(failed("rename to", path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("fsync", folder))
}

/// Reads a file that may be absent.
///
/// # Errors
/// Anything but its absence.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error { operation: "read", path: path.to_owned(), source }),
    }
}

/// Reads a file that must be there.
///
/// # Errors
/// Why it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error { operation: "read", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_with_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key.pem");
        // What a crash before the rename left behind.
        fs::write(folder.path().join("key.pem.new"), "half").expect("written");
        replace(&path, b"one", Mode::Private).expect("replaced");
        replace(&path, b"two", Mode::Private).expect("replaced");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 1);
    }
}
