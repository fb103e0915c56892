//! Replicas behind HAProxy, with the configuration of `deploy/`: whoever connects finds a replica that is ready, one that
//! drains keeps its streams until it has told each to go, and an upgrade that is asked for meanwhile is delivered.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::daemon::{Daemon, SOON, free_address, tied};
use harness::fake_executor::{FakeExecutor, Stream};
use harness::parts::{Part, workspace};
use libtest_mimic::Trial;
use proto::v1;
use proto::v1::sync_executor_response::Message as Hear;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::replicas::fleet::Replicas;
use crate::{Result, trial};

/// The file that operators begin with; only names and addresses are put in.
const CONFIGURATION: &str = "deploy/balancer/haproxy.cfg";

/// The name that the file proves replicas by.
const NAME: &str = "control.example";

/// Long enough for the balancer to find out (it asks each second), and for all that is asked then, on a busy machine.
const DRAIN_MS: &str = "8000";

/// Executors behind the balancer: some at each of three replicas.
const EXECUTORS: usize = 6;

pub(crate) fn trials() -> Vec<Trial> {
    let parts = &[Part::Postgres, Part::Openssl, Part::Haproxy, Part::Curl];
    vec![
        trial("a_replica_drains_behind_a_balancer_and_nobody_is_turned_away", parts, drained),
        trial("a_killed_replica_behind_a_balancer_is_passed_by", parts, killed),
    ]
}

/// HAProxy over three replicas; killed when dropped.
pub(crate) struct Balancer {
    pub(crate) api: SocketAddr,
    child: Child,
    folder: TempDir,
}

/// An executor that follows its stream, as an agent does, until it is told to stop.
struct Follower {
    name: String,
    task: JoinHandle<Result<Followed>>,
}

/// What it lived through.
#[derive(Default)]
struct Followed {
    /// How often it was told to dial another replica.
    n_moves: usize,
    desired: Vec<v1::Desired>,
}

// === impl Balancer ===

impl Balancer {
    fn addresses() -> Result<(SocketAddr, SocketAddr)> {
        Ok((free_address()?, free_address()?))
    }

