//! The part of an artifact that is being received: one writer at a time, in all processes that share the folder.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use domain::{Sha256, Timestamp};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use sha2::Digest as _;

use super::{Error, Unfinished, io_error};

/// How much of a part is hashed at a time when an upload is resumed.
const CHUNK: usize = 1 << 20;

/// Where parts are, beside what is whole.
pub(super) const FOLDER: &str = "incoming";

/// A part that this upload alone writes, and what its bytes hash to so far. Closing it lets others have it.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) file: File,
    pub(super) hasher: sha2::Sha256,
}

/// Opens a part for appending, with what is in it hashed; one that is not to be kept, or is longer than announced, begins anew.
pub(super) fn open(part: &Path, sha256: &Sha256, size: u64, unfinished: Unfinished) -> Result<(Open, u64), Error> {
    let failed = |operation| move |source| io_error(operation, part, source);
    let mut file = take(part, sha256)?;
    let mut hasher = sha2::Sha256::new();
    let mut received = file.metadata().map_err(failed("look at"))?.len();
    if received > size || unfinished == Unfinished::Discard {
        file.set_len(0).map_err(failed("truncate"))?;
        received = 0;
    }
    let (mut left, mut chunk) = (received, vec![0u8; CHUNK.min(usize::try_from(received).unwrap_or(CHUNK))]);
    while left > 0 {
        let n = file.read(&mut chunk).map_err(failed("read"))?;
        if n == 0 {
            return Err(io_error("read", part, io::ErrorKind::UnexpectedEof.into()));
        }
        hasher.update(&chunk[..n]);
        left = left.saturating_sub(n as u64);
    }
    Ok((Open { file, hasher }, received))
}

/// The file under this name, with nobody else writing it.
pub(super) fn take(part: &Path, sha256: &Sha256) -> Result<File, Error> {
    let failed = |operation| move |source| io_error(operation, part, source);
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).mode(0o600).open(part).map_err(failed("open"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // A file system without locks is no folder to share; for one process its own slots are enough.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOLCK | Errno::NOSYS) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::Busy(*sha256)),
            Err(errno) => return Err(io_error("lock", part, errno.into())),
        }
        // Between the two, whoever had it may have given the file its final name, or deleted it.
        let ours = file.metadata().map_err(failed("look at"))?;
        match fs::metadata(part) {
            Ok(there) if (there.dev(), there.ino()) == (ours.dev(), ours.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(io_error("look at", part, source)),
        }
    }
}

/// The part of these bytes.
pub(super) fn path(folder: &Path, sha256: &Sha256) -> PathBuf {
    folder.join(FOLDER).join(format!("{sha256}.part"))
}

/// Deletes the parts that were last written before `since` and that nobody has open.
pub(super) fn forget(incoming: &Path, since: Timestamp) -> Result<usize, Error> {
    let since = SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(since.as_micros()).unwrap_or(0));
    let mut forgotten = 0;
    for entry in fs::read_dir(incoming).map_err(|source| io_error("list", incoming, source))? {
        let part = entry.map_err(|source| io_error("list", incoming, source))?.path();
        let file = match OpenOptions::new().write(true).open(&part) {
            Ok(file) => file,
            // It has its final name meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(source) => return Err(io_error("open", &part, source)),
        };
        let written = file.metadata().and_then(|metadata| metadata.modified());
        let written = written.map_err(|source| io_error("look at", &part, source))?;
        // Whoever comes for it while we have it is told that it is busy, and finds a new one the next time.
        if written < since && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            fs::remove_file(&part).map_err(|source| io_error("remove", &part, source))?;
            forgotten += 1;
        }
    }
    Ok(forgotten)
}
