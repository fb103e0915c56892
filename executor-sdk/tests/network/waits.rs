//! What a preflight waits out, on the stream.

use domain::attempt::{ErrorCode, Phase, Waiting};
use domain::sync::Request;

use crate::scene::{Mood, SELDOM, Scene, asked_for_leave, attempt, signed, waits_out};

fn progress(request: Request) -> Option<(Phase, Option<Waiting>)> {
    match request {
        Request::Progress(progress) => Some((progress.phase, progress.waiting)),
        _ => None,
    }
}

#[tokio::test]
async fn what_a_preflight_waits_out_is_said_on_each_stream_until_it_is_over() {
    let Some(signature) = signed() else { return };
    let mut scene = Scene::new("1.0.0", Mood::WaitsInPreflight).await;
    let waits = (Phase::Delivered, Some(waits_out(ErrorCode::RegistryUnreachable)));
    let (mut stream, _) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    stream.say(scene.desired(5, vec![signature])).await;
    assert_eq!(stream.until(progress).await, waits, "and nothing that an earlier one waited out");
    stream.refuse(tonic::Status::unavailable("cut")).await;
    let (mut stream, _) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    assert_eq!(stream.until(progress).await, waits, "whoever hears it now may not have heard it before");
    scene.host.go.notify_one();
    assert_eq!(stream.until(progress).await, (Phase::Downloading, None));
    assert_eq!(asked_for_leave(&mut stream).await.0, attempt());
}
