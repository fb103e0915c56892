//! One process per file: two servers over one database would each believe that they own every session.
//!
//! The lock is the kernel's, on a file beside the database, so that it ends with the process however that ends. What the
//! file says is for people only.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The right to open the database, until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

/// Why the right was not given.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error("{} is in use by {holder}: stop it first, or use another data directory", path.display())]
    Held { path: PathBuf, holder: String },
    #[error("cannot open the lock file {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl Lock {
    /// Takes the lock of the database at `database`.
    pub(super) fn take(database: &Path) -> Result<Self, LockError> {
        let mut path = database.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let io = |source| LockError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Best effort: the holder may be writing it right now.
                let read = file.take(200).read_to_string(&mut holder);
                let known = read.is_ok() && !holder.trim().is_empty();
                let holder = if known { holder.trim().to_owned() } else { "another process".to_owned() };
                return Err(LockError::Held { path: database.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let program = std::env::current_exe().ok();
        let program = program.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        file.write_all(format!("process {} ({program})\n", std::process::id()).as_bytes()).map_err(io)?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child between fork and exec has the file open for a moment longer, and the lock is whoever's has
        // it open (flock(2)). Where this fails, closing is what is left.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_ends_with_its_holder_and_not_with_a_child_that_forks_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("novacula.db");
        let lock = Lock::take(&database).expect("free");
        // What a fork leaves: the same open file, once more.
        let child = lock.file.try_clone().expect("open once more");
        assert!(matches!(Lock::take(&database), Err(LockError::Held { .. })), "held");
        drop(lock);
        drop(Lock::take(&database).expect("free again"));
        drop(child);
    }
}
