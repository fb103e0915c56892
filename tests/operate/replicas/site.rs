//! Replicas with executors that live and people who ask, for trials that disturb them; and at the end the check that every
//! attempt has exactly one true outcome, none was applied twice, none is lost.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::catalog::{Draft, release};
use harness::daemon::SOON;
use harness::door::Door;
use harness::signing::Signer;
use proto::v1;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::Result;

use super::bot::{Bot, Strings};
use super::dice::Dice;
use super::fleet::Replicas;
use super::people::People;

/// Versions among which executors go up and down.
pub(crate) const VERSIONS: [&str; 4] = ["1.0.0", "1.1.0", "1.2.0", "1.3.0"];

/// What is asked of an executor in each round of a trial.
const TARGETS: [&str; 3] = ["1.1.0", "1.2.0", "1.3.0"];

/// Replicas, executors and people.
pub(crate) struct Site {
    pub(crate) replicas: Replicas,
    pub(crate) people: People,
    pub(crate) names: Vec<String>,
    drops: Vec<Arc<Notify>>,
    bots: Vec<JoinHandle<Bot>>,
    stop: CancellationToken,
    n_rounds: usize,
}

/// The id in a resource name.
fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or_default()
}

// === impl Site ===

impl Site {
    /// So many executors; who is where is up to `first`.
    pub(crate) async fn start(
        replicas: Replicas,
        n_executors: usize,
        seed: u64,
        first: impl Fn(usize) -> usize,
    ) -> Result<Self> {
        let (publisher, signer) = (replicas.daemons[0].client("publisher").await?, Signer::new()?);
        for (sequence, version) in (3..).zip(["1.3.0", "1.0.0"]) {
            release(&publisher, &signer, &Draft::new(version, sequence)).await?;
        }
        let doors: Vec<Door> = replicas.daemons.iter().map(Door::of).collect();
        let people = People::new(&doors);
        let stop = CancellationToken::new();
        let mut site = Self { replicas, people, names: vec![], drops: vec![], bots: vec![], stop, n_rounds: 0 };
        for n in 0..n_executors {
            let executor = site.replicas.enrol(0, &format!("web-{n}")).await?;
            let bot = Bot::new(executor, &doors, first(n), Dice::new(seed.wrapping_add(n as u64 + 1)));
            let drop = Arc::new(Notify::new());
            site.names.push(bot.name().to_owned());
            site.drops.push(Arc::clone(&drop));
            site.bots.push(tokio::spawn(bot.live(Strings { stop: site.stop.clone(), drop })));
        }
        site.online().await?;
        Ok(site)
    }

    /// Waits until all executors are connected.
    pub(crate) async fn online(&self) -> Result {
        let is_there = |executor: &v1::Executor| executor.online && !executor.version.is_empty();
        self.eventually("all to be online", is_there).await
    }

    /// The connection of this one breaks.
    pub(crate) fn disconnect(&self, n: usize) {
        self.drops[n].notify_one();
    }

    /// A request of this round. Asked for anew it is the same one.
    pub(crate) fn request(&self, name: &str, target: &str) -> v1::RequestUpgradeRequest {
        let id = last(name);
        v1::RequestUpgradeRequest {
            name: name.to_owned(),
            target_version: target.to_owned(),
            request_id: format!("{id}-round-{}-{target}", self.n_rounds),
            ..v1::RequestUpgradeRequest::default()
        }
    }

    /// Asks for the next version of each executor, at once, wherever; what was answered.
    pub(crate) fn round(&mut self, first: usize) -> JoinHandle<Result<Vec<v1::Attempt>>> {
        self.n_rounds += 1;
        let target = TARGETS[self.n_rounds % TARGETS.len()];
        let requests: Vec<_> = self.names.iter().map(|name| self.request(name, target)).collect();
        let people = self.people.clone();
        tokio::spawn(async move {
            let mut asking = tokio::task::JoinSet::new();
            for request in requests {
                let people = people.clone();
                asking.spawn(async move { anyhow::Ok(people.ask(first, &request).await??) });
            }
            asking.join_all().await.into_iter().collect()
        })
    }

