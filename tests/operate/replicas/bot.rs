//! An executor that lives: it connects wherever it is let in, upgrades itself when it is told to, and reports. It keeps by
//! itself what an agent's journal keeps, and notes whatever a control plane must never say.
//!
//! ```text
//! connect ─> desired ─> (downloads) ─> asks for leave ─proceed─> swaps, is another process ─> connect, report ─ack─> …
//! ```

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use harness::door::Door;
use harness::fake_executor::{FakeExecutor, Stream};
use proto::v1;
use proto::v1::desired::Spec;
use proto::v1::sync_executor_request::Message as Say;
use proto::v1::sync_executor_response::Message as Hear;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Result;

use super::dice::Dice;

/// Between two signs of life.
const BEAT: Duration = Duration::from_secs(1);

/// A question or a report is said again after this long.
const AGAIN: Duration = Duration::from_secs(2);

/// Nothing is heard for this long: the replica is dead or stands still.
const SILENT: Duration = Duration::from_secs(8);

/// The longest that a download takes.
const DOWNLOAD: Duration = Duration::from_millis(300);

/// Before it dials again, at most.
const PAUSE: Duration = Duration::from_millis(300);

/// What a test tells it.
#[derive(Clone, Debug)]
pub(crate) struct Strings {
    pub(crate) stop: CancellationToken,
    /// Its connection breaks.
    pub(crate) drop: Arc<Notify>,
}

/// The executor.
pub(crate) struct Bot {
    executor: FakeExecutor,
    doors: Vec<Door>,
    at: usize,
    dice: Dice,
    instance: String,
    pub(crate) version: String,
    generation: u64,
    open: Option<Open>,
    unsent: Option<(v1::Report, Option<Instant>)>,
    /// The ids of attempts that it has swapped for, in order.
    pub(crate) swapped: Vec<String>,
    acknowledged: BTreeSet<String>,
    /// What must never be said.
    pub(crate) wrong: Vec<String>,
}

/// An upgrade in its hands.
struct Open {
    desired: v1::Desired,
    target: String,
    /// Downloaded by then.
    ready: Instant,
    asked: Option<Instant>,
}

/// What a word leads to.
#[derive(PartialEq, Eq)]
enum Next {
    Stay,
    Leave,
}

// === impl Bot ===

