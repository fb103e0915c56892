//! A real control plane, a real host with a real agent, and signed releases of other editions of it.
//!
//! ```text
//! ControlPlane   novacula-server as a process on the host's loopback; asked through the novacula command line
//! Host           web-1: a lab under systemd, or a folder with `novacula-agent run --supervise`
//! Edition        the agent as any version, good or bad in one exact way, as a binary of its own
//! ```
//!
//! Windows are shortened by what an administrator could set: the control plane's probation, the agent's dead-man window,
//! drop-ins. What is installed stays as it is.

pub mod edition;

pub mod control_plane;

pub mod release;

pub mod host;

mod process;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::wait;
use control_plane::{As, ControlPlane};
use edition::Edition;
use host::Host;

/// The one executor of a fleet.
pub const NAME: &str = "web-1";

/// The version that every host begins with.
pub const FIRST: &str = "1.0.0";

/// Longest wait for what takes a second or two.
pub const SOON: Duration = Duration::from_secs(60);

/// Where the products' programs are; only a suite is told by cargo.
#[derive(Clone, Debug)]
pub struct Programs {
    /// `novacula-server`.
    pub server: PathBuf,
    /// `novacula`.
    pub novacula: PathBuf,
    /// The agent that is told by its last line who it is: see [`edition`].
    pub agent: PathBuf,
}

/// Who restarts the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// systemd in a lab, with the units of `novacula-agent install`.
    Systemd,
    /// `novacula-agent run --supervise`.
    Supervise,
}

/// How fast things go.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The control plane's probation.
    pub probation: Duration,
    /// The agent's dead-man window.
    pub window: Duration,
}

/// A control plane and a host with an enrolled agent that is online.
#[derive(Debug)]
pub struct Fleet {
    /// The host; ends before the control plane.
    pub host: Host,
    /// The control plane.
    pub control: ControlPlane,
    programs: Programs,
    folder: TempDir,
}

// === impl Fleet ===

impl Fleet {
    /// Starts a control plane, and a host whose agent 1.0.0 is enrolled and online.
    ///
    /// # Errors
    /// With what did not come up, and its last lines.
    pub fn start(programs: &Programs, manager: Manager, pace: Pace) -> Result<Self> {
        let builder = host::lab("web");
        Self::start_on(programs, manager, pace, builder)
    }