    fn start(replicas: &Replicas, (api, executors): (SocketAddr, SocketAddr)) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("novacula-balancer-").tempdir()?;
        let mut text = fs::read_to_string(workspace().join(CONFIGURATION))?;
        let authority = replicas.daemons[0].ca();
        let mut put = |from: &str, to: &str| -> Result {
            ensure!(text.contains(from), "{CONFIGURATION} says {from}");
            text = text.replace(from, to);
            Ok(())
        };
        put("/etc/haproxy/authority.pem", authority.to_str().context("a path of text")?)?;
        put("bind :7443", &format!("bind {api}"))?;
        put("bind :7444", &format!("bind {executors}"))?;
        for (n, daemon) in (1..).zip(&replicas.daemons) {
            let (api, executors) = (daemon.api_addr(), daemon.executor_addr());
            put(&format!("server-{n}:7444 port 7443"), &format!("{executors} port {}", api.port()))?;
            put(&format!("server-{n}:7443"), &api.to_string())?;
        }
        let path = folder.path().join("haproxy.cfg");
        fs::write(&path, text)?;
        let log = fs::File::create(folder.path().join("log"))?;
        let mut haproxy = tied(&Part::Haproxy.find()?);
        haproxy.arg("-db").arg("-f").arg(&path).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self { api, child: haproxy.spawn().context("start haproxy")?, folder })
    }

    /// What a fresh connection through it hears of readiness; the exit status of curl when there is no answer.
    fn ready(&self, replicas: &Replicas) -> Result<String> {
        let mut curl = Command::new(Part::Curl.find()?);
        curl.args(["-sS", "--max-time", "5", "--cacert"]).arg(replicas.daemons[0].ca());
        let answer = curl.arg(format!("https://{}/readyz", self.api)).output()?;
        Ok(if answer.status.success() { String::from_utf8(answer.stdout)? } else { answer.status.to_string() })
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until it leads only to replicas that are ready: so many answers in a row say so.
    pub(crate) async fn settled(&self, replicas: &Replicas) -> Result {
        let mut in_a_row = 0;
        let settle = async {
            while in_a_row < 6 {
                in_a_row = if self.ready(replicas)? == "ready\n" { in_a_row + 1 } else { 0 };
                sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        };
        timeout(SOON, settle)
            .await
            .with_context(|| format!("it leads to replicas that are not ready: {}", self.log()))?
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Follower ===

impl Follower {
    fn start(executor: FakeExecutor, stream: Stream, stop: watch::Receiver<()>) -> Self {
        Self { name: executor.name().to_owned(), task: tokio::spawn(follow(executor, stream, stop)) }
    }
}

async fn follow(executor: FakeExecutor, mut stream: Stream, mut stop: watch::Receiver<()>) -> Result<Followed> {
    let (mut followed, hello) = (Followed::default(), executor.hello());
    loop {
        let word = tokio::select! {
            _ = stop.changed() => return Ok(followed),
            word = stream.next() => word?.context("it was cut without a word")?,
        };
        match word {
            Hear::Desired(desired) if desired.spec.is_some() => {
                stream.acknowledge(desired.generation).await?;
                followed.desired.push(desired);
            }
            Hear::Reconnect(_) => {
                // The new stream first: it is never away.
                stream = executor.connect_with(hello.clone()).await.context("turned away")?;
                followed.n_moves += 1;
            }
            _ => {}
        }
    }
}

/// Three replicas whose join words lead to the balancer, and the balancer.
pub(crate) async fn behind(drain_ms: &str) -> Result<(Replicas, Balancer)> {
    let addresses = Balancer::addresses()?;
    let endpoint = addresses.1.to_string();
    let names = format!("{NAME},localhost,127.0.0.1");
    let settings = [("--drain-ms", drain_ms), ("--executor-endpoint", &endpoint), ("--server-names", &names)];
    let replicas = Replicas::start_with(3, &settings).await?;
    let balancer = Balancer::start(&replicas, addresses)?;
    balancer.settled(&replicas).await?;
    Ok((replicas, balancer))
}

/// Streams that a replica holds.
async fn n_streams(daemon: &Daemon) -> Result<usize> {
    Ok(daemon.metric("novacula_streams").await?.round() as usize)
}

async fn drained() -> Result {
    let (mut replicas, balancer) = behind(DRAIN_MS).await?;
    let (stop, stopped) = watch::channel(());
    let mut followers = Vec::new();
    for n in 0..EXECUTORS {
        let executor = replicas.enrol(n % 3, &format!("web-{n}")).await?;
        let stream = executor.connect().await?;
        followers.push(Follower::start(executor, stream, stopped.clone()));
    }
    let mut n_there = Vec::new();
    for daemon in &replicas.daemons {
        n_there.push(n_streams(daemon).await?);
    }
    ensure!(n_there.iter().all(|n| *n > 0), "they are spread: {n_there:?}");
    // One that is told to go and stays: the replica drains as long as it may.
    let mut stubborn = replicas.enrol(0, "stubborn").await?;
    let _stays = replicas.connect(&mut stubborn, 0).await?;

    replicas.daemons[0].signal(Signal::TERM)?;
    replicas.daemons[0].told("STOPPING=1")?;
    let page = replicas.daemons[0].get("/readyz").await?;
    ensure!(page.status == 503 && page.body == "draining\n", "{page:?}");
    // At once, before the balancer can know it: a connection that is refused is led on.
    let newcomer = replicas.enrol(1, "newcomer").await?;
    let stream = newcomer.connect().await.context("turned away")?;
    followers.push(Follower::start(newcomer, stream, stopped));
    balancer.settled(&replicas).await?;
    let page = replicas.daemons[0].get("/readyz").await.context("it drains still")?;
    ensure!(page.status == 503, "the balancer, and not the end of the replica, leads elsewhere: {page:?}");
    for follower in &followers {
        ask(&replicas, &balancer, &follower.name).await?;
    }
    let status = replicas.daemons[0].ended(SOON)?;
    ensure!(status.success(), "{status}");

    let streams = n_streams(&replicas.daemons[1]).await? + n_streams(&replicas.daemons[2]).await?;
    ensure!(streams == followers.len(), "{streams} streams of {}", followers.len());
    drop(stop);
    let mut n_moves = 0;
    for Follower { name, task } in followers {
        let followed = timeout(SOON, task).await??.with_context(|| name.clone())?;
        ensure!(!followed.desired.is_empty(), "{name} was told of no upgrade");
        n_moves += followed.n_moves;
    }
    ensure!(n_moves == n_there[0], "{n_moves} of {n_there:?} were told to dial another");

    // Back again, it has the fewest.
    replicas.daemons[0].start()?;
    let back = replicas.enrol(1, "back").await?;
    timeout(SOON, async {
        loop {
            let _stream = back.connect().await?;
            if n_streams(&replicas.daemons[0]).await? > 0 {
                return Ok(());
            }
        }
    })
    .await
    .context("nobody is led to the replica that is back")?
}

/// Asks through the balancer, by a connection of its own.
async fn ask(replicas: &Replicas, balancer: &Balancer, name: &str) -> Result {
    let owner = replicas.daemons[1].client_through(balancer.api, "owner").await?;
    let target_version = "1.1.0".to_owned();
    let request =
        v1::RequestUpgradeRequest { name: name.to_owned(), target_version, ..v1::RequestUpgradeRequest::default() };
    owner.upgrades().request_upgrade(request).await.with_context(|| format!("for {name}"))?;
    Ok(())
}

async fn killed() -> Result {
    let (mut replicas, balancer) = behind(DRAIN_MS).await?;
    let executor = replicas.enrol(1, "web-1").await?;
    let (mut streams, hello) = (Vec::new(), executor.hello());
    for at in [0, 2] {
        replicas.daemons[at].kill();
        // At once, and each time anew: nobody is led to one that is gone.
        for _ in 0..3 {
            streams.push(executor.connect_with(hello.clone()).await.context("turned away")?);
        }
    }
    ensure!(n_streams(&replicas.daemons[1]).await? > 0, "the last one has it");
    ask(&replicas, &balancer, executor.name()).await?;
    let newest = streams.last_mut().context("it is connected")?;
    newest.desired().await?;
    Ok(())
}