impl Bot {
    /// One that dials this replica first.
    pub(crate) fn new(executor: FakeExecutor, doors: &[Door], first: usize, dice: Dice) -> Self {
        Self {
            executor,
            doors: doors.to_vec(),
            at: first,
            dice,
            instance: Uuid::new_v4().to_string(),
            version: "1.0.0".to_owned(),
            generation: 0,
            open: None,
            unsent: None,
            swapped: Vec::new(),
            acknowledged: BTreeSet::new(),
            wrong: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.executor.name()
    }

    /// Lives until it is told to stop.
    pub(crate) async fn live(mut self, strings: Strings) -> Self {
        while !strings.stop.is_cancelled() {
            if self.session(&strings).await.is_err() {
                // Whatever it was: there are others.
                self.at += 1;
            }
            sleep(self.dice.moment(PAUSE)).await;
        }
        self
    }

    fn hello(&self) -> v1::Hello {
        let report = self.unsent.as_ref().map(|(report, _)| report);
        let phase = if report.is_some() { v1::Phase::Confirming } else { v1::Phase::Unspecified };
        v1::Hello {
            version: self.version.clone(),
            generation: self.generation,
            instance_id: self.instance.clone(),
            open_attempt: report.map(|report| report.attempt.clone()).unwrap_or_default(),
            phase: phase.into(),
            unsent_outcomes: report.into_iter().cloned().collect(),
            ..self.executor.hello()
        }
    }

    async fn session(&mut self, strings: &Strings) -> Result {
        let door = self.doors[self.at % self.doors.len()].clone();
        self.executor.turn_to(door.executor_addr())?;
        let mut stream = timeout(SILENT, self.executor.connect_with(self.hello())).await??;
        let (mut heard, mut beat) = (Instant::now(), Instant::now());
        // What was asked on another stream is asked anew.
        self.open.iter_mut().for_each(|open| open.asked = None);
        loop {
            self.chores(&stream).await?;
            if beat.elapsed() > BEAT {
                beat = Instant::now();
                stream.acknowledge(self.generation).await?;
            }
            let word = tokio::select! {
                () = strings.stop.cancelled() => return Ok(()),
                () = strings.drop.notified() => return Ok(()),
                // Nothing that was said is lost when it is dropped.
                word = timeout(BEAT / 10, stream.next()) => word,
            };
            let Ok(word) = word else {
                anyhow::ensure!(heard.elapsed() < SILENT, "nothing is heard");
                continue;
            };
            heard = Instant::now();
            let word = word?.context("the stream ended")?;
            if self.hear(word, &stream).await? == Next::Leave {
                return Ok(());
            }
        }
    }

    /// What is due.
    async fn chores(&mut self, stream: &Stream) -> Result {
        let is_due = |last: Option<Instant>| last.is_none_or(|last| last.elapsed() > AGAIN);
        if let Some((report, sent)) = &mut self.unsent
            && is_due(*sent)
        {
            *sent = Some(Instant::now());
            stream.say(Say::Report(report.clone())).await?;
        }
        if let Some(open) = &mut self.open
            && open.ready <= Instant::now()
            && is_due(open.asked)
        {
            open.asked = Some(Instant::now());
            let (attempt, generation) = (open.desired.attempt.clone(), open.desired.generation);
            stream.say(Say::ReadyToSwap(v1::ReadyToSwap { attempt, generation })).await?;
        }
        Ok(())
    }

    async fn hear(&mut self, word: Hear, stream: &Stream) -> Result<Next> {
        match word {
            Hear::Desired(desired) => self.take(desired, stream).await?,
            Hear::Proceed(leave) => {
                let asked = |open: &mut Open| {
                    (&open.desired.attempt, open.desired.generation) == (&leave.attempt, leave.generation)
                };
                if let Some(open) = self.open.take_if(asked) {
                    self.swap(&open);
                    return Ok(Next::Leave);
                }
            }
            Hear::Withdrawn(withdrawn) => drop(self.open.take_if(|open| open.desired.attempt == withdrawn.attempt)),
            Hear::ReportAck(ack) => {
                self.unsent.take_if(|(report, _)| report.attempt == ack.attempt);
                self.acknowledged.insert(ack.attempt);
            }
            Hear::Reconnect(_) => {
                self.at += 1;
                return Ok(Next::Leave);
            }
            Hear::Welcome(_) | Hear::HeartbeatAck(_) => {}
        }
        Ok(Next::Stay)
    }

    async fn take(&mut self, desired: v1::Desired, stream: &Stream) -> Result {
        if desired.generation < self.generation {
            self.wrong.push(format!("generation {} after {}", desired.generation, self.generation));
        }
        self.generation = self.generation.max(desired.generation);
        stream.acknowledge(desired.generation).await?;
        let target = match &desired.spec {
            Some(Spec::Agent(spec)) => spec.target_version.clone(),
            Some(other) => {
                self.wrong.push(format!("{other:?} is desired"));
                return Ok(());
            }
            None => {
                self.open = None;
                return Ok(());
            }
        };
        if self.acknowledged.contains(&desired.attempt) {
            self.wrong.push(format!("{} is desired again after its end", desired.attempt));
        }
        let is_known = self.open.as_ref().is_some_and(|open| open.desired.attempt == desired.attempt);
        if is_known || self.swapped.contains(&desired.attempt) {
            return Ok(());
        }
        for phase in [v1::Phase::Downloading, v1::Phase::Verifying] {
            let progress = v1::Progress {
                attempt: desired.attempt.clone(),
                generation: desired.generation,
                phase: phase.into(),
                bytes_done: 1,
                bytes_total: 2,
                waiting: None,
            };
            stream.say(Say::Progress(progress)).await?;
        }
        let ready = Instant::now() + self.dice.moment(DOWNLOAD);
        self.open = Some(Open { desired, target, ready, asked: None });
        Ok(())
    }

    /// From here on it is another process.
    fn swap(&mut self, open: &Open) {
        let report = v1::Report {
            attempt: open.desired.attempt.clone(),
            outcome: v1::Outcome::Succeeded.into(),
            running_version: open.target.clone(),
            target_version: open.target.clone(),
            from_version: self.version.clone(),
            ..v1::Report::default()
        };
        self.swapped.push(report.attempt.clone());
        self.version.clone_from(&open.target);
        self.instance = Uuid::new_v4().to_string();
        self.unsent = Some((report, None));
    }
}
