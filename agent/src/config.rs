//! The host's own settings, `/etc/novacula/agent.toml`. Every option has a default; a missing file is an empty one.
//!
//! All mistakes are found at once and before anything is done: unknown keys, wrong types, values out of range.
//! `deploy/systemd/agent.toml` shows every option; a test reads it.

mod reader;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::Channel;
use domain::join::Endpoint;
use executor_sdk::program::LogFormat;

use crate::apply::preflight::Volatile;

use reader::Reader;

/// From the swap on, or from the last sign of life, until the old code asks whether it could do better. Longer than a
/// start, a connection through a slow network and the default probation (120 s) together.
pub const DEAD_MAN_WINDOW: Duration = Duration::from_secs(300);

/// Shorter windows would judge a version that is still starting.
const DEAD_MAN_WINDOW_MIN: Duration = Duration::from_secs(2);

/// Longer ones leave a host silent for longer than people sleep.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The settings of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Where the executor listener is, when not where enrolment said.
    pub endpoint: Option<Endpoint>,
    /// Most bytes fetched a second; none: as fast as the network.
    pub bytes_per_second: Option<u64>,
    /// Whether artifacts may come from private addresses.
    pub private_downloads: PrivateDownloads,
    /// The channel this host asks for.
    pub channel: Option<Channel>,
    /// The widest channel this host accepts.
    pub channel_ceiling: Option<Channel>,
    /// Whether state that a reboot forgets is good enough.
    pub volatile_state: Volatile,
    /// The dead man's window.
    pub dead_man_window: Duration,
    /// Which log lines are written.
    pub log_level: tracing::Level,
    /// How.
    pub log_format: LogFormat,
}

/// Whether artifacts may come from loopback, link-local or private addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrivateDownloads {
    /// They may not: a control plane in wrong hands would reach into the local network.
    Refused,
    /// They may.
    Allowed,
}

/// The file is wrong. Prints every mistake, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("configuration {path:?} has {} mistake(s):{}", .mistakes.len(), list(.mistakes))]
pub struct Error {
    path: PathBuf,
    /// Each names key, rule and value.
    pub mistakes: Vec<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            endpoint: None,
            bytes_per_second: None,
            private_downloads: PrivateDownloads::Refused,
            channel: None,
            channel_ceiling: None,
            volatile_state: Volatile::Refused,
            dead_man_window: DEAD_MAN_WINDOW,
            log_level: tracing::Level::INFO,
            log_format: LogFormat::Text,
        }
    }
}

impl Config {
    /// Reads the file; when it is not there, the defaults.
    ///
    /// # Errors
    /// [`Error`] with every mistake.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_with_text(path).map(|(config, _)| config)
    }

    /// The same, with the text that was read; a missing file has none.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn read_with_text(path: &Path) -> Result<(Self, String), Error> {
        let wrong = |mistakes| Error { path: path.to_owned(), mistakes };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(wrong(vec![format!("it cannot be read: {error}")])),
        };
        let config = Self::parse(&text).map_err(wrong)?;
        Ok((config, text))
    }

    /// For the ways back, which must work under a configuration that a newer or older version needs: what is wrong is logged
    /// and left at its default.
    #[must_use]
    pub fn read_leniently(path: &Path) -> Self {
        Self::read(path).unwrap_or_else(|error| {
            tracing::warn!(%error, "going on with the defaults");
            Self::default()
        })
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Every mistake, as a sentence each.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let table =
            text.parse::<toml::Table>().map_err(|error| vec![format!("it is not TOML: {}", error.message())])?;
        let mut from = Reader::new(table);
        let default = Self::default();
        let config = Self {
            endpoint: from.parsed("connection.endpoint", endpoint),
            bytes_per_second: from.positive("download.bytes_per_second"),
            private_downloads: match from.flag("download.allow_private") {
                Some(true) => PrivateDownloads::Allowed,
                Some(false) | None => PrivateDownloads::Refused,
            },
            channel: from.parsed("upgrade.channel", channel),
            channel_ceiling: from.parsed("upgrade.channel_ceiling", channel),
            volatile_state: match from.flag("upgrade.allow_volatile_state") {
                Some(true) => Volatile::Allowed,
                Some(false) | None => Volatile::Refused,
            },
            dead_man_window: from
                .duration("upgrade.dead_man_window", DEAD_MAN_WINDOW_MIN, DAY)
                .unwrap_or(default.dead_man_window),
            log_level: from.parsed("log.level", level).unwrap_or(default.log_level),
            log_format: from.parsed("log.format", format).unwrap_or(default.log_format),
        };
        let mut mistakes = from.finish();
        mistakes.extend(config.contradictions());
        if mistakes.is_empty() { Ok(config) } else { Err(mistakes) }
    }

    fn contradictions(&self) -> Option<String> {
        match (self.channel, self.channel_ceiling) {
            (Some(channel), Some(ceiling)) if channel > ceiling => Some(format!(
                "upgrade.channel is {channel}, wider than upgrade.channel_ceiling {ceiling}: nothing of it would be accepted"
            )),
            _ => None,
        }
    }
}

