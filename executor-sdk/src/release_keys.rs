//! The release keys that this binary trusts, baked in when it was built (`build.rs`). Nothing adds a key at run time.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The keys as base64 lines.
const BAKED_IN: &[&str] = include!(concat!(env!("OUT_DIR"), "/release_keys.in"));

/// Whose keys a binary trusts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildKind {
    /// The checkout's own development key: for tests and the demo.
    Development,
    /// Keys that were given when it was built.
    Release,
}

/// A key's id as minisign prints it: 16 upper-case hexadecimal digits of its 8 bytes read as a little-endian number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

/// A minisign public key.
#[derive(Clone)]
pub struct ReleaseKey {
    pub(crate) id: KeyId,
    /// The Ed25519 key, which `minisign_verify` keeps to itself.
    pub(crate) raw: [u8; 32],
    pub(crate) full: minisign_verify::PublicKey,
}

/// Some minisign public keys.
#[derive(Clone, Debug)]
pub struct ReleaseKeys(Vec<ReleaseKey>);

/// The text is not a list of minisign public keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A line is no key.
    #[error("{0:?} is not a minisign public key (base64 of 42 bytes that begin with \"Ed\")")]
    Key(String),
    /// There is none.
    #[error("no minisign public key in the list")]
    Empty,
}

/// Whose keys this binary trusts; `--version` says `development build` when it is [`BuildKind::Development`].
#[must_use]
pub fn build_kind() -> BuildKind {
    match env!("NOVACULA_BUILD_KIND") {
        "release" => BuildKind::Release,
        _ => BuildKind::Development,
    }
}

impl ReleaseKeys {
    /// Those of this build.
    #[must_use]
    pub fn baked_in() -> Self {
        Self::from_lines(BAKED_IN.iter().copied()).expect("build.rs has checked every key")
    }

    /// From a file of minisign public keys, for tools that look at releases. An executor trusts [`ReleaseKeys::baked_in`] only.
    ///
    /// # Errors
    /// [`Error`] when a line is no key, or there is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let is_key = |line: &&str| !line.is_empty() && !line.starts_with("untrusted comment:");
        Self::from_lines(text.lines().map(str::trim).filter(is_key))
    }

    /// Their ids, for hello.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.0.iter().map(|key| key.id)
    }

    pub(crate) fn find(&self, id: KeyId) -> Option<&ReleaseKey> {
        self.0.iter().find(|key| key.id == id)
    }

    fn from_lines<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, Error> {
        let keys = lines.map(ReleaseKey::parse).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() { Err(Error::Empty) } else { Ok(Self(keys)) }
    }
}

impl ReleaseKey {
    fn parse(line: &str) -> Result<Self, Error> {
        let refused = || Error::Key(line.chars().take(80).collect());
        let bytes = BASE64_STANDARD.decode(line).map_err(|_| refused())?;
        let (head, raw) = bytes.split_at_checked(10).ok_or_else(refused)?;
        let id = head.strip_prefix(b"Ed").and_then(|id| id.try_into().ok()).ok_or_else(refused)?;
        let raw = raw.try_into().map_err(|_| refused())?;
        let full = minisign_verify::PublicKey::from_base64(line).map_err(|_| refused())?;
        Ok(Self { id: KeyId(id), raw, full })
    }
}

impl KeyId {
    pub(crate) const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Debug for ReleaseKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReleaseKey({})", self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_build_has_a_key_and_says_whose() {
        assert!(ReleaseKeys::baked_in().ids().count() >= 1);
        if std::env::var_os("NOVACULA_RELEASE_KEYS").is_none() {
            assert_eq!(build_kind(), BuildKind::Development);
        }
    }

    #[test]
    fn an_id_is_printed_as_minisign_prints_it() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("a pair");
        let text = pair.pk.to_box().expect("a box").to_string();
        let keys = ReleaseKeys::parse(&text).expect("parses");
        let id = keys.ids().next().expect("one").to_string();
        assert!(text.lines().next().expect("a comment").ends_with(&id), "{text} {id}");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("a pair");
        let text = pair.pk.to_box().expect("a box").to_string();
        for bad in [
            "",
            "untrusted comment: x\n",
            "AAAA",
            "é",
            &text.replace("RW", "RX"),
            &text[..text.len() - 6],
            &format!("{text}\nAAAA"),
        ] {
            assert!(ReleaseKeys::parse(bad).is_err(), "{bad}");
        }
    }
}
