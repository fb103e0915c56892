//! A fleet in a process of its own, so that the memory beside it is the control plane's alone: it enrols, dials, holds its
//! streams and is silent.

use std::env;
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use harness::fake_executor::FakeExecutor;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

/// How many streams are opened at once.
const AT_ONCE: usize = 32;

/// A fleet that is told what to do, a line a time.
pub(crate) struct Beside {
    process: Child,
    said: Lines<BufReader<ChildStdout>>,
}

impl Beside {
    /// Enrols an executor for each join word. None of them is connected then.
    pub(crate) async fn enrol(words: &[String]) -> anyhow::Result<Self> {
        let program = env::current_exe().context("find this program")?;
        let mut process = Command::new(program)
            .args(["hold", &words.len().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the fleet")?;
        let said = BufReader::new(process.stdout.take().context("the fleet's output")?).lines();
        let mut fleet = Self { process, said };
        // As standard input, never as arguments: others can read those.
        fleet.tell(&words.join("\n")).await?;
        fleet.hear(ENROLLED).await?;
        Ok(fleet)
    }

    /// Each of them dials, and holds its stream; one that had a stream lets go of it first.
    pub(crate) async fn dial(&mut self) -> anyhow::Result<()> {
        self.tell(DIAL).await?;
        self.hear(OPEN).await
    }

    /// Its input ends, and so it does.
    pub(crate) async fn end(mut self) -> anyhow::Result<()> {
        drop(self.process.stdin.take());
        ensure!(self.process.wait().await?.success(), "the fleet failed");
        Ok(())
    }

    async fn tell(&mut self, line: &str) -> anyhow::Result<()> {
        let input = self.process.stdin.as_mut().context("the fleet's input")?;
        input.write_all(format!("{line}\n").as_bytes()).await.context("tell the fleet")
    }

    async fn hear(&mut self, word: &str) -> anyhow::Result<()> {
        let line = self.said.next_line().await?;
        ensure!(line.as_deref() == Some(word), "the fleet is not {word}");
        Ok(())
    }
}

/// Said when every executor is enrolled.
const ENROLLED: &str = "enrolled";

/// Told when they are to dial.
const DIAL: &str = "dial";

/// Said when every stream is open.
const OPEN: &str = "open";

/// The fleet's side: as many join words from standard input as there are executors, then [`DIAL`] as often as one likes, until the input ends.
pub(crate) async fn hold(executors: usize) -> anyhow::Result<()> {
    let mut input = std::io::BufRead::lines(std::io::BufReader::new(std::io::stdin()));
    let words: Vec<String> = input.by_ref().take(executors).collect::<Result<_, _>>()?;
    ensure!(words.len() == executors, "fewer join words than executors");
    let enrol =
        |word: String| async move { FakeExecutor::by_word(&word, "1.0.0").await.map(Arc::new).context("enrol") };
    let fleet = all(words.into_iter().map(enrol)).await?;
    crate::print_line(ENROLLED);
    let mut streams = Vec::new();
    loop {
        // Blocking, as the threads that hold the streams are others.
        let told;
        (told, input) = tokio::task::spawn_blocking(move || (input.next(), input)).await?;
        let Some(told) = told else {
            return Ok(());
        };
        ensure!(told? == DIAL, "told what it does not know");
        drop(std::mem::take(&mut streams));
        let dial = |executor: &Arc<FakeExecutor>| {
            let executor = Arc::clone(executor);
            async move { executor.connect().await.context("open a stream") }
        };
        streams = all(fleet.iter().map(dial)).await?;
        crate::print_line(OPEN);
    }
}

/// Does all of it, some at once.
async fn all<T, F>(work: impl Iterator<Item = F>) -> anyhow::Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = anyhow::Result<T>> + Send + 'static,
{
    let mut done = Vec::new();
    let mut running = JoinSet::new();
    for work in work {
        if running.len() >= AT_ONCE {
            done.extend(running.join_next().await.transpose()?.transpose()?);
        }
        running.spawn(work);
    }
    while let Some(ended) = running.join_next().await {
        done.push(ended??);
    }
    Ok(done)
}
