//! Builds the real binaries, and says where they are.
//!
//! The demo itself depends on none of their crates: cargo would build those twice, once for it and once for them.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// The binaries of the story.
pub(crate) struct Binaries {
    by_name: HashMap<String, PathBuf>,
}

impl Binaries {
    /// Builds the programs of some packages. Runs cargo; it lets go of its lock before it runs us, so that this does not wait for itself.
    pub(crate) fn build(packages: &[&str]) -> anyhow::Result<Self> {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut build = Command::new(cargo);
        build.args(["build", "--message-format=json-render-diagnostics"]);
        // As we were built ourselves: a debug demo tells the same story, and is there sooner.
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        let output = build
            .args(packages.iter().flat_map(|package| ["-p", package]))
            .arg("--bins")
            .current_dir(workspace())
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("run cargo")?;
        if !output.status.success() {
            bail!("cargo build ended with {}", output.status);
        }
        let text = String::from_utf8(output.stdout).context("read cargo's messages")?;
        Ok(Self { by_name: text.lines().filter_map(executable).collect() })
    }

    /// Those that are in a folder already.
    pub(crate) fn within(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.canonicalize().with_context(|| format!("find {}", folder.display()))?;
        let entries = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
        let mut by_name = HashMap::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("read {}", folder.display()))?;
            if let Ok(name) = entry.file_name().into_string() {
                by_name.insert(name, entry.path());
            }
        }
        Ok(Self { by_name })
    }

    /// One of them.
    pub(crate) fn path(&self, name: &str) -> anyhow::Result<&Path> {
        self.by_name.get(name).map(PathBuf::as_path).with_context(|| format!("there is no {name} among the binaries"))
    }
}

fn executable(line: &str) -> Option<(String, PathBuf)> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let path = PathBuf::from(message.get("executable")?.as_str()?);
    let name = path.file_name()?.to_str()?.to_owned();
    Some((name, path))
}

/// The checkout.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
