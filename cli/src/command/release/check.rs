//! What executors would refuse, seen from a signature file: the manifest in its trusted comment against the release and the bytes.
//! (Whether a key is trusted only executors and the server know; they check the signature itself.)

use std::fs;
use std::io::Read as _;
use std::path::Path;

use domain::manifest::Subject;
use domain::{Manifest, ReleaseId, Sha256};
use sha2::Digest as _;

use crate::error::Error;

/// Longest signature file: four lines, one of them a manifest.
const SIGNATURE_MAX: u64 = 4096;

/// Size and digest of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Measured {
    pub(super) size: u64,
    pub(super) sha256: Sha256,
}

/// Reads `sha256:…` of a flag.
pub(super) fn digest(text: &str) -> Result<Sha256, Error> {
    let hex =
        text.strip_prefix("sha256:").ok_or_else(|| Error::Config(format!("--digest: {text:?} is not sha256:…")))?;
    hex.parse().map_err(|error: domain::digest::Error| Error::Config(format!("--digest: {error}")))
}

/// Reads a file once for its size and digest.
pub(super) fn measure(path: &Path) -> Result<Measured, Error> {
    let mut file = fs::File::open(path).map_err(|error| Error::file("read", path, error))?;
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0u8; 64 * 1024];
    let mut size = 0u64;
    loop {
        let n = file.read(&mut buffer).map_err(|error| Error::file("read", path, error))?;
        if n == 0 {
            return Ok(Measured { size, sha256: Sha256::new(hasher.finalize().into()) });
        }
        hasher.update(&buffer[..n]);
        size += n as u64;
    }
}

/// Reads a signature file, verbatim.
pub(super) fn read_signature(path: &Path) -> Result<String, Error> {
    let size = fs::metadata(path).map_err(|error| Error::file("read", path, error))?.len();
    if size > SIGNATURE_MAX {
        return Err(Error::Config(format!(
            "{} is {size} bytes long; a minisign signature has at most {SIGNATURE_MAX}",
            path.display()
        )));
    }
    fs::read_to_string(path).map_err(|error| Error::file("read", path, error))
}

/// The manifest of a signature file.
pub(super) fn manifest(path: &Path, signature: &str) -> Result<Manifest, Error> {
    let refuse = |why: String| Error::Refused(format!("{}: {why}", path.display()));
    let lines: Vec<&str> = signature.strip_suffix('\n').unwrap_or(signature).split('\n').collect();
    let [_, _, comment, _] = lines[..] else {
        return Err(refuse(format!("has {} lines; a minisign signature has exactly four", lines.len())));
    };
    let comment = comment
        .strip_prefix("trusted comment: ")
        .ok_or_else(|| refuse("its third line does not begin with \"trusted comment: \"".to_owned()))?;
    comment.parse().map_err(|error| {
        refuse(format!("{error}; sign with: minisign -S -m FILE -t \"$(novacula release manifest FILE …)\""))
    })
}

/// What is about to be uploaded.
#[derive(Clone, Copy, Debug)]
pub(super) enum Upload<'a> {
    /// A binary.
    Binary(Measured),
    /// An image.
    Image { image: &'a str, digest: Sha256 },
}

/// Whether a manifest says what the release and the bytes or the image are.
pub(super) fn agrees(path: &Path, manifest: &Manifest, release: &ReleaseId, upload: Upload<'_>) -> Result<(), Error> {
    let refuse = |what: &str, signed: String, given: String| {
        Err(Error::Refused(format!("{}: signed for {what} {signed}, but it is {given}", path.display())))
    };
    if manifest.kind() != release.kind {
        return refuse("kind", manifest.kind().to_string(), release.kind.to_string());
    }
    if manifest.version != release.version {
        return refuse("version", manifest.version.to_string(), release.version.to_string());
    }
    match (&manifest.subject, upload) {
        (Subject::Agent { size, .. }, Upload::Binary(given)) if *size != given.size => {
            refuse("size", size.to_string(), given.size.to_string())
        }
        (Subject::Agent { sha256, .. }, Upload::Binary(given)) if *sha256 != given.sha256 => {
            refuse("sha256", sha256.to_string(), given.sha256.to_string())
        }
        (Subject::Operator { image, .. }, Upload::Image { image: given, .. }) if image != given => {
            refuse("image", image.clone(), given.to_owned())
        }
        (Subject::Operator { digest, .. }, Upload::Image { digest: given, .. }) if *digest != given => {
            refuse("digest", digest.to_string(), given.to_string())
        }
        (Subject::Agent { .. }, Upload::Image { .. }) => refuse("kind", "agent".to_owned(), "an image".to_owned()),
        (Subject::Operator { .. }, Upload::Binary(_)) => refuse("kind", "operator".to_owned(), "a file".to_owned()),
        (Subject::Agent { .. }, Upload::Binary(_)) | (Subject::Operator { .. }, Upload::Image { .. }) => Ok(()),
    }
}
