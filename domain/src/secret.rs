//! Secrets that people carry: 256 random bits, written as 64 lower-case hexadecimal digits behind a word that says what
//! they are. They are wiped from memory when dropped, never printed by `Debug`, and there is no `Display`: whoever shows
//! one says so by [`BearerToken::reveal`] or [`crate::JoinSecret::reveal`].
//!
//! Only SHA-256 of the 32 bytes is kept by the control plane: a fast hash is enough for 256 random bits.

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::id::TokenId;

/// What a bearer token begins with.
const BEARER: &str = "nvt_";

/// 256 random bits.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

/// A bearer token: `nvt_<token id>_<64 hexadecimal digits>`.
#[derive(Clone, Debug)]
pub struct BearerToken {
    /// Its public id.
    pub token: TokenId,
    /// What proves it.
    pub secret: Secret,
}

/// The text is no bearer token. It does not repeat the text, which may be nearly a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a bearer token is nvt_<id>_<64 lower-case hexadecimal digits>, as `token create` printed it")]
pub struct Error;

impl Secret {
    /// Wraps bytes that a random source made: the ground floor has none.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, to be hashed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From 64 lower-case hexadecimal digits; one spelling only.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let text = text.as_bytes();
        let mut bytes = Zeroizing::new([0u8; 32]);
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }

    pub(crate) fn write(&self, text: &mut String) {
        for byte in self.0.iter() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl BearerToken {
    /// The whole text, for the one time that it is shown.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        // Its final size at once: a String that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(BEARER.len() + self.token.as_str().len() + 1 + 64));
        text.push_str(BEARER);
        text.push_str(self.token.as_str());
        text.push('_');
        self.secret.write(&mut text);
        text
    }
}

impl FromStr for BearerToken {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let (token, secret) = value.strip_prefix(BEARER).and_then(|rest| rest.split_once('_')).ok_or(Error)?;
        Ok(Self { token: TokenId::new(token).map_err(|_| Error)?, secret: Secret::parse(secret).ok_or(Error)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_round_trips_and_has_one_spelling() {
        let token = BearerToken { token: TokenId::new("ci-7").expect("a label"), secret: Secret::new([0xab; 32]) };
        let text = token.reveal();
        let again: BearerToken = text.parse().expect("a token");
        assert_eq!(again.token, token.token);
        assert_eq!(again.secret.as_bytes(), token.secret.as_bytes());
        for bad in [
            text.to_uppercase(),
            text[..text.len() - 1].to_owned(),
            format!("{}0", *text),
            format!(" {}", *text),
            text.replace("nvt_", "nvj1_"),
            text.replace("ci-7", "ci/7"),
            text.replace("_ab", "_äb"),
            String::new(),
        ] {
            assert!(bad.parse::<BearerToken>().is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_prints_no_secret() {
        let token = BearerToken { token: TokenId::new("ci").expect("a label"), secret: Secret::new([0xab; 32]) };
        assert!(!format!("{token:?}").contains("ab"));
        assert!(!format!("{token:?}").contains("171"));
    }
}
