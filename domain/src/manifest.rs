//! The manifest: the signed statement that binds an artifact to its release. One line, the minisign trusted comment.
//!
//! ```text
//! novacula-manifest/1 kind=agent version=1.2.0 channel=stable os=linux arch=amd64 file=novacula-agent size=8120376 sha256=… sequence=7 floor=1.0.0
//! novacula-manifest/1 kind=operator version=1.2.0 channel=stable image=registry.example/novacula/operator digest=sha256:… sequence=7 floor=1.0.0
//! ```
//!
//! The grammar is closed: these keys, in this order, single spaces, printable ASCII, at most [`LINE_MAX`] bytes. Anything
//! else is refused, so that one manifest has one spelling and a parser never has to guess what was signed: for every
//! line that is accepted, printing what was read gives the same line back.
//!
//! What a manifest says is judged in [`check`] (by an executor, before the first byte) and [`publish`] (by the control
//! plane, before anybody is offered it). Whether it was signed is not this floor's business.

pub mod check;

pub mod publish;

use std::fmt;
use std::str::FromStr;

use crate::channel::Channel;
use crate::digest::Sha256;
use crate::executor::{Kind, Platform};
use crate::version::Version;

pub use check::{Expectation, Unfit};
pub use publish::Edition;

/// Longest line, in bytes. Debian's minisign signs up to 4,077; ours are under 700.
pub const LINE_MAX: usize = 1024;

/// Longest file name, in bytes: below every file system's limit of 255, with room for `.prev.new` and the like.
pub const FILE_MAX: usize = 100;

/// Longest image reference, in bytes, as OCI registries bound a name.
pub const IMAGE_MAX: usize = 255;

const HEADER: &str = "novacula-manifest/1 ";

/// What is delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A binary for one platform.
    Agent {
        /// What it runs on.
        platform: Platform,
        /// File name without a path, as [`check_file`] has it.
        file: String,
        /// Bytes.
        size: u64,
        /// Of the bytes.
        sha256: Sha256,
    },
    /// An image.
    Operator {
        /// Reference without tag or digest, as [`check_image`] has it.
        image: String,
        /// Of the raw OCI index or manifest.
        digest: Sha256,
    },
}

/// The signed statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Which version.
    pub version: Version,
    /// Its widest channel.
    pub channel: Channel,
    /// What is delivered.
    pub subject: Subject,
    /// Grows per kind with each release that is signed.
    pub sequence: u64,
    /// The lowest version to accept once this one is confirmed.
    pub floor: Version,
}

/// Why a line is not a manifest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Too long, or characters outside printable ASCII.
    #[error("manifest line is not 1 to 1024 bytes of printable ASCII")]
    Form,
    /// Another format.
    #[error("manifest line does not begin with \"novacula-manifest/1 \"")]
    Header,
    /// A key is missing, out of order, or unknown.
    #[error("manifest has {found:?} where {key}=… is expected")]
    Key {
        /// The key expected.
        key: &'static str,
        /// What stands there.
        found: String,
    },
    /// A value that its key may not have.
    #[error("manifest value of {key} is refused: {why}")]
    Value {
        /// Which key.
        key: &'static str,
        /// Rule and value.
        why: String,
    },
}

impl Manifest {
    /// The kind it is for.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.subject {
            Subject::Agent { .. } => Kind::Agent,
            Subject::Operator { .. } => Kind::Operator,
        }
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{HEADER}kind={} version={} channel={}", self.kind(), self.version, self.channel)?;
        match &self.subject {
            Subject::Agent { platform, file, size, sha256 } => {
                write!(f, " os={} arch={} file={file} size={size} sha256={sha256}", platform.os(), platform.arch())?;
            }
            Subject::Operator { image, digest } => write!(f, " image={image} digest=sha256:{digest}")?,
        }
        write!(f, " sequence={} floor={}", self.sequence, self.floor)
    }
}

impl FromStr for Manifest {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self, Error> {
        // Bytes below the space and above the tilde never reach the rest of the parser: no line break, tab or escape.
        if !(1..=LINE_MAX).contains(&line.len()) || !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(Error::Form);
        }
        let mut fields = Fields(line.strip_prefix(HEADER).ok_or(Error::Header)?.split(' '));
        let kind: Kind = fields.parsed("kind")?;
        let version = fields.parsed("version")?;
        let channel = fields.parsed("channel")?;
        let subject = match kind {
            Kind::Agent => fields.agent()?,
            Kind::Operator => fields.operator()?,
        };
        let sequence = fields.number("sequence")?;
        let floor = fields.parsed("floor")?;
        fields.end()?;
        Ok(Self { version, channel, subject, sequence, floor })
    }
}

