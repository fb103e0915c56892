//! What a registry's bytes are worth: pure, so that any bytes can be tried on it.
//!
//! ```text
//! bytes ─ their SHA-256 is the signed one? ─ index ──→ the entry for this platform ──→ its manifest's bytes ─→ image
//!                                           └ manifest ──→ its config ──→ the config's bytes: os and architecture ─→ image
//! ```

use domain::{Platform, Sha256};
use serde::Deserialize;
use sha2::Digest as _;

/// Largest manifest or configuration taken, in bytes: what registries are told to accept at least (OCI distribution 1.1).
pub(super) const DOCUMENT_MAX: usize = 4 << 20;

/// Platforms named in a refusal; an index may have any number.
const PLATFORMS_TOLD: usize = 20;

/// What is wrong with bytes, or with what they say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Another image document than was asked for.
    #[error("its SHA-256 is {actual}, and {expected} was signed")]
    Digest {
        /// What was asked for.
        expected: Sha256,
        /// What came.
        actual: Sha256,
    },
    /// Not an image's document at all, whoever made it.
    #[error("{0}")]
    Garbage(String),
    /// The bytes are what was signed, and no image that a cluster could run.
    #[error("{0}")]
    NoImage(String),
    /// An image for other platforms.
    #[error("it is for {found}, and this cluster's nodes are {wanted}")]
    Platform {
        /// For which it is.
        found: String,
        /// What is wanted.
        wanted: Platform,
    },
}

/// What has to be looked at next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The manifest of the platform's image.
    Manifest(Pointer),
    /// The configuration of the one image there is.
    Config(Pointer),
}

/// A document, by content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pointer {
    pub(super) digest: Sha256,
    pub(super) size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    size: u64,
    platform: Option<Machine>,
}

#[derive(Clone, Default, Deserialize)]
struct Machine {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
}

/// The document that was signed: whether it is that, and what to look at next.
pub(super) fn signed(bytes: &[u8], digest: Sha256, platform: &Platform) -> Result<Next, Fault> {
    let document = read(bytes);
    check_digest(bytes, digest).map_err(|fault| match &document {
        Ok(_) => fault,
        // A page of somebody's web server is no other image.
        Err(why) => Fault::Garbage(why.clone()),
    })?;
    let document = document.map_err(Fault::NoImage)?;
    match (document.manifests, document.config, document.layers) {
        (Some(entries), None, None) => Ok(Next::Manifest(choose(&entries, platform)?)),
        (None, Some(config), Some(_)) => Ok(Next::Config(pointer(&config)?)),
        (_, _, _) => {
            let kind = if document.media_type.is_empty() { "it" } else { document.media_type.as_str() };
            Err(Fault::NoImage(format!("{} is neither an image index nor an image manifest", cut(kind))))
        }
    }
}

/// The manifest that an index points at.
pub(super) fn manifest(bytes: &[u8], pointer: Pointer) -> Result<(), Fault> {
    check_pointer(bytes, pointer)?;
    let document = read(bytes).map_err(Fault::NoImage)?;
    match (document.config, document.layers) {
        (Some(_), Some(_)) => Ok(()),
        (_, _) => Err(Fault::NoImage("the index points at what is no image manifest".to_owned())),
    }
}

/// The configuration that a manifest points at: whether the image is for this platform.
pub(super) fn config(bytes: &[u8], pointer: Pointer, platform: &Platform) -> Result<(), Fault> {
    check_pointer(bytes, pointer)?;
    let machine: Machine = serde_json::from_slice(bytes)
        .map_err(|error| Fault::NoImage(format!("its configuration cannot be read: {error}")))?;
    if fits(&machine, platform) { Ok(()) } else { Err(foreign(&[machine], platform)) }
}

fn read(bytes: &[u8]) -> Result<Document, String> {
    let document: Document =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no image manifest: {error}"))?;
    if document.schema_version == 2 {
        return Ok(document);
    }
    Err(format!("its schemaVersion is {}; only 2 is read", document.schema_version))
}

fn check_digest(bytes: &[u8], expected: Sha256) -> Result<(), Fault> {
    let actual = Sha256::new(sha2::Sha256::digest(bytes).into());
    if actual == expected { Ok(()) } else { Err(Fault::Digest { expected, actual }) }
}

/// The size is part of what was signed as well: a registry that pads is no registry.
fn check_pointer(bytes: &[u8], pointer: Pointer) -> Result<(), Fault> {
    check_digest(bytes, pointer.digest)?;
    if bytes.len() as u64 == pointer.size {
        return Ok(());
    }
    Err(Fault::NoImage(format!("{} is of {} bytes, and {} were announced", pointer.digest, bytes.len(), pointer.size)))
}

/// The first entry for the platform, as containers' runtimes take it. Attestations stand in an index as `unknown/unknown`.
fn choose(entries: &[Descriptor], platform: &Platform) -> Result<Pointer, Fault> {
    let machine = |entry: &Descriptor| entry.platform.clone().unwrap_or_default();
    let is_index =
        |entry: &Descriptor| entry.media_type.ends_with("index.v1+json") || entry.media_type.ends_with("list.v2+json");
    match entries.iter().find(|entry| !is_index(entry) && fits(&machine(entry), platform)) {
        Some(entry) => pointer(entry),
        None => Err(foreign(&entries.iter().map(machine).collect::<Vec<_>>(), platform)),
    }
}

/// Variants (`arm64/v8`) are the runtime's to match: what we build has one of each.
fn fits(machine: &Machine, platform: &Platform) -> bool {
    machine.os == platform.os() && machine.architecture == platform.arch()
}

fn foreign(machines: &[Machine], platform: &Platform) -> Fault {
    let name = |machine: &Machine| match (machine.os.as_str(), machine.architecture.as_str()) {
        ("", _) | (_, "") => "no platform that it names".to_owned(),
        (os, arch) => format!("{}/{}", cut(os), cut(arch)),
    };
    let mut found: Vec<String> = Vec::new();
    for machine in machines.iter().map(name) {
        if !found.contains(&machine) && found.len() < PLATFORMS_TOLD {
            found.push(machine);
        }
    }
    let found = if found.is_empty() { "no platform at all".to_owned() } else { found.join(", ") };
    Fault::Platform { found, wanted: platform.clone() }
}

fn pointer(descriptor: &Descriptor) -> Result<Pointer, Fault> {
    let digest = descriptor.digest.strip_prefix("sha256:").and_then(|hex| hex.parse().ok());
    let digest = digest.ok_or_else(|| {
        Fault::NoImage(format!("it points at {:?}; only sha256 digests are followed", cut(&descriptor.digest)))
    })?;
    if descriptor.size > DOCUMENT_MAX as u64 {
        let rule = format!("it points at {} bytes; at most {DOCUMENT_MAX} are read", descriptor.size);
        return Err(Fault::NoImage(rule));
    }
    Ok(Pointer { digest, size: descriptor.size })
}

/// What a document wrote, for a message: short, and nothing that a terminal would obey.
pub(super) fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests;
