//! Where things are on a host: the binary and its siblings, the state directory, the configuration.
//!
//! Everything that is renamed over the binary is its sibling, since rename works only within one directory's file system.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Where the packaged layout keeps the binary (DESIGN section 4).
pub const BINARY: &str = "/opt/novacula/bin/novacula-agent";

/// systemd's `StateDirectory=novacula`.
pub const STATE_DIR: &str = "/var/lib/novacula";

/// The host's own settings.
pub const CONFIG: &str = "/etc/novacula/agent.toml";

/// Forgotten at reboot on purpose: what counts restarts must work when the disk is full.
pub const RUNTIME_DIR: &str = "/run/novacula-agent";

/// The paths of one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    binary: PathBuf,
    state_dir: PathBuf,
    config: PathBuf,
}

impl Layout {
    /// Joins the three roots.
    #[must_use]
    pub fn new(binary: impl Into<PathBuf>, state_dir: impl Into<PathBuf>, config: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), state_dir: state_dir.into(), config: config.into() }
    }

    /// The live binary: what the next start runs.
    #[must_use]
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// The directory of the binary, where every link and rename happens.
    #[must_use]
    pub fn directory(&self) -> &Path {
        match self.binary.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// `<binary>.prev`: the last known good, only ever a confirmed version.
    #[must_use]
    pub fn previous(&self) -> PathBuf {
        self.sibling(".prev")
    }

    /// `<binary>.prev.new`: the link that becomes `.prev` by rename.
    #[must_use]
    pub fn previous_new(&self) -> PathBuf {
        self.sibling(".prev.new")
    }

    /// `<binary>.back`: the copy of `.prev` that becomes the binary by rename.
    #[must_use]
    pub fn back(&self) -> PathBuf {
        self.sibling(".back")
    }

    /// The state directory: journal, credentials, pin.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The pin: its presence pins, its text says why.
    #[must_use]
    pub fn pin(&self) -> PathBuf {
        self.state_dir.join("pinned")
    }

    /// What a person types so that this agent does it: the binary is in nobody's `PATH`.
    #[must_use]
    pub fn command(&self, words: &str) -> String {
        self.command_of(&self.binary, words)
    }

    /// The same for a copy of the binary elsewhere. Paths that are not the packaged ones go along.
    #[must_use]
    pub fn command_of(&self, program: &Path, words: &str) -> String {
        let mut command = format!("{} {words}", program.display());
        let packaged = Self::default();
        for (flag, path, usual) in [
            ("--binary", &self.binary, &packaged.binary),
            ("--state-dir", &self.state_dir, &packaged.state_dir),
            ("--config", &self.config, &packaged.config),
        ] {
            if path != usual {
                command.push_str(&format!(" {flag} {}", path.display()));
            }
        }
        command
    }

    fn sibling(&self, suffix: &str) -> PathBuf {
        let mut name: OsString = self.binary.clone().into_os_string();
        name.push(suffix);
        PathBuf::from(name)
    }
}

impl Default for Layout {
    fn default() -> Self {
        Self::new(BINARY, STATE_DIR, CONFIG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_renamed_over_the_binary_is_its_sibling() {
        let layout = Layout::default();
        for path in [layout.previous(), layout.previous_new(), layout.back()] {
            assert_eq!(path.parent(), Some(layout.directory()));
        }
        assert_eq!(layout.previous(), Path::new("/opt/novacula/bin/novacula-agent.prev"));
        assert_eq!(Layout::new("agent", ".", "c").directory(), Path::new("."));
    }

    #[test]
    fn a_command_is_typed_as_it_is_printed() {
        assert_eq!(Layout::default().command("unpin"), "/opt/novacula/bin/novacula-agent unpin");
        let elsewhere = Layout::new("/srv/agent", STATE_DIR, "/srv/agent.toml");
        assert_eq!(elsewhere.command("install"), "/srv/agent install --binary /srv/agent --config /srv/agent.toml");
    }
}
