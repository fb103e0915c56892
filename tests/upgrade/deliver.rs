//! Rule 6: written and pushed in one motion, level-triggered, healed by itself.

use std::time::Duration;

use anyhow::ensure;
use domain::attempt::request::Replace;
use domain::attempt::{Outcome, Phase};
use domain::sync::Response;
use domain::{Generation, Want};
use libtest_mimic::Trial;
use store::fault::{Calls, Fault, Rule};
use tokio::time::Instant;

use crate::fake::{Fake, report};
use crate::plane::Plane;
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("rule_06_a_commit_reaches_the_stream_without_a_poll", commit),
        trial("rule_06_a_lost_notification_is_healed_inside_five_seconds", lost_notification),
        trial("rule_06_a_stream_that_opens_gets_what_is_desired_now", opening_stream),
        trial("rule_06_a_cancelled_upgrade_is_a_newer_desired", cancelled),
        trial("rule_06_a_restored_database_goes_on_above_what_was_told", restored),
        trial("rule_06_the_acknowledgement_is_the_delivery", acknowledged),
        trial("rule_06_a_store_that_was_away_delivers_when_it_is_back", store_away),
    ]
}

async fn commit() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    ensure!(stream.desired().await?.want == Want::Nothing);
    // The sweep is the only thing that asks by time, and it is broken: what arrives was pushed.
    plane.faults.inject(Rule {
        calls: Calls::Of("change_list_since"),
        skip: 0,
        times: usize::MAX,
        fault: Fault::Before,
    });
    for target in ["1.1.0", "1.2.0"] {
        let begin = Instant::now();
        let attempt = plane.request_with("web-1", target, Replace::Yes, None).await?;
        let (wanted, generation) = stream.wanted().await?;
        ensure!(wanted == attempt.id && generation == attempt.generation);
        ensure!(begin.elapsed() < Duration::from_secs(1), "it took {:?}", begin.elapsed());
    }
    Ok(())
}

async fn lost_notification() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    stream.desired().await?;
    plane.faults.mute_wakes();
    let begin = Instant::now();
    let attempt = plane.request("web-1", "1.1.0").await?;
    ensure!(stream.wanted().await?.0 == attempt.id);
    ensure!(begin.elapsed() < Duration::from_secs(5), "it took {:?}", begin.elapsed());
    Ok(())
}

async fn opening_stream() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    drop(fake.open().await?);
    let attempt = plane.request("web-1", "1.1.0").await?;
    let mut stream = fake.open().await?;
    ensure!(stream.wanted().await? == (attempt.id, attempt.generation));
    ensure!(stream.beat(Generation(0)).await?.is_empty(), "once is enough");
    Ok(())
}

async fn cancelled() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    let attempt = plane.request("web-1", "1.1.0").await?;
    let (_, generation) = stream.wanted().await?;
    plane.cancel(&attempt).await?;
    let desired = stream.desired().await?;
    ensure!(desired.want == Want::Nothing && desired.generation > generation);
    Ok(())
}

async fn restored() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    let stream = fake.open().await?;
    let attempt = plane.request("web-1", "1.1.0").await?;
    let backup = plane.backup()?;
    drop(stream);
    let stopped = plane.stop().await;
    stopped.restore(&backup)?;
    let _plane = stopped.start().await?;
    // What the lost hours told it.
    let mut fake = fake.another().await?;
    fake.generation = Generation(41);
    let mut stream = fake.open().await?;
    let (wanted, generation) = stream.wanted().await?;
    ensure!(wanted == attempt.id, "the pending upgrade of the backup is desired again");
    ensure!(generation == Generation(42), "under {generation}");
    stream.ready(wanted, generation).await?;
    ensure!(stream.answer().await? == Response::Proceed { attempt: wanted, generation });
    stream.report(report(wanted, Outcome::Succeeded, "1.1.0")).await?;
    ensure!(stream.desired().await?.generation > generation, "and goes on from there");
    Ok(())
}

async fn acknowledged() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    let attempt = plane.request("web-1", "1.1.0").await?;
    let (_, generation) = stream.wanted().await?;
    stream.settle(Generation(generation.0 - 1)).await?;
    ensure!(plane.attempt(&attempt).await?.deliver_time.is_none(), "an older generation acknowledges nothing");
    stream.beat(generation).await?;
    let delivered = || async { plane.attempt(&attempt).await };
    let delivered = plane.until("delivery", delivered, |attempt| attempt.deliver_time.is_some()).await?;
    ensure!(delivered.phase == Phase::Delivered);
    Ok(())
}

async fn store_away() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    stream.desired().await?;
    // Reading what is desired fails twice; the stream stays, and is told.
    plane.faults.inject(Rule { calls: Calls::Of("attempt_list_by_id"), skip: 0, times: 2, fault: Fault::Before });
    let attempt = plane.request("web-1", "1.1.0").await?;
    ensure!(stream.wanted().await?.0 == attempt.id);
    Ok(())
}
