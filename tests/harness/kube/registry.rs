//! Registries on this machine: open, behind a password, behind TLS.

use std::{
    fs,
    fs::File,
    io::Write as _,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use image::{
    blob::Digest,
    manifest::Image,
    push::{self, Access},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;

use super::packages;
use crate::wait;

/// Who may come in where a password is asked for.
pub const USER: &str = "puller";
/// And by what.
pub const PASSWORD: &str = "let-me-pull";
/// The password as `htpasswd -B` writes it.
const HASHED: &str = "$2b$04$N9Kr1rNaOaLmTTBUA/s3ieq5NQA8NgcphCNnjddPWgig.9DCECJE6";

const SOON: Duration = Duration::from_secs(30);

/// How one gets in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Anyone, by HTTP.
    Open,
    /// Who has the password, by HTTP.
    Password,
    /// Anyone, by TLS under an authority of its own.
    Tls,
    /// Who has the password, by TLS.
    TlsAndPassword,
}

/// A registry (Debian's docker-registry); killed when dropped, and its content with it.
#[derive(Debug)]
pub struct Registry {
    folder: TempDir,
    address: SocketAddr,
    door: Door,
    process: Mutex<Option<Child>>,
    pushing: Mutex<()>,
}

// === impl Door ===

impl Door {
    fn tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsAndPassword)
    }

    fn password(self) -> bool {
        matches!(self, Self::Password | Self::TlsAndPassword)
    }
}

// === impl Registry ===

impl Registry {
    /// An empty registry at an address of this machine: a cluster's, so that its pods can reach it, or loopback.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(address: IpAddr, door: Door) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("novacula-registry-").tempdir()?;
        let address = TcpListener::bind((address, 0))?.local_addr()?;
        let registry = Self { folder, address, door, process: Mutex::new(None), pushing: Mutex::default() };
        registry.configure()?;
        registry.start_again()?;
        Ok(registry)
    }

    /// Starts it where it was, with what it had.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_again(&self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        // It lives as long as the pipe, not as long as the thread that starts it: it may serve the trials of other threads. What it has
        // goes with whoever started it, too, unless that one says otherwise.
        let mut command = Command::new("sh");
        command
            .args(["-c", "\"$@\" & read -r _; kill -KILL $!; wait", "sh"])
            .arg(packages()?.join("bin/docker-registry"));
        command.arg("serve").arg(self.folder.path().join("config.yml"));
        let child = command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        *self.process() = Some(child);
        let look = || Ok(TcpStream::connect_timeout(&self.address, SOON).is_ok());
        wait::until("the registry", SOON, look, |there| *there).map(drop).with_context(|| self.logged())
    }

    /// Kills it; what it has stays.
    pub fn kill(&self) {
        if let Some(mut child) = self.process().take() {
            let _ = child.stdin.take().map(|mut pipe| pipe.write_all(b"kept\n"));
            let _ = child.wait();
        }
    }

    /// Kills it, and removes what it has.
    pub(super) fn end(&self) {
        self.kill();
        let _ = fs::remove_dir_all(self.folder.path());
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As clients write it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.door.tls() { "https" } else { "http" }, self.address)
    }

    /// The certificate of the authority that vouches for it, where there is one.
    #[must_use]
    pub fn authority(&self) -> Option<PathBuf> {
        self.door.tls().then(|| self.folder.path().join("authority.pem"))
    }

    /// What pods call an image of `name` (with `:tag` or `@sha256:…`).
    #[must_use]
    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// What pods call an image by its digest.
    #[must_use]
    pub fn pinned(&self, name: &str, digest: &Digest) -> String {
        self.reference(&format!("{name}@{digest}"))
    }

    /// The content of a pull secret (`.dockerconfigjson`) for it.
    #[must_use]
    pub fn pull_secret(&self) -> String {
        let address = self.address.to_string();
        json!({ "auths": { address: { "username": USER, "password": PASSWORD } } }).to_string()
    }

    /// Puts an image into it as `name:tag`.
    ///
    /// # Errors
    /// It refuses.
    pub fn push(&self, image: &Image, name: &str) -> Result<Digest> {
        let access = Access {
            credentials: self.door.password().then(|| (USER.to_owned(), PASSWORD.to_owned())),
            authorities: self.authority(),
            plain_http: !self.door.tls(),
        };
        let name = self.reference(name);
        // One at a time: two that bring the same blob at once are told that it is there before it is, and lose their manifest.
        let _turn = self.pushing.lock().unwrap_or_else(PoisonError::into_inner);
        // On a thread of its own: whoever asks may be on a runtime, where another one cannot be entered.
        thread::scope(|scope| {
            let send = scope.spawn(|| -> Result<Digest> {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(runtime.block_on(push::push(image, &name, &access))?)
            });
            send.join().map_err(|_| anyhow!("the push panicked"))?
        })
    }

    /// What it logged.
    #[must_use]
    pub fn logged(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn configure(&self) -> Result<()> {
        let at = |name: &str| self.folder.path().join(name);
        let mut http = json!({ "addr": self.address.to_string() });
        if self.door.tls() {
            certify(self.folder.path(), self.address.ip())?;
            http["tls"] = json!({ "certificate": at("certificate.pem"), "key": at("key.pem") });
        }
        let mut configuration = json!({
            "version": 0.1,
            "log": { "level": "warn" },
            "storage": { "filesystem": { "rootdirectory": at("content") }, "delete": { "enabled": true } },
            "http": http,
        });
        if self.door.password() {
            fs::write(at("passwords"), format!("{USER}:{HASHED}\n"))?;
            configuration["auth"] = json!({ "htpasswd": { "realm": "registry", "path": at("passwords") } });
        }
        // JSON is YAML.
        Ok(fs::write(at("config.yml"), configuration.to_string())?)
    }

    fn process(&self) -> MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.kill();
    }
}

fn certify(folder: &Path, address: IpAddr) -> Result<()> {
    let (authority_key, key) = (KeyPair::generate()?, KeyPair::generate()?);
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);
    let signed = CertificateParams::new(vec![address.to_string()])?.signed_by(&key, &issuer)?;
    fs::write(folder.join("authority.pem"), certificate.pem())?;
    fs::write(folder.join("certificate.pem"), signed.pem())?;
    Ok(fs::write(folder.join("key.pem"), key.serialize_pem())?)
}
