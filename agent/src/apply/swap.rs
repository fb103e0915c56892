//! The swap: journal, sync the artifact, link the live binary to `.prev`, rename the artifact over the binary; every name
//! synced before the next step counts on it.
//!
//! One lock spans it, which confirming and rolling back take too. At every point between two steps the live binary is
//! whole: the old one up to the second rename, the new one from there on. What a crash leaves is told by
//! [`crate::rollback::verdict`] from the disk, not by how far this function came.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use executor_sdk::disk::sync_directory;
use executor_sdk::journal::{self, Locked, OpenAttempt, Step};

use crate::disk::{self, during, remove_if_there};
use crate::fault::{self, reach};
use crate::layout::Layout;

/// A proven file beside the binary.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// The handle through which its bytes were proven.
    pub file: &'a File,
    /// Its name.
    pub path: &'a Path,
}

/// Why nothing was swapped; the old version is in place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An attempt is open: the running version is not confirmed, and `.prev` is needed for it.
    #[error("another attempt is open: version {0} is not confirmed yet")]
    Unconfirmed(domain::Version),
    /// The name leads to another file than the one that was proven.
    #[error("the downloaded file was replaced after it was verified")]
    Replaced,
    /// The live binary is another one than the running process's.
    #[error("the binary on disk is not the one that runs: restart the agent, then ask again")]
    OtherBinary,
    /// The journal could not be written.
    #[error("write the journal before the swap")]
    Journal(#[source] journal::Error),
    /// The disk refused a step.
    #[error("swap the binary")]
    Disk(#[source] disk::Error),
    /// A directory could not be synced.
    #[error("make the old binary's new name last")]
    Sync(#[source] executor_sdk::disk::Error),
}

/// Makes `incoming` the live binary and the present one `.prev`.
///
/// # Errors
/// [`Error`] only when the old version is fully in place; the journal then holds no open attempt, or one that recovery ends.
pub fn swap(layout: &Layout, locked: &Locked, open: OpenAttempt, incoming: Incoming<'_>) -> Result<(), Error> {
    reach(fault::SWAP_BEGUN);
    if !is_same_file(incoming).map_err(Error::Disk)? {
        return Err(Error::Replaced);
    }
    let attempt = open.attempt;
    let begun = locked.update(|state| match &state.open {
        Some(other) => Err(Error::Unconfirmed(other.target_version.clone())),
        None => {
            state.open = Some(open);
            Ok(())
        }
    });
    begun.map_err(Error::Journal)??;
    reach(fault::SWAP_JOURNALLED);
    if let Err(error) = exchange(layout, incoming) {
        if let Err(error) = remove_if_there(&layout.previous_new()) {
            tracing::warn!(error = %executor_sdk::report::chain(&error), "a leftover stays until the next start");
        }
        // If this fails as well, the next start finds the old binary in place and ends the attempt.
        let closed = locked.update(|state| {
            state.open.take_if(|open| open.attempt == attempt);
        });
        if let Err(error) = closed {
            tracing::error!(error = %executor_sdk::report::chain(&error), "the journal keeps an attempt that did not begin");
        }
        return Err(error);
    }
    // From here on the new binary is the live one: what fails now is told, and undoes nothing.
    if let Err(error) = sync_directory(layout.directory()) {
        tracing::error!(error = %executor_sdk::report::chain(&error), "the swap may not survive a power cut");
    }
    reach(fault::SWAP_SYNCED);
    let noted = locked.update(|state| {
        if let Some(open) = state.open.as_mut() {
            open.step = Step::Swapped;
        }
    });
    if let Err(error) = noted {
        tracing::error!(error = %executor_sdk::report::chain(&error), "the journal does not say that the swap was made");
    }
    reach(fault::SWAP_NOTED);
    Ok(())
}

/// Everything up to the rename that makes the new binary live.
fn exchange(layout: &Layout, incoming: Incoming<'_>) -> Result<(), Error> {
    let (binary, previous, link) = (layout.binary(), layout.previous(), layout.previous_new());
    incoming.file.sync_all().map_err(during("sync", incoming.path)).map_err(Error::Disk)?;
    reach(fault::SWAP_ARTIFACT_SYNCED);
    remove_if_there(&link).map_err(Error::Disk)?;
    fs::hard_link(binary, &link).map_err(during("link the old binary to", &link)).map_err(Error::Disk)?;
    reach(fault::SWAP_LINKED);
    fs::rename(&link, &previous).map_err(during("rename to", &previous)).map_err(Error::Disk)?;
    // Where `.prev` was this very file already, rename(2) left both names.
    remove_if_there(&link).map_err(Error::Disk)?;
    reach(fault::SWAP_PREVIOUS_RENAMED);
    sync_directory(layout.directory()).map_err(Error::Sync)?;
    reach(fault::SWAP_PREVIOUS_SYNCED);
    fs::rename(incoming.path, binary).map_err(during("rename to", binary)).map_err(Error::Disk)?;
    reach(fault::SWAP_RENAMED);
    Ok(())
}

/// Whether the name still leads to the bytes that were proven.
fn is_same_file(incoming: Incoming<'_>) -> Result<bool, disk::Error> {
    let proven = incoming.file.metadata().map_err(during("look at", incoming.path))?;
    let named = fs::symlink_metadata(incoming.path).map_err(during("look at", incoming.path))?;
    Ok((proven.dev(), proven.ino()) == (named.dev(), named.ino()))
}

#[cfg(test)]
mod tests;
