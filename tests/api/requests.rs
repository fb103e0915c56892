//! Rules 1, 2, 4, 5, 11 and 15: asking for an upgrade, again, otherwise, too late.

use std::time::Duration;

use anyhow::Result;
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;
use harness::fake_executor::FakeExecutor;
use proto::v1;
use proto::v1::sync_executor_response::Message as Hear;
use tonic::Code;

use crate::support::{ask, attempt, cancel, ended, executor, parent, refused, request};

/// A control plane that offers 1.1.0 and 1.2.0, and an executor online that runs 1.0.0.
async fn scene() -> Result<(ControlPlane, FakeExecutor, harness::fake_executor::Stream)> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    plane.release(&Draft::new("1.2.0", 2)).await?;
    let (executor, stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    Ok((plane, executor, stream))
}

#[tokio::test]
async fn a_request_is_written_and_pushed_in_one_motion() -> Result<()> {
    let (plane, executor, mut stream) = scene().await?;
    let requested = request(&plane.admin(), ask(executor.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    assert!(requested.name.ends_with(&desired.attempt));
    assert_eq!(requested.generation, desired.generation);
    let Some(v1::desired::Spec::Agent(spec)) = desired.spec else { panic!("an agent's spec") };
    assert_eq!(spec.download_uri, format!("/artifacts/{}", spec.sha256));
    assert_eq!(spec.target_version, "1.1.0");
    plane.stop().await
}

#[tokio::test]
async fn an_upgrade_goes_from_request_to_succeeded() -> Result<()> {
    let (plane, executor, mut stream) = scene().await?;
    let requested = request(&plane.admin(), ask(executor.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    assert!(matches!(stream.ask_leave(&desired).await?, Hear::Proceed(_)));
    let report = v1::Report {
        attempt: desired.attempt.clone(),
        outcome: v1::Outcome::Succeeded.into(),
        running_version: "1.1.0".to_owned(),
        ..v1::Report::default()
    };
    stream.report(report).await?;
    let seen = ended(&plane.member(), &requested.name).await?;
    assert_eq!(seen.outcome(), v1::Outcome::Succeeded);
    assert_eq!(seen.outcome_source(), v1::OutcomeSource::Reported);
    let row = crate::support::executor(&plane.member(), executor.name()).await?;
    assert_eq!((row.pending_upgrade, row.open_attempt), (None, String::new()));
    plane.stop().await
}

#[tokio::test]
async fn rule_01_a_member_is_refused_a_deploy() -> Result<()> {
    let (plane, executor, _stream) = scene().await?;
    let answer = request(&plane.member(), ask(executor.name(), "1.1.0")).await;
    refused(answer, Code::PermissionDenied, "ROLE_REQUIRED");
    for allowed in [plane.admin(), plane.owner()] {
        request(&allowed, ask(executor.name(), "1.1.0")).await?;
    }
    plane.stop().await
}

#[tokio::test]
async fn rule_02_an_offline_executor_is_asked_nothing() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (executor, stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    drop(stream);
    // Seen less than 30 s ago is online still.
    request(&plane.admin(), v1::RequestUpgradeRequest { validate_only: true, ..ask(executor.name(), "1.1.0") }).await?;
    offline(&plane, executor.name()).await?;
    plane.clock().advance(Duration::from_secs(31));
    let answer = request(&plane.admin(), ask(executor.name(), "1.1.0")).await;
    refused(answer, Code::FailedPrecondition, "EXECUTOR_OFFLINE");
    plane.stop().await
}

/// Waits until the control plane has noticed that the stream is gone.
async fn offline(plane: &ControlPlane, name: &str) -> Result<()> {
    let request =
        v1::WatchEventsRequest { parent: parent(), after_sequence: 1, types: vec!["executor.disconnected".to_owned()] };
    let mut events = plane.member().events().watch_events(request).await?.into_inner();
    while let Some(said) = events.message().await? {
        if said.event.is_some_and(|event| event.target == name) {
            return Ok(());
        }
    }
    anyhow::bail!("the feed ended")
}

#[tokio::test]
async fn rule_02_an_executor_that_never_synced_is_asked_nothing() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let executor = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let answer = request(&plane.admin(), ask(executor.name(), "1.1.0")).await;
    refused(answer, Code::FailedPrecondition, "EXECUTOR_NEVER_SYNCED");
    plane.stop().await
}

#[tokio::test]
async fn rule_04_an_expected_version_that_does_not_run_is_refused() -> Result<()> {
    let (plane, executor, _stream) = scene().await?;
    let expecting = |version: &str| v1::RequestUpgradeRequest {
        expected_version: version.to_owned(),
        ..ask(executor.name(), "1.1.0")
    };
    let answer = request(&plane.admin(), expecting("0.9.0")).await;
    refused(answer, Code::FailedPrecondition, "VERSION_MISMATCH");
    request(&plane.admin(), expecting("1.0.0")).await?;
    plane.stop().await
}

#[tokio::test]
async fn rule_04_asking_again_for_the_same_target_is_the_same_attempt() -> Result<()> {
    let (plane, executor, _stream) = scene().await?;
    let first = request(&plane.admin(), ask(executor.name(), "1.1.0")).await?;
    let again = request(&plane.owner(), ask(executor.name(), "1.1.0")).await?;
    assert_eq!((first.name, first.generation), (again.name, again.generation));
    plane.stop().await
}

#[tokio::test]
async fn rule_04_another_target_is_refused_unless_it_replaces() -> Result<()> {
    let (plane, executor, mut stream) = scene().await?;
    let first = request(&plane.admin(), ask(executor.name(), "1.1.0")).await?;
    let answer = request(&plane.admin(), ask(executor.name(), "1.2.0")).await;
    refused(answer, Code::FailedPrecondition, "UPGRADE_PENDING");
    stream.desired().await?;
    let second =
        request(&plane.admin(), v1::RequestUpgradeRequest { replace: true, ..ask(executor.name(), "1.2.0") }).await?;
    assert!(second.generation > first.generation);
    let first = attempt(&plane.member(), &first.name).await?;
    assert_eq!(first.outcome(), v1::Outcome::Superseded);
    assert_eq!(first.reason, "REPLACED_BY_REQUEST");
    let desired = stream.desired().await?;
    assert!(second.name.ends_with(&desired.attempt));
    plane.stop().await
}

#[tokio::test]
async fn rule_04_after_leave_only_the_version_it_came_from_may_be_asked() -> Result<()> {
    let (plane, executor, mut stream) = scene().await?;
    let requested = request(&plane.admin(), ask(executor.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    assert!(matches!(stream.ask_leave(&desired).await?, Hear::Proceed(_)));
    refused(cancel(&plane.admin(), &requested.name).await, Code::FailedPrecondition, "ATTEMPT_APPLYING");
    let replacing = v1::RequestUpgradeRequest { replace: true, ..ask(executor.name(), "1.2.0") };
    refused(request(&plane.admin(), replacing).await, Code::FailedPrecondition, "ATTEMPT_APPLYING");
    let back = request(&plane.admin(), ask(executor.name(), "1.0.0")).await?;
    assert_eq!(back.name, requested.name);
    assert!(back.rollback_requested);
    let Hear::Desired(desired) = stream.until("the rollback", |word| matches!(word, Hear::Desired(desired) if matches!(desired.spec, Some(v1::desired::Spec::Rollback(_))))).await? else {
        panic!("desired")
    };
    assert!(back.name.ends_with(&desired.attempt));
    plane.stop().await
}

#[tokio::test]
async fn a_cancel_before_leave_wins_and_is_told() -> Result<()> {
    let (plane, executor, mut stream) = scene().await?;
    let requested = request(&plane.admin(), ask(executor.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    let cancelled = cancel(&plane.admin(), &requested.name).await?;
    assert_eq!((cancelled.outcome(), cancelled.reason.as_str()), (v1::Outcome::Cancelled, "CANCELLED_BY_REQUEST"));
    stream.nothing_desired(desired.generation).await?;
    assert!(matches!(stream.ask_leave(&desired).await?, Hear::Withdrawn(_)));
    // Twice is once.
    assert_eq!(cancel(&plane.admin(), &requested.name).await?.outcome(), v1::Outcome::Cancelled);
    plane.stop().await
}

#[tokio::test]
async fn rule_05_what_nobody_picks_up_expires_by_the_stores_clock() -> Result<()> {
    let (plane, executor, mut stream) = scene().await?;
    let ttl = prost_types::Duration { seconds: 60, nanos: 0 };
    let requested =
        request(&plane.admin(), v1::RequestUpgradeRequest { ttl: Some(ttl), ..ask(executor.name(), "1.1.0") }).await?;
    let desired = stream.desired().await?;
    assert!(desired.remaining_ttl.is_some_and(|left| left.seconds <= 60 && left.seconds >= 50));
    plane.clock().advance(Duration::from_secs(61));
    // The sweep sleeps by the old clock: another commit wakes it, as any would.
    let other = v1::Executor {
        name: executor.name().to_owned(),
        labels: [("rack".to_owned(), "a7".to_owned())].into(),
        ..v1::Executor::default()
    };
    plane
        .admin()
        .executors()
        .update_executor(v1::UpdateExecutorRequest { executor: Some(other), update_mask: None })
        .await?;
    let seen = ended(&plane.member(), &requested.name).await?;
    assert_eq!((seen.outcome(), seen.reason.as_str()), (v1::Outcome::Expired, "TTL_EXPIRED"));
    stream.nothing_desired(desired.generation).await?;
    plane.stop().await
}

#[tokio::test]
async fn rule_05_a_ttl_is_more_than_nothing_and_at_most_a_day() -> Result<()> {
    let (plane, executor, _stream) = scene().await?;
    for seconds in [0, 24 * 60 * 60 + 1] {
        let ttl = Some(prost_types::Duration { seconds, nanos: 0 });
        let answer = request(&plane.admin(), v1::RequestUpgradeRequest { ttl, ..ask(executor.name(), "1.1.0") }).await;
        let status = refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
        assert_eq!(harness::client::fields(&status), ["ttl"]);
    }
    plane.stop().await
}

#[tokio::test]
async fn the_same_request_id_is_the_same_attempt_even_after_its_end() -> Result<()> {
    let (plane, executor, _stream) = scene().await?;
    let asked = v1::RequestUpgradeRequest { request_id: "night-shift-7".to_owned(), ..ask(executor.name(), "1.1.0") };
    let first = request(&plane.admin(), asked.clone()).await?;
    cancel(&plane.admin(), &first.name).await?;
    let again = request(&plane.admin(), asked.clone()).await?;
    assert_eq!((again.name.as_str(), again.outcome()), (first.name.as_str(), v1::Outcome::Cancelled));
    let other = v1::RequestUpgradeRequest { target_version: "1.2.0".to_owned(), ..asked };
    refused(request(&plane.admin(), other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    plane.stop().await
}

#[tokio::test]
async fn many_requests_of_one_id_at_once_make_one_attempt() -> Result<()> {
    let (plane, executor, _stream) = scene().await?;
    let asked = v1::RequestUpgradeRequest { request_id: "impatient".to_owned(), ..ask(executor.name(), "1.1.0") };
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (client, asked) = (plane.admin(), asked.clone());
        asking.spawn(async move { request(&client, asked).await });
    }
    let mut names = std::collections::BTreeSet::new();
    while let Some(answer) = asking.join_next().await {
        names.insert(answer??.name);
    }
    assert_eq!(names.len(), 1);
    plane.stop().await
}

#[tokio::test]
async fn validate_only_answers_and_writes_nothing() -> Result<()> {
    let (plane, executor, _stream) = scene().await?;
    let asked = v1::RequestUpgradeRequest { validate_only: true, ..ask(executor.name(), "1.1.0") };
    let would_be = request(&plane.admin(), asked).await?;
    assert_eq!(would_be.target_version, "1.1.0");
    let row = crate::support::executor(&plane.member(), executor.name()).await?;
    assert_eq!(row.pending_upgrade, None);
    refused(attempt(&plane.member(), &would_be.name).await, Code::NotFound, "NOT_FOUND");
    plane.stop().await
}

#[tokio::test]
async fn a_refusal_stays_pending_and_marked_and_asking_again_is_a_new_attempt() -> Result<()> {
    let (plane, executor, mut stream) = scene().await?;
    let requested = request(&plane.admin(), ask(executor.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    let report = v1::Report {
        attempt: desired.attempt.clone(),
        outcome: v1::Outcome::Refused.into(),
        stage: "verify".to_owned(),
        error_code: "DIGEST_MISMATCH".to_owned(),
        message: "the bytes are others".to_owned(),
        running_version: "1.0.0".to_owned(),
        ..v1::Report::default()
    };
    stream.report(report).await?;
    let seen = attempt(&plane.member(), &requested.name).await?;
    assert!(seen.refused && seen.outcome() == v1::Outcome::Unspecified, "{seen:?}");
    let row = crate::support::executor(&plane.member(), executor.name()).await?;
    assert_eq!(row.pending_upgrade.map(|pending| pending.refused_error_code), Some("DIGEST_MISMATCH".to_owned()));
    assert_eq!(row.holds.first().map(|hold| hold.version.as_str()), Some("1.1.0"));
    let again = request(&plane.admin(), ask(executor.name(), "1.1.0")).await?;
    assert_ne!(again.name, requested.name);
    let first = attempt(&plane.member(), &requested.name).await?;
    assert_eq!((first.outcome(), first.error_code.as_str()), (v1::Outcome::Refused, "DIGEST_MISMATCH"));
    let row = crate::support::executor(&plane.member(), executor.name()).await?;
    assert_eq!(row.holds, [], "asking clears the hold");
    plane.stop().await
}

#[tokio::test]
async fn rule_15_a_pinned_executor_says_so_and_is_asked_nothing() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let pinned = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let hello = v1::Hello { pinned: true, pinned_reason: "apt owns it".to_owned(), ..pinned.hello() };
    let _stream = pinned.connect_with(hello).await?;
    let row = executor(&plane.member(), pinned.name()).await?;
    assert_eq!((row.pinned, row.pinned_reason.as_str(), row.online), (true, "apt owns it", true));
    let answer = request(&plane.admin(), ask(pinned.name(), "1.1.0")).await;
    refused(answer, Code::FailedPrecondition, "EXECUTOR_PINNED");
    plane.stop().await
}

#[tokio::test]
async fn a_yank_before_leave_cancels_and_after_it_loses() -> Result<()> {
    let (plane, first, mut one) = scene().await?;
    let (second, mut two) = FakeExecutor::online(&plane, "web-2", "1.0.0").await?;
    let waiting = request(&plane.admin(), ask(first.name(), "1.1.0")).await?;
    let applying = request(&plane.admin(), ask(second.name(), "1.1.0")).await?;
    let desired = one.desired().await?;
    let leave = two.desired().await?;
    assert!(matches!(two.ask_leave(&leave).await?, Hear::Proceed(_)));
    plane.yank("releases/agent-1.1.0").await?;
    let seen = attempt(&plane.member(), &waiting.name).await?;
    assert_eq!((seen.outcome(), seen.reason.as_str()), (v1::Outcome::Cancelled, "RELEASE_YANKED"));
    one.nothing_desired(desired.generation).await?;
    let seen = attempt(&plane.member(), &applying.name).await?;
    assert_eq!(seen.outcome(), v1::Outcome::Unspecified);
    refused(request(&plane.admin(), ask(first.name(), "1.1.0")).await, Code::FailedPrecondition, "RELEASE_YANKED");
    plane.stop().await
}

#[tokio::test]
async fn a_batch_answers_each_in_order_and_one_refusal_stops_no_other() -> Result<()> {
    let (plane, first, mut one) = scene().await?;
    let (second, mut two) = FakeExecutor::online(&plane, "web-2", "1.0.0").await?;
    let nobody = format!("{}/executors/nobody", parent());
    let requests = vec![
        ask(first.name(), "1.1.0"),
        ask(&nobody, "1.1.0"),
        ask(second.name(), "1.2.0"),
        ask(first.name(), "1.2.0"),
        ask(second.name(), "9.0.0"),
    ];
    let batch = v1::BatchRequestUpgradeRequest { parent: parent(), requests };
    let answer = plane.admin().upgrades().batch_request_upgrade(batch).await?.into_inner();
    let said: Vec<String> = answer
        .results
        .into_iter()
        .map(|result| match result.result {
            Some(v1::batch_request_upgrade_response::result::Result::Attempt(attempt)) => attempt.target_version,
            Some(v1::batch_request_upgrade_response::result::Result::Failure(failure)) => failure.reason,
            None => String::new(),
        })
        .collect();
    assert_eq!(said, ["1.1.0", "NOT_FOUND", "1.2.0", "INVALID_ARGUMENT", "INVALID_ARGUMENT"]);
    one.desired().await?;
    two.desired().await?;
    plane.stop().await
}

#[tokio::test]
async fn a_batch_lies_in_one_organization_and_is_at_most_a_thousand() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let batch = |requests| v1::BatchRequestUpgradeRequest { parent: parent(), requests };
    let foreign = vec![ask("organizations/other/executors/web-1", "1.1.0")];
    let answer = plane.admin().upgrades().batch_request_upgrade(batch(foreign)).await;
    refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
    let many = (0..1_001).map(|n| ask(&format!("{}/executors/web-{n}", parent()), "1.1.0")).collect();
    let answer = plane.admin().upgrades().batch_request_upgrade(batch(many)).await;
    refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
    let most = (0..1_000).map(|n| ask(&format!("{}/executors/web-{n}", parent()), "1.1.0")).collect();
    let answer = plane.admin().upgrades().batch_request_upgrade(batch(most)).await?.into_inner();
    assert_eq!(answer.results.len(), 1_000);
    plane.stop().await
}

#[tokio::test]
async fn attempts_are_listed_newest_first_a_page_at_a_time() -> Result<()> {
    let (plane, executor, _stream) = scene().await?;
    let mut made = Vec::new();
    for _ in 0..5 {
        let requested = request(&plane.admin(), ask(executor.name(), "1.1.0")).await?;
        cancel(&plane.admin(), &requested.name).await?;
        made.insert(0, requested.name);
    }
    for of in [executor.name().to_owned(), format!("{}/executors/-", parent())] {
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let list = v1::ListAttemptsRequest { parent: of.clone(), page_size: 2, page_token, ..Default::default() };
            let page = plane.member().upgrades().list_attempts(list).await?.into_inner();
            seen.extend(page.attempts.into_iter().map(|attempt| attempt.name));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, made);
    }
    plane.stop().await
}
