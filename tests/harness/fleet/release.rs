//! Releases, signed with the checkout's development key as a publisher would with minisign.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use image::manifest::Image;
use minisign::SecretKeyBox;

use super::control_plane::{As, ControlPlane};
use crate::parts::workspace;

/// Creates, signs, uploads and publishes `binary` as `version`.
///
/// # Errors
/// With what the control plane said.
pub fn publish(control: &ControlPlane, binary: &Path, version: &str, folder: &Path) -> Result<()> {
    let path = binary.to_str().context("a path of text")?;
    let notes = folder.join(format!("notes-{version}.md"));
    fs::write(&notes, format!("What changed in {version}.\n"))?;
    let notes = notes.to_str().context("a path of text")?;
    let name = format!("agent-{version}");
    let publisher = |words: &[&str]| control.succeed(As::Publisher, words);
    publisher(&["release", "create", "agent", version, "--notes-file", notes])?;
    let line = publisher(&["release", "manifest", path, "--version", version])?;
    sign(binary, line.trim_end())?;
    publisher(&["release", "upload", &name, path])?;
    publisher(&["release", "publish", &name])?;
    Ok(())
}

/// Creates, signs, uploads and publishes an operator's release: an image by digest. What is signed is the image's manifest, as the
/// registry holds it.
///
/// # Errors
/// With what the control plane said.
pub fn publish_image(
    control: &ControlPlane,
    repository: &str,
    image: &Image,
    version: &str,
    folder: &Path,
) -> Result<()> {
    let file = folder.join(format!("operator-{version}.json"));
    fs::write(&file, image.manifest().content())?;
    let signature = format!("{}.minisig", file.to_str().context("a path of text")?);
    let name = format!("operator-{version}");
    let named = ["--image", repository, "--digest", image.digest().as_str()];
    let publisher = |words: &[&str]| control.succeed(As::Publisher, words);
    publisher(&["release", "create", "operator", version])?;
    let line = publisher(&[&["release", "manifest", "--version", version][..], &named].concat())?;
    sign(&file, line.trim_end())?;
    publisher(&[&["release", "upload", &name, "--signature", &signature][..], &named].concat())?;
    publisher(&["release", "publish", &name])?;
    Ok(())
}

/// Writes `<file>.minisig`, as `minisign -S -t "<manifest>"` does.
fn sign(file: &Path, manifest: &str) -> Result<()> {
    let key = workspace().join("target/development-key/release.key");
    let text = fs::read_to_string(&key).with_context(|| format!("read {}", key.display()))?;
    let key = SecretKeyBox::from_string(&text)
        .and_then(SecretKeyBox::into_unencrypted_secret_key)
        .context("read the development key")?;
    let bytes = File::open(file).context("open the release's binary")?;
    let signature = minisign::sign(None, &key, bytes, Some(manifest), None).context("sign")?;
    let mut name = file.as_os_str().to_owned();
    name.push(".minisig");
    fs::write(&name, signature.to_string()).context("write the signature")
}
