//! Real agents beside a daemon: `novacula-agent enroll` and `run`, each in a folder of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context as _, ensure};
use executor_sdk::credentials::{CredentialStore, Credentials};
use harness::daemon::{Daemon, succeeded, tied};
use harness::day::Day;
use harness::fleet::edition::Edition;
use proto::v1;
use tempfile::TempDir;

use crate::Result;

/// The version that it runs.
pub(crate) const VERSION: &str = "1.0.0";

/// A host with an agent; it is killed when dropped.
pub(crate) struct Agent {
    name: String,
    folder: TempDir,
    child: Option<Child>,
}

impl Agent {
    /// One that holds a binary and no identity.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("novacula-agent-").tempdir()?;
        let agent = Self { name: name.to_owned(), folder, child: None };
        for folder in ["bin", "state"] {
            fs::create_dir(agent.path(folder))?;
        }
        fs::write(agent.path("agent.toml"), "[upgrade]\nallow_volatile_state = true\n")?;
        Edition::good(VERSION)
            .write(Path::new(env!("CARGO_BIN_EXE_fixture-agent")), &agent.path("bin/novacula-agent"))?;
        Ok(agent)
    }

    /// Exchanges a join word for a certificate.
    pub(crate) fn enroll(&self, word: &str, day: Option<&Day>) -> Result {
        let mut command = self.told(Command::new(self.path("bin/novacula-agent")));
        command.args(["enroll", "--name", &self.name, "--join-token", word]);
        day.into_iter().for_each(|day| day.set(&mut command));
        succeeded(&command.output()?).context("enroll").map(drop)
    }

    /// The same without a name of its own.
    pub(crate) fn enroll_by(&self, word: &str) -> Result<Output> {
        let mut command = self.told(Command::new(self.path("bin/novacula-agent")));
        Ok(command.args(["enroll", "--join-token", word]).output()?)
    }

    /// By a word in a file, where the environment names a token and says none.
    pub(crate) fn enroll_by_file(&self, word: &str) -> Result<Output> {
        let file = self.path("join-token");
        fs::write(&file, word)?;
        let mut command = self.told(Command::new(self.path("bin/novacula-agent")));
        command.env("NOVACULA_JOIN_TOKEN", "").env("NOVACULA_AGENT_CONFIG", "");
        Ok(command.args(["enroll", "--join-token-file"]).arg(file).output()?)
    }

    /// The same, as the child of a tracer.
    pub(crate) fn enroll_under(&self, tracer: &[String], word: &str) -> Result<Output> {
        let mut command = self.told(self.under(tracer));
        Ok(command.args(["enroll", "--join-token", word]).output()?)
    }

    /// Starts it.
    pub(crate) fn start(&mut self, day: Option<&Day>) -> Result {
        self.start_under(&[], day)
    }

    /// Starts it with a tracer beside it, `strace -D`: what is started is the agent all the same.
    pub(crate) fn start_under(&mut self, tracer: &[String], day: Option<&Day>) -> Result {
        let log = File::options().create(true).append(true).open(self.path("agent.log"))?;
        let mut command = self.told(self.under(tracer));
        command.arg("run").env_remove("NOTIFY_SOCKET").env_remove("INVOCATION_ID");
        day.into_iter().for_each(|day| day.set(&mut command));
        self.child = Some(command.stdout(log.try_clone()?).stderr(log).spawn().context("start the agent")?);
        Ok(())
    }

    /// Cuts its power.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What it proves itself with.
    pub(crate) fn credentials(&self) -> Result<Credentials> {
        Ok(CredentialStore::new(&self.path("state")).load()?)
    }

    /// Takes what it remembers, and its last words, away; `kept` is put in the place of the first.
    pub(crate) fn forget(&self, kept: Option<&Path>) -> Result {
        fs::remove_dir_all(self.path("state"))?;
        fs::create_dir(self.path("state"))?;
        for name in fs::read_dir(kept.unwrap_or(&self.path("state")))? {
            let name = name?;
            fs::copy(name.path(), self.path("state").join(name.file_name()))?;
        }
        fs::write(self.path("agent.log"), "").map_err(Into::into)
    }

    /// Where it keeps what it must not forget.
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// A place for notes about it.
    pub(crate) fn note(&self, name: &str) -> PathBuf {
        self.path(name)
    }

    /// Its last words.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("agent.log")).unwrap_or_default()
    }

    /// The binary, after the words of a tracer.
    fn under(&self, tracer: &[String]) -> Command {
        let binary = self.path("bin/novacula-agent");
        let Some((first, rest)) = tracer.split_first() else {
            return tied(&binary);
        };
        let mut command = tied(Path::new(first));
        // Without a fault, and in one order: the nth call is the same one each time.
        command.args(rest).arg(binary).env("NOVACULA_FAULT_FILE", self.path("fault"));
        command
    }

    fn told(&self, mut command: Command) -> Command {
        command.arg("--binary").arg(self.path("bin/novacula-agent"));
        command.arg("--state-dir").arg(self.path("state")).arg("--config").arg(self.path("agent.toml"));
        command.stdin(Stdio::null());
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An executor, as an owner sees it.
pub(crate) async fn executor(daemon: &Daemon, name: &str) -> Result<v1::Executor> {
    let name = format!("organizations/acme/executors/{name}");
    let owner = daemon.client("owner").await?;
    Ok(owner.executors().get_executor(v1::GetExecutorRequest { name }).await?.into_inner())
}

/// Waits until the executor is online.
pub(crate) async fn online(daemon: &Daemon, name: &str) -> Result<v1::Executor> {
    let end = tokio::time::Instant::now() + harness::daemon::SOON;
    loop {
        let seen = executor(daemon, name).await?;
        if seen.online && !seen.version.is_empty() {
            return Ok(seen);
        }
        ensure!(tokio::time::Instant::now() < end, "{name} is not online: {seen:?}\n{}", daemon.last_words());
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}
