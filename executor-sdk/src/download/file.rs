//! The new file, its name, and the room for it.

use std::fs::{self, File, Permissions};
use std::io::{self, Seek as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use domain::attempt::{ErrorCode, Stage};

use crate::disk::{self, Mode};
use crate::executor::Failure;

/// What every temporary file's name begins with; the rest is random. Nothing of it comes from the wire.
const PREFIX: &str = ".novacula-download-";

/// Room that a download leaves free: the journal and the log must still be written afterwards.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// A new file of ours. Dropping it removes it, unless it was kept.
#[derive(Debug)]
pub struct TemporaryFile {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl TemporaryFile {
    /// Makes one, mode 0600, where there was none.
    pub(super) fn create(directory: &Path) -> Result<Self, Failure> {
        let path = directory.join(format!("{PREFIX}{:016x}", rand::random::<u64>()));
        let file = disk::create_new(&path, Mode::Private).map_err(|error| failure("create", &path, &error))?;
        Ok(Self { file, path, kept: false })
    }

    pub(super) fn second_handle(&self) -> Result<File, Failure> {
        self.file.try_clone().map_err(|error| failure("open", &self.path, &error))
    }

    pub(super) fn rewind(&mut self) -> Result<(), Failure> {
        self.file.rewind().map_err(|error| failure("rewind", &self.path, &error))
    }

    /// Mode 0755, only once its bytes are proven; says how many they are.
    pub(super) fn make_executable(&self) -> Result<u64, Failure> {
        let set = self.file.set_permissions(Permissions::from_mode(0o755));
        let size = set.and_then(|()| self.file.metadata()).map(|about| about.len());
        size.map_err(|error| failure("make executable", &self.path, &error))
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) const fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn keep(&mut self) {
        self.kept = true;
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.kept {
            // What stays behind is swept away by the next download; nothing more can be done here.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether `size` bytes fit beside `directory`'s other files, with some room to spare.
///
/// # Errors
/// A [`Failure`] in [`Stage::Preflight`] that names both numbers.
pub fn check_space(directory: &Path, size: u64) -> Result<(), Failure> {
    let about = rustix::fs::statvfs(directory)
        .map_err(|error| failure("ask for the free space of", directory, &error.into()))?;
    let free = about.f_bavail.saturating_mul(about.f_frsize);
    let needed = size.saturating_add(RESERVE_BYTES);
    if needed <= free {
        return Ok(());
    }
    let message = format!(
        "{} has {free} bytes free, and {needed} are needed: {size} for the artifact and {RESERVE_BYTES} in reserve",
        directory.display()
    );
    Err(Failure::refused(Stage::Preflight, ErrorCode::NoSpace, message))
}

/// Removes what earlier processes left behind in `directory`.
pub fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            // One that cannot be removed only takes room; the next sweep tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// An error of the disk as a failure, by its kind.
pub(super) fn failure(doing: &str, path: &Path, error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    let code = match error.kind() {
        Kind::StorageFull | Kind::QuotaExceeded => ErrorCode::NoSpace,
        Kind::ReadOnlyFilesystem => ErrorCode::ReadOnly,
        Kind::PermissionDenied => ErrorCode::NotPermitted,
        _ => ErrorCode::Io,
    };
    Failure::failed(Stage::Download, code, format!("{doing} {}: {error}", path.display()))
}
