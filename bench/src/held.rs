//! A fleet in a process of its own, so that the memory beside it is the control plane's alone: it enrols, holds its streams and is silent.

use std::env;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use harness::fake_executor::FakeExecutor;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// How many streams are opened at once.
const AT_ONCE: usize = 32;

/// A fleet whose streams are open.
pub(crate) struct Beside(Child);

impl Beside {
    /// Starts one of as many executors as there are join words.
    pub(crate) async fn start(words: &[String]) -> anyhow::Result<Self> {
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
        Ok(Self(fleet))
    }

    /// Its input ends, and so it does.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        drop(self.0.stdin.take());
        ensure!(self.0.wait().await?.success(), "the fleet failed");
        Ok(())
    }
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
