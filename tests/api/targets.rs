//! Rules 3 and 14: what an executor may move to, and what being out of support keeps from it.

use anyhow::Result;
use domain::Channel;
use harness::catalog::Draft;
use harness::client::reason;
use harness::control_plane::ControlPlane;
use harness::fake_executor::FakeExecutor;
use proto::v1;
use tonic::Code;

use crate::support::{ask, executor, refused, request};

async fn targets(plane: &ControlPlane, name: &str) -> Result<v1::ListUpgradeTargetsResponse> {
    let list = v1::ListUpgradeTargetsRequest { name: name.to_owned() };
    Ok(plane.member().upgrades().list_upgrade_targets(list).await?.into_inner())
}

#[tokio::test]
async fn rule_03_rows_allowed_as_direct_target_are_exactly_those_request_accepts() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let drafts = [
        Draft::new("0.9.0", 1),
        Draft::new("1.1.0", 2),
        Draft::new("1.2.0-rc.1", 3).on(Channel::Beta),
        Draft::new("1.3.0-dev.1", 4).on(Channel::Dev),
        Draft::new("2.0.0", 5),
        Draft::new("3.0.0", 6),
    ];
    for draft in &drafts {
        plane.release(draft).await?;
    }
    plane.release(&Draft::new("1.4.0", 7)).await?;
    plane.yank("releases/agent-1.4.0").await?;
    plane.draft(&Draft::new("1.5.0", 8)).await?;
    let (one, _stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;

    let listed = targets(&plane, one.name()).await?;
    assert_eq!(listed.blocked_reason, "");
    let row = |target: &v1::UpgradeTarget| (target.version.clone(), target.allowed_as_direct_target);
    let rows: Vec<_> = listed.targets.iter().map(row).collect();
    let expected = [("1.1.0", true), ("2.0.0", true), ("3.0.0", false), ("0.9.0", true)];
    assert_eq!(rows, expected.map(|(version, allowed)| (version.to_owned(), allowed)));
    let far = listed.targets.iter().find(|target| target.version == "3.0.0").expect("3.0.0 is listed");
    assert_eq!(far.blocked_message, "requires upgrade to 2.x first");

    let every = ["0.9.0", "1.0.0", "1.1.0", "1.2.0-rc.1", "1.3.0-dev.1", "1.4.0", "1.5.0", "2.0.0", "3.0.0", "7.7.7"];
    for version in every {
        let asked = v1::RequestUpgradeRequest { validate_only: true, ..ask(one.name(), version) };
        let accepted = request(&plane.admin(), asked).await;
        let allowed = rows.contains(&(version.to_owned(), true));
        assert_eq!(accepted.is_ok(), allowed, "{version}: {:?}", accepted.as_ref().err().map(reason));
    }
    plane.stop().await
}

#[tokio::test]
async fn rule_03_each_rule_that_blocks_a_target_says_which_it_is() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("3.0.0", 1)).await?;
    plane.release(&Draft::new("1.2.0-rc.1", 2).on(Channel::Beta)).await?;
    plane.draft(&Draft::new("1.5.0", 3)).await?;
    plane.release(&Draft::new("0.5.0", 4)).await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let hello = v1::Hello { floor: "0.8.0".to_owned(), ..one.hello() };
    let _stream = one.connect_with(hello).await?;
    let refusals = [
        ("3.0.0", "MAJOR_HOP_REQUIRED"),
        ("1.2.0-rc.1", "CHANNEL_NOT_VISIBLE"),
        ("1.5.0", "RELEASE_NOT_PUBLISHED"),
        ("0.5.0", "BELOW_FLOOR"),
        ("1.0.7", "VERSION_NOT_AVAILABLE"),
    ];
    for (version, expected) in refusals {
        let answer = request(&plane.admin(), ask(one.name(), version)).await;
        refused(answer, Code::FailedPrecondition, expected);
    }
    plane.stop().await
}

#[tokio::test]
async fn rule_03_an_artifact_for_another_platform_is_none() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let one = FakeExecutor::enrol(&plane, "pi-1", "1.0.0").await?;
    let hello = v1::Hello { platform: "linux/arm64".to_owned(), ..one.hello() };
    let _stream = one.connect_with(hello).await?;
    let answer = request(&plane.admin(), ask(one.name(), "1.1.0")).await;
    refused(answer, Code::FailedPrecondition, "PLATFORM_MISSING");
    plane.stop().await
}

#[tokio::test]
async fn a_channel_given_by_a_person_widens_what_is_shown() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.2.0-rc.1", 1).on(Channel::Beta)).await?;
    let (one, _stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    assert_eq!(targets(&plane, one.name()).await?.targets, []);
    let wider =
        v1::Executor { name: one.name().to_owned(), channel: v1::Channel::Beta.into(), ..v1::Executor::default() };
    let mask = prost_types::FieldMask { paths: vec!["channel".to_owned()] };
    let update = v1::UpdateExecutorRequest { executor: Some(wider), update_mask: Some(mask) };
    plane.admin().executors().update_executor(update).await?;
    assert_eq!(targets(&plane, one.name()).await?.targets.len(), 1);
    request(&plane.admin(), ask(one.name(), "1.2.0-rc.1")).await?;
    plane.stop().await
}

#[tokio::test]
async fn rule_14_out_of_support_is_flagged_keeps_nodes_back_and_still_upgrades() -> Result<()> {
    let plane =
        ControlPlane::start_with(|config| config.settings.server_version = "3.0.0".parse().expect("a version")).await?;
    plane.release(&Draft::new("2.0.0", 1)).await?;
    let (old, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    assert!(executor(&plane.member(), old.name()).await?.out_of_support);
    let list = v1::ListNodesRequest { parent: old.name().to_owned(), ..v1::ListNodesRequest::default() };
    let answer = plane.member().executors().list_nodes(list.clone()).await;
    refused(answer, Code::FailedPrecondition, "OUT_OF_SUPPORT");
    request(&plane.admin(), ask(old.name(), "2.0.0")).await?;
    stream.desired().await?;

    let (new, _other) = FakeExecutor::online(&plane, "web-2", "2.0.0").await?;
    assert!(!executor(&plane.member(), new.name()).await?.out_of_support);
    let list = v1::ListNodesRequest { parent: new.name().to_owned(), ..list };
    assert_eq!(plane.member().executors().list_nodes(list).await?.into_inner().nodes, []);
    plane.stop().await
}
