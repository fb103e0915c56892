//! minisign signature files, as the control plane judges them when a release is put together: form, manifest, and, by the
//! public keys that it was given, the signatures themselves. It holds no signing key, and executors believe none of this.
//!
//! The global signature covers signature and trusted comment, so the manifest is proven without the artifact's bytes; the
//! bytes are proven by minisign-verify, where they are stored here.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{Manifest, Reason, Refusal};

/// Longest signature file, in bytes: four lines around a manifest of 1,024.
pub const FILE_MAX: usize = 4 * 1024;

const TRUSTED: &str = "trusted comment: ";

/// A release key's id, written as minisign prints it: 16 upper-case hexadecimal digits, the number little-endian in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(u64);

/// A minisign public key.
#[derive(Clone, Debug)]
pub struct ReleaseKey {
    id: KeyId,
    raw: [u8; 32],
    full: minisign_verify::PublicKey,
}

/// A signature file whose form is right. Nothing is verified.
#[derive(Clone, Debug)]
pub struct SignatureFile {
    text: String,
    key: KeyId,
    signature: [u8; 64],
    comment: String,
    global: [u8; 64],
    manifest: Manifest,
}

/// The text is no minisign public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a minisign public key: \"untrusted comment: …\" and a line of base64 that holds 42 bytes")]
pub struct KeyError;

// === impl KeyId ===

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", self.0)
    }
}

// === impl ReleaseKey ===

impl ReleaseKey {
    /// Its id.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Every key of a file that holds one or more, comments between them.
    ///
    /// # Errors
    /// [`KeyError`] when a line is neither a comment nor a key, or there is none.
    pub fn parse_all(text: &str) -> Result<Vec<Self>, KeyError> {
        let lines =
            text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
        let keys: Vec<Self> = lines.map(str::parse).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(KeyError) } else { Ok(keys) }
    }
}

impl FromStr for ReleaseKey {
    type Err = KeyError;

    /// From the base64 line alone.
    fn from_str(line: &str) -> Result<Self, KeyError> {
        let bytes: [u8; 42] = decode(line).ok_or(KeyError)?;
        let (algorithm, rest) = bytes.split_at(2);
        let (id, raw) = rest.split_at(8);
        if algorithm != b"Ed" {
            return Err(KeyError);
        }
        Ok(Self {
            id: key_id(id).ok_or(KeyError)?,
            raw: raw.try_into().map_err(|_| KeyError)?,
            full: minisign_verify::PublicKey::from_base64(line).map_err(|_| KeyError)?,
        })
    }
}

// === impl SignatureFile ===

impl SignatureFile {
    /// Judges the form: four lines, prehashed, a manifest as trusted comment.
    ///
    /// # Errors
    /// [`Reason::SignatureInvalid`] or [`Reason::ManifestMismatch`], with what to do.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let invalid = |message: &str| Refusal::new(Reason::SignatureInvalid, message);
        if text.len() > FILE_MAX {
            return Err(invalid(
                "the signature file is longer than 4,096 bytes; send the .minisig file that `minisign -S` wrote, and no other",
            ));
        }
        let form = || {
            invalid(
                "not a minisign signature file: four lines are expected, as `minisign -S` writes them; one file holds one signature",
            )
        };
        let lines: Vec<&str> = text.strip_suffix('\n').unwrap_or(text).split('\n').collect();
        let [untrusted, signature, comment, global] = lines[..] else {
            return Err(form());
        };
        let comment = comment.strip_prefix(TRUSTED).ok_or_else(form)?;
        if !untrusted.starts_with("untrusted comment:") {
            return Err(form());
        }
        let signature: [u8; 74] = decode(signature).ok_or_else(form)?;
        let global = decode(global).ok_or_else(form)?;
        match &signature[..2] {
            b"ED" => {}
            b"Ed" => {
                return Err(invalid("a legacy signature (not prehashed); sign again without `-l`"));
            }
            _ => return Err(form()),
        }
        let manifest = comment.parse().map_err(|error: domain::manifest::Error| {
            let message = format!(
                "the trusted comment is not a manifest: {error}; sign with `minisign -S -t \"$(novacula release manifest …)\"`"
            );
            Refusal::new(Reason::ManifestMismatch, message)
        })?;
        Ok(Self {
            text: text.to_owned(),
            key: key_id(&signature[2..10]).ok_or_else(form)?,
            signature: signature[10..].try_into().map_err(|_| form())?,
            comment: comment.to_owned(),
            global,
            manifest,
        })
    }

    /// By which key it says it is.
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// What it says.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Whether one of `keys` signed the manifest. None: none of them has its id.
    #[must_use]
    pub fn proven_by<'k>(&self, keys: &'k [ReleaseKey]) -> Option<Result<&'k ReleaseKey, Refusal>> {
        let key = keys.iter().find(|key| key.id == self.key)?;
        let message = [&self.signature[..], self.comment.as_bytes()].concat();
        let verified = UnparsedPublicKey::new(&ED25519, key.raw).verify(&message, &self.global);
        Some(verified.map(|()| key).map_err(|_| self.bad("its trusted comment")))
    }

    /// Checks the artifact's bytes against it. Blocks: reads all of them.
    ///
    /// # Errors
    /// [`Reason::SignatureInvalid`] inside, the reader's error outside.
    pub fn prove_bytes(&self, key: &ReleaseKey, mut bytes: impl std::io::Read) -> std::io::Result<Result<(), Refusal>> {
        let bad = || self.bad("the artifact's bytes");
        let Ok(signature) = minisign_verify::Signature::decode(&self.text) else {
            return Ok(Err(bad()));
        };
        let Ok(mut verifier) = key.full.verify_stream(&signature) else {
            return Ok(Err(bad()));
        };
        let mut chunk = vec![0; 64 * 1024];
        loop {
            match bytes.read(&mut chunk)? {
                0 => break,
                n => verifier.update(&chunk[..n]),
            }
        }
        Ok(verifier.finalize().map_err(|_| bad()))
    }

    fn bad(&self, what: &str) -> Refusal {
        let message = format!("the signature by key {} does not verify over {what}; sign the artifact again", self.key);
        Refusal::new(Reason::SignatureInvalid, message).with("key", self.key)
    }
}

fn decode<const N: usize>(line: &str) -> Option<[u8; N]> {
    STANDARD.decode(line).ok()?.try_into().ok()
}

fn key_id(bytes: &[u8]) -> Option<KeyId> {
    bytes.try_into().ok().map(u64::from_le_bytes).map(KeyId)
}
