//! Rule 7: one owner; and whoever is deactivated, deleted or over its time loses the stream.

use std::time::Duration;

use anyhow::{bail, ensure};
use domain::Reason;
use domain::sync::{Request, Response};
use libtest_mimic::Trial;

use crate::fake::{Fake, Stream};
use crate::plane::{Knobs, Plane, reason};
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("rule_07_the_newest_stream_wins_and_the_older_is_told_why", newest_wins),
        trial("rule_07_a_reconnecting_executor_is_no_duel", no_duel),
        trial("rule_07_three_displacements_by_two_instances_are_a_duel", duel),
        trial("deactivation_ends_the_stream_at_once_and_stays_refused", deactivated),
        trial("deletion_ends_the_stream_at_once", deleted),
        trial("another_kind_is_refused_and_displaces_nobody", other_kind),
        trial("probe_touches_no_session", probe),
        trial("the_end_of_a_certificate_ends_the_stream", certificate_end),
        trial("a_drain_says_reconnect_before_it_closes", drain),
    ]
}

async fn newest_wins() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    let older = fake.open().await?;
    let mut newer = fake.open().await?;
    ensure!(older.closed().await? == "SESSION_REPLACED");
    let seen = (plane.events("executor.connected").await?, plane.events("executor.reconnected").await?);
    ensure!(seen == (1, 1), "the feed tells the first stream from the one that displaced it: {seen:?}");
    ensure!(plane.events("executor.disconnected").await? == 0, "it was never away");
    let attempt = plane.request("web-1", "1.1.0").await?;
    ensure!(newer.wanted().await?.0 == attempt.id);
    ensure!(plane.sessions.count() == 1 && plane.executor("web-1").await?.presence.online);
    Ok(())
}

async fn no_duel() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    let mut streams = vec![fake.open().await?];
    for _ in 0..6 {
        streams.push(fake.open().await?);
    }
    for _ in 0..4 {
        let mut restarted = fake.another().await?;
        streams.push(restarted.open().await?);
    }
    ensure!(plane.executor("web-1").await?.executor.duplicated_since.is_none());
    Ok(())
}

async fn stay_away(fake: &mut Fake) -> Result {
    let mut stream = fake.dial().await?;
    stream.say(Request::Hello(Box::new(fake.hello()))).await?;
    match stream.hear().await? {
        Response::Reconnect { after, reason } if reason == "DUPLICATE_IDENTITY" => {
            ensure!(after >= Duration::from_secs(600), "{after:?} is not away");
        }
        other => bail!("not sent away: {other:?}"),
    }
    ensure!(stream.closed().await? == "DUPLICATE_IDENTITY");
    Ok(())
}

async fn duel() -> Result {
    let plane = Plane::start().await?;
    let mut earlier = Fake::enrol(&plane, "web-1").await?;
    let mut later = earlier.another().await?;
    let _first = earlier.open().await?;
    let attempt = plane.request("web-1", "1.1.0").await?;
    let _second = later.open().await?;
    let third = earlier.open().await?;
    stay_away(&mut later).await?;
    ensure!(plane.events("executor.duplicated").await? == 1);
    ensure!(third.closed().await? == "SESSION_REPLACED");
    // The earlier one is let in again, and is told nothing.
    let mut stream = earlier.open().await?;
    ensure!(stream.beat(attempt.generation).await?.is_empty(), "no desired to either");
    stream.ready(attempt.id, attempt.generation).await?;
    let withdrawn = Response::Withdrawn { attempt: attempt.id, reason: "DUPLICATE_IDENTITY".to_owned() };
    ensure!(stream.answer().await? == withdrawn, "nor leave");
    stay_away(&mut later).await?;
    let refused = plane.request("web-1", "1.2.0").await.expect_err("refused");
    ensure!(reason(&refused) == Some(Reason::DuplicateIdentity), "{refused:?}");
    // A person decides.
    plane.activate("web-1").await?;
    ensure!(stream.wanted().await?.0 == attempt.id);
    Ok(())
}

async fn deactivated() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    let stream = fake.open().await?;
    plane.deactivate("web-1").await?;
    ensure!(stream.closed().await? == "EXECUTOR_DEACTIVATED");
    // The same connection, so the same TLS session: its certificate was good in the handshake.
    ensure!(fake.dial().await.is_err());
    ensure!(fake.probe().await.is_err());
    plane.activate("web-1").await?;
    fake.open().await?;
    Ok(())
}

async fn deleted() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    let stream = fake.open().await?;
    plane.delete("web-1").await?;
    ensure!(stream.closed().await? == "EXECUTOR_DELETED");
    ensure!(fake.dial().await.is_err());
    Ok(())
}

async fn other_kind() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    let mut stream: Stream = fake.open().await?;
    let mut hello = fake.hello();
    hello.kind = domain::Kind::Operator;
    let other = fake.dial().await?;
    other.say(Request::Hello(Box::new(hello))).await?;
    ensure!(other.closed().await? == "KIND_MISMATCH");
    stream.beat(domain::Generation(0)).await?;
    Ok(())
}

async fn probe() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    let mut stream = fake.open().await?;
    ensure!(fake.another().await?.probe().await? == "1.0.0");
    stream.beat(domain::Generation(0)).await?;
    ensure!(plane.events("executor.connected").await? == 1);
    Ok(())
}

async fn certificate_end() -> Result {
    let mut knobs = Knobs { certificate_life: Duration::from_secs(4), ..Knobs::default() };
    knobs.session.certificate_notice = Duration::from_secs(3);
    let plane = Plane::start_with(knobs).await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    stream.desired().await?;
    // Told in time, so that it makes before it breaks.
    match stream.hear().await? {
        Response::Reconnect { after, reason } => {
            ensure!(after == Duration::ZERO && reason == "CERTIFICATE_INVALID");
        }
        other => bail!("not told: {other:?}"),
    }
    ensure!(stream.closed().await? == "CERTIFICATE_INVALID");
    Ok(())
}

async fn drain() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    // The dispatcher may say what is desired before the door has let it in.
    let generation = stream.desired().await?.generation;
    stream.settle(generation).await?;
    let stopping = tokio::spawn(plane.stop());
    match stream.hear().await? {
        Response::Reconnect { reason, .. } => ensure!(reason == "DRAINING"),
        other => bail!("not told: {other:?}"),
    }
    ensure!(stream.closed().await? == "UNAVAILABLE");
    stopping.await?;
    Ok(())
}
