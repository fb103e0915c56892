//! A database that is restarted, gone for long, cut off in one direction, or out of room, and a replica whose clock is wrong.
//! Executors are connected and upgrades in flight; at the end every attempt has exactly one true outcome ([`Site::end`]).

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use cluster::proxy::Toward;
use cluster::{Cluster, Durability, Stop};
use harness::daemon::SOON;
use harness::day::Day;
use harness::parts::Part;
use libtest_mimic::Trial;
use proto::v1;
use tokio::time::{sleep, timeout};

use crate::{Result, trial};

use super::faults::disturbed;
use super::fleet::Replicas;
use super::people::is_weather;
use super::site::Site;

/// Past the lease of 15 s; a longer one by this variable, in seconds.
const GONE: (&str, Duration) = ("NOVACULA_OUTAGE_SECONDS", Duration::from_secs(20));

/// Longer than a statement and its commit may take.
const BLACK: Duration = Duration::from_secs(8);

const EXECUTORS: usize = 5;

pub(crate) fn trials() -> Vec<Trial> {
    let parts = &[Part::Postgres, Part::Openssl];
    let disk = &[Part::Postgres, Part::Openssl, Part::Root, Part::Namespaces, Part::Nsenter];
    let clock = &[Part::Postgres, Part::Openssl, Part::Faketime];
    vec![
        trial("a_database_restarted_fast_or_by_a_crash_loses_no_upgrade_in_flight", parts, restarted),
        trial("a_database_gone_for_longer_than_a_lease_loses_no_upgrade_in_flight", parts, gone),
        trial("a_network_that_is_black_in_one_direction_is_got_over", parts, black),
        trial("a_disk_that_is_full_under_the_database_loses_no_upgrade_in_flight", disk, full),
        trial("a_replica_ten_minutes_off_steals_no_lease_and_expires_nothing_early", clock, clocks),
    ]
}

async fn restarted() -> Result {
    let mut site = Site::start(Replicas::start(3).await?, EXECUTORS, 11, |n| n).await?;
    for how in [Stop::Fast, Stop::Immediate, Stop::Immediate] {
        let asked = site.round(0);
        site.replicas.cluster.stop(how)?;
        site.replicas.cluster.run()?;
        asked.await?.with_context(|| format!("{how:?}"))?;
        // And once more while they are downloading and swapping.
        site.replicas.cluster.stop(how)?;
        site.replicas.cluster.run()?;
        site.idle().await?;
    }
    site.whole_round().await?;
    site.end().await.map(drop)
}

async fn gone() -> Result {
    let outage = std::env::var(GONE.0).ok().and_then(|seconds| seconds.parse().ok());
    let outage = outage.map_or(GONE.1, Duration::from_secs);
    let mut site = Site::start(Replicas::start(2).await?, EXECUTORS, 12, |n| n).await?;
    site.round(0).await??;
    site.replicas.cluster.stop(Stop::Fast)?;
    let begin = Instant::now();
    let request = site.request(&site.names[0], "1.2.0");
    let mut n_refused = 0;
    while begin.elapsed() < outage {
        let answer = site.people.ask_once(n_refused, &request).await?;
        ensure!(answer.as_ref().is_err_and(is_weather), "nothing is acknowledged that is not durable: {answer:?}");
        n_refused += 1;
        sleep(Duration::from_millis(500)).await;
    }
    ensure!(n_refused > 2, "answers come though nobody is there to ask");
    site.replicas.cluster.run()?;
    site.idle().await?;
    site.whole_round().await?;
    site.end().await.map(drop)
}

async fn black() -> Result {
    let (replicas, proxies) = disturbed(2, &[]).await?;
    let mut site = Site::start(replicas, EXECUTORS, 13, |n| n).await?;
    for toward in [Toward::Server, Toward::Client] {
        let asked = site.round(0);
        proxies[0].stop(toward);
        let begin = Instant::now();
        // Whoever hears nothing asks the other.
        asked.await?.with_context(|| format!("{toward:?}"))?;
        sleep(BLACK.saturating_sub(begin.elapsed())).await;
        proxies[0].open();
        site.idle().await.with_context(|| format!("{toward:?}"))?;
    }
    site.whole_round().await?;
    site.end().await.map(drop)
}

