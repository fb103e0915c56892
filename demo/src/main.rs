//! `cargo demo`: the main job, with real parts, told to a person who has never seen the project.
//!
//! A control plane with its own authority, an enrolled agent 1.0.0, releases signed with the checkout's development key; an upgrade to
//! 1.1.0; a broken 1.2.0 that is brought back. Everything lives in one temporary folder and is cleaned up, unless `--keep`.

#![expect(clippy::print_stderr, reason = "a program that tells a story")]

mod build;

mod novacula;

mod process;

mod release;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use demo::attempt::{receipt, text};
use demo::story::Story;
use serde_json::Value;

use crate::build::Binaries;
use crate::novacula::{As, Novacula};
use crate::process::{Process, Readiness, wait_for};

/// How long a new version runs in the demo before it is confirmed; 120 s in real life.
const PROBATION_MS: &str = "3000";

/// Whose binaries the story needs.
const PACKAGES: &[&str] = &["novacula-server", "novacula-cli", "novacula-demo-agents"];

/// The same, with `--operator`.
const OPERATOR_PACKAGES: &[&str] = &["novacula-demo-kubernetes", "novacula-tests"];

/// Longest wait for anything but the build.
const LIMIT: Duration = Duration::from_secs(60);

/// The main job of Novacula in two minutes, with real parts
#[derive(Debug, Parser)]
struct Args {
    /// Leave everything running at the end
    #[arg(long, conflicts_with = "operator")]
    keep: bool,
    /// Tell of an operator that upgrades its own Deployment, in a whole Kubernetes on this machine; needs root and
    /// `deploy/dev/parts kubernetes`
    #[arg(long)]
    operator: bool,
    /// Take the binaries from here and build none: `target/debug` after `cargo build --workspace`
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> anyhow::Result<()> {
    let packages = if args.operator { OPERATOR_PACKAGES } else { PACKAGES };
    let binaries = match &args.binaries {
        Some(folder) => Binaries::within(folder)?,
        None => {
            eprintln!("building the real binaries (release); the first time takes some minutes ...");
            Binaries::build(packages)?
        }
    };
    if args.operator {
        // A program of its own: it stands on the tests' cluster, which is long in building.
        let binary = binaries.path("novacula-demo-kubernetes")?;
        return Err(Command::new(binary).exec()).context("run novacula-demo-kubernetes");
    }
    let folder = tempfile::Builder::new().prefix("novacula-demo-").tempdir().context("make a folder")?;
    let mut story = Story::new();

    let (mut server, novacula) = control_plane(&mut story, &binaries, folder.path())?;
    let mut agent = enrolled_agent(&mut story, &binaries, &novacula, folder.path())?;
    releases(&mut story, &binaries, &novacula, folder.path())?;
    good_upgrade(&mut story, &novacula)?;
    bad_upgrade(&mut story, &novacula)?;
    server.alive()?;
    agent.alive()?;
    farewell(&mut story, &novacula, &server, &agent, args.keep)?;
    if args.keep {
        server.keep();
        agent.keep();
        let _ = folder.keep();
    }
    Ok(())
}

fn control_plane(story: &mut Story, binaries: &Binaries, folder: &Path) -> anyhow::Result<(Process, Novacula)> {
    story.chapter("A control plane, with an authority of its own");
    let binary = binaries.path("novacula-server")?;
    let (data, tokens) = (folder.join("server"), folder.join("tokens"));
    let made = Command::new(binary)
        .args(["bootstrap", "--organization", "acme", "--data-dir"])
        .arg(&data)
        .arg("--token-dir")
        .arg(&tokens)
        .stdin(Stdio::null())
        .output()
        .context("run novacula-server bootstrap")?;
    if !made.status.success() {
        bail!("bootstrap ended with {}:\n{}", made.status, String::from_utf8_lossy(&made.stderr));
    }
    let (api, executors) = (free_port()?, free_port()?);
    let readiness = Readiness::new(folder)?;
    let mut command = Command::new(binary);
    command.arg("run").arg("--data-dir").arg(&data);
    command.args(["--api-listen", &format!("127.0.0.1:{api}"), "--executor-listen", &format!("127.0.0.1:{executors}")]);
    command.args(["--probation-ms", PROBATION_MS, "--log-format", "json"]).env("NOTIFY_SOCKET", readiness.path());
    let mut server = Process::start("novacula-server", &mut command, folder)?;
    readiness.wait(&mut server, LIMIT)?;
    story.tell(&format!("API for people on 127.0.0.1:{api}, streams of executors on 127.0.0.1:{executors}, both TLS"));
    story.tell(&format!("embedded store, one file: {}", data.join("novacula.db").display()));
    let novacula =
        Novacula::new(binaries.path("novacula")?, format!("https://127.0.0.1:{api}"), data.join("ca.pem"), tokens);
    Ok((server, novacula))
}

fn enrolled_agent(
    story: &mut Story,
    binaries: &Binaries,
    novacula: &Novacula,
    folder: &Path,
) -> anyhow::Result<Process> {
    story.chapter("A host joins: agent 1.0.0");
    let host = Host::new(folder)?;
    fs::copy(binaries.path("demo-agent-1-0-0")?, &host.binary).context("install the agent")?;
    let secret = novacula.succeed(As::Owner, &["join-token", "create", "--executor", "web-1"])?;
    let token = folder.join("join-token");
    fs::write(&token, secret).context("write the join token")?;
    story.tell("a join token, used once: it names the control plane and the SHA-256 of its authority's key");
    let enrolled = host
        .command()
        .args(["enroll", "--name", "web-1", "--join-token-file"])
        .arg(&token)
        .stdin(Stdio::null())
        .output()
        .context("run novacula-agent enroll")?;
    if !enrolled.status.success() {
        bail!("enroll ended with {}:\n{}", enrolled.status, String::from_utf8_lossy(&enrolled.stderr));
    }
    let mut command = host.command();
    command.args(["run", "--supervise"]);
    let mut agent = Process::start("novacula-agent", &mut command, folder)?;
    wait_for("web-1 to be online", LIMIT, || {
        agent.alive()?;
        let executor = novacula.json(As::Owner, &["executor", "get", "web-1"])?;
        Ok((executor["online"] == Value::Bool(true)).then_some(()))
    })?;
    story.tell("its private key never left the host; it holds one stream open, over mutual TLS, and polls nothing");
    story.command("novacula executor list");
    story.quote(&novacula.succeed(As::Owner, &["executor", "list"])?);
    Ok(agent)
}

fn releases(story: &mut Story, binaries: &Binaries, novacula: &Novacula, folder: &Path) -> anyhow::Result<()> {
    story.chapter("Two releases, signed with this checkout's development key");
    for (binary, version) in [("demo-agent-1-1-0", "1.1.0"), ("demo-agent-1-2-0", "1.2.0")] {
        release::publish(novacula, binaries.path(binary)?, version, folder)?;
    }
    story.tell("the signature covers one line that says kind, version, platform, size, SHA-256, sequence and floor;");
    story.tell("agents trust the keys baked into them, and nothing that the control plane says");
    story.command("novacula upgrade targets web-1");
    story.quote(&novacula.succeed(As::Owner, &["upgrade", "targets", "web-1"])?);
    Ok(())
}

fn good_upgrade(story: &mut Story, novacula: &Novacula) -> anyhow::Result<()> {
    story.chapter("Upgrade to 1.1.0");
    story.command("novacula upgrade request web-1 1.1.0 --wait");
    let output = novacula.output(As::Owner, &["upgrade", "request", "web-1", "1.1.0", "--wait"])?;
    story.quote(&String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        bail!("the upgrade ended with {}", output.status);
    }
    let attempt = newest(novacula)?;
    story.tell(&format!("from the write in the database to the agent's receipt: {}", receipt(&attempt)?));
    let executor = novacula.json(As::Owner, &["executor", "get", "web-1"])?;
    story.tell(&format!(
        "web-1 now runs {}, confirmed; the version before is kept beside it",
        text(&executor, "version")
    ));
    Ok(())
}

fn bad_upgrade(story: &mut Story, novacula: &Novacula) -> anyhow::Result<()> {
    story.chapter("Upgrade to 1.2.0, which cannot start");
    story.command("novacula upgrade request web-1 1.2.0 --wait");
    let output = novacula.output(As::Owner, &["upgrade", "request", "web-1", "1.2.0", "--wait"])?;
    story.quote(&String::from_utf8_lossy(&output.stderr));
    let attempt = newest(novacula)?;
    if output.status.success() || text(&attempt, "outcome") != "OUTCOME_ROLLED_BACK" {
        bail!("expected a rollback, and got {} with {}", output.status, text(&attempt, "outcome"));
    }
    story.tell(&format!("from the write to the agent's receipt: {}", receipt(&attempt)?));
    story.tell("nobody was asked: the host itself put the last confirmed version back, and said what it saw");
    let executor = novacula.json(As::Owner, &["executor", "get", "web-1"])?;
    story.tell(&format!("web-1 runs {} again; 1.2.0 is held for it", text(&executor, "version")));
    Ok(())
}

fn farewell(
    story: &mut Story,
    novacula: &Novacula,
    server: &Process,
    agent: &Process,
    keep: bool,
) -> anyhow::Result<()> {
    let (plane, host) = (server.resident()?, agent.resident()?);
    story.tell(&format!("resident memory: control plane {plane:.1} MiB, agent {host:.1} MiB with the parent it has where there is no systemd"));
    story.chapter("How to go on");
    if keep {
        story.tell(&format!(
            "left running: novacula-server (pid {}), novacula-agent (pid {})",
            server.id(),
            agent.id()
        ));
        story.command(&format!("{} executor explain web-1", novacula.line()));
        story.command(&novacula.grpcurl("list"));
        story.command(&format!("kill {} {}", agent.id(), server.id()));
    } else {
        story.tell("cargo demo --keep leaves it running and prints the novacula and grpcurl lines to play with");
    }
    story.tell("README.md says how to run it for real, and in the browser: the API listener serves the pages at /");
    story.tell(&format!("the story took {:.0} s", story.elapsed().as_secs_f64()));
    Ok(())
}

/// The newest attempt, log tail included.
fn newest(novacula: &Novacula) -> anyhow::Result<Value> {
    let history = novacula.json(As::Owner, &["upgrade", "history", "web-1", "--limit", "1"])?;
    history.get(0).cloned().context("web-1 has no attempt")
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    Ok(listener.local_addr().context("find a free port")?.port())
}

/// The demo's host: a folder that looks like one.
struct Host {
    binary: PathBuf,
    state: PathBuf,
    config: PathBuf,
}

impl Host {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let root = folder.join("web-1");
        for part in ["bin", "state"] {
            let path = root.join(part);
            fs::create_dir_all(&path).context("make the host's folders")?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("set the host's modes")?;
        }
        let config = root.join("agent.toml");
        // A demo's host forgets everything at the end, and says so: state on a temporary file system is refused otherwise.
        fs::write(&config, "[upgrade]\nallow_volatile_state = true\ndead_man_window = \"5s\"\n")
            .context("write the host's settings")?;
        Ok(Self { binary: root.join("bin/novacula-agent"), state: root.join("state"), config })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.arg("--binary").arg(&self.binary).arg("--state-dir").arg(&self.state).arg("--config").arg(&self.config);
        command
    }
}
