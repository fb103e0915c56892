//! `novacula-server` as a process: its commands, its signals, and what it costs. Whatever it is asked over the network goes
//! over TLS.
//!
//! Its readiness is what a service manager hears, so that every start here shows that, too.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use proto::v1;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::Client;
use crate::control_plane::{ORGANIZATION, dial, trusting};
use crate::day::Day;
use crate::wait;

/// Ports to choose from: below those that the kernel gives to outgoing connections, and apart from those of `fleet`, so
/// that a control plane that is down finds its own again.
const PORTS: std::ops::Range<u16> = 12_000..19_900;

/// Longest wait for what takes a moment.
pub const SOON: Duration = Duration::from_secs(60);

/// How long the service manager's socket is read before the process is looked at again.
const LOOK: Duration = Duration::from_millis(100);

/// A control plane that was bootstrapped with the organization `acme`; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    program: PathBuf,
    folder: TempDir,
    api: SocketAddr,
    executors: SocketAddr,
    settings: Vec<String>,
    authorities: Option<PathBuf>,
    day: Option<Day>,
    manager: UnixDatagram,
    child: Option<Child>,
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its status.
    pub status: u16,
    /// Everything after the head.
    pub body: String,
}

// === impl Daemon ===

impl Daemon {
    /// Bootstraps one with `program`; it does not run yet.
    ///
    /// # Errors
    /// With what it said.
    pub fn bootstrapped(program: &Path) -> Result<Self> {
        let daemon = Self::empty(program)?;
        daemon.bootstrap()?;
        Ok(daemon)
    }

    /// With nothing on its disk.
    ///
    /// # Errors
    /// The system's.
    pub fn empty(program: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("novacula-daemon-").tempdir()?;
        let manager = UnixDatagram::bind(folder.path().join("manager"))?;
        manager.set_read_timeout(Some(LOOK))?;
        Ok(Self {
            program: program.to_owned(),
            folder,
            api: free_address()?,
            executors: free_address()?,
            settings: Vec::new(),
            authorities: None,
            day: None,
            manager,
            child: None,
        })
    }

    /// Makes organization and tokens.
    ///
    /// # Errors
    /// With what it said.
    pub fn bootstrap(&self) -> Result<()> {
        let tokens = self.tokens();
        let words = ["bootstrap", "--organization", ORGANIZATION, "--token-dir"];
        let made = self.command().args(words).arg(tokens).output().context("start bootstrap")?;
        succeeded(&made).context("bootstrap").map(drop)
    }

    /// Another setting for each start and command from now on: `("--drain-ms", "2000")`.
    pub fn set(&mut self, flag: &str, value: &str) {
        self.settings.extend([flag.to_owned(), value.to_owned()]);
    }

    /// Trusts these authorities on the API listener, instead of its own.
    pub fn trust(&mut self, authorities: PathBuf) {
        self.authorities = Some(authorities);
    }

    /// Runs on another day from now on; none: today.
    pub fn on_day(&mut self, day: Option<Day>) {
        self.day = day;
    }

