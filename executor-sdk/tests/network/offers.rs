//! A replica that is only offered: it is tried, and the present stream stays when nobody takes it.

use std::time::Duration;

use domain::sync::{DRAINING, OFFERED, Request, Response};

use crate::control_plane::Stream;
use crate::scene::{Mood, OFTEN, SELDOM, Scene, heartbeat};

/// What it is told when its replica has lost the database.
fn offer() -> Response {
    Response::Reconnect { after: Duration::ZERO, reason: OFFERED.to_owned() }
}

/// An offered stream that was not taken, after which the old one is used still.
async fn declined(scene: &mut Scene) -> Stream {
    let (mut old, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    old.say(offer()).await;
    let mut new = scene.control_plane.stream().await;
    assert!(matches!(new.hear().await, Request::Hello(_)));
    new.say(Response::Reconnect { after: Duration::ZERO, reason: "UNAVAILABLE".to_owned() }).await;
    for _ in 0..20 {
        old.until(heartbeat).await;
    }
    assert_eq!(scene.control_plane.n_waiting(), 0, "nobody waits for it: no try follows at once");
    old
}

#[tokio::test]
async fn offered_another_replica_that_does_not_take_it_it_stays() {
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let old = declined(&mut scene).await;
    scene.status(|status| status.connected.is_some() && status.trouble.is_none()).await;
    // With the stream the reason to wait is gone.
    old.refuse(tonic::Status::unavailable("cut")).await;
    let begin = std::time::Instant::now();
    let (mut next, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    next.until(heartbeat).await;
}

#[tokio::test]
async fn told_to_go_it_goes_whatever_was_offered() {
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let mut old = declined(&mut scene).await;
    old.say(Response::Reconnect { after: Duration::ZERO, reason: DRAINING.to_owned() }).await;
    for _ in 0..2 {
        let new = scene.control_plane.stream().await;
        new.say(Response::Reconnect { after: Duration::ZERO, reason: "UNAVAILABLE".to_owned() }).await;
    }
    let (mut new, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    old.ended().await;
    new.until(heartbeat).await;
}

#[tokio::test]
async fn an_offer_that_is_taken_moves_it() {
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut old, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    old.until(heartbeat).await;
    old.say(offer()).await;
    let (mut new, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    old.ended().await;
    new.until(heartbeat).await;
}
