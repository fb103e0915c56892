//! Three replicas over one PostgreSQL, as processes: an executor may be at any of them, a request may come to any other, and
//! any of them may go.

mod bot;

mod dice;

mod faults;

pub(crate) mod fleet;

mod people;

mod random;

mod site;

mod weather;

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use cluster::{Cluster, Durability, Stop};
use harness::client::reason;
use harness::daemon::{Daemon, SOON};
use harness::fake_executor::Stream;
use harness::parts::Part;
use libtest_mimic::Trial;
use proto::v1;
use rustix::process::Signal;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::{Result, server, trial};

use self::fleet::{Replicas, authority, join, upgraded};

/// EX_CONFIG of sysexits.h.
const BAD_CONFIGURATION: i32 = 78;

pub(crate) fn trials() -> Vec<Trial> {
    let parts = &[Part::Postgres, Part::Openssl];
    let mut trials = vec![
        trial("a_request_at_one_replica_reaches_an_executor_at_another", parts, across),
        trial("the_newest_stream_wins_whichever_replica_it_is_at", parts, newest_wins),
        trial("a_killed_replica_loses_no_upgrade", parts, killed),
        trial("a_replica_that_was_stopped_does_not_fight_the_newer_session", parts, stopped),
        trial("streams_outlive_a_database_that_went_away", parts, database_away),
        trial("another_replica_takes_the_jobs_of_one_that_was_killed", parts, jobs_go_on),
        trial("what_is_wrong_with_a_database_is_one_sentence_and_exit_78", parts, sentences),
    ];
    trials.extend(faults::trials());
    trials.extend(weather::trials());
    trials.extend(random::trials());
    trials
}

/// Why its stream was closed.
pub(crate) async fn closed(stream: &mut Stream) -> Result<String> {
    loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => bail!("it ended without a word"),
            Err(error) => return Ok(reason(&error.downcast::<Status>()?)),
        }
    }
}

async fn across() -> Result {
    let replicas = Replicas::start(3).await?;
    let mut executor = replicas.enrol(0, "web-1").await?;
    let mut stream = replicas.connect(&mut executor, 2).await?;
    ensure!(replicas.executor(1, &executor).await?.online, "its presence is everybody's to see");
    let attempt = replicas.ask(0, executor.name(), "1.1.0").await?;
    let desired = stream.desired().await?;
    // Leave is given where the stream is; another replica then refuses to cancel.
    stream.ask_leave(&desired).await?;
    let cancel = v1::CancelUpgradeRequest { name: attempt.name.clone(), ..v1::CancelUpgradeRequest::default() };
    let refused = replicas.daemons[1].client("owner").await?.upgrades().cancel_upgrade(cancel).await;
    let refused = refused.err().context("it was cancelled after leave")?;
    ensure!(reason(&refused) == "ATTEMPT_APPLYING", "{refused:?}");
    drop(stream);
    executor.turn_to(replicas.daemons[1].executor_addr())?;
    let _stream = upgraded(&executor, &desired).await?;
    for at in 0..3 {
        let seen = replicas.attempt(at, &attempt.name).await?;
        ensure!(seen.outcome() == v1::Outcome::Succeeded, "at replica {at}: {seen:?}");
    }
    Ok(())
}

async fn newest_wins() -> Result {
    let replicas = Replicas::start(2).await?;
    let mut executor = replicas.enrol(0, "web-1").await?;
    let hello = executor.hello();
    executor.turn_to(replicas.daemons[0].executor_addr())?;
    let mut older = executor.connect_with(hello.clone()).await?;
    executor.turn_to(replicas.daemons[1].executor_addr())?;
    let mut newer = executor.connect_with(hello).await?;
    ensure!(closed(&mut older).await? == "SESSION_REPLACED");
    replicas.ask(0, executor.name(), "1.1.0").await?;
    newer.desired().await?;
    ensure!(replicas.executor(0, &executor).await?.online, "the end of the older is not the executor's");
    Ok(())
}

async fn killed() -> Result {
    let mut replicas = Replicas::start(3).await?;
    let mut executor = replicas.enrol(0, "web-1").await?;
    let mut stream = replicas.connect(&mut executor, 2).await?;
    let attempt = replicas.ask(0, executor.name(), "1.1.0").await?;
    let first = stream.desired().await?;
    replicas.daemons[2].kill();
    drop(stream);
    let mut stream = replicas.connect(&mut executor, 1).await?;
    let again = stream.desired().await?;
    ensure!(again.generation >= first.generation, "generations only grow");
    stream.ask_leave(&again).await?;
    drop(stream);
    // With leave in hand it does not matter who is there when it comes back.
    executor.turn_to(replicas.daemons[0].executor_addr())?;
    let _stream = upgraded(&executor, &again).await?;
    let seen = replicas.attempt(1, &attempt.name).await?;
    ensure!(seen.outcome() == v1::Outcome::Succeeded, "{seen:?}");
    Ok(())
}

