//! The one slot, and who may wait in it.

use std::time::Duration;

use domain::{AttemptId, Reason, Want};
use futures_util::{FutureExt as _, StreamExt as _};
use uuid::Uuid;

use super::*;

fn desired(generation: u64) -> Desired {
    Desired { generation: Generation(generation), want: Want::Nothing }
}

fn said(reader: &mut Reader) -> Option<Said> {
    reader.next().now_or_never().flatten()
}

fn generation(said: Option<Said>) -> Option<u64> {
    match said? {
        Said::Desired { desired, .. } => Some(desired.generation.0),
        Said::Answer(_) | Said::Close(_) => None,
    }
}

#[tokio::test]
async fn only_the_latest_desired_waits_and_an_older_one_is_ignored() {
    let (outbox, mut reader) = Outbox::new();
    for number in [3, 5, 4] {
        outbox.desire(desired(number), None, None, Repeat::No);
    }
    assert_eq!(generation(said(&mut reader)), Some(5));
    assert_eq!(said(&mut reader), None);
    outbox.desire(desired(5), None, None, Repeat::No);
    assert_eq!(said(&mut reader), None, "a repetition is no news");
    outbox.desire(desired(5), None, None, Repeat::Yes);
    assert_eq!(generation(said(&mut reader)), Some(5), "unless it was asked for");
    outbox.desire(desired(4), None, None, Repeat::Yes);
    assert_eq!(said(&mut reader), None);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_makes_nothing_grow_and_is_seen() {
    let (outbox, mut reader) = Outbox::new();
    let since = Instant::now();
    for number in 0..100_000 {
        outbox.desire(desired(number), None, None, Repeat::No);
        outbox.say(Response::HeartbeatAck);
    }
    tokio::time::advance(Duration::from_secs(7)).await;
    assert_eq!(outbox.waiting_since(), Some(since));
    assert_eq!(said(&mut reader), Some(Said::Answer(Response::HeartbeatAck)));
    assert_eq!(outbox.waiting_since(), Some(Instant::now()), "it takes things");
    assert_eq!(generation(said(&mut reader)), Some(99_999));
    assert_eq!((said(&mut reader), outbox.waiting_since()), (None, None));

    for n in 0..2 * ANSWERS_MAX {
        let attempt = AttemptId::new(Uuid::from_u128(n as u128));
        outbox.say(Response::ReportAck { attempt });
    }
    assert_eq!(outbox.ended().await.refusal().reason, Reason::ProtocolViolation);
}

#[tokio::test]
async fn a_closed_outbox_says_its_answers_then_why() {
    let (outbox, mut reader) = Outbox::new();
    outbox.desire(desired(1), None, None, Repeat::No);
    outbox.say(Response::HeartbeatAck);
    outbox.close(Close::Replaced);
    outbox.close(Close::Draining);
    outbox.desire(desired(2), None, None, Repeat::No);
    assert_eq!(reader.next().await, Some(Said::Answer(Response::HeartbeatAck)));
    assert_eq!(reader.next().await, Some(Said::Close(Close::Replaced)));
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn a_body_that_is_dropped_ends_the_session() {
    let (outbox, reader) = Outbox::new();
    assert_eq!(outbox.ended().now_or_never(), None);
    drop(reader);
    assert_eq!(outbox.ended().await, Close::Disconnected);
}

#[tokio::test(start_paused = true)]
async fn receipt_is_measured_from_the_wake_up_to_the_first_acknowledgement() {
    let (outbox, mut reader) = Outbox::new();
    outbox.desire(desired(2), None, Some(Instant::now()), Repeat::No);
    assert!(said(&mut reader).is_some());
    tokio::time::advance(Duration::from_millis(3)).await;
    assert_eq!(outbox.acknowledged(Generation(1)), None);
    assert_eq!(outbox.acknowledged(Generation(2)), Some(Duration::from_millis(3)));
    assert_eq!(outbox.acknowledged(Generation(2)), None);
}
