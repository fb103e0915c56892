//! Peers that send nonsense, too much, nothing, or do not listen: closed with a reason, and honest executors notice nothing.

use std::time::Duration;

use anyhow::ensure;
use domain::Generation;
use domain::attempt::request::Replace;
use domain::sync::{Inventory, Node, Request};
use libtest_mimic::Trial;
use proto::v1;
use store::EventRow;

use crate::fake::{Fake, Stream};
use crate::plane::{Knobs, Plane, names};
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("an_invalid_first_message_is_closed_with_a_reason_and_hurts_nobody", first_message),
        trial("a_hello_of_another_executor_is_closed", foreign_hello),
        trial("a_ten_megabyte_message_is_refused", ten_megabytes),
        trial("a_flood_is_closed", flood),
        trial("a_generation_that_nothing_counts_to_is_refused_and_wedges_nobody", generations),
        trial("a_peer_without_a_hello_is_closed", no_hello),
        trial("a_silent_peer_is_closed", silent),
        trial("a_slow_reader_is_closed_and_delays_nobody", slow_reader),
        trial("unknown_words_are_ignored", unknown_words),
        trial("inventory_is_kept", inventory),
        trial("a_reconnect_storm_is_admitted_together", storm),
    ]
}

/// An honest executor, to see whether it notices anything.
async fn honest(plane: &Plane) -> Result<Stream> {
    let mut stream = Fake::enrol(plane, "web-2").await?.open().await?;
    stream.desired().await?;
    Ok(stream)
}

async fn unhurt(plane: &Plane, honest: &mut Stream) -> Result {
    honest.beat(Generation(0)).await?;
    let attempt = plane.request_with("web-2", "1.1.0", Replace::Yes, None).await?;
    ensure!(honest.wanted().await?.0 == attempt.id);
    Ok(())
}

async fn first_message() -> Result {
    let plane = Plane::start().await?;
    let mut good = honest(&plane).await?;
    let mut bad = Fake::enrol(&plane, "web-1").await?;
    for first in [Request::Heartbeat { generation: Generation(1) }, Request::Inventory(Inventory::Full(Vec::new()))] {
        let stream = bad.dial().await?;
        stream.say(first).await?;
        ensure!(stream.closed().await? == "PROTOCOL_VIOLATION");
    }
    let stream = bad.dial().await?;
    let hello = v1::Hello { uid: "not a uid".to_owned(), ..v1::Hello::default() };
    let message = Some(v1::sync_executor_request::Message::Hello(hello));
    stream.say_wire(v1::SyncExecutorRequest { message }).await?;
    ensure!(stream.closed().await? == "PROTOCOL_VIOLATION");
    unhurt(&plane, &mut good).await
}

async fn foreign_hello() -> Result {
    let plane = Plane::start().await?;
    let mut good = honest(&plane).await?;
    let mut bad = Fake::enrol(&plane, "web-1").await?;
    let victim = plane.executor("web-2").await?.executor.uid;
    let mut hello = bad.hello();
    hello.uid = victim;
    let stream = bad.dial().await?;
    stream.say(Request::Hello(Box::new(hello))).await?;
    ensure!(stream.closed().await? == "PROTOCOL_VIOLATION");
    unhurt(&plane, &mut good).await
}

async fn ten_megabytes() -> Result {
    let plane = Plane::start().await?;
    let mut good = honest(&plane).await?;
    let stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    let big = Node {
        name: "n".to_owned(),
        platform: String::new(),
        kernel_version: "x".repeat(10 << 20),
        os_image: String::new(),
        kubelet_version: String::new(),
        ready: true,
    };
    stream.say(Request::Inventory(Inventory::Full(vec![big]))).await?;
    ensure!(stream.closed().await? == "PROTOCOL_VIOLATION");
    unhurt(&plane, &mut good).await
}

async fn flood() -> Result {
    let plane = Plane::start().await?;
    let mut good = honest(&plane).await?;
    let stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    for _ in 0..2_000 {
        if stream.say(Request::Heartbeat { generation: Generation(0) }).await.is_err() {
            break;
        }
    }
    // One who is still talking when the connection goes may lose the last word; the feed has it whatever he hears.
    if let Ok(why) = stream.closed().await {
        ensure!(why == "RATE_LIMITED", "{why}");
    }
    let flooded = |rows: &Vec<EventRow>| {
        let why = |row: &EventRow| row.details.get("reason").is_some_and(|reason| reason == "flood");
        rows.iter().filter(|row| why(row)).count() == 1
    };
    plane.until("the flood in the feed", || plane.feed("executor.disconnected"), flooded).await?;
    unhurt(&plane, &mut good).await
}

