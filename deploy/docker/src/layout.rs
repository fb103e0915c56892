//! An image as a file: the OCI layout in a tar, which `ctr images import`, `podman load` and `skopeo copy oci-archive:` read.
//!
//! A second table of contents, Docker's own, makes the same file one that `docker load` reads.

use std::{collections::BTreeMap, fs, path::Path};

use oci_client::Reference;
use serde_json::json;

use crate::{
    Error, Result,
    blob::Blob,
    manifest::{INDEX, Image},
    tree::Tree,
};

/// Writes an image and what is said about it.
///
/// `name` is what it is called once it has been loaded, such as `registry.example/novacula-server:1.0.0`.
///
/// # Errors
/// The file cannot be written.
pub fn write(image: &Image, name: &str, path: &Path) -> Result<()> {
    let archive = pack(image, name)?;
    fs::write(path, archive).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// The bytes of that file.
///
/// # Errors
/// The name is none.
pub fn pack(image: &Image, name: &str) -> Result<Vec<u8>> {
    let reference: Reference = name.parse().map_err(|_| Error::Name { name: name.to_owned() })?;
    let tag = reference.tag().unwrap_or("latest");
    let mut descriptor = image.manifest().descriptor();
    // containerd reads the whole name, registry and all; others read the tag.
    descriptor["annotations"] =
        json!({ "io.containerd.image.name": reference.whole(), "org.opencontainers.image.ref.name": tag });
    let mut manifests = vec![descriptor];
    manifests.extend(image.about().iter().map(super::manifest::About::descriptor));
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });

    let place = |blob: &Blob| format!("blobs/sha256/{}", blob.digest().digits());
    let layers: Vec<_> = image.layers().iter().map(|layer| place(layer.blob())).collect();
    let docker = json!([{ "Config": place(image.configuration()), "RepoTags": [name], "Layers": layers }]);

    let mut blobs: BTreeMap<&str, &Blob> = BTreeMap::new();
    let about = image.about().iter().flat_map(|about| [&about.empty, &about.document, &about.manifest]);
    for blob in image.blobs().chain([image.manifest()]).chain(about) {
        blobs.insert(blob.digest().digits(), blob);
    }
    let mut tree = Tree::default();
    tree.file("oci-layout", json!({ "imageLayoutVersion": "1.0.0" }).to_string());
    tree.file("index.json", index.to_string());
    tree.file("manifest.json", docker.to_string());
    for blob in blobs.into_values() {
        tree.file(&place(blob), blob.content());
    }
    crate::layer::archive(&tree).map_err(Error::Pack)
}
