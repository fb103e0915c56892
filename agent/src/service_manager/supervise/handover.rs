//! What a supervising parent leaves to the version that takes it over: the settings that it runs by.
//!
//! They may have been broken since it read them. A parent that somebody starts refuses those, since somebody looks; one that is in the
//! midst of its life keeps what it had, or the host would be left without an agent. Its child refuses them still, and comes back
//! within a pause of their being mended.

use std::env;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::config::{self, Config};
use crate::exit::Failure;

/// The text of those settings, for the version that takes over and for nobody else: a child reads the file.
pub(super) const SETTINGS: &str = "NOVACULA_SUPERVISE_SETTINGS";

/// Linux takes variables of up to 128 KiB; settings are a page of text.
const TEXT_MAX: usize = 64 * 1024;

/// Where a parent comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody started it: what keeps it from beginning is told, and ends it.
    Started,
    /// It took over from another version: nothing may end it but a signal.
    TookOver,
}

/// A parent's settings, and where they are from.
#[derive(Debug)]
pub struct Settings {
    /// What it runs by.
    pub config: Config,
    /// Where the parent comes from.
    pub origin: Origin,
    text: String,
    trouble: Option<config::Error>,
}

impl Settings {
    /// Reads the file; a parent that took over goes on with what it was left when that cannot be read.
    ///
    /// # Errors
    /// With every mistake, when there is nothing to go on with.
    pub fn read(path: &Path) -> Result<Self, config::Error> {
        let left = env::var_os(SETTINGS).map(|text| text.to_string_lossy().into_owned());
        Self::read_or(path, left)
    }

    fn read_or(path: &Path, left: Option<String>) -> Result<Self, config::Error> {
        let origin = if left.is_some() { Origin::TookOver } else { Origin::Started };
        match (Config::read_with_text(path), left) {
            (Ok((config, text)), _) => Ok(Self { config, origin, text, trouble: None }),
            (Err(error), None) => Err(error),
            (Err(error), Some(text)) => {
                let config = Config::parse(&text).unwrap_or_default();
                Ok(Self { config, origin, text, trouble: Some(error) })
            }
        }
    }

    /// Says what is wrong with the file, when something is. Called when there is a log.
    pub fn tell(&self) {
        if let Some(error) = &self.trouble {
            tracing::error!(%error, "the settings cannot be used: supervising with what another version left");
        }
    }

    /// `binary` takes this process over, with its process id, its arguments and these settings. Returns only when it cannot.
    #[must_use]
    pub fn leave_to(&self, binary: &Path) -> Failure {
        // Without a text the defaults are what is left.
        let text = if self.text.len() <= TEXT_MAX { self.text.as_str() } else { "" };
        go_on_as(binary, |command| command.env(SETTINGS, text))
    }
}

/// `binary` takes this process over before it has read any settings. Returns only when it cannot.
///
/// It is older than what gives way, and the settings may be for the newer one: what it does not understand is left at its default.
#[must_use]
pub fn give_way_to(binary: &Path) -> Failure {
    go_on_as(binary, |command| command.env(SETTINGS, ""))
}

fn go_on_as(binary: &Path, set_up: impl FnOnce(&mut Command) -> &mut Command) -> Failure {
    let mut command = Command::new(binary);
    command.args(env::args_os().skip(1));
    let error = set_up(&mut command).exec();
    Failure::failed(format!("execute {}: {error}", binary.display()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    const GOOD: &str = "[upgrade]\ndead_man_window = \"7s\"\n";

    fn read(text: &str, left: Option<&str>) -> Result<Settings, config::Error> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent.toml");
        fs::write(&path, text).unwrap();
        Settings::read_or(&path, left.map(str::to_owned))
    }

    #[test]
    fn settings_that_can_be_read_count_whoever_begins() {
        for (left, origin) in [(None, Origin::Started), (Some("[log]\nlevel = \"warn\"\n"), Origin::TookOver)] {
            let settings = read(GOOD, left).unwrap();
            assert_eq!((settings.config.dead_man_window, settings.origin), (Duration::from_secs(7), origin));
            assert_eq!(settings.config.log_level, tracing::Level::INFO);
            assert_eq!((settings.text.as_str(), settings.trouble), (GOOD, None));
        }
    }

    #[test]
    fn broken_settings_stop_who_starts_and_not_who_takes_over() {
        assert!(read("[upgrade]\nchanel = 1\n", None).is_err());
        let settings = read("[upgrade]\nchanel = 1\n", Some(GOOD)).unwrap();
        assert_eq!((settings.config.dead_man_window, settings.origin), (Duration::from_secs(7), Origin::TookOver));
        // What it leaves in its turn is what it runs by, not what is broken.
        assert_eq!(settings.text, GOOD);
        assert!(settings.trouble.is_some_and(|error| error.mistakes[0].contains("chanel")));
    }

    #[test]
    fn what_this_version_does_not_understand_is_left_at_its_default() {
        for left in ["", "[of_another_version]\nkey = 1\n"] {
            assert_eq!(read("broken", Some(left)).unwrap().config, Config::default(), "{left:?}");
        }
    }
}
