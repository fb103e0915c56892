//! Keys of authorities as they are kept in the store: sealed by a key that is not in it.
//!
//! `novacula-sealed/1 <which sealing key> <base64 of nonce, ciphertext and tag>`: AES-256-GCM (NIST SP 800-38D) with a random
//! nonce of 96 bits. The authority's public key is authenticated with it, so that rows cannot be exchanged.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Sha256;
use zeroize::{Zeroize as _, Zeroizing};

use super::sha256;

const FORM: &str = "novacula-sealed/1";

/// Bytes of a sealing key.
const LENGTH: usize = 32;

/// The first seals; each opens what it sealed.
#[derive(Clone)]
pub struct SealingKeys(Vec<Zeroizing<[u8; LENGTH]>>);

/// Why there are no keys, or a seal cannot be opened. Says nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No key.
    #[error("is empty; it must hold a key of 64 hexadecimal digits: openssl rand -hex 32")]
    Empty,
    /// Not a key.
    #[error("must hold keys of 64 hexadecimal digits each, one a line (openssl rand -hex 32); word {0} is none")]
    Form(usize),
    /// What the store holds is not sealed as this build seals.
    #[error("authority {0}: its key in the store is not in the form {FORM}")]
    Unknown(u32),
    /// Another sealing key is needed.
    #[error(
        "authority {number}: its key was sealed with the encryption key {with}, and that is not among those that were given ({given})"
    )]
    Foreign {
        /// Which authority.
        number: u32,
        /// The name of the key that sealed it.
        with: String,
        /// The names of those that are there.
        given: String,
    },
    /// The right key, and something was changed.
    #[error("authority {0}: its sealed key was changed in the store; restore it from a backup")]
    Changed(u32),
    /// The system's cryptography failed.
    #[error("seal a key")]
    Seal,
}

// === impl SealingKeys ===

impl SealingKeys {
    /// Reads them: words of 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`Error::Empty`], [`Error::Form`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut keys = Vec::new();
        for (at, word) in text.split_whitespace().enumerate() {
            let mut key = Zeroizing::new([0; LENGTH]);
            hex::decode_to_slice(word, key.as_mut_slice()).map_err(|_| Error::Form(at + 1))?;
            keys.push(key);
        }
        if keys.is_empty() { Err(Error::Empty) } else { Ok(Self(keys)) }
    }

    /// Seals the key of an authority with the first.
    ///
    /// # Errors
    /// [`Error::Seal`].
    pub fn seal(&self, public_key: Sha256, key: &[u8]) -> Result<String, Error> {
        let sealing = &self.0[0];
        let mut text = key.to_vec();
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, sealing.as_slice()).map_err(|_| Error::Seal)?;
        let nonce = match cipher.seal_in_place_append_tag(aad(public_key), &mut text) {
            Ok(nonce) => nonce,
            Err(_) => {
                text.zeroize();
                return Err(Error::Seal);
            }
        };
        let sealed = [nonce.as_ref().as_slice(), &text].concat();
        Ok(format!("{FORM} {} {}", name(sealing), STANDARD.encode(sealed)))
    }

    /// Opens the key of authority `number`.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(&self, number: u32, public_key: Sha256, sealed: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
        let words: Vec<&str> = sealed.split(' ').collect();
        let [FORM, with, sealed] = words[..] else {
            return Err(Error::Unknown(number));
        };
        let sealed = STANDARD.decode(sealed).map_err(|_| Error::Changed(number))?;
        let Some(key) = self.0.iter().find(|key| name(key) == with) else {
            let given: Vec<String> = self.0.iter().map(name).collect();
            return Err(Error::Foreign { number, with: with.to_owned(), given: given.join(", ") });
        };
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(Error::Changed(number))?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Error::Changed(number))?;
        let cipher = RandomizedNonceKey::new(&AES_256_GCM, key.as_slice()).map_err(|_| Error::Seal)?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = cipher.open_in_place(nonce, aad(public_key), &mut text).map_err(|_| Error::Changed(number))?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Whether the first sealed it: what another one sealed is sealed anew by `authority reseal`.
    #[must_use]
    pub fn is_current(&self, sealed: &str) -> bool {
        sealed.split(' ').nth(1) == Some(name(&self.0[0]).as_str())
    }
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(name)).finish()
    }
}

