//! The journal: what an executor must still know after a crash, one JSON file in its state directory.
//!
//! - One write replaces the whole file atomically: new file, fsync, rename, fsync of the directory ([`crate::disk`]). A
//!   crash leaves the old or the new journal, never a mixture.
//! - Several processes write it (the running version, the rollback, `pin`): every write is made under one advisory lock,
//!   on what was read under it. Apply, confirm and roll back hold that lock from the first to the last of their steps.
//! - Every release of its own and of the previous major reads it: fields are only ever added, unknown ones are kept as they
//!   are, and [`FORMAT`] grows only when that cannot be kept.
//! - What cannot be read is an [`Error`] that names the file and why, never a panic and never an empty journal: an executor
//!   that forgot an open attempt would not find its way back. The last good one stays beside it (`journal.json.last`).
//!
//! It is no authority over the disk: whether a swap happened is told by the live binary's hash.

mod document;
pub mod state;

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::disk::{self, Mode};
use crate::fault;

pub use state::{Confirmed, OpenAttempt, RollbackCause, State, Step, SwapTime};

/// The version of the file's form. A greater one is refused: it says that this release would misread it.
pub const FORMAT: u32 = 1;

/// Most bytes that are read: 64 KiB of log tail per unsent outcome fit many times; anything larger is not a journal.
pub const MAX_BYTES: u64 = 4 * 1024 * 1024;

const FILE: &str = "journal.json";
const LAST: &str = "journal.json.last";
const LOCK: &str = "lock";

/// How often a taken lock is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// Where an executor keeps its journal. Cheap to clone; holds no open file and no copy of what it read.
#[derive(Clone, Debug)]
pub struct Journal {
    directory: PathBuf,
}

/// The journal with the lock in hand; other processes wait until this is dropped.
#[derive(Debug)]
pub struct Locked {
    directory: PathBuf,
    /// The lock lives as long as this handle, also when the process is killed.
    _lock: File,
}

/// Where a journal is kept: files ([`Journal`]), or a place of the executor's own. Its methods block, and are called where that is
/// allowed.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// What it says now; an empty [`State`] when it was never written.
    ///
    /// # Errors
    /// [`Error`] when that cannot be said.
    fn read(&self) -> Result<State, Error>;

    /// Reads, changes and writes as one step that survives whatever comes after it; what `change` left as it was is not written.
    /// `change` is called again when somebody else wrote in between.
    ///
    /// # Errors
    /// [`Error`]; whether the old or the new state is kept may be open then: read it again.
    fn update(&self, patience: Duration, change: &mut dyn FnMut(&mut State)) -> Result<(), Error>;
}

/// Why the journal could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A place of the executor's own could not be read or written.
    #[error("keep the journal in {place}")]
    Elsewhere {
        /// Where it is kept.
        place: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It could not be read.
    #[error("read the journal {path}", path = path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not what this release, or any other of its major, writes.
    #[error("the journal {path} cannot be used: {why}; look at it, and at {LAST} beside it, before you remove it", path = path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What the write before the last one said, when that can be read: it may be out of date.
        last_good: Option<Box<State>>,
    },
    /// It could not be written. Whether the old or the new one is on disk is open: read it again.
    #[error("write the journal in {directory}", directory = directory.display())]
    Write {
        /// Where.
        directory: PathBuf,
        /// Why.
        #[source]
        source: disk::Error,
    },
    /// The lock could not be opened.
    #[error("open the lock {path}", path = path.display())]
    Lock {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another process holds the lock.
    #[error("another process has held the lock {path} for {waited:?}: an apply, confirmation or rollback is under way", path = path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
        /// How long this one waited.
        waited: Duration,
    },
}

impl Journal {
    /// The journal in this state directory, which has to exist.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// The state directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// What it says now; an empty [`State`] when it was never written. Needs no lock: a write is one rename.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Unusable`].
    pub fn read(&self) -> Result<State, Error> {
        read(&self.directory)
    }

