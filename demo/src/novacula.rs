//! The command line, as the reader would use it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};
use serde_json::Value;

/// `novacula` with a server, an authority and a token.
pub(crate) struct Novacula {
    binary: PathBuf,
    server: String,
    ca: PathBuf,
    tokens: PathBuf,
}

/// Whose token.
#[derive(Clone, Copy)]
pub(crate) enum As {
    /// May deploy in the organization.
    Owner,
    /// Changes the release catalog.
    Publisher,
}

impl Novacula {
    pub(crate) fn new(binary: &Path, server: String, ca: PathBuf, tokens: PathBuf) -> Self {
        Self { binary: binary.to_owned(), server, ca, tokens }
    }

    /// Runs it, whatever it exits with.
    pub(crate) fn output(&self, role: As, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(&self.binary);
        command.args(["--server", &self.server, "--organization", "acme", "--ca"]).arg(&self.ca);
        command.arg("--token-file").arg(self.token_file(role)).args(arguments);
        command.stdin(Stdio::null()).output().context("run novacula")
    }

    /// Runs it; it has to succeed.
    pub(crate) fn succeed(&self, role: As, arguments: &[&str]) -> anyhow::Result<String> {
        let output = self.output(role, arguments)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("novacula {} ended with {}:\n{said}", arguments.join(" "), output.status);
        }
        String::from_utf8(output.stdout).context("read novacula's output")
    }

    /// Runs it with `--output json`.
    pub(crate) fn json(&self, role: As, arguments: &[&str]) -> anyhow::Result<Value> {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        serde_json::from_str(&self.succeed(role, &arguments)?).context("read novacula's JSON")
    }

    /// How a reader would begin the line.
    pub(crate) fn line(&self) -> String {
        let token = self.token_file(As::Owner);
        let (binary, ca) = (self.binary.display(), self.ca.display());
        format!("{binary} --server {} --ca {ca} --token-file {} --organization acme", self.server, token.display())
    }

    /// The same call without us.
    pub(crate) fn grpcurl(&self, what: &str) -> String {
        let address = self.server.trim_start_matches("https://");
        let (ca, token) = (self.ca.display(), self.token_file(As::Owner));
        format!("grpcurl -cacert {ca} -H \"authorization: Bearer $(cat {})\" {address} {what}", token.display())
    }

    fn token_file(&self, role: As) -> PathBuf {
        self.tokens.join(match role {
            As::Owner => "owner.token",
            As::Publisher => "publisher.token",
        })
    }
}