async fn full() -> Result {
    /// A hundred thousand bytes for the log.
    const LOG: &str = "SELECT pg_logical_emit_message(true, 'fill', repeat('x', 100000))";
    let cluster = tokio::task::spawn_blocking(|| Cluster::start_on_disk(80)).await??;
    let urls = vec![cluster.tls_url(); 2];
    let replicas = Replicas::start_over(cluster, &urls, |_, _| Ok(())).await?;
    let mut site = Site::start(replicas, EXECUTORS, 15, |n| n).await?;
    let asked = site.round(0);
    site.replicas.cluster.fill_disk()?;
    let begin = Instant::now();
    let (mut n_refused, mut n_asked) = (0, 0);
    while n_refused < 5 {
        // Also what a restart of the database has given back.
        while site.replicas.cluster.sql(LOG).is_ok() {
            ensure!(begin.elapsed() < SOON, "there is always room");
        }
        let request = site.request(&site.names[n_asked % site.names.len()], "1.2.0");
        match site.people.ask_once(n_asked, &request).await? {
            Err(refused) if is_weather(&refused) => n_refused += 1,
            Err(refused) => bail!("a full disk is nobody's fault: {refused:?}"),
            // It was taken in time, or had been: whether it is durable, its end will tell.
            Ok(_) => ensure!(begin.elapsed() < SOON, "nobody is refused"),
        }
        n_asked += 1;
        sleep(Duration::from_millis(200)).await;
    }
    site.replicas.cluster.free_disk()?;
    asked.await??;
    site.idle().await?;
    site.whole_round().await?;
    site.end().await.map(drop)
}

async fn clocks() -> Result {
    let folder = tempfile::tempdir()?;
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(Durability::On)).await??;
    let urls = vec![cluster.tls_url(); 3];
    // The first does what one does for all.
    let replicas = Replicas::start_over(cluster, &urls, |at, daemon| {
        if let Some(offset) = ["+10m", "-10m"].get(at) {
            let file = folder.path().join(offset);
            std::fs::write(&file, offset)?;
            daemon.on_day(Some(Day::told_by(&file)?));
        }
        Ok(())
    });
    let mut site = Site::start(replicas.await?, EXECUTORS, 14, |n| n).await?;
    let mut deaf = site.replicas.enrol(2, "deaf").await?;
    let mut stream = site.replicas.connect(&mut deaf, 2).await?;
    stream.heartbeat().await?;
    let holder = "SELECT replica FROM novacula.jobs WHERE name = 'deadlines'";
    let fast = site.replicas.cluster.sql(holder)?;
    let waiting = ask_for(&site, deaf.name(), 300).await?;
    let begin = Instant::now();
    for _ in 0..2 {
        site.whole_round().await?;
    }
    // Renewals and sweeps of all of them have come by.
    while begin.elapsed() < Duration::from_secs(8) {
        stream.heartbeat().await?;
        sleep(Duration::from_millis(500)).await;
    }
    ensure!(site.replicas.cluster.sql(holder)? == fast, "the jobs are the first one's as long as it lives");
    for at in 0..3 {
        let seen = site.people.attempt(at, &waiting.name).await?;
        ensure!(seen.outcome() == v1::Outcome::Unspecified, "ended early, as replica {at} sees it: {seen:?}");
        ensure!(site.people.executor(at, deaf.name()).await?.online, "as replica {at} sees it");
    }
    // The slow one takes over, and ends in time what is due.
    let cancel = v1::CancelUpgradeRequest { name: waiting.name, ..v1::CancelUpgradeRequest::default() };
    site.replicas.daemons[1].client("owner").await?.upgrades().cancel_upgrade(cancel).await?;
    let due = ask_for(&site, deaf.name(), 1).await?;
    site.replicas.daemons[0].kill();
    let expired = async {
        while site.people.attempt(2, &due.name).await?.outcome() != v1::Outcome::Expired {
            stream.heartbeat().await?;
            sleep(Duration::from_millis(200)).await;
        }
        anyhow::Ok(())
    };
    timeout(SOON, expired).await??;
    site.replicas.daemons[0].start()?;
    site.end().await.map(drop)
}

async fn ask_for(site: &Site, name: &str, seconds: i64) -> Result<v1::Attempt> {
    let ttl = Some(prost_types::Duration { seconds, nanos: 0 });
    let request =
        v1::RequestUpgradeRequest { ttl, request_id: format!("for-{seconds}"), ..site.request(name, "1.1.0") };
    Ok(site.replicas.daemons[2].client("owner").await?.upgrades().request_upgrade(request).await?.into_inner())
}
