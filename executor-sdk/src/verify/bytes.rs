//! Bytes against their manifest: size, SHA-256, and the signature, in one pass.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};

use aws_lc_rs::digest;
use domain::Sha256;
use domain::attempt::{ErrorCode, Stage};
use domain::manifest::Subject;

use super::Proven;
use crate::executor::Failure;

/// Bytes read at a time.
const CHUNK: usize = 64 * 1024;

/// A check under way: feed it every byte in order, then [`Bytes::finish`].
pub struct Bytes<'p> {
    proven: &'p Proven,
    hash: digest::Context,
    signature: minisign_verify::StreamVerifier<'p>,
    fed: u64,
}

/// Why bytes are not what was signed.
#[derive(Debug, thiserror::Error)]
pub enum BytesError {
    /// More than signed.
    #[error("the artifact is larger than the {signed} bytes that were signed")]
    TooLarge {
        /// As signed.
        signed: u64,
    },
    /// Fewer than signed.
    #[error("the artifact has {found} bytes, and {signed} were signed")]
    Truncated {
        /// How many there are.
        found: u64,
        /// As signed.
        signed: u64,
    },
    /// Another digest than signed.
    #[error("the artifact has SHA-256 {found}, and {signed} was signed")]
    Digest {
        /// What they have.
        found: Sha256,
        /// As signed.
        signed: Sha256,
    },
    /// The manifest is signed, and the bytes are not: a relabelled legacy signature, or one put together.
    #[error("the artifact's bytes do not verify against the signature by key {0}")]
    Signature(crate::release_keys::KeyId),
    /// They could not be read.
    #[error("read the artifact")]
    Read(#[source] io::Error),
}

impl Proven {
    /// Begins to check bytes against what was proven.
    ///
    /// # Errors
    /// [`BytesError::Signature`] when the signature is of a kind that cannot be checked.
    pub fn bytes(&self) -> Result<Bytes<'_>, BytesError> {
        let unusable = |_| BytesError::Signature(self.key_id());
        let signature = self.key.full.verify_stream(&self.signature).map_err(unusable)?;
        Ok(Bytes { proven: self, hash: digest::Context::new(&digest::SHA256), signature, fed: 0 })
    }

    /// The size that was signed; an operator's manifest says none.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        match &self.manifest.subject {
            Subject::Agent { size, .. } => Some(*size),
            Subject::Operator { .. } => None,
        }
    }

    /// The SHA-256 that was signed.
    #[must_use]
    pub const fn sha256(&self) -> Sha256 {
        match &self.manifest.subject {
            Subject::Agent { sha256, .. } => *sha256,
            Subject::Operator { digest, .. } => *digest,
        }
    }
}

impl Bytes<'_> {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`BytesError::TooLarge`] as soon as there are more than signed.
    pub fn update(&mut self, chunk: &[u8]) -> Result<(), BytesError> {
        self.fed = self.fed.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
        if let Some(signed) = self.proven.size()
            && self.fed > signed
        {
            return Err(BytesError::TooLarge { signed });
        }
        self.hash.update(chunk);
        self.signature.update(chunk);
        Ok(())
    }

    /// Judges: size, then SHA-256, then signature.
    ///
    /// # Errors
    /// [`BytesError`]: which one is wrong.
    pub fn finish(mut self) -> Result<(), BytesError> {
        if let Some(signed) = self.proven.size()
            && self.fed != signed
        {
            return Err(BytesError::Truncated { found: self.fed, signed });
        }
        let found = Sha256::from_slice(self.hash.finish().as_ref()).expect("SHA-256 has 32 bytes");
        let signed = self.proven.sha256();
        if found != signed {
            return Err(BytesError::Digest { found, signed });
        }
        self.signature.finalize().map_err(|_| BytesError::Signature(self.proven.key_id()))
    }
}

/// Checks a whole file through one open handle, from its first byte; the same handle is then what gets installed.
/// Blocks the thread.
///
/// # Errors
/// [`BytesError`]: what is wrong.
pub fn check_file(proven: &Proven, file: &mut File) -> Result<(), BytesError> {
    file.rewind().map_err(BytesError::Read)?;
    let mut check = proven.bytes()?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return check.finish(),
            Ok(n) => check.update(&chunk[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BytesError::Read(error)),
        }
    }
}

impl BytesError {
    /// The typed code for the report.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Truncated { .. } => ErrorCode::Truncated,
            Self::Digest { .. } => ErrorCode::DigestMismatch,
            Self::Signature(_) => ErrorCode::BadSignature,
            Self::Read(_) => ErrorCode::Io,
        }
    }
}

impl From<BytesError> for Failure {
    fn from(error: BytesError) -> Self {
        match &error {
            BytesError::Read(source) => Self::failed(Stage::Verify, ErrorCode::Io, format!("{error}: {source}")),
            _ => Self::refused(Stage::Verify, error.code(), error.to_string()),
        }
    }
}