    /// The same on a lab of other parts; `builder` counts under systemd alone.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_on(programs: &Programs, manager: Manager, pace: Pace, builder: crate::lab::Builder) -> Result<Self> {
        // Not in /tmp, which may be in memory: an agent refuses to upgrade where its state would be forgotten.
        let folder = tempfile::Builder::new().prefix("novacula-fleet-").tempdir_in("/var/tmp")?;
        let control = ControlPlane::start(programs, folder.path(), pace.probation)?;
        let first = folder.path().join("agent-first");
        Edition::good(FIRST).write(&programs.agent, &first)?;
        let host = match manager {
            Manager::Systemd => Host::under_systemd(builder, &first, pace.window)?,
            Manager::Supervise => Host::supervised(folder.path(), &first, pace.window)?,
        };
        let mut fleet = Self { host, control, programs: programs.clone(), folder };
        let secret = fleet.control.succeed(As::Owner, &["join-token", "create", "--executor", NAME])?;
        fleet.host.enroll(secret.trim())?;
        fleet.host.start()?;
        fleet.wait_online(FIRST)?;
        Ok(fleet)
    }

    /// Waits until the control plane sees the executor online, running `version`.
    ///
    /// # Errors
    /// When it does not in [`SOON`].
    pub fn wait_online(&self, version: &str) -> Result<()> {
        let seen = wait::until(
            &format!("{NAME} to be online with {version}"),
            SOON,
            || self.executor(),
            |executor| executor["online"] == true && executor["version"] == version,
        );
        seen.map(drop).map_err(|error| self.told(error))
    }

    /// The executor, as the control plane sees it.
    ///
    /// # Errors
    /// When the control plane does not answer.
    pub fn executor(&self) -> Result<Value> {
        self.control.json(As::Owner, &["executor", "get", NAME])
    }

    /// What the failing version of the newest attempt said last; lists of attempts leave it out.
    ///
    /// # Errors
    /// When the control plane does not answer.
    pub fn log_tail(&self) -> Result<Vec<String>> {
        // Following an attempt that has ended prints it once, whole; the exit code repeats its outcome.
        let words = ["upgrade", "watch", NAME, "--output", "json"];
        let output = self.control.output(As::Owner, &words)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().context("nothing was printed")?;
        let attempt: Value = serde_json::from_str(last).with_context(|| format!("read novacula's JSON: {last}"))?;
        let lines = attempt["logTail"].as_array();
        let lines = lines.map_or(&[][..], Vec::as_slice);
        Ok(lines.iter().filter_map(|line| line.as_str().map(str::to_owned)).collect())
    }

    /// The newest attempt.
    ///
    /// # Errors
    /// When there is none.
    pub fn attempt(&self) -> Result<Value> {
        let history = ["upgrade", "history", NAME, "--limit", "1"];
        let history = self.control.json(As::Owner, &history)?;
        history.get(0).cloned().context("there is no attempt")
    }

    /// Publishes `edition` as `version`, signed; returns the binary.
    ///
    /// # Errors
    /// With what the control plane said.
    pub fn publish(&self, version: &str, edition: &Edition) -> Result<PathBuf> {
        let binary = self.folder.path().join(format!("novacula-agent-{version}"));
        edition.write(&self.programs.agent, &binary)?;
        release::publish(&self.control, &binary, version, self.folder.path())?;
        Ok(binary)
    }

    /// Asks for `version`, waits for no more than the attempt's beginning.
    ///
    /// # Errors
    /// When the control plane refuses.
    pub fn request(&self, version: &str) -> Result<()> {
        let words = ["upgrade", "request", NAME, version];
        self.control.succeed(As::Owner, &words).map(drop)
    }

    /// Asks for `version` and returns the attempt as it ended.
    ///
    /// # Errors
    /// When the control plane refuses, or the attempt is open after `limit`.
    pub fn upgrade(&self, version: &str, limit: Duration) -> Result<Value> {
        let limit = format!("{}s", limit.as_secs());
        let words = ["upgrade", "request", NAME, version, "--wait", "--wait-timeout", &limit];
        // What it exits with depends on the outcome, and the outcome is asked of the attempt.
        let output = self.control.output(As::Owner, &words)?;
        let attempt = self.attempt()?;
        if has_ended(&attempt) && attempt["targetVersion"] == version {
            return Ok(attempt);
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(self.told(anyhow::anyhow!("{version} has no outcome after {limit}: {said}\n{attempt:#}")))
    }

    /// Waits until the newest attempt has an outcome, whether or not the control plane can be asked meanwhile.
    ///
    /// # Errors
    /// When it has none after `limit`.
    pub fn wait_ended(&self, limit: Duration) -> Result<Value> {
        self.wait_attempt("to end", limit, has_ended)
    }

    /// Waits until the newest attempt is in `phase` (`PHASE_CONFIRMING`).
    ///
    /// # Errors
    /// When it is not after [`SOON`].
    pub fn wait_phase(&self, phase: &str) -> Result<Value> {
        self.wait_attempt(&format!("to be in {phase}"), SOON, |attempt| attempt["phase"] == phase)
    }

    /// Waits until the executor has refused the newest attempt, which stays pending until its time is over.
    ///
    /// # Errors
    /// When it has not after [`SOON`].
    pub fn wait_refused(&self) -> Result<Value> {
        self.wait_attempt("to be refused", SOON, |attempt| attempt["refused"] == true)
    }

    /// Waits until the host's log says these words in so many lines.
    ///
    /// # Errors
    /// When it does not after [`SOON`].
    pub fn wait_said(&self, words: &str, times: usize) -> Result<()> {
        let what = format!("{words:?} to be said {times} time(s)");
        let waited = wait::until(&what, SOON, || self.host.said(words), |found| *found >= times);
        waited.map(drop).map_err(|error| self.told(error))
    }

    fn wait_attempt(&self, what: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let what = format!("the attempt {what}");
        wait::until(&what, limit, || self.attempt(), wanted).map_err(|error| self.told(error))
    }

    /// Checks that the live binary is `binary`, byte for byte.
    ///
    /// # Errors
    /// When it is another.
    pub fn expect_live(&self, binary: &std::path::Path) -> Result<()> {
        let live = std::fs::read(self.host.live()?).context("read the live binary")?;
        ensure!(live == std::fs::read(binary)?, "the live binary is not {}", binary.display());
        Ok(())
    }

    /// Checks that `.prev` is `binary`, byte for byte.
    ///
    /// # Errors
    /// When it is another.
    pub fn expect_previous(&self, binary: &std::path::Path) -> Result<()> {
        let previous = std::fs::read(self.host.previous()?).context("read .prev")?;
        ensure!(previous == std::fs::read(binary)?, ".prev is not {}", binary.display());
        Ok(())
    }

    /// The binary that every host begins with.
    #[must_use]
    pub fn first(&self) -> PathBuf {
        self.folder.path().join("agent-first")
    }

    /// An error with the last words of both sides.
    #[must_use]
    pub fn told(&self, error: anyhow::Error) -> anyhow::Error {
        let (host, control) = (self.host.last_words(), self.control.last_words());
        anyhow::anyhow!("{error:#}\n--- agent:\n{host}\n--- control plane:\n{control}")
    }
}

fn has_ended(attempt: &Value) -> bool {
    attempt["outcome"].as_str().is_some_and(|outcome| outcome != "OUTCOME_UNSPECIFIED")
}
