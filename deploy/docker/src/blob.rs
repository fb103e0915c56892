//! Bytes and the name that registries have for them.

use std::fmt;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 digits: what names content in a registry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

/// Content with its type and its name.
#[derive(Debug, Clone)]
pub struct Blob {
    media_type: &'static str,
    digest: Digest,
    content: Vec<u8>,
}

// === impl Digest ===

impl Digest {
    /// Of these bytes.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(content))))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits alone.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.0.trim_start_matches("sha256:")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Blob ===

impl Blob {
    /// These bytes.
    #[must_use]
    pub fn new(media_type: &'static str, content: Vec<u8>) -> Self {
        Self { media_type, digest: Digest::of(&content), content }
    }

    /// This document, without spaces.
    #[must_use]
    pub fn json(media_type: &'static str, document: &Value) -> Self {
        Self::new(media_type, document.to_string().into_bytes())
    }

    /// How another document names it.
    #[must_use]
    pub fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest.as_str(), "size": self.content.len() })
    }

    /// Its type.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        self.media_type
    }

    /// Its name.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The bytes.
    #[must_use]
    pub fn content(&self) -> &[u8] {
        &self.content
    }
}
