//! An image into a registry.
//!
//! Blobs first, then what names them, so that nobody ever sees an image that is not whole. What is there already is not sent.
//! Documents about the image follow; a registry that does not keep lists of them itself is given the list under the tag that
//! stands for it (OCI distribution, Referrers Tag Schema).

use std::{path::PathBuf, time::Duration};

use oci_client::{
    Reference,
    client::{Certificate, CertificateEncoding, Client, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use serde_json::json;

use crate::{
    Error, Result,
    blob::{Blob, Digest},
    manifest::{INDEX, Image},
};

/// How long a registry may be silent.
const SILENCE: Duration = Duration::from_secs(60);

/// How to reach a registry.
#[derive(Clone, Default)]
pub struct Access {
    /// Name and password, where it asks for them.
    pub credentials: Option<(String, String)>,
    /// A file of authorities (PEM) that vouch for it, beside the public ones.
    pub authorities: Option<PathBuf>,
    /// Without TLS at all, as a registry on loopback is.
    pub plain_http: bool,
}

/// Sends an image under a name such as `registry.example/novacula-server:1.0.0`, and returns the digest by which it is deployed.
///
/// # Errors
/// The registry is away or refuses.
pub async fn push(image: &Image, name: &str, access: &Access) -> Result<Digest> {
    let target: Reference = name.parse().map_err(|_| Error::Name { name: name.to_owned() })?;
    let registry = Registry { client: Client::new(config(access)?), target };
    let auth = match &access.credentials {
        Some((user, password)) => RegistryAuth::Basic(user.clone(), password.clone()),
        None => RegistryAuth::Anonymous,
    };
    registry.client.store_auth_if_needed(registry.target.resolve_registry(), &auth).await;

    for blob in image.blobs() {
        registry.blob(blob).await?;
    }
    registry.manifest(image.manifest(), &registry.target).await?;
    for about in image.about() {
        registry.blob(&about.empty).await?;
        registry.blob(&about.document).await?;
        let by_digest = registry.named(about.manifest.digest().as_str());
        registry.manifest(&about.manifest, &by_digest).await?;
    }
    registry.list_about(image).await?;
    Ok(image.digest().clone())
}

struct Registry {
    client: Client,
    target: Reference,
}

// === impl Registry ===

impl Registry {
    async fn blob(&self, blob: &Blob) -> Result<()> {
        let digest = blob.digest().as_str();
        let there = self.client.blob_exists(&self.target, digest).await;
        if there.map_err(self.refused(digest))? {
            return Ok(());
        }
        let sent = self.client.push_blob(&self.target, blob.content().to_vec(), digest).await;
        sent.map(drop).map_err(self.refused(digest))
    }

    async fn manifest(&self, manifest: &Blob, target: &Reference) -> Result<()> {
        let kind = http::HeaderValue::from_static(manifest.media_type());
        let sent = self.client.push_manifest_raw(target, manifest.content().to_vec(), kind).await;
        sent.map(drop).map_err(self.refused(manifest.digest().as_str()))
    }

    /// The list of documents about an image, where the registry has none of its own.
    async fn list_about(&self, image: &Image) -> Result<()> {
        let by_digest = self.named(image.digest().as_str());
        let known = self.client.pull_referrers(&by_digest, None).await.map(|index| index.manifests.len());
        if image.about().is_empty() || known.is_ok_and(|known| known >= image.about().len()) {
            return Ok(());
        }
        let manifests: Vec<_> = image.about().iter().map(super::manifest::About::descriptor).collect();
        let list = Blob::json(INDEX, &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }));
        let tag = format!("sha256-{}", image.digest().digits());
        let (registry, repository) = (self.target.registry().to_owned(), self.target.repository().to_owned());
        self.manifest(&list, &Reference::with_tag(registry, repository, tag)).await
    }

    fn named(&self, digest: &str) -> Reference {
        let (registry, repository) = (self.target.registry().to_owned(), self.target.repository().to_owned());
        Reference::with_digest(registry, repository, digest.to_owned())
    }

    fn refused(&self, what: &str) -> impl FnOnce(OciDistributionError) -> Error {
        let (what, registry) = (what.to_owned(), self.target.registry().to_owned());
        move |source| Error::Push { what, registry, source: Box::new(source) }
    }
}

fn config(access: &Access) -> Result<ClientConfig> {
    // The first to ask decides for the process; it is this one in every program of ours.
    let _ = rustls::crypto::CryptoProvider::install_default(rustls::crypto::aws_lc_rs::default_provider());
    let mut extra = Vec::new();
    if let Some(path) = &access.authorities {
        let data = std::fs::read(path).map_err(Error::read(path))?;
        extra.push(Certificate { encoding: CertificateEncoding::Pem, data });
    }
    Ok(ClientConfig {
        protocol: if access.plain_http { ClientProtocol::Http } else { ClientProtocol::Https },
        extra_root_certificates: extra,
        read_timeout: Some(SILENCE),
        connect_timeout: Some(SILENCE),
        ..ClientConfig::default()
    })
}
