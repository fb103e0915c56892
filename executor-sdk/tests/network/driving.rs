//! The loop, against a control plane in hand.

use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Phase};
use domain::sync::{Request, Response};
use domain::{Desired, Generation, Reason, Want};
use novacula_executor_sdk::credentials::CredentialStore;
use novacula_executor_sdk::driver::{self, End};
use novacula_executor_sdk::journal::{Journal, OpenAttempt, Step};
use tokio::time::timeout;
use tonic_types::StatusExt as _;

use crate::authority::Authority;
use crate::control_plane::{ControlPlane, PATIENCE};
use crate::scene::{
    BINARY, Mood, OFTEN, SELDOM, Scene, asked_for_leave, attempt, heartbeat, report, signed, signed_by, version,
};

#[tokio::test]
async fn an_upgrade_goes_from_desired_to_a_swap_with_leave_only() {
    let Some(signature) = signed() else { return };
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut stream, hello) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    assert_eq!((hello.version, hello.generation, hello.open_attempt), (version("1.0.0"), Generation(0), None));
    assert_eq!(hello.release_key_ids.len(), 1);
    assert!(matches!(stream.hear().await, Request::Inventory(_)));

    stream.say(scene.desired(5, vec![signature])).await;
    assert_eq!(stream.until(heartbeat).await, 5, "acknowledged at once");
    assert_eq!(asked_for_leave(&mut stream).await, (attempt(), Generation(5)));
    assert_eq!(scene.host.calls(), ["preflight"], "no leave, no swap");
    assert_eq!(scene.journal().generation, Generation(5));

    stream.say(Response::Proceed { attempt: attempt(), generation: Generation(5) }).await;
    let restarting = |request| match request {
        Request::Progress(progress) if progress.phase == Phase::Restarting => Some(()),
        _ => None,
    };
    stream.until(restarting).await;
    drop(stream);
    assert_eq!(scene.end().await, End::Restart);
    assert_eq!(scene.host.calls(), ["preflight", "apply", "applied"]);
    assert_eq!(*scene.host.applied.lock().expect("not poisoned"), BINARY);
    let left: Vec<_> = std::fs::read_dir(&scene.host.directory).expect("reads").collect();
    assert!(left.is_empty(), "what apply did not keep is gone: {left:?}");
}

#[tokio::test]
async fn an_upgrade_that_is_renumbered_after_its_preflight_goes_under_the_new_number() {
    let Some(signature) = signed() else { return };
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut stream, _) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    for generation in [5, 6] {
        stream.say(scene.desired(generation, vec![signature.clone()])).await;
        assert_eq!(asked_for_leave(&mut stream).await, (attempt(), Generation(generation)));
    }
    stream.say(Response::Proceed { attempt: attempt(), generation: Generation(6) }).await;
    assert_eq!(scene.end().await, End::Restart);
    assert_eq!(scene.host.calls(), ["preflight", "apply", "applied"], "looked at once");
    let planned = *scene.host.planned.lock().expect("not poisoned");
    assert_eq!(planned, Some(Generation(6)), "plan and leave agree");
}

#[tokio::test]
async fn the_new_version_is_confirmed_after_probation_and_says_so_until_it_is_acknowledged() {
    let open = OpenAttempt::new(attempt(), Generation(5), version("1.0.0"), version("1.1.0"));
    let write = |journal: &Journal| journal.update(PATIENCE, |state| state.open = Some(open)).expect("writes");
    let mut scene = Scene::prepared("1.1.0", Mood::Willing, 300, write).await;
    let (mut stream, hello) = scene.control_plane.welcome(OFTEN, Duration::from_millis(300)).await;
    assert_eq!((hello.open_attempt, hello.phase), (Some(attempt()), Some(Phase::Confirming)));
    let first = stream.until(report).await;
    assert_eq!((first.attempt, first.report.outcome), (attempt(), Outcome::Succeeded));
    let state = scene.journal();
    assert!(state.open.is_none() && state.has_finished(attempt()), "durable before it is said");
    assert_eq!(state.confirmed.expect("confirmed").version, version("1.1.0"));
    stream.refuse(tonic::Status::unavailable("cut")).await;

    let (mut stream, hello) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    assert_eq!(hello.unsent_outcomes.len(), 1);
    assert_eq!(stream.until(report).await, first);
    stream.say(Response::ReportAck { attempt: attempt() }).await;
    stream.say(Response::Desired(Desired { generation: Generation(9), want: Want::Nothing })).await;
    assert_eq!(stream.until(heartbeat).await, 9);
    assert!(scene.journal().unsent.is_empty());
    assert_eq!(scene.host.calls(), ["confirmed"]);
}

