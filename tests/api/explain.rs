//! `ExplainUpgrade`: the diagnosis that a person at three in the morning needs.

use std::time::Duration;

use anyhow::Result;
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;
use harness::fake_executor::{FakeExecutor, refusal};
use proto::v1;
use proto::v1::explain_upgrade_response::finding::Severity;

use crate::support::{ask, request};

async fn explain(plane: &ControlPlane, name: &str) -> Result<v1::ExplainUpgradeResponse> {
    let explain = v1::ExplainUpgradeRequest { name: name.to_owned() };
    Ok(plane.member().upgrades().explain_upgrade(explain).await?.into_inner())
}

fn blocking(explanation: &v1::ExplainUpgradeResponse) -> Vec<&str> {
    let of = |finding: &&v1::explain_upgrade_response::Finding| finding.severity() == Severity::Blocking;
    explanation.findings.iter().filter(of).map(|finding| finding.reason.as_str()).collect()
}

#[tokio::test]
async fn what_stands_in_the_way_comes_first_with_a_remedy() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    assert_eq!(blocking(&explain(&plane, one.name()).await?), ["EXECUTOR_NEVER_SYNCED"]);
    let mut stream = one.connect().await?;
    let clear = explain(&plane, one.name()).await?;
    assert_eq!(blocking(&clear), Vec::<&str>::new());
    assert!(clear.summary.starts_with("nothing stands in the way"), "{}", clear.summary);

    request(&plane.admin(), ask(one.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    stream.report(refusal(&desired)).await?;
    let refused = explain(&plane, one.name()).await?;
    let first = &refused.findings[0];
    assert_eq!(first.severity(), Severity::Blocking);
    assert!(first.message.contains("UNKNOWN_KEY") && first.remedy.contains("release_key_ids"), "{first:?}");

    let name = one.name().to_owned();
    plane.admin().executors().deactivate_executor(v1::DeactivateExecutorRequest { name }).await?;
    plane.clock().advance(Duration::from_secs(60));
    let gone = explain(&plane, one.name()).await?;
    assert!(blocking(&gone).contains(&"EXECUTOR_DEACTIVATED"), "{gone:?}");
    assert!(
        gone.findings
            .iter()
            .filter(|finding| finding.severity() == Severity::Blocking)
            .all(|finding| !finding.remedy.is_empty())
    );
    plane.stop().await
}

#[tokio::test]
async fn an_upgrade_under_way_is_told_where_it_is() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (one, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let requested = request(&plane.admin(), ask(one.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    stream.ask_leave(&desired).await?;
    let told = explain(&plane, one.name()).await?;
    assert!(told.summary.contains("leave was given"), "{}", told.summary);
    assert_eq!(told.attempt.map(|attempt| attempt.name), Some(requested.name));
    plane.stop().await
}
