//! `novacula` as a process, with the token of a role, and a memory of what was run.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Output, Stdio};

use anyhow::{Context as _, ensure};
use harness::daemon::{Daemon, SOON};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::{Result, server};

/// A control plane with a command line beside it.
pub(super) struct Shell {
    daemon: Daemon,
    ran: RefCell<BTreeSet<(String, &'static str)>>,
}

/// What one invocation did.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Shell {
    pub(super) fn new() -> Result<Self> {
        let mut daemon = Daemon::bootstrapped(server())?;
        daemon.start()?;
        Ok(Self { daemon, ran: RefCell::default() })
    }

    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// A folder for the files of a case.
    pub(super) fn folder(&self) -> &Path {
        self.daemon.folder()
    }

    /// The program, told nothing: no server, no token, an empty configuration.
    pub(super) fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fixture-novacula"));
        for variable in ["SERVER", "CA", "TOKEN_FILE", "ORGANIZATION", "CONTEXT"] {
            command.env_remove(format!("NOVACULA_{variable}"));
        }
        command.env("NOVACULA_CONFIG", self.folder().join("config/config.toml"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// The program with server, authority, organization, and the token of `role`.
    pub(super) fn by(&self, role: &str) -> Command {
        let mut command = self.bare();
        command.env("NOVACULA_SERVER", format!("https://{}", self.daemon.api_addr()));
        command.env("NOVACULA_CA", self.daemon.ca());
        command.env("NOVACULA_TOKEN_FILE", self.daemon.tokens().join(format!("{role}.token")));
        if role != "installation_admin" {
            command.env("NOVACULA_ORGANIZATION", "acme");
        }
        command
    }

    /// Runs it as `role`, whatever comes of it.
    pub(super) async fn ask(&self, role: &str, words: &[&str]) -> Result<Answer> {
        self.note(words);
        answer(self.by(role).args(words)).await
    }

    /// Runs it as `role`, and it does what it was asked.
    pub(super) async fn done(&self, role: &str, words: &[&str]) -> Result<Answer> {
        let answer = self.ask(role, words).await?;
        ensure!(answer.code == Some(0), "novacula {words:?} as {role}: {answer:?}");
        Ok(answer)
    }

    /// For people: the first line begins so, whatever its spaces, and the resource is named.
    pub(super) async fn people(&self, role: &str, words: &[&str], first: &str, names: &str) -> Result<String> {
        let out = self.done(role, words).await?.out;
        let line = out.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(line.starts_with(first), "novacula {words:?} begins with {line:?}, not {first:?}");
        let short = names.rsplit('/').next().unwrap_or(names);
        ensure!(out.contains(short), "novacula {words:?} does not name {short}: {out}");
        Ok(out)
    }

    /// For programs: one JSON document, in which the resource is named.
    pub(super) async fn json(&self, role: &str, words: &[&str], names: &str) -> Result<Value> {
        let out = self.done(role, &[words, &["--output", "json"]].concat()).await?.out;
        let value: Value = serde_json::from_str(&out).with_context(|| format!("novacula {words:?}: {out}"))?;
        ensure!(value.to_string().contains(&format!("\"{names}\"")), "novacula {words:?} does not name {names}: {out}");
        Ok(value)
    }

    /// Both.
    pub(super) async fn both(&self, role: &str, words: &[&str], first: &str, names: &str) -> Result<Value> {
        self.people(role, words, first, names).await?;
        self.json(role, words, names).await
    }

    /// The first line with `needle` of a command that goes on until it is interrupted.
    pub(super) async fn until(&self, role: &str, words: &[&str], needle: &str) -> Result<String> {
        self.note(words);
        let mut child = self.by(role).args(words).spawn()?;
        let out = child.stdout.take().context("its output")?;
        let mut lines = BufReader::new(out).lines();
        let look = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains(needle) {
                    return Ok(line);
                }
            }
            anyhow::bail!("novacula {words:?} ended before it said {needle}")
        };
        let line = tokio::time::timeout(SOON, look).await.with_context(|| format!("{words:?} never says {needle}"))?;
        child.kill().await?;
        line
    }

    /// Starts one that is waited for later.
    pub(super) fn start(&self, role: &str, words: &[&str]) -> Result<Child> {
        self.note(words);
        self.by(role).args(words).spawn().context("start novacula")
    }

    /// The commands that the help of `words` names.
    pub(super) async fn commands(&self, words: &[&str]) -> Result<Vec<String>> {
        let help = answer(self.bare().args(words).arg("--help")).await?;
        ensure!(help.code == Some(0), "{help:?}");
        let listed = help.out.lines().skip_while(|line| *line != "Commands:").skip(1);
        let listed = listed.take_while(|line| !line.is_empty());
        let names = listed.filter_map(|line| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned));
        Ok(names.filter(|name| !name.is_empty()).collect())
    }

    /// Whether a command was run in a form.
    pub(super) fn ran(&self, leaf: &str, form: &str) -> bool {
        let ran = self.ran.borrow();
        ran.iter().any(|(words, seen)| seen == &form && (words == leaf || words.starts_with(&format!("{leaf} "))))
    }

    fn note(&self, words: &[&str]) {
        let form = if words.ends_with(&["--output", "json"]) { "json" } else { "table" };
        self.ran.borrow_mut().insert((words.join(" "), form));
    }
}

/// Runs a command to its end.
pub(super) async fn answer(command: &mut Command) -> Result<Answer> {
    let output = tokio::time::timeout(SOON, command.output()).await.context("novacula does not end")??;
    Ok(output.into())
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
