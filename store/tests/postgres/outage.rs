//! A database that goes away and comes back. Each trial has a cluster of its own, as durable as in production.

use std::process::Command;
use std::time::{Duration, Instant};

use cluster::{Cluster, Durability, Stop};
use libtest_mimic::{Failed, Trial};
use novacula_store::postgres::Options;
use novacula_store::{ChangeFeed as _, Error, ExecutorStore as _, StoreClock as _};
use tokio::time::timeout;

use crate::postgres;
use crate::world::{SOON, commit, enrol, executor, new_schema, stores, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_restart_in_order_is_got_over", |_| restart(Stop::Fast)),
        trial("a_crash_keeps_what_was_answered", |_| restart(Stop::Immediate)),
        trial("a_silent_server_is_given_up_in_time", |_| silent()),
    ]
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Box<dyn std::error::Error + Send + Sync>> + Send + 'static,
) -> Result<T, Failed> {
    Ok(tokio::task::spawn_blocking(work).await??)
}

async fn restart(how: Stop) -> Result<(), Failed> {
    let mut cluster = blocking(|| Ok(Cluster::start(Durability::On)?)).await?;
    let (stores, _) = stores(&cluster, 2).await;
    let mut row = enrol(&stores[0], 1).await;
    for _ in 0..2 {
        stores[0].executor_commit(commit(&row)).await?;
        let before = executor(&stores[0], 1).await;
        let mut there = stores[1].change_subscribe();
        cluster = blocking(move || {
            cluster.stop(how)?;
            Ok(cluster)
        })
        .await?;
        let begin = Instant::now();
        let away = stores[0].executor_commit(commit(&before)).await;
        assert!(matches!(&away, Err(error @ Error::Unavailable { .. }) if error.retryable()), "{away:?}");
        assert!(stores[1].store_now().await.is_err());
        assert!(begin.elapsed() < SOON, "an answer in bounded time");
        cluster = blocking(move || {
            cluster.run()?;
            Ok(cluster)
        })
        .await?;
        // Connections that died in the pool are found out one by one.
        let after = timeout(SOON, async {
            loop {
                match stores[0].executor_get(&crate::world::name(1)).await {
                    Ok(found) => break found.expect("it is there"),
                    Err(error) => assert!(error.retryable(), "{error:?}"),
                }
            }
        })
        .await?;
        assert_eq!(after, before, "what was answered is there, what was not is not");
        let committed = stores[0].executor_commit(commit(&after)).await?;
        // Heard by the other again, by notification or by number.
        timeout(SOON, async { while there.recv().await.expect("open").number < committed.change {} }).await?;
        row = executor(&stores[0], 1).await;
    }
    Ok(())
}

/// The backends of the cluster but for those of psql.
fn backends(cluster: &Cluster) -> Result<Vec<String>, Failed> {
    let pids = cluster.sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'novacula-server'")?;
    Ok(pids.lines().map(str::to_owned).collect())
}

fn signal(pids: &[String], name: &str) -> Result<(), Failed> {
    let status = Command::new("kill").arg(format!("-{name}")).args(pids).status()?;
    if status.success() { Ok(()) } else { Err(format!("kill -{name} {pids:?}: {status}").into()) }
}

/// Stopped processes hold their sockets open and say nothing, as a network that swallows packets does.
async fn silent() -> Result<(), Failed> {
    let cluster = blocking(|| Ok(Cluster::start(Durability::Off)?)).await?;
    let options = Options::new(&cluster.socket_url())?.with_schema(&new_schema())?;
    let options = options.with_statement_timeout(Duration::from_millis(500))?;
    let store = postgres::serve(&options).await?;
    store.store_now().await?;
    let stopped = backends(&cluster)?;
    signal(&stopped, "STOP")?;
    let begin = Instant::now();
    let answer = store.store_now().await;
    let took = begin.elapsed();
    signal(&stopped, "CONT")?;
    let said = answer.as_ref().err().map(|error| format!("{error:?}")).unwrap_or_default();
    assert!(said.contains("Silent"), "{answer:?}");
    assert!(took < SOON, "{took:?}");
    // The silent connection was not pooled again.
    store.store_now().await?;
    Ok(())
}
