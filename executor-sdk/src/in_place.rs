//! A binary that replaces itself, for programs that are one file and are started again by somebody: systemd, a container's
//! runtime, a loop in a shell.
//!
//! ```text
//! swap      journal: applying   binary ─link→ .prev.new ─rename→ .prev   sync   new ─rename→ binary   sync   journal: swapped
//! put back  journal: rolling back   .prev ─link→ .back ─rename→ binary   sync
//! ```
//!
//! One lock of the journal spans each. At every point between two steps the binary is whole, the old one or the new one, and
//! a process that starts there reads which from the disk. `.prev` stays where it is: the version before.
//!
//! It does not come back by itself when the new version never starts: that takes something that runs when the new binary
//! does not, as `novacula-agent` installs on its host.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::attempt::{ErrorCode, Stage};
use domain::{AttemptId, Kind, Sha256, Version};
use rustix::fs::{Access, access};
use rustix::io::Errno;
use sha2::Digest as _;
use tokio::task::spawn_blocking;

use crate::disk::{self, Stamp};
use crate::executor::{Applied, Artifact, Description, Failure, Leave, Prepared, Workplace};
use crate::journal::{self, Journal, OpenAttempt, Step};
use crate::report;

/// How long the journal's lock is waited for. Others hold it for an apply, confirmation or rollback: seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// A process's own binary and the journal that guards it.
#[derive(Debug)]
pub struct InPlace {
    place: Place,
    /// What was last seen in place: hashed again only when it is another file.
    seen: Mutex<(Stamp, Sha256)>,
}

#[derive(Clone, Debug)]
struct Place {
    binary: PathBuf,
    journal: Journal,
    /// Of the file that this process was started from.
    running: Sha256,
}

// === impl InPlace ===

impl InPlace {
    /// This process's binary, with the journal of the state directory `state`.
    ///
    /// # Errors
    /// /proc is not there, or the binary cannot be read.
    pub fn of_this_process(state: &Path) -> io::Result<Self> {
        Self::new(std::env::current_exe()?, state)
    }

    /// The same for a binary of which the caller knows that this process is it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn new(binary: PathBuf, state: &Path) -> io::Result<Self> {
        let (stamp, running) = (stamp(&binary)?, sha256(&binary)?);
        let place = Place { binary, journal: Journal::new(state), running };
        Ok(Self { place, seen: Mutex::new((stamp, running)) })
    }

    /// For [`crate::Executor::describe`]: an agent of this version, on the platform that it was built for, with what is in place now.
    #[must_use]
    pub fn describe(&self, version: Version) -> Description {
        Description { binary_sha256: self.live().ok(), ..Description::new(Kind::Agent, version) }
    }

    /// For [`crate::Executor::preflight`]: the binary's own directory, from where a file can be renamed over it.
    ///
    /// # Errors
    /// The directory may not be written to, or holds another binary than the one that runs.
    pub fn workplace(&self) -> Result<Workplace, Failure> {
        let refused = |code, message| Failure::refused(Stage::Preflight, code, message);
        let directory = self.place.directory();
        access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            let code = if error == Errno::ROFS { ErrorCode::ReadOnly } else { ErrorCode::NotPermitted };
            refused(code, format!("{} may not be written to: {error}", directory.display()))
        })?;
        match self.live() {
            Ok(live) if live == self.place.running => Ok(Workplace::Directory(directory.to_owned())),
            Ok(_) => Err(refused(ErrorCode::NotPermitted, self.place.other_binary())),
            Err(error) => Err(refused(ErrorCode::Io, format!("read {}: {error}", self.place.binary.display()))),
        }
    }

    /// For [`crate::Executor::apply`]: makes what was prepared the binary, and the present one `.prev`.
    ///
    /// # Errors
    /// The old version is in place, and the journal has no open attempt, or one that the next start ends.
    pub async fn swap(&self, prepared: Prepared, leave: Leave) -> Result<Applied, Failure> {
        let Artifact::File(mut artifact) = prepared.artifact else {
            return Err(Failure::failed(Stage::Swap, ErrorCode::KindMismatch, "a binary is not replaced by an image"));
        };
        let (open, place) = (OpenAttempt::of(&prepared.plan, &leave), self.place.clone());
        let work = move || {
            place.swap(open, artifact.file(), artifact.path())?;
            artifact.keep();
            Ok(Applied::Restart)
        };
        spawn_blocking(work).await.map_err(|error| failed(Stage::Swap, &error))?
    }

    /// For [`crate::Executor::roll_back`]: makes `.prev` the binary again.
    ///
    /// # Errors
    /// Nothing was changed, or calling again goes on where this ended.
    pub async fn put_back(&self, attempt: AttemptId) -> Result<Applied, Failure> {
        let place = self.place.clone();
        let work = move || place.put_back(attempt).map(|()| Applied::Restart);
        spawn_blocking(work).await.map_err(|error| failed(Stage::Rollback, &error))?
    }

    /// What the next start would run.
    fn live(&self) -> io::Result<Sha256> {
        let now = stamp(&self.place.binary)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.0 != now {
            *seen = (now, sha256(&self.place.binary)?);
        }
        Ok(seen.1)
    }
}

// === impl Place ===

