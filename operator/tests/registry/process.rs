//! `docker-registry` as a process, over a folder that several of them may share.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::Result;

/// What to do where it is missing.
pub(crate) const REMEDY: &str = "needs docker-registry: run deploy/dev/parts";

/// The one user.
pub(crate) const USER: (&str, &str) = ("novacula", "correct horse");

/// [`USER`] as `htpasswd -B` writes it, with the fewest rounds that there are.
const HTPASSWD: &str = "novacula:$2b$04$CtW3AzQ4XgpjknNSi//pc.QeerGC7WJ3/CifPgMbM6JLvC5ZXUtVW\n";

/// Longest wait for a start.
const SOON: Duration = Duration::from_secs(20);

/// Who is let in, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// Everybody, by plain HTTP.
    Open,
    /// [`USER`], by plain HTTP.
    Password,
    /// Everybody, by TLS with an authority of its own.
    Tls,
}

/// A running registry; it ends with this.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    port: u16,
    folder: TempDir,
    authority: String,
}

/// Where `deploy/dev/parts` unpacks it, or where PATH has it.
pub(crate) fn program() -> Option<PathBuf> {
    let parts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.parts/bin/containerd");
    let beside = fs::canonicalize(parts).ok().and_then(|containerd| Some(containerd.parent()?.join("docker-registry")));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("docker-registry"));
    beside.into_iter().chain(found).find(|candidate| candidate.is_file())
}

// === impl Process ===

impl Process {
    pub(crate) fn start(storage: &Path, entrance: Entrance) -> Result<Self> {
        // Another process may take the port before the registry does: then it says so, and another one is chosen.
        for _ in 0..5 {
            if let Some(started) = Self::try_start(storage, entrance)? {
                return Ok(started);
            }
        }
        bail!("docker-registry does not start")
    }

    fn try_start(storage: &Path, entrance: Entrance) -> Result<Option<Self>> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let folder = TempDir::new()?;
        let path = |name: &str| folder.path().join(name);
        let mut http = serde_json::json!({ "addr": format!("127.0.0.1:{port}") });
        let mut config = serde_json::json!({
            "version": 0.1,
            "log": { "level": "warn" },
            "storage": { "filesystem": { "rootdirectory": storage } },
        });
        let mut authority = String::new();
        match entrance {
            Entrance::Open => {}
            Entrance::Password => {
                fs::write(path("htpasswd"), HTPASSWD)?;
                config["auth"] = serde_json::json!({ "htpasswd": { "realm": "test", "path": path("htpasswd") } });
            }
            Entrance::Tls => {
                let key = rcgen::KeyPair::generate()?;
                let ca = rcgen::CertifiedIssuer::self_signed(authority_parameters()?, rcgen::KeyPair::generate()?)?;
                let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &ca)?;
                fs::write(path("tls.pem"), leaf.pem())?;
                fs::write(path("tls.key"), key.serialize_pem())?;
                http["tls"] = serde_json::json!({ "certificate": path("tls.pem"), "key": path("tls.key") });
                authority = ca.pem();
            }
        }
        config["http"] = http;
        // JSON is YAML.
        fs::write(path("config.yml"), config.to_string())?;
        let program = program().context(REMEDY)?;
        let log = File::create(path("log"))?;
        let mut child = Command::new(program)
            .arg("serve")
            .arg(path("config.yml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if child.try_wait()?.is_some() {
                return Ok(None);
            }
            if begun.elapsed() > SOON {
                child.kill()?;
                bail!("docker-registry is not up: {}", fs::read_to_string(path("log"))?);
            }
            std::thread::yield_now();
        }
        Ok(Some(Self { child, port, folder, authority }))
    }

    /// `127.0.0.1:5000`.
    pub(crate) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The authority behind its TLS, in PEM.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// Ends it; its port answers nobody from now on.
    pub(crate) fn stop(&mut self) -> Result {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// What it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

fn authority_parameters() -> Result<rcgen::CertificateParams> {
    let mut parameters = rcgen::CertificateParams::new(Vec::new())?;
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    Ok(parameters)
}
