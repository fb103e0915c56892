//! Layers and settings as an image: a configuration and a manifest, whose digest is the image's.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    blob::{Blob, Digest},
    layer::Layer,
    tree::NONROOT,
};

/// What registries call a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What registries call a list of manifests.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
/// What stands for the configuration of something that is no image.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// A processor that programs are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `x86_64`.
    Amd64,
    /// `aarch64`.
    Arm64,
}

/// What an image says of itself.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What is run, and its arguments that are always there.
    pub entrypoint: Vec<String>,
    /// Arguments that give way to those of whoever runs it.
    pub arguments: Vec<String>,
    /// TCP ports that it may listen on.
    pub ports: Vec<u16>,
    /// `org.opencontainers.image.…` and others.
    pub labels: BTreeMap<String, String>,
}

/// A whole image, with what is said about it.
#[derive(Debug, Clone)]
pub struct Image {
    layers: Vec<Layer>,
    configuration: Blob,
    manifest: Blob,
    about: Vec<About>,
}

/// A document about an image, which refers to it by digest and travels beside it.
#[derive(Debug, Clone)]
pub struct About {
    pub(crate) empty: Blob,
    pub(crate) document: Blob,
    pub(crate) manifest: Blob,
}

// === impl Architecture ===

impl Architecture {
    /// As image configurations and Debian call it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// Of a program, by the first bytes of its file.
    #[must_use]
    pub fn of(program: &[u8]) -> Option<Self> {
        // The magic, 64 bits, little endian; and at byte 18 the machine.
        let machine = program.strip_prefix(b"\x7fELF\x02\x01")?.get(12..14)?;
        match u16::from_le_bytes([machine[0], machine[1]]) {
            62 => Some(Self::Amd64),
            183 => Some(Self::Arm64),
            _ => None,
        }
    }
}

// === impl Image ===

impl Image {
    /// Of these layers, the lowest first.
    #[must_use]
    pub fn new(layers: Vec<Layer>, settings: &Settings, architecture: Architecture) -> Self {
        let configuration = Blob::json(CONFIGURATION, &configuration(&layers, settings, architecture));
        let descriptors: Vec<_> = layers.iter().map(|layer| layer.blob().descriptor()).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": configuration.descriptor(),
            "layers": descriptors,
            "annotations": settings.labels,
        });
        Self { layers, configuration, manifest: Blob::json(MANIFEST, &manifest), about: Vec::new() }
    }

    /// With a document about it.
    #[must_use]
    pub fn with(mut self, document: Blob) -> Self {
        let empty = Blob::new(EMPTY, b"{}".to_vec());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": document.media_type(),
            "config": empty.descriptor(),
            "layers": [document.descriptor()],
            "subject": self.manifest.descriptor(),
        });
        self.about.push(About { empty, document, manifest: Blob::json(MANIFEST, &manifest) });
        self
    }

    /// The digest by which it is deployed.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        self.manifest.digest()
    }

    /// What the digest is of.
    #[must_use]
    pub fn manifest(&self) -> &Blob {
        &self.manifest
    }

    /// How it is run.
    #[must_use]
    pub fn configuration(&self) -> &Blob {
        &self.configuration
    }

    /// The layers, the lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The documents about it.
    #[must_use]
    pub fn about(&self) -> &[About] {
        &self.about
    }

    /// What the manifest names, manifests apart.
    pub fn blobs(&self) -> impl Iterator<Item = &Blob> {
        self.layers.iter().map(Layer::blob).chain([&self.configuration])
    }
}

// === impl About ===

impl About {
    /// The document's type.
    #[must_use]
    pub fn media_type(&self) -> &'static str {
        self.document.media_type()
    }

    /// The document.
    #[must_use]
    pub fn document(&self) -> &[u8] {
        self.document.content()
    }

    /// How a list of what refers to an image names it.
    #[must_use]
    pub fn descriptor(&self) -> Value {
        let mut descriptor = self.manifest.descriptor();
        descriptor["artifactType"] = json!(self.media_type());
        descriptor
    }
}

fn configuration(layers: &[Layer], settings: &Settings, architecture: Architecture) -> Value {
    let ports: BTreeMap<_, _> = settings.ports.iter().map(|port| (format!("{port}/tcp"), json!({}))).collect();
    let unpacked: Vec<_> = layers.iter().map(|layer| layer.unpacked().as_str()).collect();
    let history: Vec<_> =
        layers.iter().map(|_| json!({ "created": "1970-01-01T00:00:00Z", "created_by": "novacula-image" })).collect();
    json!({
        "created": "1970-01-01T00:00:00Z",
        "architecture": architecture.as_str(),
        "os": "linux",
        "config": {
            "User": format!("{NONROOT}:{NONROOT}"),
            "Env": ["PATH=/usr/bin:/bin", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"],
            "Entrypoint": settings.entrypoint,
            "Cmd": settings.arguments,
            "ExposedPorts": ports,
            "WorkingDir": "/",
            "Labels": settings.labels,
        },
        "rootfs": { "type": "layers", "diff_ids": unpacked },
        "history": history,
    })
}
