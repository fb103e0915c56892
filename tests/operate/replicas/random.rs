//! A randomized run: people who ask, cancel and replace, executors that come and go, replicas that are killed, frozen and cut
//! off, a database that crashes; and then the check of all that was said and written ([`Site::end`]).
//!
//! What happens follows from a seed, though not when: a seed that failed once fails again more often than not.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, ensure};
use cluster::Stop;
use cluster::proxy::{Proxy, Toward};
use harness::client::reason;
use harness::parts::Part;
use libtest_mimic::Trial;
use proto::v1;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tonic::Code;

use crate::{Result, trial_within};

use super::dice::Dice;
use super::faults::disturbed;
use super::people::{People, is_weather};
use super::site::{Site, VERSIONS};

/// For a run of one's own: `just weather`.
const SEED: &str = "NOVACULA_SEED";
const SECONDS: &str = "NOVACULA_SECONDS";

/// How long a seed is tried when nothing is said.
const SHORT: Duration = Duration::from_secs(15);

/// For the beginning and the end of a run.
const AROUND: Duration = Duration::from_secs(240);

const REPLICAS: usize = 3;

const EXECUTORS: usize = 8;

/// How long a replica is gone, frozen or cut off, at most.
const AWAY: Duration = Duration::from_secs(2);

/// Between two things that happen, at most.
const QUIET: Duration = Duration::from_millis(600);

pub(crate) fn trials() -> Vec<Trial> {
    let parts = &[Part::Postgres, Part::Openssl];
    let limit = seconds().unwrap_or(SHORT) + AROUND;
    vec![
        trial_within(limit, "in_any_weather_every_attempt_has_one_true_outcome", parts, || run(seed().unwrap_or(1))),
        trial_within(limit, "in_other_weather_every_attempt_has_one_true_outcome", parts, || {
            run(seed().map_or(2, |seed| seed.wrapping_add(1)))
        }),
    ]
}

fn seconds() -> Option<Duration> {
    std::env::var(SECONDS).ok()?.parse().ok().map(Duration::from_secs)
}

/// The one that was said; one of this moment for a long run.
fn seed() -> Option<u64> {
    let of_this_moment = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
    match std::env::var(SEED) {
        Ok(seed) => seed.parse().ok(),
        Err(_) => seconds().and_then(|_| of_this_moment()),
    }
}

async fn run(seed: u64) -> Result {
    let length = seconds().unwrap_or(SHORT);
    let again = || format!("again with {SEED}={seed} {SECONDS}={}", length.as_secs());
    weather(seed, length).await.with_context(again)
}

async fn weather(seed: u64, length: Duration) -> Result {
    let (replicas, proxies) = disturbed(REPLICAS, &[]).await?;
    let mut site = Site::start(replicas, EXECUTORS, seed, |n| n).await?;
    let end = Instant::now() + length;
    let mut dice = Dice::new(seed);
    let mut askers = JoinSet::new();
    for name in site.names.clone() {
        let asker = Asker { people: site.people.clone(), name, latest: None, n_asked: 0 };
        askers.spawn(asker.live(Dice::new(dice.below(usize::MAX) as u64), end));
    }
    while Instant::now() < end {
        happen(&mut site, &proxies, &mut dice).await?;
        sleep(dice.moment(QUIET)).await;
    }
    for asker in askers.join_all().await {
        asker?;
    }
    site.end().await.map(drop)
}

/// Something goes wrong, and is over again.
async fn happen(site: &mut Site, proxies: &[Proxy], dice: &mut Dice) -> Result {
    const BACKENDS: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                            WHERE application_name = 'novacula-server' AND random() < 0.5";
    const DEAF: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    let (what, at) = (dice.below(12), dice.below(REPLICAS));
    site.people.note(format!("weather {what} at {at}"));
    match what {
        0..=2 => {
            site.replicas.daemons[at].kill();
            sleep(dice.moment(AWAY)).await;
            site.replicas.daemons[at].start()?;
        }
        3 => {
            site.replicas.daemons[at].signal(Signal::STOP)?;
            sleep(dice.moment(AWAY)).await;
            site.replicas.daemons[at].signal(Signal::CONT)?;
        }
        4 => {
            site.replicas.cluster.stop(Stop::Immediate)?;
            site.replicas.cluster.run()?;
        }
        5 => drop(site.replicas.cluster.sql(BACKENDS)?),
        6 => drop(site.replicas.cluster.sql(DEAF)?),
        7 => proxies[at].cut(),
        8 => {
            let toward = [Toward::Server, Toward::Client][dice.below(2)];
            proxies[at].stop(toward);
            sleep(dice.moment(AWAY)).await;
            proxies[at].open();
        }
        _ => site.disconnect(dice.below(EXECUTORS)),
    }
    Ok(())
}