/// The words after the header, taken one by one in the grammar's order.
struct Fields<'a>(std::str::Split<'a, char>);

impl<'a> Fields<'a> {
    fn text(&mut self, key: &'static str) -> Result<&'a str, Error> {
        let found = self.0.next().unwrap_or("");
        let value = found.strip_prefix(key).and_then(|rest| rest.strip_prefix('='));
        value.ok_or_else(|| Error::Key { key, found: cut(found) })
    }

    fn parsed<T>(&mut self, key: &'static str) -> Result<T, Error>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        self.text(key)?.parse().map_err(|error: T::Err| Error::Value { key, why: error.to_string() })
    }

    /// A number from 1, in decimal, without sign or leading zeros: `007` and `+7` would be second spellings of 7.
    fn number(&mut self, key: &'static str) -> Result<u64, Error> {
        let text = self.text(key)?;
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let number = if plain { text.parse().ok() } else { None };
        number.ok_or_else(|| Error::Value {
            key,
            why: format!("{:?} is not a decimal number from 1 to {} without leading zeros", cut(text), u64::MAX),
        })
    }

    fn agent(&mut self) -> Result<Subject, Error> {
        let os = self.text("os")?;
        let arch = self.text("arch")?;
        // A slash in either would move the border between them, and the line would print otherwise than it was read.
        let platform = format!("{os}/{arch}").parse::<Platform>();
        let platform = platform.map_err(|error| Error::Value { key: "os", why: error.to_string() })?;
        let file = self.text("file")?;
        check_file(file)?;
        let size = self.number("size")?;
        let sha256 = self.parsed("sha256")?;
        Ok(Subject::Agent { platform, file: file.to_owned(), size, sha256 })
    }

    fn operator(&mut self) -> Result<Subject, Error> {
        let image = self.text("image")?;
        check_image(image)?;
        let digest = self.text("digest")?;
        let digest = digest.strip_prefix("sha256:").ok_or_else(|| Error::Value {
            key: "digest",
            why: format!("{:?} does not begin with \"sha256:\"", cut(digest)),
        })?;
        let digest = digest
            .parse()
            .map_err(|error: crate::digest::Error| Error::Value { key: "digest", why: error.to_string() })?;
        Ok(Subject::Operator { image: image.to_owned(), digest })
    }

    fn end(mut self) -> Result<(), Error> {
        match self.0.next() {
            None => Ok(()),
            Some(found) => Err(Error::Key { key: "(end of line)", found: cut(found) }),
        }
    }
}

/// Checks an artifact's file name: 1 to [`FILE_MAX`] of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit. So it is
/// no path, no hidden file and no option of a command line.
///
/// # Errors
/// [`Error::Value`] of the key `file`.
pub fn check_file(name: &str) -> Result<(), Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= FILE_MAX && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(Error::Value {
        key: "file",
        why: format!(
            "{:?} is not 1 to {FILE_MAX} of A-Z, a-z, 0-9, '.', '_', '-', beginning with a letter or digit",
            cut(name)
        ),
    })
}

/// Checks an image reference: `host[:port]/path`, at most [`IMAGE_MAX`] bytes, no tag, no digest, no upper case. The host
/// is named (it has a dot or a port, or is `localhost`): a short name means another image on each cluster.
///
/// # Errors
/// [`Error::Value`] of the key `image`.
pub fn check_image(image: &str) -> Result<(), Error> {
    let refused = |rule: &str| Error::Value { key: "image", why: format!("{:?} {rule}", cut(image)) };
    if image.len() > IMAGE_MAX {
        return Err(refused("is longer than 255 bytes"));
    }
    let (host, path) = image.split_once('/').ok_or_else(|| refused("is not host[:port]/path"))?;
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if !(name.contains('.') || port.is_some() || name == "localhost") || !name.split('.').all(is_component) {
        return Err(refused("does not begin with a registry's host name"));
    }
    if port.is_some_and(|port| port.starts_with('0') || port.parse::<u16>().is_err() || port.starts_with('+')) {
        return Err(refused("has a port that is not 1 to 65535"));
    }
    let component = |part: &str| part.split(['.', '_']).all(is_component);
    if path.split('/').all(component) {
        Ok(())
    } else {
        Err(refused("has a path that is not of a-z, 0-9, '.', '_', '-', '/'"))
    }
}

/// Letters and digits, joined by hyphens: neither empty nor with a hyphen at an edge.
fn is_component(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && !text.starts_with('-') && !text.ends_with('-') && text.bytes().all(inner)
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