    /// A round that is answered, and whose upgrades are through.
    pub(crate) async fn whole_round(&mut self) -> Result {
        let attempts = self.round(0).await??;
        self.idle().await?;
        for attempt in attempts {
            let seen = self.people.attempt(0, &attempt.name).await?;
            ensure!(seen.outcome() == v1::Outcome::Succeeded, "{seen:?}");
        }
        Ok(())
    }

    /// Waits until nothing is in flight.
    pub(crate) async fn idle(&self) -> Result {
        let is_idle = |executor: &v1::Executor| executor.open_attempt.is_empty() && executor.pending_upgrade.is_none();
        self.eventually("nothing to be in flight", is_idle).await
    }

    async fn eventually(&self, what: &str, wanted: impl Fn(&v1::Executor) -> bool) -> Result {
        for name in &self.names {
            let mut last = String::new();
            let look = async {
                for at in 0.. {
                    match self.people.executor(at, name).await {
                        Ok(executor) if wanted(&executor) => break,
                        seen => last = format!("{seen:?}"),
                    }
                    sleep(Duration::from_millis(50)).await;
                }
            };
            let is_in_time = timeout(SOON, look).await.is_ok();
            ensure!(is_in_time, "waited for {what}; {name}: {last}");
        }
        Ok(())
    }

    /// Ends it: when nothing is in flight any more, all that was said and written has to agree.
    pub(crate) async fn end(mut self) -> Result<Replicas> {
        self.idle().await?;
        self.stop.cancel();
        let mut bots = Vec::new();
        for bot in self.bots.drain(..) {
            bots.push(bot.await?);
        }
        let mut known = BTreeSet::new();
        for bot in &bots {
            let history = || format!("{}\n{}", self.people.history(), bot.name());
            known.extend(self.true_of(bot).await.with_context(history)?);
        }
        let accepted = self.people.accepted();
        let lost: Vec<_> = accepted.values().filter(|attempt| !known.contains(*attempt)).collect();
        ensure!(lost.is_empty(), "accepted, and not there: {lost:?}");
        Ok(self.replicas)
    }

    /// Every attempt of one executor has exactly one true outcome; the attempts.
    async fn true_of(&self, bot: &Bot) -> Result<Vec<String>> {
        ensure!(bot.wrong.is_empty(), "it was told what must never be said: {:?}", bot.wrong);
        let executor = self.people.executor(0, bot.name()).await?;
        ensure!(executor.version == bot.version, "it runs {}, and counts as {}", bot.version, executor.version);
        ensure!(executor.duplicated_since_time.is_none(), "nobody else has its identity");
        let attempts = self.people.attempts(0, bot.name()).await?;
        let mut generations = BTreeSet::new();
        for attempt in &attempts {
            let n_swaps = bot.swapped.iter().filter(|id| last(&attempt.name) == **id).count();
            let is_applied = attempt.outcome() == v1::Outcome::Succeeded;
            ensure!(attempt.outcome() != v1::Outcome::Unspecified, "without an outcome: {attempt:?}");
            ensure!(n_swaps == usize::from(is_applied), "applied {n_swaps} times: {attempt:?}");
            ensure!(generations.insert(attempt.generation), "two of one generation: {attempt:?}");
            let told = self.told(&attempt.name)?;
            let expected = (1, n_swaps, 1, 0);
            ensure!(told == expected, "requested, leave, ended, corrected {told:?}, not {expected:?}: {attempt:?}");
        }
        let names: Vec<String> = attempts.into_iter().map(|attempt| attempt.name).collect();
        let is_there = |id: &String| names.iter().any(|name| last(name) == id);
        let unknown: Vec<_> = bot.swapped.iter().filter(|id| !is_there(id)).collect();
        ensure!(unknown.is_empty(), "applied, and not there: {unknown:?}");
        Ok(names)
    }

    /// How often the feed says of an attempt that it was requested, got leave, ended, and was corrected.
    fn told(&self, attempt: &str) -> Result<(usize, usize, usize, usize)> {
        let kinds = format!("SELECT kind FROM novacula.events WHERE target = '{attempt}'");
        let kinds = self.replicas.cluster.sql(&kinds)?;
        let count = |kind: &str| kinds.lines().filter(|line| *line == kind).count();
        let told = ["attempt.requested", "attempt.leave_given", "attempt.ended", "attempt.corrected"].map(count);
        Ok((told[0], told[1], told[2], told[3]))
    }
}
