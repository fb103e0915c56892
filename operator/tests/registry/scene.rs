//! Images in a folder that registries serve, pushed by the library for it, and the question that is tested.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use domain::{Platform, Sha256};
use novacula_operator::registry::credentials::Keyring;
use novacula_operator::registry::image::Image;
use novacula_operator::registry::settings::Settings;
use novacula_operator::registry::{Error, ErrorKind, Found, Seen, probe};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde_json::{Value, json};
use sha2::Digest as _;
use tempfile::TempDir;

use crate::Result;
use crate::process::{Entrance, Process};

/// The repository of every image here.
pub(crate) const REPOSITORY: &str = "novacula/operator";

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An open registry, and the folder that others may serve too.
pub(crate) struct Scene {
    storage: TempDir,
    pub(crate) open: Process,
    client: Client,
}

// === impl Scene ===

impl Scene {
    pub(crate) fn new() -> Result<Self> {
        let storage = TempDir::new()?;
        let open = Process::start(storage.path(), Entrance::Open)?;
        let config = ClientConfig { protocol: ClientProtocol::Http, ..ClientConfig::default() };
        Ok(Self { storage, open, client: Client::new(config) })
    }

    pub(crate) fn storage(&self) -> &Path {
        self.storage.path()
    }

    /// Another entrance to the same images.
    pub(crate) fn another(&self, entrance: Entrance) -> Result<Process> {
        Process::start(self.storage.path(), entrance)
    }

    fn reference(&self, digest: Sha256) -> Reference {
        Reference::with_digest(self.open.host(), REPOSITORY.to_owned(), format!("sha256:{digest}"))
    }

    async fn blob(&self, bytes: Vec<u8>) -> Result<Sha256> {
        let digest = sha256(&bytes);
        self.client.push_blob(&self.reference(digest), bytes, &format!("sha256:{digest}")).await?;
        Ok(digest)
    }

    async fn document(&self, document: &Value, media_type: &'static str) -> Result<(Sha256, usize)> {
        let bytes = document.to_string().into_bytes();
        let (digest, size) = (sha256(&bytes), bytes.len());
        let url = self.client.push_manifest_raw(&self.reference(digest), bytes, media_type.parse()?).await?;
        ensure!(url.contains(&digest.to_string()), "{url}");
        Ok((digest, size))
    }

    /// One image, for one platform.
    pub(crate) async fn image(&self, platform: &str) -> Result<(Sha256, usize)> {
        let (os, architecture) = platform.split_once('/').context("os/arch")?;
        let layer = b"a layer".to_vec();
        let config = json!({ "os": os, "architecture": architecture, "config": {}, "rootfs": { "type": "layers", "diff_ids": [] } });
        let config = config.to_string().into_bytes();
        let sizes = (config.len(), layer.len());
        let (config, layer) = (self.blob(config).await?, self.blob(layer).await?);
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": format!("sha256:{config}"), "size": sizes.0 },
            "layers": [{ "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": format!("sha256:{layer}"), "size": sizes.1 }],
        });
        self.document(&manifest, MANIFEST).await
    }

    /// An index over images, and the image of the last.
    pub(crate) async fn index(&self, platforms: &[&str]) -> Result<(Sha256, Sha256)> {
        let (mut entries, mut last) = (Vec::new(), Sha256::new([0; 32]));
        for platform in platforms {
            let (digest, size) = self.image(platform).await?;
            let (os, architecture) = platform.split_once('/').context("os/arch")?;
            entries.push(json!({
                "mediaType": MANIFEST, "digest": format!("sha256:{digest}"), "size": size,
                "platform": { "os": os, "architecture": architecture },
            }));
            last = digest;
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
        Ok((self.document(&index, INDEX).await?.0, last))
    }

    /// What the library gets of it, from the open registry.
    pub(crate) async fn pulled(&self, digest: Sha256) -> Result<Vec<u8>> {
        let accepted = [INDEX, MANIFEST];
        let (bytes, _) =
            self.client.pull_manifest_raw(&self.reference(digest), &RegistryAuth::Anonymous, &accepted).await?;
        Ok(bytes.to_vec())
    }

    /// Where the registry keeps the bytes of a digest.
    pub(crate) fn file_of(&self, digest: Sha256) -> PathBuf {
        let hex = digest.to_string();
        self.storage().join("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(&hex).join("data")
    }
}

/// A question, to be changed where a case says so.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) image: Image,
    pub(crate) keyring: Keyring,
    pub(crate) settings: Settings,
}

// === impl Ask ===

impl Ask {
    /// Of a host with which plain HTTP is spoken, without credentials.
    pub(crate) fn plain(host: &str, digest: Sha256) -> Self {
        Self { settings: settings(&[], &[host]), ..Self::tls(host, digest) }
    }

    /// Of a host with which TLS is spoken.
    pub(crate) fn tls(host: &str, digest: Sha256) -> Self {
        let image = Image::new(&format!("{host}/{REPOSITORY}"), digest).expect("an image");
        Self { image, keyring: Keyring::default(), settings: Settings::default() }
    }

    pub(crate) fn with(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// With a pull secret.
    pub(crate) fn login(mut self, key: &str, (user, password): (&str, &str)) -> Self {
        let auth = base64::prelude::BASE64_STANDARD.encode(format!("{user}:{password}"));
        let document = json!({ "auths": { key: { "auth": auth } } }).to_string().into_bytes();
        let data = BTreeMap::from([(".dockerconfigjson".to_owned(), document)]);
        self.keyring.add("kubernetes.io/dockerconfigjson", &data).expect("a pull secret");
        self
    }

    pub(crate) async fn seen(&self) -> std::result::Result<Seen, Error> {
        probe(&self.image, &platform(), &self.keyring, &self.settings).await
    }

    pub(crate) async fn found(&self) -> Result<Found> {
        match self.seen().await? {
            Seen::Found(found) => Ok(found),
            Seen::Hidden(told) => anyhow::bail!("hidden: {told}"),
        }
    }

    pub(crate) async fn hidden(&self) -> Result<String> {
        match self.seen().await? {
            Seen::Hidden(told) => Ok(told),
            Seen::Found(found) => anyhow::bail!("found: {found:?}"),
        }
    }

    /// An error of this kind, with these words.
    pub(crate) async fn fails(&self, kind: ErrorKind, says: &[&str]) -> Result {
        let error = match self.seen().await {
            Err(error) => error,
            Ok(seen) => anyhow::bail!("no error: {seen:?}"),
        };
        ensure!(error.kind == kind, "{kind:?} expected: {:?}: {error}", error.kind);
        ensure!(error.is_temporary() == (kind == ErrorKind::Unreachable), "{error}");
        let text = error.to_string();
        let missing = says.iter().find(|word| !text.contains(**word));
        ensure!(missing.is_none(), "{missing:?} is not in {text}");
        ensure!(text.contains(&self.image.to_string()), "the image is named: {text}");
        Ok(())
    }
}

pub(crate) fn settings(mirrors: &[String], plain: &[&str]) -> Settings {
    let plain: Vec<String> = plain.iter().map(|host| (*host).to_owned()).collect();
    Settings::new(mirrors, &plain, None).expect("settings")
}

pub(crate) fn platform() -> Platform {
    "linux/amd64".parse().expect("a platform")
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256::new(sha2::Sha256::digest(bytes).into())
}
