//! Proof: that a release key signed the manifest, before the first byte is asked for; and that bytes are what it says.
//!
//! A minisign signature file has four lines; its global signature covers `signature || trusted comment`, and the trusted
//! comment is the manifest. So [`prove`] needs no artifact:
//!
//! ```text
//! signature files ─ prove ─→ Proven (key, manifest) ─ choose: fits executor and spec ─→ download ─→ Bytes: size, SHA-256, signature
//! ```
//!
//! Neither the algorithm nor the key id in the file is signed. A legacy signature relabelled as a prehashed one passes the
//! first check and never the second; so nothing is done on a manifest alone but to fetch the bytes.
//!
//! This is the one reader of signature files here, and it is stricter than minisign: exactly four lines, no CR, no text
//! after them. What it reads as the comment is compared with what `minisign_verify` reads.

mod bytes;

use std::fmt;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use domain::attempt::{ErrorCode, Stage};
use domain::manifest::{Expectation, Unfit, check};
use domain::{Manifest, Spec};

use crate::executor::Failure;
use crate::release_keys::{KeyId, ReleaseKey, ReleaseKeys};

pub use bytes::{Bytes, BytesError, check_file};

/// Most signature files looked at in one spec: one per release key and edition; an honest spec has a handful.
pub const SIGNATURES_MAX: usize = 32;

/// Longest signature file in bytes: a manifest of 1,024 and some 400 around it.
pub const SIGNATURE_FILE_MAX: usize = 2048;

/// A manifest that a release key signed.
#[derive(Clone)]
pub struct Proven {
    key: ReleaseKey,
    manifest: Manifest,
    signature: minisign_verify::Signature,
}

/// Why a signature file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a minisign signature file.
    #[error("the signature file is not four lines as minisign writes them: {0}")]
    Form(&'static str),
    /// Signed in legacy mode: the bytes themselves rather than their hash.
    #[error("the signature is a legacy one (not prehashed); sign again with a current minisign and without -l")]
    Legacy,
    /// The trusted comment, which has to be the manifest, is empty.
    #[error("the trusted comment is empty; it has to be the manifest")]
    EmptyComment,
    /// By a key that this build does not trust.
    #[error("signed by key {key}, which this build does not trust; it trusts {trusted}")]
    UnknownKey {
        /// By which key.
        key: KeyId,
        /// Which are trusted.
        trusted: String,
    },
    /// By a trusted key's name, and not by the key.
    #[error("the signature by key {0} does not verify over its trusted comment")]
    Bad(KeyId),
    /// Signed, and not a manifest.
    #[error("the trusted comment signed by key {key} is not a manifest")]
    Manifest {
        /// By which key.
        key: KeyId,
        /// What is wrong with it.
        #[source]
        source: domain::manifest::Error,
    },
}

/// Proves a signature file: a trusted key signed the manifest in it.
///
/// # Errors
/// [`Error`]: what is wrong with it.
pub fn prove(keys: &ReleaseKeys, text: &str) -> Result<Proven, Error> {
    let file = SignatureFile::parse(text)?;
    let id = KeyId::from_bytes(file.key);
    let key = keys.find(id).ok_or_else(|| Error::UnknownKey { key: id, trusted: list(keys) })?;
    let signed = [file.signature.as_slice(), file.comment.as_bytes()].concat();
    let verifier = UnparsedPublicKey::new(&ED25519, key.raw);
    verifier.verify(&signed, &file.global).map_err(|_| Error::Bad(id))?;
    let signature = minisign_verify::Signature::decode(text).map_err(|_| Error::Form("minisign cannot read it"))?;
    if signature.trusted_comment() != file.comment {
        return Err(Error::Form("minisign reads another trusted comment in it"));
    }
    let manifest = file.comment.parse().map_err(|source| Error::Manifest { key: id, source })?;
    Ok(Proven { key: key.clone(), manifest, signature })
}

