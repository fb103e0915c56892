//! What a browser's session stems from: the bearer token that was shown at the door, or who an identity provider says it is.
//! The token of a session carries it, so that one word ends every session of the same origin.

use std::fmt;
use std::str::FromStr;

use crate::id::TokenId;

/// Longest issuer, in bytes: an `https` URL.
const ISSUER_MAX: usize = 512;

/// Longest subject, in bytes (OpenID Connect Core 1.0, section 2: at most 255 ASCII characters).
const SUBJECT_MAX: usize = 255;

/// Where a session comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignIn {
    /// This bearer token was shown. The session is worth nothing without it.
    Token(TokenId),
    /// An identity provider said so.
    Identity(Identity),
}

/// Somebody, as an identity provider knows them: unique and never given to another by the same issuer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    issuer: String,
    subject: String,
}

/// The text says nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither token:<id> nor oidc:<issuer> <subject>, of printable ASCII")]
pub struct Error(String);

impl Identity {
    /// One of an issuer.
    ///
    /// # Errors
    /// [`Error`], when either is empty, too long, or not printable ASCII; an issuer has no space.
    pub fn new(issuer: &str, subject: &str) -> Result<Self, Error> {
        let fits = |text: &str, most| !text.is_empty() && text.len() <= most;
        let good = fits(issuer, ISSUER_MAX)
            && fits(subject, SUBJECT_MAX)
            && issuer.bytes().all(|byte| byte.is_ascii_graphic())
            && subject.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        let made = || Self { issuer: issuer.to_owned(), subject: subject.to_owned() };
        good.then(made).ok_or_else(|| Error(format!("oidc:{issuer} {subject}").chars().take(128).collect()))
    }

    /// Who says so.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// Who it is, there.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }
}

impl fmt::Display for SignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => write!(f, "token:{id}"),
            Self::Identity(identity) => write!(f, "oidc:{} {}", identity.issuer, identity.subject),
        }
    }
}

impl FromStr for SignIn {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let refused = || Error(text.chars().take(128).collect());
        if let Some(id) = text.strip_prefix("token:") {
            return TokenId::new(id).map(Self::Token).map_err(|_| refused());
        }
        let (issuer, subject) = text.strip_prefix("oidc:").and_then(|rest| rest.split_once(' ')).ok_or_else(refused)?;
        Identity::new(issuer, subject).map(Self::Identity)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_says_nobody_is_refused() {
        for text in
            ["", "token:", "token:A", "oidc:", "oidc:https://a", "oidc:https://a ", "oidc: b", "web:1", "oidc:ä b"]
        {
            assert!(text.parse::<SignIn>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_round_trips(issuer in "[!-~]{1,512}", subject in "[ -~]{1,255}") {
            let origin = SignIn::Identity(Identity::new(&issuer, &subject).expect("printable"));
            prop_assert_eq!(origin.to_string().parse(), Ok(origin));
        }

        #[test]
        fn no_text_is_a_panic(text in ".*") {
            if let Ok(origin) = text.parse::<SignIn>() {
                prop_assert_eq!(origin.to_string(), text);
            }
        }
    }
}