impl PartialEq for SealingKeys {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(name).eq(other.0.iter().map(name))
    }
}

impl Eq for SealingKeys {}

/// What a sealing key is called: enough to tell two apart, and nothing to find one by.
fn name(key: &Zeroizing<[u8; LENGTH]>) -> String {
    let digest = sha256(&[b"novacula sealing key", key.as_slice()].concat());
    hex::encode(&digest.as_bytes()[..8])
}

fn aad(public_key: Sha256) -> Aad<Vec<u8>> {
    Aad::from([b"novacula authority key", public_key.as_bytes().as_slice()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(digits: &[char]) -> SealingKeys {
        let words: Vec<String> = digits.iter().map(|digit| digit.to_string().repeat(64)).collect();
        SealingKeys::parse(&words.join("\n")).expect("keys")
    }

    #[test]
    fn only_its_own_key_opens_a_seal_and_only_for_its_authority() {
        let (one, other) = (Sha256::new([1; 32]), Sha256::new([2; 32]));
        let sealed = keys(&['a']).seal(one, b"secret").expect("sealed");
        assert!(!sealed.contains("secret"));
        assert_eq!(keys(&['a']).open(1, one, &sealed).expect("opened").as_slice(), b"secret");
        assert_eq!(keys(&['b', 'a']).open(1, one, &sealed).expect("opened").as_slice(), b"secret");
        assert_eq!(keys(&['a']).open(1, other, &sealed).expect_err("exchanged"), Error::Changed(1));
        let foreign = keys(&['b', 'c']).open(7, one, &sealed).expect_err("foreign");
        assert!(matches!(&foreign, Error::Foreign { number: 7, .. }), "{foreign}");
        assert_ne!(keys(&['a']).seal(one, b"secret").expect("sealed"), sealed, "each with a nonce of its own");
    }

    #[test]
    fn whatever_is_changed_is_noticed() {
        let sealed = keys(&['a']).seal(Sha256::new([1; 32]), b"secret").expect("sealed");
        let open = |text: &str| keys(&['a']).open(3, Sha256::new([1; 32]), text);
        let encoded = sealed.rsplit(' ').next().expect("three words");
        let bytes = STANDARD.decode(encoded).expect("base64");
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            let text = sealed.replace(encoded, &STANDARD.encode(bytes));
            assert_eq!(open(&text).expect_err("changed"), Error::Changed(3), "byte {at}");
        }
        for (text, error) in [
            (sealed[..sealed.len() - 40].to_owned(), Error::Changed(3)),
            (sealed.replace("/1 ", "/2 "), Error::Unknown(3)),
            (String::new(), Error::Unknown(3)),
        ] {
            assert_eq!(open(&text).expect_err("changed"), error, "{text}");
        }
    }

    #[test]
    fn a_new_key_in_front_takes_over() {
        let (old, both) = (keys(&['a']), keys(&['b', 'a']));
        let sealed = old.seal(Sha256::new([1; 32]), b"secret").expect("sealed");
        assert!(old.is_current(&sealed) && !both.is_current(&sealed));
        assert!(both.is_current(&both.seal(Sha256::new([1; 32]), b"secret").expect("sealed")));
    }

    #[test]
    fn keys_are_64_digits_and_never_shown() {
        assert_eq!(SealingKeys::parse(" \n").expect_err("none"), Error::Empty);
        let short = format!("{} {}", "a".repeat(64), "b".repeat(63));
        assert_eq!(SealingKeys::parse(&short).expect_err("short"), Error::Form(2));
        assert!(!format!("{:?}", keys(&['a'])).contains("aaaa"));
    }
}
