//! Signing and publishing a release with this checkout's development key. A control plane never does this; a publisher does.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Context as _;
use minisign::SecretKeyBox;

use crate::build::workspace;
use crate::novacula::{As, Novacula};

/// Signs `binary` as `version` and publishes it.
pub(crate) fn publish(novacula: &Novacula, binary: &Path, version: &str, folder: &Path) -> anyhow::Result<()> {
    let file = folder.join(format!("novacula-agent-{version}"));
    fs::copy(binary, &file).context("copy the release's binary")?;
    let path = file.to_str().context("a path of text")?;
    let notes = folder.join(format!("notes-{version}.md"));
    fs::write(&notes, format!("What changed in {version}.\n")).context("write release notes")?;
    let notes = notes.to_str().context("a path of text")?;

    let release = format!("agent-{version}");
    novacula.succeed(As::Publisher, &["release", "create", "agent", version, "--notes-file", notes])?;
    let line = novacula.succeed(As::Publisher, &["release", "manifest", path, "--version", version])?;
    sign(&file, line.trim_end())?;
    novacula.succeed(As::Publisher, &["release", "upload", &release, path])?;
    novacula.succeed(As::Publisher, &["release", "publish", &release])?;
    Ok(())
}

/// Writes `<file>.minisig`, as `minisign -S -t "<manifest>"` does.
fn sign(file: &Path, manifest: &str) -> anyhow::Result<()> {
    let key = workspace().join("target/development-key/release.key");
    let text = fs::read_to_string(&key).with_context(|| format!("read {}", key.display()))?;
    let key = SecretKeyBox::from_string(&text).and_then(|key| key.into_unencrypted_secret_key());
    let key = key.context("read the development key")?;
    let content = File::open(file).context("open the release's binary")?;
    let signature = minisign::sign(None, &key, content, Some(manifest), None).context("sign")?;
    let path = file.with_file_name(format!("{}.minisig", file.file_name().unwrap_or_default().to_string_lossy()));
    fs::write(path, signature.to_string()).context("write the signature")
}