    /// Takes the lock, waiting at most `patience` for whoever holds it. Blocks the thread.
    ///
    /// # Errors
    /// [`Error::Busy`] when the time is over, [`Error::Lock`].
    pub fn lock(&self, patience: Duration) -> Result<Locked, Error> {
        let path = self.directory.join(LOCK);
        let failed = |source| Error::Lock { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(disk::no_follow());
        let lock = options.open(&path).map_err(failed)?;
        let begin = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    return Ok(Locked { directory: self.directory.clone(), _lock: lock });
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if begin.elapsed() >= patience => {
                    return Err(Error::Busy { path, waited: patience });
                }
                Err(TryLockError::WouldBlock) => wait(),
            }
        }
    }

    /// Reads, changes and writes under the lock; what `change` left as it was is not written again.
    ///
    /// # Errors
    /// As [`Journal::lock`] and [`Locked::update`].
    pub fn update<T>(&self, patience: Duration, change: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        self.lock(patience)?.update(change)
    }
}

impl Keeper for Journal {
    fn read(&self) -> Result<State, Error> {
        Self::read(self)
    }

    fn update(&self, patience: Duration, change: &mut dyn FnMut(&mut State)) -> Result<(), Error> {
        Self::update(self, patience, change)
    }
}

impl Locked {
    /// What it says now.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub fn read(&self) -> Result<State, Error> {
        read(&self.directory)
    }

    /// Reads, changes and writes as one step that survives power loss. What `change` left as it was is not written again.
    ///
    /// # Errors
    /// As [`Journal::read`]; [`Error::Write`].
    pub fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T, Error> {
        let before = self.read()?;
        let mut state = before.clone();
        let answer = change(&mut state);
        state.bound();
        if state != before {
            self.write(&state)?;
        }
        Ok(answer)
    }

    /// Replaces a journal that cannot be used by `state`, and puts what was there aside as `journal.json.unusable`.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn replace_unusable(&self, state: &State) -> Result<(), Error> {
        let aside = self.directory.join(format!("{FILE}.unusable"));
        match std::fs::rename(self.directory.join(FILE), &aside) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                let source = disk::Error { step: "put aside", path: aside, source };
                Err(Error::Write { directory: self.directory.clone(), source })
            }
            _ => self.write(state),
        }
    }

    fn write(&self, state: &State) -> Result<(), Error> {
        let failed = |source| Error::Write { directory: self.directory.clone(), source };
        disk::keep_last(&self.directory, FILE, LAST).map_err(failed)?;
        fault::reach(fault::JOURNAL_BEFORE_WRITE);
        disk::replace(&self.directory, FILE, &document::print(state), Mode::Private).map_err(failed)?;
        fault::reach(fault::JOURNAL_AFTER_WRITE);
        Ok(())
    }
}

/// Reads a journal's bytes; what other releases added is kept inside the [`State`].
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse(bytes: &[u8]) -> Result<State, String> {
    document::parse(bytes)
}

/// The bytes that [`parse`] reads, for a place of the executor's own.
#[must_use]
pub fn print(state: &State) -> Vec<u8> {
    document::print(state)
}

fn read(directory: &Path) -> Result<State, Error> {
    let path = directory.join(FILE);
    let bytes = match disk::read(&path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(State::default()),
        Err(source) => return Err(Error::Read { path, source }),
    };
    document::parse(&bytes).map_err(|why| {
        let last = disk::read(&directory.join(LAST), MAX_BYTES).ok();
        let last_good = last.and_then(|bytes| document::parse(&bytes).ok()).map(Box::new);
        Error::Unusable { path, why, last_good }
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "waits for another process's lock, which gives no signal; callers are told that it blocks"
)]
fn wait() {
    std::thread::sleep(LOCK_RETRY);
}

#[cfg(test)]
mod tests;
