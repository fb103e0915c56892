//! Rule 4 and AIP-155: a request that is repeated under its id begins nothing new, whoever made the attempt that answered it.

use anyhow::Result;
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;
use harness::fake_executor::{FakeExecutor, Stream};
use proto::v1;
use tonic::Code;

use crate::support::{ask, cancel, parent, refused, request};

async fn scene() -> Result<(ControlPlane, FakeExecutor, Stream)> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    plane.release(&Draft::new("1.2.0", 2)).await?;
    let (executor, stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    Ok((plane, executor, stream))
}

fn under(id: &str, asked: v1::RequestUpgradeRequest) -> v1::RequestUpgradeRequest {
    v1::RequestUpgradeRequest { request_id: id.to_owned(), ..asked }
}

#[tokio::test]
async fn an_id_that_was_answered_with_anothers_attempt_is_answered_with_it_again() -> Result<()> {
    let (plane, executor, _stream) = scene().await?;
    let admin = plane.admin();
    let first = request(&admin, under("first", ask(executor.name(), "1.1.0"))).await?;
    let second = under("second", ask(executor.name(), "1.1.0"));
    assert_eq!(request(&admin, second.clone()).await?.name, first.name);
    let requests = vec![under("third", ask(executor.name(), "1.1.0"))];
    let batch = v1::BatchRequestUpgradeRequest { parent: parent(), requests };
    admin.upgrades().batch_request_upgrade(batch).await?;
    let looked = v1::RequestUpgradeRequest { validate_only: true, ..under("fourth", ask(executor.name(), "1.1.0")) };
    assert_eq!(request(&admin, looked.clone()).await?.name, first.name);
    cancel(&admin, &first.name).await?;
    for id in ["first", "second", "third"] {
        let again = request(&admin, under(id, ask(executor.name(), "1.1.0"))).await?;
        assert_eq!((again.name.as_str(), again.outcome()), (first.name.as_str(), v1::Outcome::Cancelled), "{id}");
    }
    let other = v1::RequestUpgradeRequest { target_version: "1.2.0".to_owned(), ..second };
    refused(request(&admin, other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    // What was only looked at was not asked.
    let begun = request(&admin, v1::RequestUpgradeRequest { validate_only: false, ..looked }).await?;
    assert_ne!(begun.name, first.name);
    plane.stop().await
}

#[tokio::test]
async fn the_way_back_that_is_asked_again_under_its_id_is_the_same_attempt() -> Result<()> {
    let (plane, executor, mut stream) = scene().await?;
    let admin = plane.admin();
    let attempt = request(&admin, ask(executor.name(), "1.1.0")).await?;
    let desired = stream.desired().await?;
    stream.ask_leave(&desired).await?;
    let back = under("back", ask(executor.name(), "1.0.0"));
    let asked = request(&admin, back.clone()).await?;
    assert!(asked.name == attempt.name && asked.rollback_requested);
    let report = v1::Report {
        attempt: desired.attempt,
        outcome: v1::Outcome::RolledBack.into(),
        running_version: "1.0.0".to_owned(),
        rolled_back_to: "1.0.0".to_owned(),
        ..v1::Report::default()
    };
    stream.report(report).await?;
    let again = request(&admin, back).await?;
    assert_eq!((again.name.as_str(), again.outcome()), (attempt.name.as_str(), v1::Outcome::RolledBack));
    plane.stop().await
}
