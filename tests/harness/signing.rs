//! A release key of the test, and what it signs.

use std::io::Cursor;

use anyhow::{Context as _, Result};
use domain::manifest::Subject;
use domain::{Channel, Manifest, Sha256};
use minisign::{KeyPair, PublicKey, SecretKeyBox};
use sha2::Digest as _;

use crate::parts::workspace;

/// The platform of fake executors.
pub const PLATFORM: &str = "linux/amd64";

/// The file name in manifests.
pub const FILE: &str = "novacula-agent";

/// Signs releases.
pub struct Signer {
    keys: KeyPair,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({})", self.key_id())
    }
}

// === impl Signer ===

impl Signer {
    /// With a fresh key.
    ///
    /// # Errors
    /// The random source's.
    pub fn new() -> Result<Self> {
        let keys = KeyPair::generate_unencrypted_keypair()?;
        Ok(Self { keys })
    }

    /// With the checkout's development key: the one that agents and executors of this build trust.
    ///
    /// # Errors
    /// It is not there: this build trusts keys that were given, and nobody here can sign for them.
    pub fn development() -> Result<Self> {
        let path = workspace().join("target/development-key/release.key");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let sk = SecretKeyBox::from_string(&text)?.into_unencrypted_secret_key()?;
        let pk = PublicKey::from_secret_key(&sk)?;
        Ok(Self { keys: KeyPair { pk, sk } })
    }

    /// The key's file, as `minisign -G` writes it.
    ///
    /// # Errors
    /// The library's.
    pub fn public_key_file(&self) -> Result<String> {
        Ok(self.keys.pk.to_box()?.to_string())
    }

    /// The key's id, as minisign prints it.
    #[must_use]
    pub fn key_id(&self) -> String {
        let bytes: [u8; 8] = self.keys.pk.keynum().try_into().unwrap_or_default();
        format!("{:016X}", u64::from_le_bytes(bytes))
    }

    /// A signature file over `bytes` with this trusted comment, whatever it says.
    ///
    /// # Errors
    /// The library's.
    pub fn sign(&self, bytes: &[u8], trusted_comment: &str) -> Result<String> {
        let signature =
            minisign::sign(Some(&self.keys.pk), &self.keys.sk, Cursor::new(bytes), Some(trusted_comment), None)?;
        Ok(signature.to_string())
    }

    /// A signature file over `bytes` with the manifest.
    ///
    /// # Errors
    /// The library's.
    pub fn sign_manifest(&self, bytes: &[u8], manifest: &Manifest) -> Result<String> {
        self.sign(bytes, &manifest.to_string())
    }
}

/// SHA-256 of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256::new(sha2::Sha256::digest(bytes).into())
}

/// A true manifest for an agent's bytes.
///
/// # Panics
/// When a text is not what it should be: the test is wrong.
#[must_use]
pub fn manifest(version: &str, channel: Channel, sequence: u64, floor: &str, bytes: &[u8]) -> Manifest {
    Manifest {
        version: version.parse().expect("a version"),
        channel,
        subject: Subject::Agent {
            platform: PLATFORM.parse().expect("a platform"),
            file: FILE.to_owned(),
            size: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            sha256: sha256(bytes),
        },
        sequence,
        floor: floor.parse().expect("a version"),
    }
}
