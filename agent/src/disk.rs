//! What is true on disk: which bytes the binary and `.prev` hold, and the few writes that must last.
//!
//! Truth is read from here and never from a marker alone: a marker may have been written, or lost, on its own.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use domain::Sha256;
use sha2::Digest;

use crate::fault::{self, reach};
use crate::layout::Layout;

/// Bytes read at a time: large enough to cost few calls, small enough for a small agent.
const CHUNK: usize = 64 * 1024;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Missing,
    /// Something that could not be read, and why.
    Unreadable(String),
    /// A regular file with this digest.
    Is(Sha256),
}

/// The binaries of a host at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The binary that the next start runs.
    pub live: Content,
    /// The last known good.
    pub previous: Content,
}

/// A disk operation that failed, and on what.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path:?}")]
pub struct Error {
    /// What was being done, in the present tense.
    pub action: &'static str,
    /// On what.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// Names the operation and the path of an I/O error.
pub(crate) fn during(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error { action, path, source }
}

impl Content {
    /// Whether it is a file of this digest.
    #[must_use]
    pub fn is(&self, digest: &Sha256) -> bool {
        matches!(self, Self::Is(found) if found == digest)
    }
}

impl Facts {
    /// Reads and hashes both binaries.
    #[must_use]
    pub fn read(layout: &Layout) -> Self {
        Self { live: content(layout.binary()), previous: content(&layout.previous()) }
    }
}

/// What stands at `path`. Links are not followed: a swap would replace the link and leave what it names.
#[must_use]
pub fn content(path: &Path) -> Content {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Content::Missing,
        Err(error) => Content::Unreadable(error.to_string()),
        Ok(meta) if !meta.is_file() => Content::Unreadable("not a regular file".to_owned()),
        Ok(_) => match File::open(path).and_then(|mut file| digest(&mut file, &mut io::sink())) {
            Ok((digest, _)) => Content::Is(digest),
            Err(error) => Content::Unreadable(error.to_string()),
        },
    }
}

/// The digest of the file that this process was started from, even when its name was taken by another since.
///
/// # Errors
/// When /proc is not there.
pub fn own_digest() -> Result<Sha256, Error> {
    let path = Path::new("/proc/self/exe");
    let mut file = File::open(path).map_err(during("open", path))?;
    digest(&mut file, &mut io::sink()).map(|(digest, _)| digest).map_err(during("read", path))
}

/// Copies `from` into `to` on the way and says what passed: digest and bytes.
fn digest(from: &mut impl Read, to: &mut impl Write) -> io::Result<(Sha256, u64)> {
    let mut hasher = sha2::Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut bytes = 0;
    loop {
        let n = match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&chunk[..n]);
        to.write_all(&chunk[..n])?;
        bytes += n as u64;
    }
    Ok((Sha256::new(hasher.finalize().into()), bytes))
}

/// Copies an executable to a new file, synced, and answers with the digest of the bytes that were written. A leftover of an
/// earlier copy at `to` is replaced.
///
/// # Errors
/// [`Error`] with the operation that failed; `to` may hold a part.
pub fn copy_executable(from: &Path, to: &Path) -> Result<Sha256, Error> {
    remove_if_there(to)?;
    let mut source = File::open(from).map_err(during("open", from))?;
    let mut target =
        OpenOptions::new().write(true).create_new(true).mode(0o755).open(to).map_err(during("create", to))?;
    reach(fault::COPY_CREATED);
    let (digest, _) = digest(&mut source, &mut target).map_err(during("write", to))?;
    // The umask took its part at creation.
    target.set_permissions(fs::Permissions::from_mode(0o755)).map_err(during("set mode of", to))?;
    reach(fault::COPY_WRITTEN);
    target.sync_all().map_err(during("sync", to))?;
    Ok(digest)
}

/// Removes a file; nothing there is as good.
///
/// # Errors
/// [`Error`] for any other reason.
pub fn remove_if_there(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(during("remove", path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_missing_from_unreadable_from_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        assert_eq!(content(&file), Content::Missing);
        fs::write(&file, b"").unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".parse().unwrap();
        assert!(content(&file).is(&empty));
        assert!(matches!(content(dir.path()), Content::Unreadable(_)));
        std::os::unix::fs::symlink(&file, dir.path().join("link")).unwrap();
        assert!(matches!(content(&dir.path().join("link")), Content::Unreadable(_)));
    }

    #[test]
    fn a_copy_is_executable_and_says_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, vec![7; 3 * CHUNK + 1]).unwrap();
        fs::write(&to, "a leftover").unwrap();
        let digest = copy_executable(&from, &to).unwrap();
        assert!(content(&from).is(&digest) && content(&to).is(&digest));
        assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o7777, 0o755);
    }
}
