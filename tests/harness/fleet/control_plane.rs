//! `novacula-server` as a process that can be killed and started again, asked as people ask it: through `novacula`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;

use super::process::{Process, last_lines};
use super::{Programs, SOON};
use crate::wait;

/// Ports to choose from: below those that the kernel gives to outgoing connections, so that nobody takes one while the
/// control plane is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Whose token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum As {
    /// May do everything in the organization.
    Owner,
    /// Changes the release catalog.
    Publisher,
}

/// Shorter than an administrator would set it, so that what an executor says with it is known soon.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A control plane with the organization `acme`.
#[derive(Debug)]
pub struct ControlPlane {
    process: Option<Process>,
    programs: Programs,
    folder: PathBuf,
    api: SocketAddr,
    executors: SocketAddr,
    probation: Duration,
    heartbeat: Duration,
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Bootstraps a control plane in `folder` and starts it, on loopback.
    pub(super) fn start(programs: &Programs, folder: &Path, probation: Duration) -> Result<Self> {
        Self::start_at(programs, folder, probation, Ipv4Addr::LOCALHOST.into())
    }

    /// The same, where executors come to another address of this machine.
    ///
    /// # Errors
    /// With what did not come up.
    pub fn start_at(programs: &Programs, folder: &Path, probation: Duration, executors: IpAddr) -> Result<Self> {
        let mut control = Self {
            process: None,
            programs: programs.clone(),
            folder: folder.to_owned(),
            api: free_address(Ipv4Addr::LOCALHOST.into())?,
            executors: free_address(executors)?,
            probation,
            heartbeat: HEARTBEAT,
        };
        let made = Command::new(&programs.server)
            .args(["bootstrap", "--organization", "acme", "--data-dir"])
            .arg(control.data())
            .arg("--token-dir")
            .arg(control.tokens())
            .stdin(Stdio::null())
            .output()
            .context("start novacula-server bootstrap")?;
        ensure!(
            made.status.success(),
            "bootstrap ended with {}: {}",
            made.status,
            String::from_utf8_lossy(&made.stderr)
        );
        control.turn_on()?;
        Ok(control)
    }

    /// Starts it on what it left behind, where it was before.
    ///
    /// # Errors
    /// When it does not accept connections.
    pub fn turn_on(&mut self) -> Result<()> {
        let set_up = |command: &mut Command| {
            command.arg("run").arg("--data-dir").arg(self.data());
            command.args(["--api-listen", &self.api.to_string()]);
            command.args(["--executor-listen", &self.executors.to_string()]);
            command.args(["--probation-ms", &self.probation.as_millis().to_string()]);
            command.args(["--heartbeat-interval-ms", &self.heartbeat.as_millis().to_string()]);
            command.args(["--log-format", "text"]);
        };
        let mut process = Process::start(&self.programs.server, set_up, &self.log())?;
        for address in [self.api, self.executors] {
            let listening = || {
                process.expect_alive().context("novacula-server")?;
                Ok(TcpStream::connect(address).is_ok())
            };
            wait::until("the control plane to listen", SOON, listening, |yes| *yes)?;
        }
        self.process = Some(process);
        Ok(())
    }

    /// How often executors say that they are alive, from the next [`turn_on`](Self::turn_on) on.
    pub const fn set_heartbeat(&mut self, interval: Duration) {
        self.heartbeat = interval;
    }

    /// Kills it: nobody is told.
    pub fn turn_off(&mut self) {
        self.process = None;
    }

    /// Stops it in its tracks: connections stay, and nobody answers. [`go_on`](Self::go_on) lets it go on.
    ///
    /// # Errors
    /// When it is off.
    pub fn hold(&self) -> Result<()> {
        self.process.as_ref().context("it is off")?.signal(Signal::STOP)
    }

    /// See [`hold`](Self::hold).
    ///
    /// # Errors
    /// When it is off.
    pub fn go_on(&self) -> Result<()> {
        self.process.as_ref().context("it is off")?.signal(Signal::CONT)
    }

