//! Credentials in a state directory.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Credentials, Error, Keeper, PendingKey, unusable};
use crate::disk::{self, Mode};

pub(super) const FILE: &str = "credentials.json";
pub(super) const PENDING: &str = "pending-key.pem";

/// Most bytes that are read: a key and a handful of certificates are under 20 KiB.
const MAX_BYTES: u64 = 256 * 1024;

/// Where the credentials are: a state directory.
#[derive(Clone, Debug)]
pub struct CredentialStore {
    directory: PathBuf,
}

impl CredentialStore {
    /// The credentials in this state directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned() }
    }

    /// Reads them.
    ///
    /// # Errors
    /// [`Error::NotEnrolled`] when there are none; otherwise what is wrong with them.
    pub fn load(&self) -> Result<Credentials, Error> {
        let path = self.directory.join(FILE);
        let bytes = match disk::read(&path, MAX_BYTES) {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotEnrolled { place: self.directory.display().to_string() });
            }
            Err(source) => return Err(Error::Read { path, source }),
        };
        if let Ok(about) = fs::metadata(&path)
            && about.permissions().mode() & 0o077 != 0
        {
            tracing::warn!(path = %path.display(), "others may read the private key of this executor; set mode 0600");
        }
        Credentials::parse(&bytes).map_err(|why| unusable(path.display(), why))
    }

    /// Writes them, durable when it returns, and forgets the pending key, if it is theirs.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn save(&self, credentials: &Credentials) -> Result<(), Error> {
        disk::replace(&self.directory, FILE, &credentials.print(), Mode::Private)?;
        // That of another request, whose answer may be on its way, stays. One that cannot be looked at or removed is found next time.
        if self.left().is_ok_and(|left| left.is_some_and(|key| credentials.holds(&key))) {
            let _ = disk::remove_if_there(&self.directory.join(PENDING));
        }
        Ok(())
    }

    /// The key for the next request: the one that a lost answer left, or a new one, durable when it returns.
    ///
    /// - Either is written now. Whoever left the one that is found may never have seen it last: a sync that failed or was cut off
    ///   leaves a file that reads well until the power goes, and a certificate for a key that is gone is of no use.
    /// - One whose certificate can be read already is used once more: the certificate's last sync may be what failed, and the join
    ///   token is good for this key only. If it was the key's removal that was lost, one renewal keeps its key.
    ///
    /// # Errors
    /// [`Error`] when it cannot be read, made or written. One that cannot be read is replaced.
    pub fn pending_key(&self) -> Result<PendingKey, Error> {
        let key = match self.left()? {
            Some(key) => key,
            None => PendingKey::generate()?,
        };
        disk::replace(&self.directory, PENDING, key.pem().as_bytes(), Mode::Private)?;
        Ok(key)
    }

    /// The pending key that is found; none when what is found is no key.
    fn left(&self) -> Result<Option<PendingKey>, Error> {
        let path = self.directory.join(PENDING);
        match disk::read(&path, MAX_BYTES) {
            Ok(bytes) => Ok(String::from_utf8(bytes).ok().map(Zeroizing::new).and_then(PendingKey::parse)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Read { path, source }),
        }
    }
}

impl Keeper for CredentialStore {
    fn load(&self) -> Result<Credentials, Error> {
        Self::load(self)
    }

    fn save(&self, credentials: &Credentials) -> Result<(), Error> {
        Self::save(self, credentials)
    }

    fn pending_key(&self) -> Result<PendingKey, Error> {
        Self::pending_key(self)
    }
}
