//! Artifact storage by content: `<data-dir>/artifacts/<sha256>`, `incoming/<sha256>.part` while one is being received, and
//! `unused/<sha256>` for one that no release names.
//!
//! A file has its final name only once its bytes were counted, hashed, and are durable: fsync of the file, rename, fsync of
//! the directory. Whoever reads `<sha256>` therefore reads what the name says. Names are [`Sha256`] values, so that no path
//! can be smuggled in. Hashing and writing happen on the blocking pool. Replicas may share the folder: one upload of the same
//! bytes runs at a time, here and at the others.

mod part;

mod unused;

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::{Sha256, Timestamp};
use sha2::Digest as _;

use self::part::Open;
pub use self::unused::Forgotten;

/// Left free on the disk: the store on the same disk must be able to go on writing.
const RESERVE: u64 = 64 << 20;

/// Why an artifact was not stored or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk is full, or would be.
    #[error("the artifact needs {needed} bytes and the disk has {free} free beside its reserve")]
    NoSpace {
        /// Bytes still to come.
        needed: u64,
        /// Bytes that may be used.
        free: u64,
    },
    /// The bytes are more or fewer than announced.
    #[error("the artifact has {actual} bytes or more, and {expected} were announced")]
    Size {
        /// As announced.
        expected: u64,
        /// As counted so far.
        actual: u64,
    },
    /// The bytes hash to something else.
    #[error("the artifact's bytes have SHA-256 {actual}, and {expected} was announced")]
    Digest {
        /// As announced.
        expected: Sha256,
        /// Of the bytes.
        actual: Sha256,
    },
    /// An upload goes on at another byte.
    #[error("the upload goes on at byte {there}, not at {asked}")]
    Offset {
        /// How many bytes are there.
        there: u64,
        /// Where the sender wants to go on.
        asked: u64,
    },
    /// Another upload of the same bytes runs.
    #[error("artifact {0} is being uploaded by someone else")]
    Busy(Sha256),
    /// The disk failed.
    #[error("{operation} {}", path.display())]
    Io {
        /// What was being done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

/// What becomes of the bytes of an upload that does not come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// They are deleted; what a process that crashed has left of them all the same is overwritten.
    Discard,
    /// They stay, and [`ArtifactStorage::begin`] goes on behind them.
    Keep,
}

/// How far an upload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// So many bytes are here, and none are proven.
    Part(u64),
    /// All of them are, and are what their name says.
    Whole(u64),
}

/// The storage.
#[derive(Debug)]
pub struct ArtifactStorage {
    folder: PathBuf,
    busy: Arc<Mutex<HashSet<Sha256>>>,
}

/// An upload on its way.
#[derive(Debug)]
pub struct Upload {
    expected: Sha256,
    size: u64,
    received: u64,
    unfinished: Unfinished,
    folder: PathBuf,
    part: PathBuf,
    /// Taken while the blocking pool has it; absent for good after an error.
    open: Option<Open>,
    _slot: Slot,
}

/// Only one upload of the same bytes at a time.
#[derive(Debug)]
struct Slot {
    busy: Arc<Mutex<HashSet<Sha256>>>,
    sha256: Sha256,
}

// === impl ArtifactStorage ===