async fn generations() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    for told in [u64::MAX, (1 << 63) - 1, (1 << 63) - 2, (1 << 53) + 1, 1 << 53] {
        let mut hello = fake.hello();
        hello.generation = Generation(told);
        let stream = fake.dial().await?;
        stream.say(Request::Hello(Box::new(hello))).await?;
        ensure!(stream.closed().await? == "PROTOCOL_VIOLATION", "{told}");
    }
    ensure!(plane.executor("web-1").await?.executor.generation == Generation(0));
    // As far as it goes, and all that follows.
    fake.generation = Generation(1 << 52);
    drop(fake.open().await?);
    for target in ["1.1.0", "1.2.0"] {
        let mut stream = fake.open().await?;
        let attempt = plane.request_with("web-1", target, Replace::Yes, None).await?;
        let generation = loop {
            // What was wanted before is said first.
            let (wanted, generation) = stream.wanted().await?;
            if wanted == attempt.id {
                break generation;
            }
        };
        ensure!(generation > fake.generation, "{generation}");
        fake.generation = generation;
        stream.settle(generation).await?;
    }
    let stream = fake.open().await?;
    stream.say(Request::Heartbeat { generation: Generation(u64::MAX) }).await?;
    ensure!(stream.closed().await? == "PROTOCOL_VIOLATION");
    Ok(())
}

async fn no_hello() -> Result {
    let mut knobs = Knobs::default();
    knobs.session.hello_deadline = Duration::from_millis(300);
    let plane = Plane::start_with(knobs).await?;
    let stream = Fake::enrol(&plane, "web-1").await?.dial().await?;
    ensure!(stream.closed().await? == "PROTOCOL_VIOLATION");
    ensure!(plane.sessions.count() == 0);
    Ok(())
}

async fn silent() -> Result {
    let knobs = Knobs { silent_after: Duration::from_millis(500), ..Knobs::default() };
    let plane = Plane::start_with(knobs).await?;
    let stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    ensure!(stream.closed().await? == "PROTOCOL_VIOLATION");
    let look = || async { plane.events("executor.disconnected").await };
    plane.until("the end in the feed", look, |seen| *seen == 1).await?;
    ensure!(plane.sessions.count() == 0);
    Ok(())
}

async fn slow_reader() -> Result {
    let mut knobs = Knobs { signature_bytes: 200_000, ..Knobs::default() };
    knobs.session.slow_after = Duration::from_millis(500);
    let plane = Plane::start_with(knobs).await?;
    let mut good = honest(&plane).await?;
    let deaf = Fake::enrol(&plane, "web-1").await?.open().await?.deaf();
    for target in ["1.1.0", "1.2.0", "1.1.0", "1.2.0"] {
        plane.request_with("web-1", target, Replace::Yes, None).await?;
        unhurt(&plane, &mut good).await.or_else(|error| if target == "1.1.0" { Err(error) } else { Ok(()) })?;
        plane.request_with("web-2", "1.2.0", Replace::Yes, None).await?;
        good.wanted().await?;
    }
    let look = || async { Ok(plane.sessions.count()) };
    plane.until("the slow one to be closed", look, |count| *count == 1).await?;
    drop(deaf);
    Ok(())
}

async fn unknown_words() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    stream.say_wire(v1::SyncExecutorRequest { message: None }).await?;
    let progress = v1::Progress { attempt: uuid::Uuid::now_v7().to_string(), phase: 99, ..v1::Progress::default() };
    let message = Some(v1::sync_executor_request::Message::Progress(progress));
    stream.say_wire(v1::SyncExecutorRequest { message }).await?;
    stream.beat(Generation(0)).await?;
    Ok(())
}

async fn inventory() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    let node = Node {
        name: "web-1.example".to_owned(),
        platform: "linux/amd64".to_owned(),
        kernel_version: "6.1".to_owned(),
        os_image: "Debian".to_owned(),
        kubelet_version: String::new(),
        ready: true,
    };
    stream.say(Request::Inventory(Inventory::Full(vec![node]))).await?;
    stream.beat(Generation(0)).await?;
    let look = || async { plane.nodes("web-1").await };
    plane.until("the node", look, |nodes| nodes == &["web-1.example"]).await?;
    Ok(())
}

async fn storm() -> Result {
    let plane = Plane::start().await?;
    let mut fakes = Vec::new();
    for name in names() {
        fakes.push(Fake::enrol(&plane, name).await?);
    }
    let before = plane.faults.n_calls("session_open_batch");
    let mut streams = Vec::new();
    for fake in &mut fakes {
        let stream = fake.dial().await?;
        streams.push(stream);
    }
    // While the first is being admitted the others arrive.
    let slow = store::fault::Fault::Delay(Duration::from_millis(300));
    let calls = store::fault::Calls::Of("session_open_batch");
    plane.faults.inject(store::fault::Rule { calls, skip: 0, times: 1, fault: slow });
    for (stream, fake) in streams.iter().zip(&fakes) {
        stream.say(Request::Hello(Box::new(fake.hello()))).await?;
    }
    for stream in &mut streams {
        stream.desired().await?;
    }
    ensure!(plane.faults.n_calls("session_open_batch") - before <= 2, "two batches for three");
    Ok(())
}
