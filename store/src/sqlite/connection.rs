//! Opens connections the one way that keeps the promises: WAL with an fsync at each commit, foreign keys, a busy timeout.
//! Settings that SQLite may decline are read back.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// How long a statement waits for a lock. Our own connections never hold one long; a person's sqlite3 shell may.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements kept prepared per connection: more than there are.
const STATEMENTS: usize = 128;

/// What is left of the log after a checkpoint. A burst may make it long; afterwards the disk is given back.
const LOG_KEPT_BYTES: i64 = 64 << 20;

/// Why a connection was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenError {
    #[error("cannot create {}", path.display())]
    Create {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot open {}", path.display())]
    Open {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("SQLite declined {setting}: it answered {answer:?}; is the file on a network file system?")]
    Setting { setting: &'static str, answer: String },
}

/// Creates the file, for nobody but us, where there is none. SQLite gives `-wal` and `-shm` the same mode.
pub(super) fn create_private(path: &Path) -> Result<(), OpenError> {
    let create = |source| OpenError::Create { path: path.to_owned(), source };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        // The name is durable before anything in it is.
        Ok(_) => {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or_else(|| Path::new(".")))
                .and_then(|directory| directory.sync_all())
                .map_err(create)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let mode = fs::metadata(path).map_err(create)?.permissions().mode();
            if mode & 0o077 == 0 {
                return Ok(());
            }
            tracing::warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "the database was open to others; closing it");
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(create)
        }
        Err(error) => Err(create(error)),
    }
}

/// The connection that writes.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let open = |source| OpenError::Open { path: path.to_owned(), source };
    let connection = open_with(path, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(open)?;
    setting(&connection, path, "journal_mode=WAL", "wal")?;
    // FULL: an answered write survives power loss, not only a crash of the process.
    connection.pragma_update(None, "synchronous", "FULL").map_err(open)?;
    connection.pragma_update(None, "journal_size_limit", LOG_KEPT_BYTES).map_err(open)?;
    expect(&connection, path, "synchronous", "2")?;
    expect(&connection, path, "foreign_keys", "1")?;
    Ok(connection)
}

/// A connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, OpenError> {
    open_with(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|source| OpenError::Open { path: path.to_owned(), source })
}

fn open_with(path: &Path, mode: OpenFlags) -> rusqlite::Result<Connection> {
    // One thread at a time uses a connection: the mutexes inside SQLite would be paid for nothing. No URI names: a data
    // directory called `file:…` is a directory.
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "foreign_keys", true)?;
    // A schema that a stranger edited must not make us run functions from it.
    connection.pragma_update(None, "trusted_schema", false)?;
    Ok(connection)
}

fn setting(connection: &Connection, path: &Path, setting: &'static str, wanted: &str) -> Result<(), OpenError> {
    let (name, value) = setting.split_once('=').unwrap_or((setting, ""));
    let answer: String = connection
        .pragma_update_and_check(None, name, value, |row| row.get(0))
        .map_err(|source| OpenError::Open { path: path.to_owned(), source })?;
    if answer == wanted { Ok(()) } else { Err(OpenError::Setting { setting, answer }) }
}

fn expect(connection: &Connection, path: &Path, setting: &'static str, wanted: &str) -> Result<(), OpenError> {
    let answer: i64 = connection
        .pragma_query_value(None, setting, |row| row.get(0))
        .map_err(|source| OpenError::Open { path: path.to_owned(), source })?;
    if answer.to_string() == wanted { Ok(()) } else { Err(OpenError::Setting { setting, answer: answer.to_string() }) }
}
