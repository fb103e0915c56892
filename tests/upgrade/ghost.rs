//! Whoever is turned away after a session was numbered is not online: presence, requests and the feed all say so.

use std::time::Duration;

use anyhow::ensure;
use domain::sync::{Request, Response};
use domain::{Generation, Reason};
use libtest_mimic::Trial;
use store::fault::{Calls, Fault, Rule};

use crate::fake::{Fake, Stream};
use crate::plane::{Plane, reason};
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_hello_that_cannot_be_written_leaves_nobody_online", || ghost(vec![first("executor_commit_batch")])),
        trial("a_hello_whose_desired_cannot_be_read_leaves_nobody_online", || ghost(vec![NOT_DESIRED])),
        trial("an_end_that_cannot_be_written_is_written_later", || {
            ghost(vec![first("executor_commit_batch"), first("session_close")])
        }),
        trial("a_session_whose_end_met_a_store_that_was_away_ends_all_the_same", gone_while_away),
    ]
}

const fn first(method: &'static str) -> Rule {
    Rule { calls: Calls::Of(method), skip: 0, times: 1, fault: Fault::Before }
}

/// The first call admits the hello.
const NOT_DESIRED: Rule =
    Rule { calls: Calls::Of("executor_list_by_uid"), skip: 1, times: usize::MAX, fault: Fault::Before };

/// Hears until it is told to come back.
async fn turned_away(stream: &mut Stream) -> Result {
    loop {
        if let Response::Reconnect { reason, .. } = stream.hear().await? {
            ensure!(reason == "UNAVAILABLE", "{reason}");
            return Ok(());
        }
    }
}

/// As many ends are in the feed.
async fn ended(plane: &Plane, times: usize) -> Result {
    let look = || async { plane.events("executor.disconnected").await };
    plane.until("the end in the feed", look, |seen| *seen == times).await.map(drop)
}

/// Nobody is connected, the feed says so, and half a minute later nothing can be asked of it.
async fn offline(plane: &Plane, times: usize) -> Result {
    ended(plane, times).await?;
    let seen = plane.executor("web-1").await?;
    ensure!(!seen.presence.connected, "{seen:?}");
    plane.clock.advance(Duration::from_secs(31));
    let refused = plane.request("web-1", "1.1.0").await.expect_err("offline");
    ensure!(reason(&refused) == Some(Reason::ExecutorOffline), "{refused:?}");
    Ok(())
}

async fn ghost(faults: Vec<Rule>) -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    drop(fake.open().await?);
    ended(&plane, 1).await?;
    // The gate has read what it needs.
    let mut stream = fake.dial().await?;
    for rule in &faults {
        plane.faults.inject(*rule);
    }
    stream.say(Request::Hello(Box::new(fake.hello()))).await?;
    turned_away(&mut stream).await?;
    drop(stream);
    if faults == [NOT_DESIRED] {
        plane.faults.heal();
    }
    offline(&plane, 2).await?;
    let mut stream = fake.open().await?;
    stream.beat(Generation(0)).await?;
    // The clock went past the lease; its next renewal makes up for it.
    let look = || async { Ok(plane.executor("web-1").await?.presence.connected) };
    plane.until("the executor to be back", look, |connected| *connected).await.map(drop)
}

async fn gone_while_away() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    stream.beat(Generation(0)).await?;
    plane.faults.inject(first("session_close"));
    drop(stream);
    offline(&plane, 1).await
}
