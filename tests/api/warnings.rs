//! What a request is told beside its answer: a hold that it clears, and what other executors said of the artifact (rules 10
//! and 11).

use std::time::Duration;

use anyhow::Result;
use harness::catalog::Draft;
use harness::client::Client;
use harness::control_plane::ControlPlane;
use harness::fake_executor::{FakeExecutor, Stream, success};
use proto::v1;

use crate::support::{ask, attempt, cancel, ended, executor, parent, request};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn codes(warnings: &[v1::UpgradeWarning]) -> Vec<&str> {
    warnings.iter().map(|warning| warning.code.as_str()).collect()
}

fn bad(desired: &v1::Desired, outcome: v1::Outcome, code: &str) -> v1::Report {
    v1::Report {
        attempt: desired.attempt.clone(),
        outcome: outcome.into(),
        stage: if outcome == v1::Outcome::Refused { "verify" } else { "start" }.to_owned(),
        error_code: code.to_owned(),
        message: "as a test says".to_owned(),
        running_version: "1.0.0".to_owned(),
        rolled_back_to: if outcome == v1::Outcome::RolledBack { "1.0.0" } else { "" }.to_owned(),
        ..v1::Report::default()
    }
}

/// An executor is asked for 1.1.0 and refuses the artifact.
async fn refuse(plane: &ControlPlane, one: &FakeExecutor, stream: &mut Stream) -> Result<v1::Attempt> {
    let requested = request(&plane.admin(), ask(one.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    stream.report(bad(&desired, v1::Outcome::Refused, "DIGEST_MISMATCH")).await?;
    Ok(requested)
}

async fn target(client: &Client, name: &str) -> Result<v1::UpgradeTarget> {
    let list = v1::ListUpgradeTargetsRequest { name: name.to_owned() };
    let listed = client.upgrades().list_upgrade_targets(list).await?.into_inner();
    let row = listed.targets.into_iter().find(|target| target.version == "1.1.0");
    row.ok_or_else(|| anyhow::anyhow!("1.1.0 is not listed"))
}

async fn findings(client: &Client, name: &str) -> Result<Vec<v1::explain_upgrade_response::Finding>> {
    let explain = v1::ExplainUpgradeRequest { name: name.to_owned() };
    Ok(client.upgrades().explain_upgrade(explain).await?.into_inner().findings)
}

async fn events(client: &Client, kind: &str, target: &str) -> Result<Vec<v1::Event>> {
    let list = v1::ListEventsRequest {
        parent: parent(),
        types: vec![kind.to_owned()],
        target: target.to_owned(),
        ..v1::ListEventsRequest::default()
    };
    Ok(client.events().list_events(list).await?.into_inner().events)
}

#[tokio::test]
async fn rule_10_whoever_asks_again_after_a_rollback_is_told_and_clears_the_hold() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (one, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let first = request(&plane.admin(), ask(one.name(), "1.1.0")).await?;
    assert_eq!(first.warnings, [], "nothing speaks against it yet");
    let desired = stream.desired().await?;
    stream.ask_leave(&desired).await?;
    stream.report(bad(&desired, v1::Outcome::RolledBack, "CRASH_LOOP")).await?;
    assert_eq!(ended(&plane.member(), &first.name).await?.outcome(), v1::Outcome::RolledBack);

    let row = target(&plane.member(), one.name()).await?;
    assert!(row.allowed_as_direct_target && row.held);
    assert_eq!(codes(&row.warnings), ["HELD_BEFORE"], "it is seen before it is asked for");
    let would = v1::RequestUpgradeRequest { validate_only: true, ..ask(one.name(), "1.1.0") };
    assert_eq!(request(&plane.admin(), would).await?.warnings, row.warnings);
    assert_eq!(executor(&plane.member(), one.name()).await?.holds.len(), 1, "a question clears nothing");

    let asked = v1::RequestUpgradeRequest { request_id: "again".to_owned(), ..ask(one.name(), "1.1.0") };
    let again = request(&plane.admin(), asked.clone()).await?;
    assert_eq!(again.warnings, row.warnings);
    let told = &again.warnings[0];
    assert_eq!((told.metadata["attempt"].as_str(), told.metadata["outcome"].as_str()), (&*first.name, "rolled_back"));
    assert_eq!((told.metadata["stage"].as_str(), told.metadata["error_code"].as_str()), ("start", "CRASH_LOOP"));
    assert!(told.message.contains("asking for it clears the hold") && told.time.is_some(), "{told:?}");
    assert_eq!(executor(&plane.member(), one.name()).await?.holds, []);
    assert_eq!(target(&plane.member(), one.name()).await?.warnings, []);

    // The repetition, the same question without an id, and whoever looks at the attempt later hear the same.
    assert_eq!(request(&plane.admin(), asked).await?, again);
    assert_eq!(request(&plane.admin(), ask(one.name(), "1.1.0")).await?.warnings, again.warnings);
    assert_eq!(attempt(&plane.member(), &again.name).await?.warnings, again.warnings);

    let cleared = events(&plane.member(), "executor.hold_cleared", one.name()).await?;
    assert_eq!(cleared.len(), 1);
    assert!(cleared[0].actor.starts_with("tokens/"), "a person did it: {:?}", cleared[0]);
    let detail = |name: &str| cleared[0].details.get(name).map(String::as_str);
    assert_eq!((detail("attempt"), detail("held_by")), (Some(&*again.name), Some(&*first.name)));
    assert!(detail("cause").is_some_and(|cause| cause.contains("CRASH_LOOP")), "{cleared:?}");

    let desired = stream_desired(&mut stream, &again).await?;
    stream.report(success(&desired)).await?;
    assert_eq!(ended(&plane.member(), &again.name).await?.outcome(), v1::Outcome::Succeeded);
    plane.stop().await
}

/// What is desired on account of an attempt, past what is not any more.
async fn stream_desired(stream: &mut Stream, of: &v1::Attempt) -> Result<v1::Desired> {
    loop {
        let desired = stream.desired().await?;
        if of.name.ends_with(&desired.attempt) {
            stream.ask_leave(&desired).await?;
            return Ok(desired);
        }
    }
}

#[tokio::test]
async fn rule_11_one_executors_word_is_told_to_the_rest_and_stops_nobody() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (one, mut first) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let (two, mut second) = FakeExecutor::online(&plane, "web-2", "1.0.0").await?;
    let (three, _third) = FakeExecutor::online(&plane, "web-3", "1.0.0").await?;
    let refused = refuse(&plane, &one, &mut first).await?;
    let alarms = events(&plane.member(), "artifact.refused", "releases/agent-1.1.0").await?;
    assert_eq!(alarms.len(), 1, "the alarm is about the release");
    let detail = |name: &str| alarms[0].details.get(name).map(String::as_str);
    assert_eq!((detail("executor"), detail("attempt")), (Some(one.name()), Some(&*refused.name)));
    assert_eq!((detail("platform"), detail("error_code")), (Some("linux/amd64"), Some("DIGEST_MISMATCH")));

    // web-1 hears of its own refusal alone, web-2 of the other's.
    assert_eq!(codes(&target(&plane.member(), one.name()).await?.warnings), ["HELD_BEFORE"]);
    let row = target(&plane.member(), two.name()).await?;
    assert!(row.allowed_as_direct_target && !row.held);
    let said = findings(&plane.member(), two.name()).await?;
    let alarm = said.iter().find(|finding| finding.message == row.warnings[0].message);
    assert_eq!(alarm.map(|alarm| alarm.reason.as_str()), Some("DIGEST_MISMATCH"), "{said:?}");

    let requested = request(&plane.admin(), ask(two.name(), "1.1.0")).await?;
    assert_eq!((codes(&requested.warnings), &requested.warnings), (vec!["ARTIFACT_REFUSED"], &row.warnings));
    let told = &requested.warnings[0];
    assert!(told.message.starts_with("1 other executor refused"), "{}", told.message);
    assert_eq!((told.metadata["executors"].as_str(), told.metadata["last_executor"].as_str()), ("1", one.name()));
    assert_eq!(
        (told.metadata["last_attempt"].as_str(), told.metadata["platform"].as_str()),
        (&*refused.name, "linux/amd64")
    );
    let desired = stream_desired(&mut second, &requested).await?;
    second.report(success(&desired)).await?;
    assert_eq!(ended(&plane.member(), &requested.name).await?.outcome(), v1::Outcome::Succeeded);

    // A batch is told, too; and it ends when the one that refused runs the version after all.
    let batch = v1::BatchRequestUpgradeRequest { parent: parent(), requests: vec![ask(three.name(), "1.1.0")] };
    let answer = plane.admin().upgrades().batch_request_upgrade(batch.clone()).await?.into_inner();
    let accepted = accepted(answer)?;
    assert_eq!(codes(&accepted.warnings), ["ARTIFACT_REFUSED"]);
    cancel(&plane.admin(), &accepted.name).await?;
    let _after_all = one.connect_with(v1::Hello { version: "1.1.0".to_owned(), ..one.hello() }).await?;
    assert_eq!(target(&plane.member(), three.name()).await?.warnings, []);
    plane.stop().await
}

fn accepted(answer: v1::BatchRequestUpgradeResponse) -> Result<v1::Attempt> {
    let result = answer.results.into_iter().next().and_then(|result| result.result);
    let Some(v1::batch_request_upgrade_response::result::Result::Attempt(attempt)) = result else {
        anyhow::bail!("{result:?}");
    };
    Ok(attempt)
}

#[tokio::test]
async fn rule_11_an_alarm_stays_in_its_organization_and_lasts_a_week() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (one, mut first) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let (two, second) = FakeExecutor::online(&plane, "web-2", "1.0.0").await?;
    refuse(&plane, &one, &mut first).await?;
    assert_eq!(codes(&target(&plane.member(), two.name()).await?.warnings), ["ARTIFACT_REFUSED"]);

    let globex = plane.another_organization("globex").await?;
    let invite = v1::CreateJoinTokenRequest {
        parent: "organizations/globex".to_owned(),
        executor_id: "web-2".to_owned(),
        ..v1::CreateJoinTokenRequest::default()
    };
    let word = globex.organizations().create_join_token(invite).await?.into_inner().secret;
    let theirs = FakeExecutor::by_word(&word, "1.0.0").await?;
    let _stream = theirs.connect().await?;
    assert_eq!(target(&globex, theirs.name()).await?.warnings, [], "what acme's executors say is acme's");

    drop((first, second));
    plane.clock().advance(7 * DAY);
    assert_eq!(target(&plane.member(), two.name()).await?.warnings, []);
    plane.stop().await
}
