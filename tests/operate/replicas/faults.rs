//! Replicas that are killed in the midst of a commit, and commits that meet each other at the worst moment. Executors are
//! connected and upgrades in flight; at the end every attempt has exactly one true outcome ([`Site::end`]).

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use cluster::proxy::{Proxy, Step, Then};
use cluster::{Cluster, Durability};
use harness::daemon::SOON;
use harness::parts::Part;
use libtest_mimic::Trial;

use crate::{Result, trial};

use super::fleet::Replicas;
use super::site::Site;

/// Each with what becomes of the connection: PostgreSQL hears the replica's end as soon as it is killed.
const STEPS: [(Step, Then); 4] = [
    (Step::Said, Then::Hold),
    (Step::BeforeCommit, Then::Hold),
    (Step::Committing, Then::Cut),
    (Step::Committed, Then::Hold),
];

const EXECUTORS: usize = 5;

pub(crate) fn trials() -> Vec<Trial> {
    let parts = &[Part::Postgres, Part::Openssl];
    vec![
        trial("a_replica_killed_at_any_step_of_a_requests_commit_loses_none_and_makes_none_twice", parts, request),
        trial("a_replica_killed_before_or_after_leave_is_written_lets_none_swap_twice", parts, leave),
        trial("a_lost_answer_is_made_good_by_the_same_request_id", parts, answers),
        trial("commits_become_visible_in_order_though_one_stands_still_and_nobody_listens", parts, order),
        trial("the_smallest_pool_answers_everybody", parts, pool),
    ]
}

/// Replicas, each with a way of its own to the database.
pub(super) async fn disturbed(n: usize, settings: &[(&str, &str)]) -> Result<(Replicas, Vec<Proxy>)> {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(Durability::On)).await??;
    let proxies = (0..n).map(|_| Proxy::start(&cluster)).collect::<std::result::Result<Vec<_>, _>>()?;
    let urls: Vec<String> = proxies.iter().map(Proxy::url).collect();
    let replicas = Replicas::start_over(cluster, &urls, |_, daemon| {
        settings.iter().for_each(|(flag, value)| daemon.set(flag, value));
        Ok(())
    });
    Ok((replicas.await?, proxies))
}

async fn request() -> Result {
    let (replicas, proxies) = disturbed(2, &[]).await?;
    let mut site = Site::start(replicas, EXECUTORS, 1, |_| 1).await?;
    for (step, then) in STEPS {
        proxies[0].catch(&["attempt.requested"], step, then);
        let asked = site.round(0);
        ensure!(proxies[0].caught(SOON), "{step:?}: nobody asked");
        site.replicas.daemons[0].kill();
        proxies[0].cut();
        asked.await?.with_context(|| format!("{step:?}"))?;
        proxies[0].open();
        site.replicas.daemons[0].start()?;
        site.idle().await?;
    }
    site.whole_round().await?;
    site.end().await.map(drop)
}

async fn leave() -> Result {
    let (replicas, proxies) = disturbed(2, &[]).await?;
    let mut site = Site::start(replicas, EXECUTORS, 2, |_| 0).await?;
    // Whoever holds the streams is killed; they are at the other then.
    for (at, (step, then)) in [0, 1].into_iter().cycle().zip(STEPS) {
        proxies[at].catch(&["attempt.leave_given"], step, then);
        let asked = site.round(1 - at);
        ensure!(proxies[at].caught(SOON), "{step:?}: nobody asked for leave");
        site.replicas.daemons[at].kill();
        proxies[at].cut();
        asked.await?.with_context(|| format!("{step:?}"))?;
        site.idle().await.with_context(|| format!("{step:?}"))?;
        proxies[at].open();
        site.replicas.daemons[at].start()?;
    }
    site.whole_round().await?;
    site.end().await.map(drop)
}

async fn answers() -> Result {
    let (replicas, proxies) = disturbed(2, &[]).await?;
    let mut site = Site::start(replicas, EXECUTORS, 3, |n| n).await?;
    for word in ["attempt.requested", "attempt.delivered", "attempt.leave_given", "attempt.ended"] {
        for (step, _) in STEPS {
            for proxy in &proxies {
                proxy.catch(&[word], step, Then::Cut);
            }
            let asked = site.round(0);
            asked.await?.with_context(|| format!("{word}, {step:?}"))?;
            site.idle().await.with_context(|| format!("{word}, {step:?}"))?;
            ensure!(proxies.iter().any(|proxy| proxy.caught(Duration::ZERO)), "{word} is not said");
        }
    }
    site.end().await.map(drop)
}

async fn order() -> Result {
    const WAITING: &str = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
    const NUMBERS: &str =
        "SELECT string_agg(target, ' ' ORDER BY sequence) FROM novacula.events WHERE kind = 'attempt.requested'";
    const DEAF: &str = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    let (replicas, proxies) = disturbed(3, &[]).await?;
    // Executors are where nobody asks.
    let site = Site::start(replicas, 2, 4, |_| 2).await?;
    let ask = |at: usize, name: &str| {
        let (people, request) = (site.people.clone(), site.request(name, "1.1.0"));
        tokio::spawn(async move { anyhow::Ok(people.ask(at, &request).await??) })
    };
    // The first has its number, and is not there; it takes it up again in time, or its session ends.
    proxies[0].catch(&["attempt.requested"], Step::BeforeCommit, Then::Hold);
    let first = ask(0, &site.names[0]);
    ensure!(proxies[0].caught(SOON), "nobody asked");
    site.replicas.cluster.sql(DEAF)?;
    let second = ask(1, &site.names[1]);
    let begin = Instant::now();
    while site.replicas.cluster.sql(WAITING)? == "0" {
        ensure!(begin.elapsed() < SOON, "the second does not wait for the first");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ensure!(site.replicas.cluster.sql(NUMBERS)?.is_empty(), "a later number is there before an earlier one");
    proxies[0].open();
    let (first, second) = (first.await??, second.await??);
    let seen = site.replicas.cluster.sql(NUMBERS)?;
    ensure!(seen == format!("{} {}", first.name, second.name), "{seen}");
    site.end().await.map(drop)
}

async fn pool() -> Result {
    let (replicas, _proxies) = disturbed(2, &[("--database-pool-size", "2")]).await?;
    let mut site = Site::start(replicas, 8, 5, |n| n).await?;
    for _ in 0..2 {
        // All at one replica, and reads of all kinds between them.
        let asked = site.round(0);
        for name in site.names.clone() {
            let people = site.people.clone();
            tokio::join!(people.executor(0, &name), people.attempts(0, &name)).1?;
        }
        asked.await??;
        site.idle().await?;
    }
    site.whole_round().await?;
    site.end().await.map(drop)
}
