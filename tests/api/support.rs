//! What the tests share: short ways to ask.

use harness::client::{Client, reason};
use harness::control_plane::ORGANIZATION;
use proto::v1;
use tonic::{Code, Status};

/// `organizations/acme`.
pub(crate) fn parent() -> String {
    format!("organizations/{ORGANIZATION}")
}

/// A plain request.
pub(crate) fn ask(name: &str, target: &str) -> v1::RequestUpgradeRequest {
    v1::RequestUpgradeRequest {
        name: name.to_owned(),
        target_version: target.to_owned(),
        ..v1::RequestUpgradeRequest::default()
    }
}

/// Asks for an upgrade.
pub(crate) async fn request(client: &Client, request: v1::RequestUpgradeRequest) -> Result<v1::Attempt, Status> {
    Ok(client.upgrades().request_upgrade(request).await?.into_inner())
}

/// Looks at an executor.
pub(crate) async fn executor(client: &Client, name: &str) -> Result<v1::Executor, Status> {
    let request = v1::GetExecutorRequest { name: name.to_owned() };
    Ok(client.executors().get_executor(request).await?.into_inner())
}

/// Looks at an attempt.
pub(crate) async fn attempt(client: &Client, name: &str) -> Result<v1::Attempt, Status> {
    let request = v1::GetAttemptRequest { name: name.to_owned() };
    Ok(client.upgrades().get_attempt(request).await?.into_inner())
}

/// Cancels an attempt.
pub(crate) async fn cancel(client: &Client, name: &str) -> Result<v1::Attempt, Status> {
    let request = v1::CancelUpgradeRequest { name: name.to_owned(), request_id: String::new() };
    Ok(client.upgrades().cancel_upgrade(request).await?.into_inner())
}

/// Watches an attempt until it ends, and answers with its last word.
pub(crate) async fn ended(client: &Client, name: &str) -> anyhow::Result<v1::Attempt> {
    let request = v1::WatchAttemptRequest { name: name.to_owned() };
    let mut changes = client.upgrades().watch_attempt(request).await?.into_inner();
    let mut last = None;
    while let Some(change) = changes.message().await? {
        last = change.attempt;
    }
    last.ok_or_else(|| anyhow::anyhow!("the watch said nothing"))
}

/// Asserts a refusal's code and reason.
#[track_caller]
pub(crate) fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, expected: &str) -> Status {
    let status = answer.expect_err(expected);
    assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{}", status.message());
    status
}
