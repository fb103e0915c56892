//! A fleet in one process: each executor with its own identity and connection, holding a stream or asking now and then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use harness::control_plane::ControlPlane;
use harness::fake_executor::{self, FakeExecutor, Stream};
use proto::v1;
use proto::v1::sync_executor_request::Message as Say;
use proto::v1::sync_executor_response::Message as Hear;
use store::{Clock as _, SystemClock};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::ask;

/// How many connections are opened at once: the control plane does the other half of each handshake on the same cores.
const AT_ONCE: usize = 32;

/// Half the time after which a silent stream is closed.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What is desired comes right behind the welcome; a poll that hears nothing for this long has its answer: nothing.
const ANSWER: Duration = Duration::from_millis(100);

/// Longest wait for the last receipt.
const LIMIT: Duration = Duration::from_secs(30);

/// An executor heard of an attempt.
struct Receipt {
    attempt: String,
    version: String,
    micros: i64,
}

/// Enrolled executors.
pub(crate) struct Fleet {
    executors: Vec<Arc<FakeExecutor>>,
}

/// A fleet at work, however it learns of upgrades.
pub(crate) struct Working {
    names: Vec<String>,
    receipts: mpsc::Receiver<Receipt>,
    tasks: JoinSet<()>,
}

impl Fleet {
    pub(crate) async fn enrol(plane: &ControlPlane, n: usize) -> anyhow::Result<Self> {
        let mut executors = Vec::with_capacity(n);
        for i in 0..n {
            let id = format!("host-{i}");
            let executor = ask::again(|| FakeExecutor::enrol(plane, &id, "1.0.0")).await.context("enrol")?;
            executors.push(Arc::new(executor));
        }
        Ok(Self { executors })
    }

    /// Every executor opens its stream and keeps it.
    pub(crate) async fn stream(&self) -> anyhow::Result<Working> {
        let (sender, receipts) = mpsc::channel(self.executors.len() * 2);
        let mut tasks = JoinSet::new();
        for group in self.executors.chunks(AT_ONCE) {
            let mut opening = JoinSet::new();
            for executor in group {
                let executor = Arc::clone(executor);
                opening.spawn(async move { executor.connect().await });
            }
            while let Some(stream) = opening.join_next().await {
                tasks.spawn(listen(stream.context("open a stream")??, sender.clone()));
            }
        }
        Ok(Working { names: self.names(), receipts, tasks })
    }

    /// Every executor asks what is desired of it, and goes: connection kept, stream not, phases spread evenly.
    pub(crate) async fn poll(&self, every: Duration) -> anyhow::Result<Working> {
        let (sender, receipts) = mpsc::channel(self.executors.len() * 2);
        let mut tasks = JoinSet::new();
        let count = u32::try_from(self.executors.len().max(1)).unwrap_or(u32::MAX);
        for (i, executor) in self.executors.iter().enumerate() {
            let phase = every / count * u32::try_from(i).unwrap_or_default();
            tasks.spawn(ask(Arc::clone(executor), every, phase, sender.clone()));
        }
        tokio::time::sleep(every + Duration::from_secs(1)).await;
        Ok(Working { names: self.names(), receipts, tasks })
    }

    /// As many of them open their streams one after the other.
    pub(crate) async fn open(&self, n: usize) -> anyhow::Result<Vec<(Arc<FakeExecutor>, Stream)>> {
        let mut streams = Vec::with_capacity(n);
        for executor in self.executors.iter().take(n) {
            let mut stream = executor.connect().await.context("open a stream")?;
            stream.heartbeat().await?;
            streams.push((Arc::clone(executor), stream));
        }
        Ok(streams)
    }

    fn names(&self) -> Vec<String> {
        self.executors.iter().map(|executor| executor.name().to_owned()).collect()
    }
}

impl Working {
    /// Asks each executor once to move to `version`, and answers how long each took to hear of it, from the request's time:
    /// before its commit.
    pub(crate) async fn upgrade_each(
        &mut self,
        plane: &ControlPlane,
        version: &str,
        pace: Duration,
    ) -> anyhow::Result<Vec<Duration>> {
        let upgrades = plane.admin().upgrades();
        let mut asked = HashMap::new();
        for name in &self.names {
            let request = v1::RequestUpgradeRequest {
                name: name.clone(),
                target_version: version.to_owned(),
                replace: true,
                ..v1::RequestUpgradeRequest::default()
            };
            let ask = || async { Ok(upgrades.clone().request_upgrade(request.clone()).await?.into_inner()) };
            let attempt = ask::again(ask).await.context("request an upgrade")?;
            let time = attempt.request_time.context("an attempt has its request time")?;
            let id = attempt.name.rsplit('/').next().unwrap_or_default().to_owned();
            asked.insert(id, time.seconds * 1_000_000 + i64::from(time.nanos) / 1000);
            tokio::time::sleep(pace).await;
        }
        let mut delays = Vec::with_capacity(asked.len());
        while !asked.is_empty() {
            let Ok(Some(receipt)) = tokio::time::timeout(LIMIT, self.receipts.recv()).await else {
                bail!("{} executors heard nothing for {LIMIT:?}", asked.len());
            };
            if receipt.version == version
                && let Some(commit) = asked.remove(&receipt.attempt)
            {
                delays.push(Duration::from_micros(u64::try_from(receipt.micros - commit).unwrap_or_default()));
            }
        }
        Ok(delays)
    }

    /// Ends every stream and poller.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

async fn listen(mut stream: Stream, receipts: mpsc::Sender<Receipt>) {
    let mut generation = 0;
    loop {
        match tokio::time::timeout(HEARTBEAT, stream.next()).await {
            Ok(Ok(Some(Hear::Desired(desired)))) => {
                generation = desired.generation;
                note(&desired, &receipts).await;
                if stream.acknowledge(generation).await.is_err() {
                    return;
                }
            }
            Ok(Ok(Some(_))) => {}
            Ok(Ok(None) | Err(_)) => return,
            Err(_) => {
                if stream.say(Say::Heartbeat(v1::Heartbeat { generation })).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn ask(executor: Arc<FakeExecutor>, every: Duration, phase: Duration, receipts: mpsc::Sender<Receipt>) {
    tokio::time::sleep(phase).await;
    let mut timer = tokio::time::interval(every);
    // One process, one connection: an instance id of its own for each poll would be a fleet of clones.
    let hello = executor.hello();
    let Ok(channel) = executor.channel().await else { return };
    loop {
        timer.tick().await;
        // A poll that fails is asked again at its next turn, as it was before.
        if let Ok(mut stream) = fake_executor::open(channel.clone(), hello.clone()).await
            && let Ok(Ok(desired)) = tokio::time::timeout(ANSWER, stream.desired()).await
        {
            note(&desired, &receipts).await;
        }
    }
}

async fn note(desired: &v1::Desired, receipts: &mpsc::Sender<Receipt>) {
    if let Some(v1::desired::Spec::Agent(spec)) = &desired.spec {
        // The clock that stamped the commit: one process, one clock.
        let micros = SystemClock.now().as_micros();
        let receipt = Receipt { attempt: desired.attempt.clone(), version: spec.target_version.clone(), micros };
        // The benchmark that no longer listens has ended.
        let _ = receipts.send(receipt).await;
    }
}