fn list(mistakes: &[String]) -> String {
    mistakes.iter().map(|mistake| format!("\n  - {mistake}")).collect()
}

fn endpoint(text: &str) -> Result<Endpoint, String> {
    text.parse().map_err(|_| "is not host:port, as in control.example.com:7444".to_owned())
}

fn channel(text: &str) -> Result<Channel, String> {
    text.parse().map_err(|_| "is none of stable, beta, dev".to_owned())
}

fn level(text: &str) -> Result<tracing::Level, String> {
    match text {
        "error" => Ok(tracing::Level::ERROR),
        "warn" => Ok(tracing::Level::WARN),
        "info" => Ok(tracing::Level::INFO),
        "debug" => Ok(tracing::Level::DEBUG),
        "trace" => Ok(tracing::Level::TRACE),
        _ => Err("is none of error, warn, info, debug, trace".to_owned()),
    }
}

fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("is neither text nor json".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../deploy/systemd/agent.toml");

    #[test]
    fn the_example_as_shipped_is_the_defaults() {
        assert_eq!(Config::parse(EXAMPLE), Ok(Config::default()));
    }

    #[test]
    fn the_example_shows_every_option_and_each_can_be_uncommented() {
        let shown: String = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = Config::parse(&shown).unwrap();
        let keys = shown.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')).count();
        assert_eq!(keys, 9, "one line per field of Config");
        assert!(config.endpoint.is_some() && config.bytes_per_second.is_some() && config.channel_ceiling.is_some());
    }

    #[test]
    fn every_mistake_is_told_at_once_by_its_key() {
        let text = "
            speed = 1
            [connection]
            endpoint = 'https://control'
            [download]
            bytes_per_second = 0
            allow_private = 'yes'
            [upgrade]
            channel = 'nightly'
            dead_man_window = '1s'
            probation = 120
            [log]
            format = 'xml'
            colour = true
        ";
        let mistakes = Config::parse(text).unwrap_err();
        let keys = [
            "connection.endpoint",
            "download.bytes_per_second",
            "download.allow_private",
            "upgrade.channel",
            "upgrade.probation",
            "upgrade.dead_man_window",
            "log.format",
            "log.colour",
            "speed",
        ];
        for key in keys {
            assert_eq!(mistakes.iter().filter(|one| one.starts_with(key)).count(), 1, "{key}: {mistakes:#?}");
        }
        assert_eq!(mistakes.len(), keys.len());
    }

    #[test]
    fn a_channel_wider_than_its_ceiling_is_a_mistake() {
        let mistakes = Config::parse("[upgrade]\nchannel = 'dev'\nchannel_ceiling = 'beta'").unwrap_err();
        assert!(mistakes[0].contains("wider"), "{mistakes:?}");
        assert!(Config::parse("[upgrade\n").unwrap_err()[0].contains("TOML"));
    }

    #[test]
    fn no_file_is_an_empty_file() {
        assert_eq!(Config::read(Path::new("/nonexistent/agent.toml")), Ok(Config::default()));
    }
}
