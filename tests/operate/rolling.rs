//! A rolling restart of three replicas behind HAProxy, under a fleet and a steady trickle of upgrades: nobody who tries again as
//! gRPC clients do sees a failure, no executor goes offline, and no replica turns anybody away because too many come at once.
//!
//! A hundred executors, or as many as `NOVACULA_ROLLING_EXECUTORS` says (`just rolling-restart`); the figures are printed.

#![expect(clippy::print_stderr, reason = "figures of a run, for people; the suite has no other way")]

mod member;

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use domain::join::Endpoint;
use executor_sdk::connect;
use harness::client::Client;
use harness::daemon::{Daemon, SOON};
use harness::fake_executor::FakeExecutor;
use harness::parts::Part;
use libtest_mimic::Trial;
use proto::v1;
use rustix::process::Signal;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::balancer::{Balancer, behind};
use crate::replicas::fleet::Replicas;
use crate::{Result, trial};

use self::member::{Lived, Member};

/// How many executors there are.
const EXECUTORS: &str = "NOVACULA_ROLLING_EXECUTORS";

/// Streams a second that a drain tells to go, about: a debug build makes both halves of each handshake on two cores.
const MOVES_A_SECOND: usize = 25;

/// Between two requests of the trickle.
const TRICKLE: Duration = Duration::from_millis(300);

/// As gRPC's retry policy has it: five tries, from 0.1 s to 1 s between them.
const TRIES: u32 = 5;

/// Executors that are enrolled at once.
const AT_ONCE: usize = 16;

pub(crate) fn trials() -> Vec<Trial> {
    let parts = &[Part::Postgres, Part::Openssl, Part::Haproxy, Part::Curl];
    vec![trial("a_rolling_restart_fails_no_request_and_loses_no_executor", parts, rolling)]
}

/// A caller who tries again when it hears UNAVAILABLE, each time by a connection of its own.
#[derive(Clone)]
struct Caller {
    api: Endpoint,
    tls: Arc<rustls::ClientConfig>,
    token: String,
}

/// What the trickle led to.
#[derive(Debug, Default)]
struct Trickle {
    attempts: Vec<String>,
    n_retries: u32,
}

/// What somebody saw who looked the whole time.
#[derive(Debug, Default)]
struct Seen {
    n_looks: usize,
    fewest_online: usize,
}

/// What a replica counted until it was told to end, or the trial was over.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    opened: f64,
    turned_away: f64,
}

// === impl Caller ===

impl Caller {
    fn new(daemon: &Daemon, api: SocketAddr) -> Result<Self> {
        let token = fs::read_to_string(daemon.tokens().join("owner.token"))?.trim().to_owned();
        Ok(Self { api: api.to_string().parse()?, tls: Arc::new(daemon.tls(b"h2")?), token })
    }

    async fn client(&self) -> std::result::Result<Client, connect::Error> {
        let channel = connect::dial(&self.api, Arc::clone(&self.tls)).await?.channel();
        Ok(Client::new(channel, Some(&self.token)))
    }