    /// Its process.
    ///
    /// # Errors
    /// When it is off.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("it is off")?.id())
    }

    /// Runs `novacula`, whatever it exits with.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn output(&self, role: As, words: &[&str]) -> Result<Output> {
        let mut command = Command::new(&self.programs.novacula);
        command.args(["--server", &format!("https://{}", self.api)]);
        command.args(["--organization", "acme", "--ca"]);
        command.arg(self.data().join("ca.pem"));
        command.arg("--token-file").arg(self.token(role)).args(words);
        // Nothing of the person who runs the tests.
        command.env("NOVACULA_CONFIG", self.folder.join("no-config.toml"));
        command.stdin(Stdio::null()).output().context("start novacula")
    }

    /// Runs lines of a page as its reader would, logged in as `role`; each has to succeed. Returns what they printed.
    ///
    /// # Errors
    /// With what was said.
    pub fn shell(&self, role: As, script: &str) -> Result<String> {
        let programs = self.folder.join("programs");
        std::fs::create_dir_all(&programs)?;
        let novacula = programs.join("novacula");
        if !novacula.exists() {
            std::os::unix::fs::symlink(&self.programs.novacula, &novacula)?;
        }
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("bash");
        command.args(["-e", "-c", script]).env("PATH", format!("{}:{path}", programs.display()));
        command.env("NOVACULA_SERVER", format!("https://{}", self.api)).env("NOVACULA_CA", self.data().join("ca.pem"));
        command.env("NOVACULA_TOKEN_FILE", self.token(role)).env("NOVACULA_ORGANIZATION", "acme");
        command.env("NOVACULA_CONFIG", self.folder.join("no-config.toml"));
        let output = command.stdin(Stdio::null()).output().context("start bash")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{script}\nended with {}: {said}", output.status);
        String::from_utf8(output.stdout).context("read what was printed")
    }

    /// Runs `novacula`; it has to succeed.
    ///
    /// # Errors
    /// With what it said.
    pub fn succeed(&self, role: As, words: &[&str]) -> Result<String> {
        let output = self.output(role, words)?;
        if !output.status.success() {
            bail!(
                "novacula {} ended with {}: {}\n--- control plane:\n{}",
                words.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stderr),
                self.last_words()
            );
        }
        String::from_utf8(output.stdout).context("read what novacula printed")
    }

    /// Runs `novacula --output json`.
    ///
    /// # Errors
    /// As [`succeed`](Self::succeed).
    pub fn json(&self, role: As, words: &[&str]) -> Result<Value> {
        let words: Vec<_> = [words, &["--output", "json"]].concat();
        let text = self.succeed(role, &words)?;
        serde_json::from_str(&text).with_context(|| format!("read novacula's JSON: {text}"))
    }

    /// The end of its log.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_lines(&self.log())
    }

    /// Its data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("server")
    }

    /// Where people and programs connect.
    #[must_use]
    pub const fn api_addr(&self) -> SocketAddr {
        self.api
    }

    /// Where executors connect.
    #[must_use]
    pub const fn executors_addr(&self) -> SocketAddr {
        self.executors
    }

    /// The token of a role, as bootstrap wrote it.
    ///
    /// # Errors
    /// The system's.
    pub fn secret(&self, role: As) -> Result<String> {
        let token = std::fs::read_to_string(self.token(role)).context("read a token")?;
        Ok(token.trim().to_owned())
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    fn token(&self, role: As) -> PathBuf {
        self.tokens().join(match role {
            As::Owner => "owner.token",
            As::Publisher => "publisher.token",
        })
    }

    fn log(&self) -> PathBuf {
        self.folder.join("server.log")
    }
}

/// An address that stays free: no two tests of this process get one port, and those of other processes begin elsewhere.
fn free_address(host: IpAddr) -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let size = PORTS.end - PORTS.start;
    let first = u16::try_from(std::process::id() * 97 % u32::from(size))?;
    for _ in 0..size {
        let offset = (first + NEXT.fetch_add(1, Ordering::Relaxed) % size) % size;
        let address = SocketAddr::from((host, PORTS.start + offset));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no port of {PORTS:?} is free")
}
