//! What the ways back remember between two looks, beside the journal: which start was counted last and which dead-man
//! window runs. Written under the journal's lock.
//!
//! It decides nothing alone, so losing it is harmless: a start may be counted twice, a window begins anew. That is why it is
//! no part of the journal, which must be readable by every neighbouring release, and why a broken one is simply forgotten.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::AttemptId;
use executor_sdk::disk::{self, Mode};
use executor_sdk::journal::Locked;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Moment;

const FILE: &str = "way-back.json";

/// What is remembered of the open attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// The invocation whose start was counted last.
    pub counted: Option<String>,
    /// The window that runs.
    pub watch: Option<Watch>,
    /// Restarts that the dead man made to wake the new version: no failures of its own.
    pub wakes: u32,
}

/// A dead-man window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Why it runs.
    pub window: Window,
    /// Since when.
    pub since: Moment,
}

/// Why a dead-man window runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The new version has not had its stream up.
    First,
    /// It has, and is on probation.
    Connected,
    /// It was woken, and has this one more.
    Woken,
}

#[derive(Serialize, Deserialize)]
struct Document {
    attempt: String,
    #[serde(default)]
    counted: Option<String>,
    #[serde(default)]
    wakes: u32,
    #[serde(default)]
    watch: Option<WatchDocument>,
}

#[derive(Serialize, Deserialize)]
struct WatchDocument {
    window: Window,
    boot: String,
    since_boot_millis: u64,
}

impl Notes {
    /// What is remembered of `attempt`; nothing when the file is of another attempt, missing or broken.
    #[must_use]
    pub fn read(state_dir: &Path, attempt: AttemptId) -> Self {
        let document = fs::read(path(state_dir)).ok().and_then(|bytes| serde_json::from_slice::<Document>(&bytes).ok());
        let Some(document) = document.filter(|document| document.attempt == attempt.to_string()) else {
            return Self::default();
        };
        let watch = document.watch.map(|watch| Watch {
            window: watch.window,
            since: Moment {
                boot: watch.boot.parse().unwrap_or(Uuid::nil()),
                since_boot: Duration::from_millis(watch.since_boot_millis),
            },
        });
        Self { counted: document.counted, watch, wakes: document.wakes }
    }

    /// Remembers, with the journal's lock in hand.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, _locked: &Locked, state_dir: &Path, attempt: AttemptId) -> Result<(), disk::Error> {
        let watch = self.watch.map(|watch| WatchDocument {
            window: watch.window,
            boot: watch.since.boot.to_string(),
            since_boot_millis: u64::try_from(watch.since.since_boot.as_millis()).unwrap_or(u64::MAX),
        });
        let document =
            Document { attempt: attempt.to_string(), counted: self.counted.clone(), wakes: self.wakes, watch };
        let bytes = serde_json::to_vec(&document).expect("plain fields are always JSON");
        disk::replace(state_dir, FILE, &bytes, Mode::Private)
    }
}

fn path(state_dir: &Path) -> PathBuf {
    state_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use executor_sdk::Journal;

    use super::*;
    use crate::fixture::attempt;

    #[test]
    fn notes_belong_to_one_attempt_and_broken_ones_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let locked = Journal::new(dir.path()).lock(Duration::from_secs(5)).unwrap();
        let since = Moment { boot: Uuid::from_u128(3), since_boot: Duration::from_millis(1500) };
        let notes =
            Notes { counted: Some("abc".to_owned()), watch: Some(Watch { window: Window::Woken, since }), wakes: 1 };
        notes.write(&locked, dir.path(), attempt(1)).unwrap();
        assert_eq!(Notes::read(dir.path(), attempt(1)), notes);
        assert_eq!(Notes::read(dir.path(), attempt(2)), Notes::default());
        fs::write(path(dir.path()), "{\"attempt\":").unwrap();
        assert_eq!(Notes::read(dir.path(), attempt(1)), Notes::default());
    }
}
