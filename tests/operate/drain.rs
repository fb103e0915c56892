//! SIGTERM: not ready at once, streams are told to come back, open requests are answered, and the end comes in bounded time.

use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use harness::daemon::{Daemon, SOON};
use harness::fake_executor::FakeExecutor;
use libtest_mimic::Trial;
use proto::v1::sync_executor_response::Message as Hear;
use rustix::process::Signal;

use crate::{Result, server, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("sigterm_drains_in_order_and_in_bounded_time", &[], drains),
        trial("a_second_signal_ends_the_drain_at_once", &[], second_signal),
        trial("after_a_kill_everything_that_was_written_is_there", &[], killed),
    ]
}

async fn drains() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.set("--drain-ms", "1000");
    daemon.start()?;
    let executor = FakeExecutor::by_word(&daemon.join_word("web-1").await?, "1.0.0").await?;
    let mut stream = executor.connect().await?;
    stream.heartbeat().await?;
    ensure!(daemon.get("/readyz").await?.status == 200);
    let asked = Instant::now();
    daemon.signal(Signal::TERM)?;
    daemon.told("STOPPING=1")?;
    let page = daemon.get("/readyz").await?;
    ensure!(page.status == 503 && page.body.contains("draining"), "{page:?}");
    ensure!(daemon.get("/healthz").await?.status == 200, "and it lives");
    let word = stream.until("reconnect", |word| matches!(word, Hear::Reconnect(_))).await?;
    let Hear::Reconnect(reconnect) = word else { bail!("{word:?}") };
    ensure!(reconnect.reason == "DRAINING", "{reconnect:?}");
    // This one stays as long as it may.
    let end = loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => bail!("it was closed without a reason"),
            Err(error) => break error,
        }
    };
    ensure!(format!("{end:#}").contains("going down"), "{end:#}");
    let status = daemon.ended(SOON)?;
    ensure!(status.success(), "{status}");
    ensure!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    Ok(())
}

async fn second_signal() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.set("--drain-ms", "600000");
    daemon.start()?;
    let executor = FakeExecutor::by_word(&daemon.join_word("web-1").await?, "1.0.0").await?;
    let _stream = executor.connect().await?;
    daemon.signal(Signal::TERM)?;
    daemon.told("STOPPING=1")?;
    daemon.signal(Signal::TERM)?;
    let status = daemon.ended(SOON)?;
    ensure!(status.code() == Some(1), "{status}");
    ensure!(daemon.logged()?.contains("second signal"), "{}", daemon.last_words());
    Ok(())
}

async fn killed() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    let executor = FakeExecutor::by_word(&daemon.join_word("web-1").await?, "1.0.0").await?;
    let stream = executor.connect().await?;
    daemon.kill();
    drop(stream);
    daemon.start()?;
    executor.connect().await?;
    Ok(())
}
