//! Channels: how finished a release is, and who sees it. dev sees dev, beta and stable; beta sees beta and stable; stable sees stable.

use std::fmt;
use std::str::FromStr;

/// A release channel, from the narrowest audience to the widest trust.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// For everyone.
    Stable,
    /// For those who test ahead.
    Beta,
    /// For those who build it.
    Dev,
}

/// The text names no channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("channel {0:?} is none of stable, beta, dev")]
pub struct Error(String);

impl Channel {
    /// All channels.
    pub const ALL: [Self; 3] = [Self::Stable, Self::Beta, Self::Dev];

    /// Whether an executor on this channel sees a release on `release`.
    #[must_use]
    pub fn sees(self, release: Self) -> bool {
        release <= self
    }

    /// The name, as in the manifest, SQL and flags.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Beta => "beta",
            Self::Dev => "dev",
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Channel {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|channel| channel.as_str() == value);
        known.ok_or_else(|| Error(value.chars().take(80).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_channel_sees_itself_and_what_is_more_finished() {
        let seen = |by: Channel| Channel::ALL.map(|release| by.sees(release));
        assert_eq!(seen(Channel::Stable), [true, false, false]);
        assert_eq!(seen(Channel::Beta), [true, true, false]);
        assert_eq!(seen(Channel::Dev), [true, true, true]);
    }
}
