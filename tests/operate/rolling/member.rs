//! An executor as a good program is one: it says that it lives, follows its stream, makes before it breaks, tries again when it is
//! not let in, and upgrades when it is told to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use harness::client::reason;
use harness::fake_executor::{FakeExecutor, Hello, Stream, success};
use proto::v1;
use proto::v1::sync_executor_request::Message as Say;
use proto::v1::sync_executor_response::Message as Hear;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};
use tonic::Status;

use crate::Result;

/// How often it says that it is there.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Before a dial that failed is tried again: a base, and as often as it failed.
const AGAIN: Duration = Duration::from_millis(200);

/// Dials that fail in a row until something is wrong.
const DIALS: u32 = 50;

/// It lives until it is told to stop.
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) task: JoinHandle<Result<Lived>>,
}

/// What executors lived through.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lived {
    /// Times that one was told to dial another replica, and did.
    pub(crate) n_moves: usize,
    /// Streams that ended before the next was there: why.
    pub(crate) cuts: Vec<String>,
    /// Dials that failed.
    pub(crate) n_failed: u32,
    /// Upgrades that it made.
    pub(crate) n_upgrades: usize,
}

/// A stream that is under way, and how many dials failed before.
type Dial = JoinHandle<Result<(Stream, u32)>>;

struct Life {
    executor: Arc<FakeExecutor>,
    hello: Hello,
    stream: Stream,
    dial: Option<Dial>,
    desired: Option<v1::Desired>,
    unsent: Option<v1::Report>,
    lived: Lived,
}

// === impl Member ===

impl Member {
    /// One whose stream is open, until `stop` is gone.
    pub(crate) async fn start(executor: FakeExecutor, stop: watch::Receiver<()>) -> Result<Self> {
        let (name, hello) = (executor.name().to_owned(), executor.hello());
        let mut stream = executor.connect_with(hello.clone()).await.context("connect")?;
        stream.heartbeat().await?;
        let executor = Arc::new(executor);
        let life = Life { executor, hello, stream, dial: None, desired: None, unsent: None, lived: Lived::default() };
        Ok(Self { name, task: tokio::spawn(life.live(stop)) })
    }
}

// === impl Lived ===

impl Lived {
    pub(crate) fn add(&mut self, other: Self) {
        let Self { n_moves, cuts, n_failed, n_upgrades } = other;
        self.n_moves += n_moves;
        self.cuts.extend(cuts);
        self.n_failed += n_failed;
        self.n_upgrades += n_upgrades;
    }
}

impl fmt::Display for Lived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { n_moves, cuts, n_failed, n_upgrades } = self;
        let n_cut = cuts.len();
        write!(
            f,
            "{n_moves} moves, {n_upgrades} restarts into the new version, {n_failed} dials failed, {n_cut} streams cut"
        )
    }
}

// === impl Life ===

impl Life {
    async fn live(mut self, mut stop: watch::Receiver<()>) -> Result<Lived> {
        let mut beat = interval(HEARTBEAT);
        loop {
            // Each arm is cancel safe: what is waited for stays in `self`.
            tokio::select! {
                _ = stop.changed() => return Ok(self.lived),
                _ = beat.tick() => {
                    let generation = self.desired.as_ref().map_or(0, |desired| desired.generation);
                    // What is wrong with the stream shows when it is read.
                    let _ = self.stream.acknowledge(generation).await;
                }
                next = dialled(&mut self.dial), if self.dial.is_some() => {
                    self.dial = None;
                    self.moved(next?).await;
                }
                word = self.stream.next() => match word {
                    Ok(Some(word)) => self.hear(word).await?,
                    Ok(None) => self.cut("without a word".to_owned()).await?,
                    // The newer stream took its place, and its welcome is on its way.
                    Err(why) if self.dial.is_some() && is_replaced(&why) => self.wait_for_next().await?,
                    Err(why) => self.cut(format!("{why:#}")).await?,
                }
            }
        }
    }