    /// The program with its data directory and settings, for a command.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--data-dir").arg(self.data_dir()).args(&self.settings).stdin(Stdio::null());
        self.day.iter().for_each(|day| day.set(&mut command));
        command
    }

    /// Starts it, and waits until it tells the service manager that it is ready.
    ///
    /// # Errors
    /// It ended, or was not ready in [`SOON`].
    pub fn start(&mut self) -> Result<()> {
        self.forget()?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = tied(&self.program);
        command.arg("--data-dir").arg(self.data_dir()).arg("run");
        self.day.iter().for_each(|day| day.set(&mut command));
        command.args(["--api-listen", &self.api.to_string(), "--executor-listen", &self.executors.to_string()]);
        command.args(["--log-format", "json"]).args(&self.settings);
        command.env("NOTIFY_SOCKET", self.folder.path().join("manager"));
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        self.child = Some(child.context("start novacula-server")?);
        self.told("READY=1")
    }

    /// Waits until it tells the service manager so.
    ///
    /// # Errors
    /// It ended before it did, or did not in [`SOON`].
    pub fn told(&mut self, state: &str) -> Result<()> {
        let mut message = [0; 512];
        let end = std::time::Instant::now() + SOON;
        while std::time::Instant::now() < end {
            if let Ok(length) = self.manager.recv(&mut message)
                && String::from_utf8_lossy(&message[..length]).lines().any(|line| line == state)
            {
                return Ok(());
            }
            if let Some(child) = &mut self.child
                && let Some(status) = child.try_wait()?
            {
                bail!("it ended with {status}:\n{}", self.last_words());
            }
        }
        bail!("it did not say {state}:\n{}", self.last_words())
    }

    /// Forgets what earlier processes told the service manager.
    fn forget(&self) -> Result<()> {
        self.manager.set_nonblocking(true)?;
        while self.manager.recv(&mut [0; 512]).is_ok() {}
        Ok(self.manager.set_nonblocking(false)?)
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.as_ref().context("it does not run")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("a process id")?;
        kill_process(pid, signal).context("signal novacula-server")
    }

    /// How it ended by itself.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let child = self.child.as_mut().context("it does not run")?;
        let status = wait::until("novacula-server to end", limit, || Ok(child.try_wait()?), Option::is_some);
        let status = status.with_context(|| self.last_words())?;
        self.child = None;
        status.context("an end")
    }

    /// Kills it: nobody is told.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The memory that it holds, in KiB.
    ///
    /// # Errors
    /// It does not run.
    pub fn resident_kib(&self) -> Result<u64> {
        crate::resident::kib(self.child.as_ref().context("it does not run")?.id())
    }

    /// Where people and programs connect.
    #[must_use]
    pub const fn api_addr(&self) -> SocketAddr {
        self.api
    }

    /// Where executors connect.
    #[must_use]
    pub const fn executor_addr(&self) -> SocketAddr {
        self.executors
    }

    /// Its folder: data directory, tokens and log are in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Where bootstrap wrote a token a role.
    #[must_use]
    pub fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    /// The authorities that prove the API listener.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.authorities.clone().unwrap_or_else(|| self.data_dir().join("ca.pem"))
    }

    /// All that it logged.
    ///
    /// # Errors
    /// The system's.
    pub fn logged(&self) -> Result<String> {
        Ok(fs::read_to_string(self.log())?)
    }

    /// The end of its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = self.logged().unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// One who has the token of `role`, as bootstrap wrote it: `owner`, `publisher`, `installation_admin`.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn client(&self, role: &str) -> Result<Client> {
        self.client_through(self.api, role).await
    }

    /// The same through an address that leads to it, or to another replica.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn client_through(&self, address: SocketAddr, role: &str) -> Result<Client> {
        let token = fs::read_to_string(self.tokens().join(format!("{role}.token"))).context(role.to_owned())?;
        let channel = dial(address, trusting(&self.ca())?).await?;
        Ok(Client::new(channel, Some(token.trim())))
    }

    /// A join word for a new executor.
    ///
    /// # Errors
    /// The API's.
    pub async fn join_word(&self, executor: &str) -> Result<String> {
        let request = v1::CreateJoinTokenRequest {
            parent: format!("organizations/{ORGANIZATION}"),
            executor_id: executor.to_owned(),
            ..v1::CreateJoinTokenRequest::default()
        };
        let made = self.client("owner").await?.organizations().create_join_token(request).await?;
        Ok(made.into_inner().secret)
    }

    /// A TLS client that trusts it, shows no certificate, and speaks this protocol.
    ///
    /// # Errors
    /// The authorities cannot be read.
    pub fn tls(&self, alpn: &[u8]) -> Result<rustls::ClientConfig> {
        let mut tls = (*trusting(&self.ca())?).clone();
        tls.alpn_protocols = vec![alpn.to_vec()];
        Ok(tls)
    }

    /// Fetches a page of the API listener.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn get(&self, path: &str) -> Result<Page> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        self.http(request.as_bytes()).await
    }

    /// A number of its metrics page, by name and labels as they stand there.
    ///
    /// # Errors
    /// It does not answer, or counts no such thing.
    pub async fn metric(&self, series: &str) -> Result<f64> {
        let page = self.get("/metrics").await?;
        let number = page.body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        Ok(number.with_context(|| format!("{series} is not counted"))?.trim().parse()?)
    }

    /// Says `request` over HTTP/1.1 and hears the whole answer; it should ask for `connection: close`.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn http(&self, request: &[u8]) -> Result<Page> {
        let tls = self.tls(b"http/1.1")?;
        let tcp = tokio::net::TcpStream::connect(self.api).await?;
        let name = rustls::pki_types::ServerName::IpAddress(self.api.ip().into());
        let mut stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls)).connect(name, tcp).await?;
        stream.write_all(request).await?;
        let mut answer = Vec::new();
        tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.context("no answer")??;
        let text = String::from_utf8_lossy(&answer);
        let (head, body) = text.split_once("\r\n\r\n").context("an answer with a head")?;
        let status = head.split(' ').nth(1).context("a status")?.parse()?;
        Ok(Page { status, body: body.to_owned() })
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs `program` so that it is killed even when the test is.
#[must_use]
pub fn tied(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// What a program printed, when it did what it was asked.
///
/// # Errors
/// With what it said otherwise.
pub fn succeeded(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "it ended with {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// An address that stays free: no two tests of this process get one port.
///
/// # Errors
/// None is free.
pub fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let size = PORTS.end - PORTS.start;
    let first = u16::try_from(std::process::id() * 61 % u32::from(size))?;
    for _ in 0..size {
        let offset = (u32::from(first) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(size);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORTS.start + u16::try_from(offset)?));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port of {PORTS:?} is free")
}