#[tokio::test]
async fn what_watches_over_a_new_version_is_told_its_probation() {
    let open = OpenAttempt::new(attempt(), Generation(5), version("1.0.0"), version("1.1.0"));
    let write = |journal: &Journal| journal.update(PATIENCE, |state| state.open = Some(open)).expect("writes");
    let mut scene = Scene::prepared("1.1.0", Mood::Willing, 300, write).await;
    for probation in [SELDOM, SELDOM * 2] {
        let (mut stream, _) = scene.control_plane.welcome(OFTEN, probation).await;
        stream.until(heartbeat).await;
        let open = scene.journal().open.expect("on probation");
        assert_eq!((open.step, open.probation), (Step::Connected, Some(probation)));
        stream.refuse(tonic::Status::unavailable("cut")).await;
    }
}

#[tokio::test]
async fn a_refused_artifact_is_reported_and_not_fetched() {
    let stranger = minisign::KeyPair::generate_unencrypted_keypair().expect("a pair");
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut stream, _) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    for _ in 0..2 {
        stream.say(scene.desired(5, vec![signed_by(&stranger.sk)])).await;
        let report = stream.until(report).await.report;
        assert_eq!((report.outcome, report.error_code), (Outcome::Refused, Some(ErrorCode::UnknownKey)));
        assert_eq!(report.running_version, version("1.0.0"));
    }
    assert_eq!(scene.web.requests(), Vec::<String>::new());
    assert_eq!(scene.host.calls(), Vec::<&str>::new());
}