async fn stopped() -> Result {
    let replicas = Replicas::start(2).await?;
    let mut executor = replicas.enrol(0, "web-1").await?;
    let hello = executor.hello();
    executor.turn_to(replicas.daemons[1].executor_addr())?;
    let mut frozen = executor.connect_with(hello.clone()).await?;
    frozen.heartbeat().await?;
    replicas.daemons[1].signal(Signal::STOP)?;
    executor.turn_to(replicas.daemons[0].executor_addr())?;
    let mut stream = executor.connect_with(hello).await?;
    let attempt = replicas.ask(0, executor.name(), "1.1.0").await?;
    let desired = stream.desired().await?;
    // A minute: its lease is long gone, and so is what it knew.
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        stream.heartbeat().await?;
        sleep(Duration::from_secs(1)).await;
    }
    replicas.daemons[1].signal(Signal::CONT)?;
    // By the newer session's word, or because it finds that it has heard nothing for so long (30 s, or its own connection's time).
    let why = closed(&mut frozen).await?;
    ensure!(["SESSION_REPLACED", "UNAVAILABLE", "PROTOCOL_VIOLATION"].contains(&why.as_str()), "{why}");
    stream.ask_leave(&desired).await?;
    ensure!(replicas.executor(1, &executor).await?.online, "the newer session is the executor's");
    let seen = replicas.attempt(1, &attempt.name).await?;
    ensure!(seen.outcome() == v1::Outcome::Unspecified, "{seen:?}");
    Ok(())
}

async fn database_away() -> Result {
    let mut replicas = Replicas::start(2).await?;
    let mut executor = replicas.enrol(0, "web-1").await?;
    let mut stream = replicas.connect(&mut executor, 1).await?;
    stream.heartbeat().await?;
    let mut cluster = replicas.cluster;
    cluster = tokio::task::spawn_blocking(move || cluster.stop(Stop::Fast).map(|()| cluster)).await??;
    let refused = refused(&replicas.daemons[0], executor.name()).await?;
    ensure!(refused.code() == Code::Unavailable, "{refused:?}");
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(3) {
        stream.heartbeat().await?;
        sleep(Duration::from_millis(200)).await;
    }
    cluster = tokio::task::spawn_blocking(move || cluster.run().map(|()| cluster)).await??;
    replicas.cluster = cluster;
    timeout(SOON, async {
        while let Err(status) = replicas.ask(0, executor.name(), "1.1.0").await {
            // Until the lease is renewed its executors count as gone.
            let soon = status.code() == Code::Unavailable || reason(&status) == "EXECUTOR_OFFLINE";
            ensure!(soon, "{status:?}");
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    })
    .await??;
    // The same stream, over the outage: pushed by the other replica's commit.
    stream.desired().await?;
    Ok(())
}

async fn jobs_go_on() -> Result {
    const HOLDER: &str = "SELECT replica FROM novacula.jobs WHERE name = 'deadlines'";
    let mut replicas = Replicas::start(2).await?;
    let before = replicas.cluster.sql(HOLDER)?;
    ensure!(!before.is_empty(), "the first that came does it");
    let mut executor = replicas.enrol(0, "web-1").await?;
    let _stream = replicas.connect(&mut executor, 1).await?;
    replicas.daemons[0].kill();
    let request = v1::RequestUpgradeRequest {
        name: executor.name().to_owned(),
        target_version: "1.1.0".to_owned(),
        ttl: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..v1::RequestUpgradeRequest::default()
    };
    let owner = replicas.daemons[1].client("owner").await?;
    let attempt = owner.upgrades().request_upgrade(request).await?.into_inner();
    timeout(SOON, async {
        while replicas.attempt(1, &attempt.name).await?.outcome() != v1::Outcome::Expired {
            sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    })
    .await??;
    let after = replicas.cluster.sql(HOLDER)?;
    ensure!(after != before, "{after} holds it still");
    Ok(())
}

/// A read while the store is away.
async fn refused(daemon: &Daemon, name: &str) -> Result<Status> {
    let request = v1::GetExecutorRequest { name: name.to_owned() };
    let answer = daemon.client("owner").await?.executors().get_executor(request).await;
    answer.err().context("it was read from a store that is away")
}

async fn sentences() -> Result {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(Durability::Off)).await??;
    let (_shared, files) = authority()?;
    let wrong = [
        (cluster.tls_url().replace(cluster::PASSWORD, "wrong-one"), "refuses the user"),
        (cluster.tls_url().replace(&format!("/{}?", cluster::DATABASE), "/nowhere?"), "\"nowhere\" does not exist"),
        (cluster.tls_url().replace("verify-full", "require"), "without knowing to whom"),
    ];
    for (url, sentence) in wrong {
        let mut daemon = Daemon::empty(server())?;
        join(&mut daemon, &url, &files)?;
        let output = daemon.command().arg("migrate").output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(BAD_CONFIGURATION), "{:?}: {said}", output.status);
        ensure!(said.contains(sentence), "{said}");
        ensure!(!said.contains(cluster::PASSWORD) && !said.contains("wrong-one"), "{said}");
    }
    // And with a good one the commands do what they do for a data directory.
    let mut daemon = Daemon::empty(server())?;
    join(&mut daemon, &cluster.tls_url(), &files)?;
    harness::daemon::succeeded(&daemon.command().arg("migrate").output()?)?;
    daemon.bootstrap()?;
    let told = harness::daemon::succeeded(&daemon.command().arg("after-restore").output()?)?;
    ensure!(told.contains("API tokens that count   3"), "{told}");
    Ok(())
}