    /// The answer, and how many tries failed before it.
    async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<(T, u32)>
    where
        F: Future<Output = std::result::Result<T, Status>>,
    {
        let mut pause = Duration::from_millis(100);
        for n in 0..TRIES {
            let answer = match self.client().await {
                Ok(client) => call(client).await,
                Err(error) => Err(Status::unavailable(error.to_string())),
            };
            match answer {
                Ok(answer) => return Ok((answer, n)),
                Err(status) if status.code() == Code::Unavailable && n + 1 < TRIES => sleep(pause).await,
                Err(status) => bail!("after {n} retries: {status:?}"),
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        bail!("no try")
    }

    /// One more upgrade each time, until it is told to stop or everybody was asked.
    async fn trickle(self, names: Vec<String>, stop: watch::Receiver<()>) -> Result<Trickle> {
        let mut trickle = Trickle::default();
        for name in names {
            if stop.has_changed().unwrap_or(true) {
                break;
            }
            let request = v1::RequestUpgradeRequest {
                name: name.clone(),
                target_version: "1.1.0".to_owned(),
                ..v1::RequestUpgradeRequest::default()
            };
            let ask = |client: Client| {
                let request = request.clone();
                async move { Ok(client.upgrades().request_upgrade(request).await?.into_inner()) }
            };
            let (attempt, n_retries) = self.call(ask).await.with_context(|| format!("for {name}"))?;
            trickle.attempts.push(attempt.name);
            trickle.n_retries += n_retries;
            sleep(TRICKLE).await;
        }
        Ok(trickle)
    }

    /// Looks again and again at how many are online.
    async fn look(self, stop: watch::Receiver<()>) -> Result<Seen> {
        let mut seen = Seen { n_looks: 0, fewest_online: usize::MAX };
        while !stop.has_changed().unwrap_or(true) {
            let list = |client: Client| async move {
                let request = v1::ListExecutorsRequest {
                    parent: "organizations/acme".to_owned(),
                    page_size: 1000,
                    filter: "online=true".to_owned(),
                    ..v1::ListExecutorsRequest::default()
                };
                Ok(client.executors().list_executors(request).await?.into_inner().executors.len())
            };
            let (n_online, _) = self.call(list).await.context("look")?;
            seen.fewest_online = seen.fewest_online.min(n_online);
            seen.n_looks += 1;
            sleep(Duration::from_millis(500)).await;
        }
        Ok(seen)
    }

    /// Waits until an attempt has succeeded.
    async fn succeeded(&self, name: &str) -> Result {
        let end = Instant::now() + SOON;
        loop {
            let get = |client: Client| {
                let request = v1::GetAttemptRequest { name: name.to_owned() };
                async move { Ok(client.upgrades().get_attempt(request).await?.into_inner()) }
            };
            let (attempt, _) = self.call(get).await?;
            if attempt.outcome() == v1::Outcome::Succeeded {
                return Ok(());
            }
            let open = attempt.outcome() == v1::Outcome::Unspecified;
            ensure!(open && Instant::now() < end, "{attempt:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

// === impl Counted ===

impl Counted {
    async fn of(daemon: &Daemon) -> Result<Self> {
        let turned_away = daemon.metric("novacula_streams_closed_total{reason=\"unavailable\"}").await;
        Ok(Self {
            opened: daemon.metric("novacula_streams_opened_total").await?,
            // A reason that did not occur is not there.
            turned_away: turned_away.unwrap_or(0.0),
        })
    }
}

fn n_executors() -> Result<usize> {
    let Ok(text) = env::var(EXECUTORS) else { return Ok(100) };
    let n = text.parse().with_context(|| format!("{EXECUTORS}={text}"))?;
    ensure!((3..=1000).contains(&n), "{EXECUTORS} is 3 to 1,000: {n}");
    Ok(n)
}

/// Enrols and connects so many, through the balancer.
async fn connect_all(replicas: &Replicas, n: usize, stop: &watch::Receiver<()>) -> Result<Vec<Member>> {
    let mut members = Vec::with_capacity(n);
    let names: Vec<usize> = (0..n).collect();
    for group in names.chunks(AT_ONCE) {
        let mut joining = JoinSet::new();
        for n in group {
            let word = replicas.daemons[n % 3].join_word(&format!("web-{n}")).await?;
            let stop = stop.clone();
            joining.spawn(async move {
                let executor = FakeExecutor::by_word(&word, "1.0.0").await.context("enrol")?;
                Member::start(executor, stop).await
            });
        }
        while let Some(member) = joining.join_next().await {
            members.push(member??);
        }
    }
    Ok(members)
}

/// One replica after the other, each when the one before is ready again.
async fn restart_all(replicas: &mut Replicas, balancer: &Balancer) -> Result<Counted> {
    let mut counted = Counted::default();
    for at in 0..replicas.daemons.len() {
        let before = Counted::of(&replicas.daemons[at]).await?;
        counted.opened += before.opened;
        counted.turned_away += before.turned_away;
        // The other end of what blocks here is a process; the fleet runs on other threads.
        let daemon = &mut replicas.daemons[at];
        daemon.signal(Signal::TERM)?;
        daemon.told("STOPPING=1")?;
        let status = daemon.ended(SOON * 2)?;
        ensure!(status.success(), "replica {at}: {status}");
        daemon.start().with_context(|| format!("replica {at}"))?;
        balancer.settled(replicas).await?;
    }
    Ok(counted)
}

async fn rolling() -> Result {
    let n = n_executors()?;
    // What one replica holds, told at a pace that this machine bears; and longer than a told stream may stay.
    let drain_ms = (n / 3 * 1000 / MOVES_A_SECOND).max(5000).to_string();
    let (mut replicas, balancer) = behind(&drain_ms).await?;
    let (stop, stopped) = watch::channel(());
    let members = connect_all(&replicas, n, &stopped).await?;
    let caller = Caller::new(&replicas.daemons[0], balancer.api)?;
    let (stop_asking, no_more) = watch::channel(());
    let names = members.iter().map(|member| member.name.clone()).collect();
    let trickle: JoinHandle<Result<Trickle>> = tokio::spawn(caller.clone().trickle(names, no_more));
    let look = tokio::spawn(caller.clone().look(stopped));

    let begin = Instant::now();
    let mut counted = restart_all(&mut replicas, &balancer).await?;
    let took = begin.elapsed();
    drop(stop_asking);
    let trickle = trickle.await??;
    for attempt in &trickle.attempts {
        caller.succeeded(attempt).await.with_context(|| attempt.clone())?;
    }
    for daemon in &replicas.daemons {
        let last = Counted::of(daemon).await?;
        counted.opened += last.opened;
        counted.turned_away += last.turned_away;
    }
    drop(stop);
    let seen = look.await??;
    let mut lived = Lived::default();
    for member in members {
        lived.add(timeout(SOON, member.task).await??.with_context(|| member.name)?);
    }
    eprintln!(
        "rolling restart of 3 replicas under {n} executors: {took:.1?}; {} upgrades asked for meanwhile, {} retries, all succeeded; \
         {lived}; fewest online {} of {n} in {} looks; {} streams opened, {} turned away",
        trickle.attempts.len(),
        trickle.n_retries,
        seen.fewest_online,
        seen.n_looks,
        counted.opened,
        counted.turned_away,
    );
    ensure!(!trickle.attempts.is_empty() && lived.n_moves >= n * 2 / 3, "nothing was tried: {lived}");
    ensure!(seen.fewest_online == n, "{} of {n} were online", seen.fewest_online);
    ensure!(counted.turned_away == 0.0, "{} hellos were turned away", counted.turned_away);
    // A machine that stands still for seconds, as one that builds, cuts some of them: such an executor was gone for a moment.
    ensure!(lived.cuts.len() <= n / 20, "streams ended before the next was there: {:#?}", lived.cuts);
    Ok(())
}
