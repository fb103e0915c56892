//! A replica that has lost its database, and nothing else, offers its executors another: real agents, whose dials are counted.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cluster::Stop;
use harness::daemon::Daemon;
use harness::parts::Part;
use harness::relay::Relay;
use libtest_mimic::Trial;
use proto::v1;
use tokio::time::sleep;

use crate::agent::{Agent, online};
use crate::replicas::fleet::Replicas;
use crate::{Result, trial};

/// Streams that were told.
const OFFERED: &str = "novacula_streams_offered_total";

/// A lease, the wait for it to be missed, the lease's length again, and a busy machine.
const OUTAGE: Duration = Duration::from_secs(90);

/// Less than an executor waits between its first try and its second.
const BETWEEN_TRIES: Duration = Duration::from_secs(12);

const AGENTS: usize = 4;

pub(crate) fn trials() -> Vec<Trial> {
    let parts = &[Part::Postgres, Part::Openssl];
    vec![
        trial("a_replica_that_alone_has_lost_the_database_hands_its_executors_over", parts, one_without),
        trial("replicas_that_all_have_lost_the_database_are_not_stormed", parts, all_without),
    ]
}

/// Two replicas, the first by a relay to the database, and agents with streams to the first, whose dials another relay leads.
struct Scene {
    replicas: Replicas,
    agents: Vec<Agent>,
    database: Relay,
    front: Relay,
}

// === impl Scene ===

impl Scene {
    async fn start() -> Result<Self> {
        let (database, front) = (Relay::new().await?, Relay::new().await?);
        let endpoint = front.address().to_string();
        let settings = [("--executor-endpoint", endpoint.as_str()), ("--server-names", "localhost,127.0.0.1")];
        let replicas = Replicas::start_by(2, &settings, |at, cluster| {
            let url = cluster.tls_url();
            if at > 0 {
                return url;
            }
            database.turn_to(SocketAddr::from(([127, 0, 0, 1], cluster.port())));
            url.replace(&format!(":{}/", cluster.port()), &format!(":{}/", database.address().port()))
        })
        .await?;
        front.turn_to(replicas.daemons[0].executor_addr());
        let mut agents = Vec::new();
        for n in 0..AGENTS {
            let name = format!("web-{n}");
            let mut agent = Agent::new(&name)?;
            agent.enroll(&replicas.daemons[0].join_word(&name).await?, None)?;
            agent.start(None)?;
            online(&replicas.daemons[0], &name).await.with_context(|| agent.log())?;
            agents.push(agent);
        }
        ensure!(streams(&replicas.daemons[0]).await? == AGENTS, "all are at the first");
        Ok(Self { replicas, agents, database, front })
    }

    /// No agent was ever without a stream.
    fn nobody_lost_a_stream(&self) -> Result {
        for agent in &self.agents {
            let log = agent.log();
            ensure!(!log.contains("the stream is gone") && !log.contains("cannot connect"), "{log}");
        }
        Ok(())
    }
}

/// Streams that a replica holds.
async fn streams(daemon: &Daemon) -> Result<usize> {
    Ok(daemon.metric("novacula_streams").await?.round() as usize)
}

/// Streams that a replica has told.
async fn offered(daemon: &Daemon) -> Result<usize> {
    Ok(daemon.metric(OFFERED).await?.round() as usize)
}

/// How many executors are online, as a replica says it.
async fn n_online(daemon: &Daemon) -> Result<usize> {
    let request = v1::ListExecutorsRequest {
        parent: "organizations/acme".to_owned(),
        filter: "online=true".to_owned(),
        ..v1::ListExecutorsRequest::default()
    };
    let owner = daemon.client("owner").await?;
    Ok(owner.executors().list_executors(request).await?.into_inner().executors.len())
}

async fn one_without() -> Result {
    let scene = Scene::start().await?;
    let [first, second] = &scene.replicas.daemons[..] else { anyhow::bail!("two replicas") };
    // As a balancer does with a replica that is not ready.
    scene.front.turn_to(second.executor_addr());
    let n_dials = scene.front.n_accepted();
    scene.database.cut();
    let cut = Instant::now();
    loop {
        ensure!(n_online(second).await? == AGENTS, "one was away {:?} after the cut", cut.elapsed());
        // Since the new stream comes first, the old ones are the last to go.
        if streams(second).await? == AGENTS && streams(first).await? == 0 {
            break;
        }
        ensure!(cut.elapsed() < OUTAGE, "they stay: {}", first.last_words());
        sleep(Duration::from_millis(200)).await;
    }
    ensure!(offered(first).await? == AGENTS, "each was told once");
    ensure!(scene.front.n_accepted() == n_dials + AGENTS, "each dialled once");
    scene.nobody_lost_a_stream()?;

    // Where they are now they are told what is desired.
    let attempt = scene.replicas.ask(1, "organizations/acme/executors/web-0", "1.1.0").await?;
    let delivered = async {
        while scene.replicas.attempt(1, &attempt.name).await?.deliver_time.is_none() {
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    };
    tokio::time::timeout(harness::daemon::SOON, delivered).await.context("it heard nothing")?
}

async fn all_without() -> Result {
    let mut scene = Scene::start().await?;
    scene.front.turn_to(scene.replicas.daemons[1].executor_addr());
    let n_dials = scene.front.n_accepted();
    let mut cluster = scene.replicas.cluster;
    cluster = tokio::task::spawn_blocking(move || cluster.stop(Stop::Fast).map(|()| cluster)).await??;
    let first = &scene.replicas.daemons[0];
    let begin = Instant::now();
    while scene.front.n_accepted() < n_dials + AGENTS {
        ensure!(begin.elapsed() < OUTAGE, "nobody was told: {}", first.last_words());
        sleep(Duration::from_millis(200)).await;
    }
    ensure!(begin.elapsed() > Duration::from_secs(15), "a short absence offers nothing: {:?}", begin.elapsed());
    let tried = Instant::now();
    while tried.elapsed() < BETWEEN_TRIES {
        ensure!(streams(first).await? == AGENTS, "the old streams stay");
        sleep(Duration::from_secs(1)).await;
    }
    let n_tries = scene.front.n_accepted() - n_dials;
    ensure!(n_tries == AGENTS, "{n_tries} dials of {AGENTS} executors");
    ensure!(offered(first).await? == AGENTS, "each was told once");
    scene.replicas.cluster = tokio::task::spawn_blocking(move || cluster.run().map(|()| cluster)).await??;
    let back = async {
        while n_online(first).await.ok() != Some(AGENTS) {
            sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(harness::daemon::SOON, back).await.context("they count as gone")?;
    scene.nobody_lost_a_stream()
}