    async fn moved(&mut self, (stream, n_failed): (Stream, u32)) {
        self.stream = stream;
        self.lived.n_moves += 1;
        self.lived.n_failed += n_failed;
        self.report().await;
    }

    async fn cut(&mut self, why: String) -> Result {
        let told = if self.dial.is_some() { "told" } else { "not told" };
        self.lived.cuts.push(format!("{told}: {why}"));
        self.wait_for_next().await
    }

    /// Nothing is left but the next stream.
    async fn wait_for_next(&mut self) -> Result {
        let mut dial = Some(self.dial.take().unwrap_or_else(|| self.dial(Duration::ZERO)));
        let next = dialled(&mut dial).await?;
        self.moved(next).await;
        Ok(())
    }

    /// Says what is not acknowledged, on each stream again.
    async fn report(&mut self) {
        if let Some(report) = self.unsent.clone() {
            // What is wrong with the stream shows when it is read.
            let _ = self.stream.say(Say::Report(report)).await;
        }
    }

    async fn hear(&mut self, word: Hear) -> Result {
        match word {
            Hear::Reconnect(told) if self.dial.is_none() => {
                let after = told.after.and_then(|after| after.try_into().ok()).unwrap_or_default();
                self.dial = Some(self.dial(after));
            }
            Hear::Desired(desired) if desired.spec.is_some() && self.hello.version == "1.0.0" => {
                let ready = v1::ReadyToSwap { attempt: desired.attempt.clone(), generation: desired.generation };
                let progress = v1::Progress {
                    attempt: desired.attempt.clone(),
                    generation: desired.generation,
                    phase: v1::Phase::Downloading.into(),
                    bytes_done: 1,
                    bytes_total: 2,
                    waiting: None,
                };
                for word in [
                    Say::Heartbeat(v1::Heartbeat { generation: desired.generation }),
                    Say::Progress(progress.clone()),
                    Say::Progress(v1::Progress { phase: v1::Phase::Verifying.into(), ..progress }),
                    Say::ReadyToSwap(ready),
                ] {
                    // On the next stream it is desired again.
                    let _ = self.stream.say(word).await;
                }
                self.desired = Some(desired);
            }
            Hear::Proceed(_) => self.restart().await?,
            Hear::ReportAck(_) => self.unsent = None,
            _ => {}
        }
        Ok(())
    }

    /// Comes back as the new version, by a stream that this one does not know of, and says that all went well.
    async fn restart(&mut self) -> Result {
        let Some(desired) = self.desired.clone() else { bail!("leave without a wish") };
        if let Some(dial) = self.dial.take() {
            dial.abort();
        }
        self.hello.version = "1.1.0".to_owned();
        self.hello.generation = desired.generation;
        self.hello.instance_id = self.executor.hello().instance_id;
        let mut dial = Some(self.dial(Duration::ZERO));
        let (stream, n_failed) = dialled(&mut dial).await?;
        self.stream = stream;
        self.lived.n_failed += n_failed;
        self.lived.n_upgrades += 1;
        self.unsent = Some(success(&desired));
        self.report().await;
        Ok(())
    }

    fn dial(&self, after: Duration) -> Dial {
        let (executor, hello) = (Arc::clone(&self.executor), self.hello.clone());
        tokio::spawn(async move {
            sleep(after).await;
            for n_failed in 0..DIALS {
                match executor.connect_with(hello.clone()).await {
                    Ok(stream) => return Ok((stream, n_failed)),
                    Err(_) => sleep(AGAIN * (n_failed + 1)).await,
                }
            }
            bail!("nobody lets it in")
        })
    }
}

fn is_replaced(why: &anyhow::Error) -> bool {
    why.downcast_ref::<Status>().is_some_and(|status| reason(status) == "SESSION_REPLACED")
}

/// The stream that is under way. Cancel safe.
async fn dialled(dial: &mut Option<Dial>) -> Result<(Stream, u32)> {
    match dial {
        Some(dial) => dial.await?,
        None => std::future::pending().await,
    }
}