/// Proves a spec: one of its signature files carries a proven manifest that fits this executor and says what the spec says.
/// Files by keys that are not trusted, and files that prove nothing, are passed over when another one does.
///
/// # Errors
/// A [`Failure`] in [`Stage::Verify`], refused: why the best of them is not good enough.
pub fn prove_spec(keys: &ReleaseKeys, spec: &Spec, expected: &Expectation<'_>) -> Result<Proven, Failure> {
    let mut proven = Vec::new();
    let mut worst = None;
    for text in spec.minisign_signatures().iter().take(SIGNATURES_MAX) {
        match prove(keys, text) {
            Ok(one) => proven.push(one),
            Err(error) => worst = worst.max_by_weight(error),
        }
    }
    match (proven.is_empty(), worst) {
        (true, Some(error)) => return Err(error.into()),
        (true, None) => {
            return Err(Failure::refused(Stage::Verify, ErrorCode::BadSignature, "the spec carries no signature"));
        }
        (false, _) => {}
    }
    let manifests: Vec<Manifest> = proven.iter().map(|one| one.manifest.clone()).collect();
    let chosen = check::choose(&manifests, expected, spec)?;
    let at = manifests.iter().position(|manifest| manifest == chosen).expect("one of them was chosen");
    Ok(proven.swap_remove(at))
}

impl Proven {
    /// What was signed.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// By which key.
    #[must_use]
    pub const fn key_id(&self) -> KeyId {
        self.key.id
    }
}

impl fmt::Debug for Proven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proven({} by {})", self.manifest, self.key.id)
    }
}

impl Error {
    /// The typed code for the report.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Form(_) | Self::Bad(_) => ErrorCode::BadSignature,
            Self::Legacy => ErrorCode::LegacySignature,
            Self::EmptyComment | Self::Manifest { .. } => ErrorCode::BadManifest,
            Self::UnknownKey { .. } => ErrorCode::UnknownKey,
        }
    }

    /// How much an error says: of several files the one by a trusted key is the news, a foreign key is what one expects.
    const fn weight(&self) -> u8 {
        match self {
            Self::UnknownKey { .. } => 0,
            Self::Form(_) => 1,
            Self::Legacy => 2,
            Self::EmptyComment => 3,
            Self::Manifest { .. } => 4,
            Self::Bad(_) => 5,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = match &error {
            Error::Manifest { source, .. } => format!("{error}: {source}"),
            _ => error.to_string(),
        };
        Self::refused(Stage::Verify, error.code(), message)
    }
}

impl From<Unfit> for Failure {
    fn from(unfit: Unfit) -> Self {
        Self::refused(Stage::Verify, unfit.code, unfit.message)
    }
}

/// Keeps the error that says more.
trait MaxByWeight {
    fn max_by_weight(self, error: Error) -> Self;
}

impl MaxByWeight for Option<Error> {
    fn max_by_weight(self, error: Error) -> Self {
        match self {
            Some(before) if before.weight() >= error.weight() => Some(before),
            _ => Some(error),
        }
    }
}

/// The parts of a signature file.
struct SignatureFile<'a> {
    key: [u8; 8],
    signature: [u8; 64],
    comment: &'a str,
    global: [u8; 64],
}

impl<'a> SignatureFile<'a> {
    fn parse(text: &'a str) -> Result<Self, Error> {
        if text.len() > SIGNATURE_FILE_MAX {
            return Err(Error::Form("it is longer than 2,048 bytes"));
        }
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
        let [untrusted, signature, comment, global] = lines[..] else {
            return Err(Error::Form("it has more or fewer than four lines"));
        };
        if !untrusted.starts_with("untrusted comment:") {
            return Err(Error::Form("its first line is no untrusted comment"));
        }
        let comment =
            comment.strip_prefix("trusted comment: ").ok_or(Error::Form("its third line is no trusted comment"))?;
        let not_base64 = |_| Error::Form("a signature is not base64");
        let signature = BASE64_STANDARD.decode(signature).map_err(not_base64)?;
        let global = BASE64_STANDARD.decode(global).map_err(not_base64)?;
        let wrong_length = Error::Form("a signature has another length");
        let signature: [u8; 74] = signature.try_into().map_err(|_| wrong_length.clone())?;
        let global = global.try_into().map_err(|_| wrong_length)?;
        match &signature[..2] {
            b"ED" => {}
            b"Ed" => return Err(Error::Legacy),
            _ => return Err(Error::Form("its algorithm is not Ed25519")),
        }
        if comment.is_empty() {
            return Err(Error::EmptyComment);
        }
        let (mut key, mut bytes) = ([0; 8], [0; 64]);
        key.copy_from_slice(&signature[2..10]);
        bytes.copy_from_slice(&signature[10..]);
        Ok(Self { key, signature: bytes, comment, global })
    }
}

fn list(keys: &ReleaseKeys) -> String {
    keys.ids().map(|id| id.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