impl ArtifactStorage {
    /// Opens the storage in `folder`, making it where there is none. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path) -> Result<Self, Error> {
        for inside in [part::FOLDER, unused::FOLDER].map(|name| folder.join(name)) {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&inside);
            made.map_err(|source| io_error("create", &inside, source))?;
        }
        Ok(Self { folder: folder.to_owned(), busy: Arc::default() })
    }

    /// Where the bytes of a stored artifact are.
    #[must_use]
    pub fn path(&self, sha256: &Sha256) -> PathBuf {
        self.folder.join(sha256.to_string())
    }

    /// The size of a stored artifact; none: it is not stored.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn size(&self, sha256: &Sha256) -> Result<Option<u64>, Error> {
        let path = self.path(sha256);
        match tokio::fs::metadata(&path).await {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(io_error("look at", &path, source)),
        }
    }

    /// Begins an upload of `size` bytes; with [`Unfinished::Keep`] goes on behind what an earlier one left ([`Upload::received`]).
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::NoSpace`], [`Error::Io`].
    pub async fn begin(&self, expected: Sha256, size: u64, unfinished: Unfinished) -> Result<Upload, Error> {
        let slot = Slot::take(&self.busy, expected)?;
        let folder = self.folder.clone();
        blocking(move || {
            let part = part::path(&folder, &expected);
            let (open, received) = part::open(&part, &expected, size, unfinished)?;
            let needed = size - received;
            let free = free_bytes(&folder)?.saturating_sub(RESERVE);
            if needed > free {
                return Err(Error::NoSpace { needed, free });
            }
            Ok(Upload { expected, size, received, unfinished, folder, part, open: Some(open), _slot: slot })
        })
        .await
    }

    /// Goes on with an upload at byte `offset`, which has to be where it stands; at 0 it begins anew, whatever is there. What is
    /// cut off stays.
    ///
    /// # Errors
    /// [`Error::Offset`], and as [`Self::begin`].
    pub async fn resume(&self, expected: Sha256, size: u64, offset: u64) -> Result<Upload, Error> {
        let mut upload = self.begin(expected, size, Unfinished::Keep).await?;
        let there = upload.received;
        if offset == 0 {
            upload.restart().await?;
        } else if offset != there {
            if there == 0 {
                // Nothing is there, and nothing was sent: no empty part is left behind.
                upload.unfinished = Unfinished::Discard;
            }
            return Err(Error::Offset { there, asked: offset });
        }
        Ok(upload)
    }

    /// How far an upload of these bytes has come.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn progress(&self, sha256: &Sha256) -> Result<Progress, Error> {
        if let Some(size) = self.size(sha256).await? {
            return Ok(Progress::Whole(size));
        }
        let part = part::path(&self.folder, sha256);
        match tokio::fs::metadata(&part).await {
            Ok(metadata) => Ok(Progress::Part(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Progress::Part(0)),
            Err(source) => Err(io_error("look at", &part, source)),
        }
    }

    /// Deletes the parts that nobody writes and nobody has written since; answers with how many.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn forget_parts(&self, since: Timestamp) -> Result<usize, Error> {
        let folder = self.folder.clone();
        blocking(move || part::forget(&folder.join(part::FOLDER), since)).await
    }

    /// The size of a stored artifact that a release is about to name; none: it is not stored. From here it is not forgotten
    /// before another grace is over.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn claim(&self, sha256: &Sha256) -> Result<Option<u64>, Error> {
        let (folder, sha256) = (self.folder.clone(), *sha256);
        blocking(move || unused::claim(&folder, &sha256)).await
    }

    /// Deletes what was not among the `named` for `grace`, by the store's clock, and notes what is not now. `named` has to be
    /// younger than this call.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn forget_unused(
        &self,
        named: HashSet<Sha256>,
        now: Timestamp,
        grace: Duration,
    ) -> Result<Vec<Forgotten>, Error> {
        let folder = self.folder.clone();
        blocking(move || unused::pass(&folder, &named, now, grace)).await
    }
}

// === impl Upload ===

impl Upload {
    /// How many bytes are there.
    #[must_use]
    pub const fn received(&self) -> u64 {
        self.received
    }

    /// Drops what is there.
    async fn restart(&mut self) -> Result<(), Error> {
        let mut open = self.open.take().ok_or_else(|| self.over())?;
        let part = self.part.clone();
        let open = blocking(move || {
            open.file.set_len(0).map_err(|source| io_error("truncate", &part, source))?;
            open.hasher = sha2::Sha256::new();
            Ok(open)
        });
        self.open = Some(open.await?);
        self.received = 0;
        Ok(())
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`Error::Size`] when they are more than announced, [`Error::NoSpace`], [`Error::Io`]. The upload is over then.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), Error> {
        let mut open = self.open.take().ok_or_else(|| self.over())?;
        let actual = self.received.saturating_add(chunk.len() as u64);
        if actual > self.size {
            return Err(Error::Size { expected: self.size, actual });
        }
        let (part, needed) = (self.part.clone(), self.size - self.received);
        let open = blocking(move || {
            open.hasher.update(&chunk);
            open.file.write_all(&chunk).map_err(|source| write_error(&part, needed, source))?;
            Ok(open)
        })
        .await?;
        self.received = actual;
        self.open = Some(open);
        Ok(())
    }

    /// Checks size and digest, makes the bytes durable, and gives them their name.
    ///
    /// # Errors
    /// [`Error::Size`], [`Error::Digest`], [`Error::Io`]. Bytes that are not what was announced are deleted.
    pub async fn finish(mut self) -> Result<(), Error> {
        if self.received != self.size {
            return Err(Error::Size { expected: self.size, actual: self.received });
        }
        let open = self.open.take().ok_or_else(|| self.over())?;
        let actual = Sha256::new(open.hasher.finalize().into());
        if actual != self.expected {
            self.unfinished = Unfinished::Discard;
            return Err(Error::Digest { expected: self.expected, actual });
        }
        let (part, folder, sha256) = (self.part.clone(), self.folder.clone(), self.expected);
        let path = folder.join(sha256.to_string());
        blocking(move || {
            // An older mark is not about these bytes.
            unused::unmark(&folder, &sha256)?;
            open.file.sync_all().map_err(|source| io_error("fsync", &part, source))?;
            fs::rename(&part, &path).map_err(|source| io_error("rename to", &path, source))?;
            let sync = File::open(&folder).and_then(|folder| folder.sync_all());
            sync.map_err(|source| io_error("fsync", &folder, source))
        })
        .await?;
        // The part has its name now: there is nothing to discard.
        self.unfinished = Unfinished::Keep;
        Ok(())
    }

    fn over(&self) -> Error {
        io_error("write", &self.part, io::Error::other("an earlier write of this upload failed"))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.unfinished == Unfinished::Discard {
            // Best effort: what stays is overwritten by the next upload of the same bytes.
            let _ = fs::remove_file(&self.part);
        }
    }
}

// === impl Slot ===

impl Slot {
    fn take(busy: &Arc<Mutex<HashSet<Sha256>>>, sha256: Sha256) -> Result<Self, Error> {
        let taken = busy.lock().unwrap_or_else(PoisonError::into_inner).insert(sha256);
        if taken { Ok(Self { busy: Arc::clone(busy), sha256 }) } else { Err(Error::Busy(sha256)) }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.sha256);
    }
}

fn free_bytes(folder: &Path) -> Result<u64, Error> {
    let disk = rustix::fs::statvfs(folder).map_err(|errno| io_error("ask for free space of", folder, errno.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn write_error(path: &Path, needed: u64, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::NoSpace { needed, free: 0 },
        _ => io_error("write", path, source),
    }
}

fn io_error(operation: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { operation, path: path.to_owned(), source }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The work panicked, or the runtime is going down.
        Err(error) => Err(io_error("work on", Path::new("artifacts"), io::Error::other(error))),
    }
}

#[cfg(test)]
mod tests;
