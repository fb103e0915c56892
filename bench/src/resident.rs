//! What the control plane holds in memory for a fleet that is connected: the fleet is a process of its own, so that the
//! figure is the control plane's alone.

use std::env;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use harness::control_plane::ControlPlane;
use harness::fake_executor::FakeExecutor;
use harness::resident::{kib, of_files_kib};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::ask;

/// How many streams are opened at once.
const AT_ONCE: usize = 32;

/// Resident memory in KiB: without a stream, and with all of them open and quiet.
pub(crate) struct Resident {
    pub(crate) before: u64,
    pub(crate) connected: u64,
    /// Of that, pages of this program's file: it is larger than the server's, for all that measures.
    pub(crate) of_files: u64,
}

/// Starts a control plane here and a fleet beside it, and looks at this process.
pub(crate) async fn measure(executors: usize) -> anyhow::Result<Resident> {
    let plane = ControlPlane::start().await?;
    let before = kib(std::process::id())?;
    let mut words = Vec::with_capacity(executors);
    for i in 0..executors {
        let id = format!("held-{i}");
        words.push(ask::again(|| plane.join_word(&id)).await.context("make a join token")?);
    }
    let mut fleet = spawn(&words).await?;
    drop(words);
    let connected = kib(std::process::id())?;
    let of_files = of_files_kib(std::process::id())?;
    // Its input ends, and so it does.
    drop(fleet.stdin.take());
    ensure!(fleet.wait().await?.success(), "the fleet failed");
    plane.stop().await?;
    Ok(Resident { before, connected, of_files })
}

async fn spawn(words: &[String]) -> anyhow::Result<Child> {
    let program = env::current_exe().context("find this program")?;
    let mut fleet = Command::new(program)
        .args(["--hold", &format!("--executors={}", words.len())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start the fleet")?;
    let input = fleet.stdin.as_mut().context("the fleet's input")?;
    // As standard input, never as arguments: others can read those.
    input.write_all(words.join("\n").as_bytes()).await?;
    input.write_all(b"\n").await?;
    let output = fleet.stdout.take().context("the fleet's output")?;
    let line = BufReader::new(output).lines().next_line().await?;
    ensure!(line.as_deref() == Some(READY), "the fleet did not connect");
    Ok(fleet)
}

/// Said when every stream is open.
const READY: &str = "ready";

/// The fleet's side: as many join words from standard input as there are executors; holds their streams until it ends.
pub(crate) async fn hold(executors: usize) -> anyhow::Result<()> {
    let mut input = std::io::BufRead::lines(std::io::BufReader::new(std::io::stdin()));
    let mut streams = Vec::with_capacity(executors);
    let mut opening = JoinSet::new();
    for _ in 0..executors {
        // All of them are there before the first stream opens: this waits for nobody.
        let word = input.next().context("a join word")??;
        if opening.len() >= AT_ONCE {
            streams.extend(opening.join_next().await.transpose()?.transpose()?);
        }
        opening.spawn(async move {
            let executor = FakeExecutor::by_word(&word, "1.0.0").await.context("enrol")?;
            let stream = executor.connect().await.context("open a stream")?;
            anyhow::Ok((executor, stream))
        });
    }
    while let Some(opened) = opening.join_next().await {
        streams.push(opened??);
    }
    crate::print_line(READY);
    let end = tokio::task::spawn_blocking(move || input.next()).await?;
    ensure!(end.is_none() && streams.len() == executors, "more join words than executors");
    Ok(())
}
