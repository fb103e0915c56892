//! Values for this crate's tests.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{AttemptId, Generation, Sha256, Version};
use executor_sdk::Journal;
use executor_sdk::journal::{Locked, OpenAttempt, State};
use uuid::Uuid;

use crate::apply::swap::{Incoming, swap};
use crate::disk::{Content, content};
use crate::layout::Layout;

pub(crate) fn sha(n: u8) -> Sha256 {
    Sha256::new([n; 32])
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().unwrap()
}

pub(crate) fn attempt(n: u128) -> AttemptId {
    AttemptId::new(Uuid::from_u128(n))
}

/// From 1.0.0 with the digest `old` to 1.1.0 with the digest `new`.
pub(crate) fn open_attempt(old: u8, new: u8) -> OpenAttempt {
    let mut open = OpenAttempt::new(attempt(7), Generation::default(), version("1.0.0"), version("1.1.0"));
    open.old_sha256 = Some(sha(old));
    open.new_sha256 = Some(sha(new));
    open
}

/// A host in a temporary directory: a binary with some bytes, an empty state directory.
pub(crate) struct Bench {
    pub(crate) layout: Layout,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new(binary: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (bin, state) = (dir.path().join("bin"), dir.path().join("state"));
        fs::create_dir(&bin).unwrap();
        fs::create_dir(&state).unwrap();
        let path = bin.join("novacula-agent");
        fs::write(&path, binary).unwrap();
        for path in [&bin, &path] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self { layout: Layout::new(path, state, dir.path().join("agent.toml")), _dir: dir }
    }

    /// A downloaded file beside the binary, open as the SDK hands it over.
    pub(crate) fn incoming(&self, bytes: &str) -> (PathBuf, File) {
        let path = self.layout.directory().join(".incoming");
        fs::write(&path, bytes).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        (path, file)
    }

    /// An attempt from the live binary to the file at `incoming`.
    pub(crate) fn attempt_for(&self, incoming: &Path) -> OpenAttempt {
        let digest = |path: &Path| match content(path) {
            Content::Is(digest) => Some(digest),
            Content::Missing | Content::Unreadable(_) => None,
        };
        let mut open = open_attempt(0, 0);
        open.old_sha256 = digest(self.layout.binary());
        open.new_sha256 = digest(incoming);
        open
    }

    pub(crate) fn journal(&self) -> Journal {
        Journal::new(self.layout.state_dir())
    }

    pub(crate) fn state(&self) -> State {
        self.journal().read().unwrap()
    }

    pub(crate) fn lock(&self) -> Locked {
        self.journal().lock(Duration::from_secs(5)).unwrap()
    }

    /// Swaps `bytes` in as version 1.1.0.
    pub(crate) fn swap_in(&self, bytes: &str) {
        let (path, file) = self.incoming(bytes);
        let open = self.attempt_for(&path);
        swap(&self.layout, &self.lock(), open, Incoming { file: &file, path: &path }).unwrap();
    }

    pub(crate) fn live(&self) -> String {
        fs::read_to_string(self.layout.binary()).unwrap()
    }
}