#[tokio::test]
async fn a_replayed_spec_is_not_applied() {
    let Some(signature) = signed() else { return };
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut stream, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    stream.say(Response::Desired(Desired { generation: Generation(6), want: Want::Nothing })).await;
    while stream.until(heartbeat).await != 6 {}
    for _ in 0..2 {
        // Genuine, signed, wanted once: and older than the last word. The next stream hears it as well.
        stream.say(scene.desired(5, vec![signature.clone()])).await;
        for _ in 0..3 {
            assert_eq!(stream.until(heartbeat).await, 6, "nor is it acknowledged");
        }
        stream.refuse(tonic::Status::unavailable("cut")).await;
        let (next, hello) = scene.control_plane.welcome(OFTEN, SELDOM).await;
        assert_eq!((hello.generation, hello.open_attempt), (Generation(6), None));
        stream = next;
    }
    assert_eq!(scene.host.calls(), Vec::<&str>::new());
    assert_eq!(scene.web.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_spec_whose_time_is_over_is_not_begun() {
    let Some(signature) = signed() else { return };
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut stream, _) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    let want = Want::Upgrade { attempt: attempt(), spec: scene.spec(vec![signature]), remaining_ttl: Duration::ZERO };
    stream.say(Response::Desired(Desired { generation: Generation(5), want })).await;
    let report = stream.until(report).await.report;
    assert_eq!((report.outcome, report.error_code), (Outcome::Expired, Some(ErrorCode::SpecExpired)));
    assert_eq!(scene.host.calls(), Vec::<&str>::new());
    assert_eq!(scene.web.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_panic_in_an_executors_code_is_a_failure_of_the_attempt_and_of_nothing_else() {
    let Some(signature) = signed() else { return };
    let mut scene = Scene::new("1.0.0", Mood::PanicsInPreflight).await;
    let (mut stream, _) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    stream.say(scene.desired(5, vec![signature])).await;
    assert_eq!(stream.until(report).await.report.outcome, Outcome::Failed);
    stream.say(Response::Desired(Desired { generation: Generation(6), want: Want::Nothing })).await;
    assert_eq!(stream.until(heartbeat).await, 6, "the loop goes on");
}

#[tokio::test]
async fn told_to_dial_again_it_makes_before_it_breaks() {
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut old, _) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    old.say(Response::Reconnect { after: Duration::ZERO, reason: "DRAINING".to_owned() }).await;
    let mut new = scene.control_plane.stream().await;
    assert!(matches!(new.hear().await, Request::Hello(_)));
    old.say(Response::Desired(Desired { generation: Generation(3), want: Want::Nothing })).await;
    assert_eq!(old.until(heartbeat).await, 3, "the old one is used until the new one is welcome");
    let welcome = domain::sync::Welcome {
        epoch: domain::Epoch(2),
        heartbeat_interval: OFTEN,
        probation: SELDOM,
        server_version: None,
        out_of_support: false,
        renew_certificate_after: None,
    };
    new.say(Response::Welcome(welcome)).await;
    assert_eq!(new.until(heartbeat).await, 3);
    old.ended().await;
}

#[tokio::test]
async fn a_certificate_past_a_third_of_its_life_is_renewed_over_the_stream_that_stays() {
    let mut scene = Scene::prepared("1.0.0", Mood::Willing, 1, |_| {}).await;
    let before = CredentialStore::new(scene.home.path()).load().expect("kept").chain();
    let (mut old, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    let (mut new, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    old.ended().await;
    new.until(heartbeat).await;
    assert_ne!(CredentialStore::new(scene.home.path()).load().expect("kept").chain(), before);
    assert_eq!(scene.control_plane.office.asked.lock().expect("not poisoned").len(), 1);
}

#[tokio::test]
async fn a_refused_certificate_is_renewed_before_the_next_hello() {
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let mut details = tonic_types::ErrorDetails::new();
    details.set_error_info(Reason::CertificateInvalid.as_str(), proto::ERROR_DOMAIN, std::collections::HashMap::new());
    let refusal = tonic::Status::with_error_details(tonic::Code::Unauthenticated, "the certificate is over", details);
    scene.control_plane.stream().await.refuse(refusal).await;
    let (mut stream, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    stream.until(heartbeat).await;
    assert_eq!(scene.control_plane.office.asked.lock().expect("not poisoned").len(), 1);
}

#[tokio::test]
async fn a_control_plane_that_answers_no_heartbeat_is_left_inside_its_deadline() {
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut frozen, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    frozen.until(heartbeat).await;
    let begin = std::time::Instant::now();
    let ended = timeout(driver::ANSWER_DEADLINE + Duration::from_secs(5), async {
        while frozen.hear_or_end().await.is_some() {}
    });
    ended.await.expect("left in time");
    assert!(begin.elapsed() > driver::ANSWER_DEADLINE - Duration::from_secs(2), "{:?}", begin.elapsed());
    scene.status(|status| status.trouble.as_deref().is_some_and(|why| why.contains("heartbeat"))).await;
    let (mut next, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    next.until(heartbeat).await;
    next.say(Response::HeartbeatAck).await;
    scene.status(|status| status.connected.is_some() && status.trouble.is_none()).await;
}

#[tokio::test]
async fn a_shutdown_never_drops_a_swap() {
    let Some(signature) = signed() else { return };
    let mut scene = Scene::new("1.0.0", Mood::WaitsInApply).await;
    let (mut stream, _) = scene.control_plane.welcome(OFTEN, SELDOM).await;
    stream.say(scene.desired(5, vec![signature])).await;
    asked_for_leave(&mut stream).await;
    stream.say(Response::Proceed { attempt: attempt(), generation: Generation(5) }).await;
    scene.status(|status| status.attempt == Some((attempt(), Phase::Applying))).await;
    scene.shutdown.cancel();
    for _ in 0..3 {
        stream.until(heartbeat).await;
    }
    assert!(!scene.running.is_finished(), "the swap goes on, and so does the loop");
    scene.host.go.notify_one();
    drop(stream);
    assert_eq!(scene.end().await, End::Restart);
    assert_eq!(scene.host.calls(), ["preflight", "apply", "applied"]);
}

#[tokio::test]
async fn a_shutdown_ends_the_stream_and_drops_what_has_no_leave() {
    let Some(signature) = signed() else { return };
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut stream, _) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    stream.say(scene.desired(5, vec![signature])).await;
    asked_for_leave(&mut stream).await;
    scene.shutdown.cancel();
    stream.ended().await;
    drop(stream);
    assert_eq!(scene.end().await, End::Shutdown);
    assert_eq!(std::fs::read_dir(&scene.host.directory).expect("reads").count(), 0);
    assert!(scene.journal().open.is_none());
}

#[tokio::test]
async fn a_version_that_was_asked_for_back_is_brought_back_after_leave() {
    let open = OpenAttempt::new(attempt(), Generation(5), version("1.0.0"), version("1.1.0"));
    let write = |journal: &Journal| journal.update(PATIENCE, |state| state.open = Some(open)).expect("writes");
    let mut scene = Scene::prepared("1.1.0", Mood::Willing, 300, write).await;
    let (stream, _) = scene.control_plane.welcome(SELDOM, SELDOM).await;
    stream
        .say(Response::Desired(Desired { generation: Generation(6), want: Want::RollBack { attempt: attempt() } }))
        .await;
    drop(stream);
    assert_eq!(scene.end().await, End::Restart);
    assert_eq!(scene.host.calls(), ["roll_back"]);
    let cause = scene.journal().open.expect("open still").rollback.expect("noted before");
    assert_eq!(cause.code, ErrorCode::ByHand);
}

#[tokio::test]
async fn a_version_that_cannot_be_brought_back_leaves_the_one_that_runs_to_be_confirmed() {
    let open = OpenAttempt::new(attempt(), Generation(5), version("1.0.0"), version("1.1.0"));
    let write = |journal: &Journal| journal.update(PATIENCE, |state| state.open = Some(open)).expect("writes");
    let mut scene = Scene::prepared("1.1.0", Mood::CannotGoBack, 300, write).await;
    let (mut stream, _) = scene.control_plane.welcome(OFTEN, Duration::from_secs(1)).await;
    stream
        .say(Response::Desired(Desired { generation: Generation(6), want: Want::RollBack { attempt: attempt() } }))
        .await;
    let report = stream.until(report).await.report;
    assert_eq!((report.outcome, report.running_version), (Outcome::Succeeded, version("1.1.0")));
    assert!(scene.journal().open.is_none(), "the next upgrade may begin");
    assert_eq!(scene.host.calls(), ["roll_back", "confirmed"]);
}

#[tokio::test]
async fn numbers_without_sense_do_no_harm() {
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let (mut stream, _) =
        scene.control_plane.welcome(Duration::ZERO, Duration::from_secs(i64::MAX.unsigned_abs())).await;
    let begin = std::time::Instant::now();
    for _ in 0..5 {
        stream.until(heartbeat).await;
    }
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
    let ages = Duration::from_secs(300_000_000_000);
    let mut want = scene.desired(3, vec!["nonsense".to_owned()]);
    if let Response::Desired(Desired { want: Want::Upgrade { remaining_ttl, .. }, .. }) = &mut want {
        *remaining_ttl = ages;
    }
    stream.say(want).await;
    assert_eq!(stream.until(report).await.report.error_code, Some(ErrorCode::BadSignature));
    stream.say(Response::Reconnect { after: ages, reason: String::new() }).await;
    stream.until(heartbeat).await;
    assert!(!scene.running.is_finished());
}

#[tokio::test]
async fn being_unreachable_is_never_an_end() {
    let mut scene = Scene::new("1.0.0", Mood::Willing).await;
    let stranger = Authority::new();
    let old = std::mem::replace(&mut scene.control_plane, ControlPlane::new(&stranger).await);
    drop(old);
    scene.status(|status| status.trouble.is_some()).await;
    assert!(!scene.running.is_finished());
    scene.shutdown.cancel();
    assert_eq!(scene.end().await, End::Shutdown);
    assert_ne!(scene.authority.pem(), stranger.pem());
}