/// Who asks one executor, one thing after the other: so that it is known what was accepted last.
struct Asker {
    people: People,
    name: String,
    latest: Option<v1::Attempt>,
    n_asked: usize,
}

// === impl Asker ===

impl Asker {
    async fn live(mut self, mut dice: Dice, end: Instant) -> Result {
        while Instant::now() < end {
            let at = dice.below(REPLICAS);
            match dice.below(10) {
                0..=5 => self.ask(at, &mut dice).await?,
                6 | 7 => self.cancel(at).await?,
                8 => self.look(at).await?,
                _ => self.trespass(at).await?,
            }
            sleep(dice.moment(QUIET)).await;
        }
        self.newest().await
    }

    async fn ask(&mut self, at: usize, dice: &mut Dice) -> Result {
        let Ok(executor) = self.people.executor(at, &self.name).await else { return Ok(()) };
        let mut from = None;
        if !executor.open_attempt.is_empty() {
            let Ok(open) = self.people.attempt(at, &executor.open_attempt).await else { return Ok(()) };
            from = Some(open.from_version);
        }
        // The version that it came from would be a way back.
        let others =
            VERSIONS.iter().filter(|version| **version != executor.version && from.as_deref() != Some(**version));
        let others: Vec<_> = others.collect();
        self.n_asked += 1;
        let request = v1::RequestUpgradeRequest {
            name: self.name.clone(),
            target_version: (*others[dice.below(others.len())]).to_owned(),
            request_id: format!("{}-{}", self.name.rsplit('/').next().unwrap_or_default(), self.n_asked),
            replace: dice.below(2) == 0,
            ..v1::RequestUpgradeRequest::default()
        };
        match self.people.ask(at, &request).await? {
            Ok(attempt) => self.latest = Some(attempt),
            Err(status) => ensure!(status.code() == Code::FailedPrecondition, "{}: {status:?}", self.name),
        }
        Ok(())
    }

    /// One that is cancelled is never applied: the end of the run shows it.
    async fn cancel(&self, at: usize) -> Result {
        let Some(latest) = &self.latest else { return Ok(()) };
        if let Ok(cancelled) = self.people.cancel(at, &latest.name).await? {
            ensure!(cancelled.outcome() != v1::Outcome::Unspecified, "cancelled, and goes on: {cancelled:?}");
        }
        Ok(())
    }

    /// The pending upgrade is the latest that was accepted.
    async fn look(&self, at: usize) -> Result {
        let Ok(executor) = self.people.executor(at, &self.name).await else { return Ok(()) };
        let latest = self.latest.as_ref().map(|attempt| attempt.name.as_str());
        let pending = executor.pending_upgrade.as_ref().map(|pending| pending.attempt.as_str());
        ensure!(
            pending.is_none() || pending == latest,
            "pending is {pending:?}, accepted was {latest:?}: {executor:?}"
        );
        Ok(())
    }

    /// Whoever may publish may not upgrade.
    async fn trespass(&self, at: usize) -> Result {
        let refused = self.people.trespass(at, &self.name).await?;
        let is_refused = refused.code() == Code::PermissionDenied || is_weather(&refused);
        ensure!(is_refused, "{}: {refused:?} ({})", self.name, reason(&refused));
        Ok(())
    }

    /// Of all attempts the newest is the latest that was accepted.
    async fn newest(&self) -> Result {
        let attempts = self.people.attempts_at_last(&self.name).await?;
        let newest = attempts.iter().max_by_key(|attempt| attempt.generation).map(|attempt| &attempt.name);
        let latest = self.latest.as_ref().map(|attempt| &attempt.name);
        ensure!(newest == latest, "{}: the newest is {newest:?}, accepted was {latest:?}", self.name);
        Ok(())
    }
}