impl Place {
    fn directory(&self) -> &Path {
        self.binary.parent().unwrap_or_else(|| Path::new("."))
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = OsString::from(&self.binary);
        name.push(ending);
        name.into()
    }

    fn other_binary(&self) -> String {
        format!("{} is not the binary that runs: restart, then ask again", self.binary.display())
    }

    fn swap(&self, mut open: OpenAttempt, file: &File, path: &Path) -> Result<(), Failure> {
        let refuse = |code, message: String| Err(Failure::failed(Stage::Swap, code, message));
        let io = |error: io::Error| failed(Stage::Swap, &error);
        let locked = self.journal.lock(LOCK_PATIENCE).map_err(|error| unwritten(Stage::Swap, &error))?;
        let state = locked.read().map_err(|error| unwritten(Stage::Swap, &error))?;
        if let Some(other) = state.open {
            return refuse(ErrorCode::Other, format!("version {} is not confirmed yet", other.target_version));
        }
        if sha256(&self.binary).map_err(io)? != self.running {
            return refuse(ErrorCode::NotPermitted, self.other_binary());
        }
        let (proven, named) = (file.metadata().map_err(io)?, fs::symlink_metadata(path).map_err(io)?);
        if (proven.dev(), proven.ino()) != (named.dev(), named.ino()) {
            return refuse(ErrorCode::NotPermitted, format!("{} was replaced after it was verified", path.display()));
        }
        let attempt = open.attempt;
        open.old_sha256 = Some(self.running);
        locked.update(|state| state.open = Some(open)).map_err(|error| unwritten(Stage::Swap, &error))?;
        if let Err(failure) = self.exchange(file, path) {
            let close = |state: &mut journal::State| drop(state.open.take_if(|open| open.attempt == attempt));
            if let Err(error) = locked.update(close) {
                tracing::error!(error = %report::chain(&error), "the journal keeps an attempt that did not begin, until the next start");
            }
            return Err(failure);
        }
        // The new binary is in place: what fails now is told, and undoes nothing.
        if let Err(error) = disk::sync_directory(self.directory()) {
            tracing::error!(error = %report::chain(&error), "the swap may not survive a power cut");
        }
        let note = |state: &mut journal::State| state.open.iter_mut().for_each(|open| open.step = Step::Swapped);
        if let Err(error) = locked.update(note) {
            tracing::error!(error = %report::chain(&error), "the journal does not say that the swap was made");
        }
        Ok(())
    }

    /// Up to the rename that makes the new binary the one in place.
    fn exchange(&self, file: &File, path: &Path) -> Result<(), Failure> {
        let (previous, link) = (self.beside(".prev"), self.beside(".prev.new"));
        let links = || {
            file.sync_all()?;
            disk::remove_if_there(&link)?;
            fs::hard_link(&self.binary, &link)?;
            fs::rename(&link, &previous)?;
            // Where `.prev` was this very file already, rename(2) left both names.
            disk::remove_if_there(&link)
        };
        links().map_err(|error| failed(Stage::Swap, &error))?;
        disk::sync_directory(self.directory()).map_err(|error| failed(Stage::Swap, &error))?;
        fs::rename(path, &self.binary).map_err(|error| failed(Stage::Swap, &error))
    }

    fn put_back(&self, attempt: AttemptId) -> Result<(), Failure> {
        let unusable = |message: String| Failure::failed(Stage::Rollback, ErrorCode::PreviousUnusable, message);
        let locked = self.journal.lock(LOCK_PATIENCE).map_err(|error| unwritten(Stage::Rollback, &error))?;
        let state = locked.read().map_err(|error| unwritten(Stage::Rollback, &error))?;
        let Some(open) = state.open.filter(|open| open.attempt == attempt) else {
            let message = "the attempt is not open any more";
            return Err(Failure::failed(Stage::Rollback, ErrorCode::Other, message));
        };
        let (previous, back) = (self.beside(".prev"), self.beside(".back"));
        let found = sha256(&previous).map_err(|error| unusable(format!("read {}: {error}", previous.display())))?;
        if open.old_sha256 != Some(found) {
            return Err(unusable(format!("{} is not what ran before: it was written on", previous.display())));
        }
        let decide = |state: &mut journal::State| state.open.iter_mut().for_each(|open| open.step = Step::RollingBack);
        locked.update(decide).map_err(|error| unwritten(Stage::Rollback, &error))?;
        let links = || {
            disk::remove_if_there(&back)?;
            fs::hard_link(&previous, &back)?;
            fs::rename(&back, &self.binary)?;
            // As above: it was in place already.
            disk::remove_if_there(&back)
        };
        links().map_err(|error| failed(Stage::Rollback, &error))?;
        disk::sync_directory(self.directory()).map_err(|error| failed(Stage::Rollback, &error))
    }
}

fn failed(stage: Stage, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::failed(stage, ErrorCode::Io, report::chain(error))
}

fn unwritten(stage: Stage, error: &journal::Error) -> Failure {
    Failure::failed(stage, ErrorCode::Journal, report::chain(error))
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    fs::metadata(path).map(|about| Stamp::of(&about))
}

fn sha256(path: &Path) -> io::Result<Sha256> {
    let mut hasher = sha2::Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(Sha256::new(hasher.finalize().into()))
}

#[cfg(test)]
mod tests;
