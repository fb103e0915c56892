//! Another wall clock for a program, by faketime: on another day, or set in the midst of its life. Clocks that count from the
//! boot go on as they do.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result};

use crate::daemon::succeeded;
use crate::parts::Part;

/// Another day for a program: its wall clock, and nothing else.
#[derive(Clone, Debug)]
pub struct Day {
    offset: (&'static str, OsString),
    library: OsString,
}

impl Day {
    /// Some days ago.
    ///
    /// # Errors
    /// faketime does not say where its library is.
    pub fn days_ago(days: u32) -> Result<Self> {
        Ok(Self { offset: ("FAKETIME", format!("-{days}d").into()), library: library()? })
    }

    /// Whatever `file` says at the moment: `+0`, `-1h`.
    ///
    /// # Errors
    /// As [`days_ago`](Self::days_ago).
    pub fn told_by(file: &Path) -> Result<Self> {
        Ok(Self { offset: ("FAKETIME_TIMESTAMP_FILE", file.into()), library: library()? })
    }

    /// For what `command` starts.
    pub fn set(&self, command: &mut Command) {
        command.envs(self.variables());
    }

    /// What [`set`](Self::set) sets.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, OsString)> {
        // Timeouts and deadlines count as they do. A file is read whenever somebody asks for the time.
        let flags = ["FAKETIME_DONT_FAKE_MONOTONIC", "DONT_FAKE_MONOTONIC", "FAKETIME_NO_CACHE"];
        let flags = flags.map(|flag| (flag, OsString::from("1")));
        flags.into_iter().chain([self.offset.clone(), ("LD_PRELOAD", self.library.clone())])
    }
}

/// faketime's library. The program itself would stand between us and what it starts: signals would reach it alone.
fn library() -> Result<OsString> {
    let faketime = Part::Faketime.find()?;
    let mut command = Command::new(faketime);
    command.args(["-f", "+0", "printenv", "LD_PRELOAD"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut asked = ask(&mut command)?;
    if !asked.status.success() {
        // One of the same process id left its semaphore there, which is gone now.
        asked = ask(&mut command)?;
    }
    let library = succeeded(&asked).context("ask faketime for its library")?;
    Ok(library.trim().into())
}

/// It names its semaphore by its process id, and leaves it there for the next one of that id to stumble over.
fn ask(command: &mut Command) -> Result<Output> {
    let child = command.spawn()?;
    let left = ["sem.faketime_sem_", "faketime_shm_"].map(|name| format!("/dev/shm/{name}{}", child.id()));
    let output = child.wait_with_output()?;
    left.iter().for_each(|left| drop(fs::remove_file(left)));
    Ok(output)
}
