//! A copy of the database as of one moment, made while it is written: VACUUM INTO on a connection of its own, so that
//! neither reads nor writes wait. The copy has its final name only when it is whole and on the disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::SqliteStore;
use super::connection::{OpenError, open_reader};
use crate::error::Error;

const VACUUM_INTO: &str = "VACUUM INTO :path";

#[derive(Debug, thiserror::Error)]
enum BackupError {
    #[error("{} exists already", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open the database")]
    Open(#[source] OpenError),
    #[error("cannot copy the database to {}", path.display())]
    Copy {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("the copy was interrupted")]
    Task(#[source] tokio::task::JoinError),
}

impl SqliteStore {
    /// Writes a copy of the database as it is now to `path` (mode 0600), which must not exist. Restoring is putting the
    /// copy in the database's place while no server runs, and removing the `-wal` and `-shm` files beside it.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; nothing is left at `path`.
    pub async fn backup(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let (database, target) = (self.inner.path.clone(), path.as_ref().to_owned());
        let copied = tokio::task::spawn_blocking(move || copy(&database, &target)).await;
        copied
            .unwrap_or_else(|error| Err(BackupError::Task(error)))
            .map_err(|error| Error::Unavailable { operation: "store_backup", source: Box::new(error) })
    }
}

fn copy(database: &Path, target: &Path) -> Result<(), BackupError> {
    let io = |source| BackupError::Io { path: target.to_owned(), source };
    if target.try_exists().map_err(io)? {
        return Err(BackupError::Exists { path: target.to_owned() });
    }
    let mut partial = target.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let connection = open_reader(database).map_err(BackupError::Open)?;
    let result = vacuum(&connection, &partial, target);
    if result.is_err() {
        // The first error is the one worth telling; what is left is named after what it is.
        drop(fs::remove_file(&partial));
    }
    result
}

fn vacuum(connection: &Connection, partial: &Path, target: &Path) -> Result<(), BackupError> {
    let io = |source| BackupError::Io { path: target.to_owned(), source };
    // VACUUM INTO takes an empty file, and this way nobody else could ever read it.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(partial).map_err(io)?;
    let name = partial.to_string_lossy();
    connection
        .execute(VACUUM_INTO, [name.as_ref()])
        .map_err(|source| BackupError::Copy { path: target.to_owned(), source })?;
    file.sync_all().map_err(io)?;
    fs::rename(partial, target).map_err(io)?;
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or_else(|| Path::new("."))).and_then(|directory| directory.sync_all()).map_err(io)
}
