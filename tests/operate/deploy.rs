//! What lies in `deploy/` for replicas: valid to the tools that read it, of one piece, and run as it is written, with only
//! addresses and paths put in.

mod compose;

mod kubernetes;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::daemon::{SOON, free_address, succeeded, tied};
use harness::parts::Part;
use harness::wait;
use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Result, server};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = kubernetes::trials();
    trials.extend(compose::trials());
    trials
}

/// Settings that were written for a container, and where this machine has what they name.
struct Written {
    folder: PathBuf,
    /// As the arguments name the settings' file.
    named: &'static str,
    environment: Vec<(&'static str, String)>,
    api: SocketAddr,
    executors: SocketAddr,
}

/// A server that runs so; killed when dropped.
struct Running {
    child: Child,
}

// === impl Written ===

impl Written {
    /// Takes over `settings`, which arguments call `named`; `changes` are texts and what is put in their place.
    fn new(folder: &Path, named: &'static str, settings: &str, changes: &[(&str, &str)]) -> Result<Self> {
        let (api, executors) = (free_address()?, free_address()?);
        let data = folder.join("data");
        let here = [
            ("/var/lib/novacula-server", data.to_str().context("a path of text")?),
            ("0.0.0.0:7443", &api.to_string()),
            ("0.0.0.0:7444", &executors.to_string()),
        ];
        let mut text = settings.to_owned();
        for (from, to) in here.iter().chain(changes) {
            ensure!(text.contains(from), "the settings say {from}: {settings}");
            text = text.replace(from, to);
        }
        fs::write(folder.join("server.toml"), text)?;
        Ok(Self { folder: folder.to_owned(), named, environment: Vec::new(), api, executors })
    }

    /// `novacula-server` with arguments as they are written.
    fn command(&self, mut command: Command, arguments: &Value) -> Result<Command> {
        let settings = self.folder.join("server.toml");
        for argument in arguments.as_array().context("a list of arguments")? {
            match argument.as_str().context("arguments are text")? {
                named if named == self.named => command.arg(&settings),
                other => command.arg(other),
            };
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value))).stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a command to its end; what it printed.
    fn carry_out(&self, arguments: &Value) -> Result<String> {
        let output: Output = self.command(Command::new(server()), arguments)?.output()?;
        succeeded(&output).with_context(|| arguments.to_string())
    }

    /// Starts a server.
    fn start(&self, arguments: &Value) -> Result<Running> {
        let log = fs::File::create(self.folder.join("log"))?;
        let mut command = self.command(tied(server()), arguments)?;
        Ok(Running { child: command.stdout(log.try_clone()?).stderr(log).spawn()? })
    }

    /// The status of a page, asked for as a kubelet does: over TLS, and without judging the certificate.
    fn status(&self, address: SocketAddr, path: &str) -> Result<String> {
        let mut curl = Command::new(Part::Curl.find()?);
        curl.args(["-sk", "--max-time", "5", "--output", "/dev/null", "--write-out", "%{http_code}"]);
        Ok(String::from_utf8(curl.arg(format!("https://{address}{path}")).output()?.stdout)?)
    }

    /// Waits until a page of the API listener is there.
    fn answers(&self, path: &str) -> Result {
        let seen = wait::until(path, SOON, || self.status(self.api, path), |status| status == "200");
        seen.with_context(|| fs::read_to_string(self.folder.join("log")).unwrap_or_default()).map(drop)
    }
}

// === impl Running ===

impl Running {
    /// Ends it as a container's engine does; how long it took.
    fn end(mut self) -> Result<Duration> {
        let begin = Instant::now();
        kill_process(Pid::from_raw(i32::try_from(self.child.id())?).context("a process")?, Signal::TERM)?;
        let status = wait::until("an end", SOON, || Ok(self.child.try_wait()?), Option::is_some)?;
        ensure!(status.is_some_and(|status| status.success()), "{status:?}");
        Ok(begin.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What lies at a place in a document, which has to be there.
fn at<'v>(value: &'v Value, place: &str) -> Result<&'v Value> {
    value.pointer(place).with_context(|| format!("{place} in {value}"))
}

/// The same, of text.
fn text<'v>(value: &'v Value, place: &str) -> Result<&'v str> {
    at(value, place)?.as_str().with_context(|| format!("{place} is text"))
}

/// The same, of a list.
fn list<'v>(value: &'v Value, place: &str) -> Result<&'v Vec<Value>> {
    at(value, place)?.as_array().with_context(|| format!("{place} is a list"))
}

/// The same, of a number.
fn number(value: &Value, place: &str) -> Result<u64> {
    at(value, place)?.as_u64().with_context(|| format!("{place} is a number"))
}
