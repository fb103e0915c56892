//! Executors: looking at them, changing them, watching them.

use std::time::Duration;

use anyhow::Result;
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;
use harness::fake_executor::FakeExecutor;
use proto::v1;
use proto::v1::watch_executors_response::ChangeType;
use tonic::Code;

use crate::support::{ask, attempt, executor, parent, refused, request};
use crate::visitor::Visitor;

async fn list(plane: &ControlPlane, filter: &str, page_size: i32) -> Result<Vec<Vec<String>>, tonic::Status> {
    let (mut pages, mut page_token) = (Vec::new(), String::new());
    loop {
        let list = v1::ListExecutorsRequest { parent: parent(), page_size, page_token, filter: filter.to_owned() };
        let page = plane.member().executors().list_executors(list).await?.into_inner();
        let id = |executor: v1::Executor| executor.name.rsplit('/').next().unwrap_or_default().to_owned();
        pages.push(page.executors.into_iter().map(id).collect());
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(pages);
        }
    }
}

#[tokio::test]
async fn executors_are_listed_by_name_a_page_at_a_time() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for id in ["web-3", "db-1", "web-1", "web-2", "cache-1"] {
        FakeExecutor::enrol(&plane, id, "1.0.0").await?;
    }
    let pages = list(&plane, "", 2).await?;
    assert_eq!(pages, [vec!["cache-1", "db-1"], vec!["web-1", "web-2"], vec!["web-3"]]);
    assert_eq!(list(&plane, "name:web", 100).await?, [["web-1", "web-2", "web-3"]]);
    plane.stop().await
}

#[tokio::test]
async fn a_filter_takes_every_term_of_the_proto_file() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (one, _stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    FakeExecutor::enrol(&plane, "web-2", "1.0.0").await?;
    let labelled = v1::Executor {
        name: one.name().to_owned(),
        labels: [("rack".to_owned(), "a7".to_owned())].into(),
        ..v1::Executor::default()
    };
    plane
        .admin()
        .executors()
        .update_executor(v1::UpdateExecutorRequest { executor: Some(labelled), update_mask: None })
        .await?;
    let all = "version=1.0.0 channel=stable online=true state=active pinned=false label.rack=a7 name:web";
    assert_eq!(list(&plane, all, 100).await?, [["web-1"]]);
    for (term, found) in [
        ("online=false", vec!["web-2"]),
        ("label.rack=b1", vec![]),
        ("state=deactivated", vec![]),
        ("pinned=false", vec!["web-1", "web-2"]),
    ] {
        assert_eq!(list(&plane, term, 100).await?.concat(), found, "{term}");
    }
    refused(list(&plane, "colour=red", 100).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    plane.stop().await
}

#[tokio::test]
async fn a_page_token_belongs_to_its_list() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for id in ["web-1", "web-2"] {
        FakeExecutor::enrol(&plane, id, "1.0.0").await?;
    }
    let first = v1::ListExecutorsRequest { parent: parent(), page_size: 1, ..v1::ListExecutorsRequest::default() };
    let page_token = plane.member().executors().list_executors(first.clone()).await?.into_inner().next_page_token;
    let other = v1::ListExecutorsRequest { page_token, filter: "name:web".to_owned(), ..first };
    let status = plane.member().executors().list_executors(other).await.expect_err("refused");
    assert_eq!(harness::client::fields(&status), ["page_token"]);
    plane.stop().await
}

#[tokio::test]
async fn an_update_changes_only_what_its_mask_names() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let update =
        |channel: v1::Channel, labels: &[(&str, &str)], paths: &[&str], etag: &str| v1::UpdateExecutorRequest {
            executor: Some(v1::Executor {
                name: one.name().to_owned(),
                channel: channel.into(),
                labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
                etag: etag.to_owned(),
                ..v1::Executor::default()
            }),
            update_mask: Some(prost_types::FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
        };
    let ask =
        |request| async { plane.admin().executors().update_executor(request).await.map(tonic::Response::into_inner) };
    let after = ask(update(v1::Channel::Beta, &[("rack", "a7")], &["labels"], "")).await?;
    assert_eq!((after.channel(), after.labels.len()), (v1::Channel::Stable, 1));
    let etag = after.etag;
    let after = ask(update(v1::Channel::Beta, &[], &["channel"], &etag)).await?;
    assert_eq!((after.channel(), after.labels.len()), (v1::Channel::Beta, 1));
    for (bad, field) in [
        (update(v1::Channel::Dev, &[], &["channel"], &etag), "executor.etag"),
        (update(v1::Channel::Unspecified, &[], &["channel"], ""), "executor.channel"),
        (update(v1::Channel::Dev, &[], &["version"], ""), "update_mask"),
        (update(v1::Channel::Dev, &[("a b", "c")], &["labels"], ""), "executor.labels"),
    ] {
        let status = ask(bad).await.expect_err(field);
        assert_eq!(harness::client::fields(&status), [field], "{}", status.message());
    }
    plane.stop().await
}

#[tokio::test]
async fn deactivating_cancels_what_has_no_leave_and_ends_the_stream() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (one, mut stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let requested = request(&plane.admin(), ask(one.name(), "1.1.0")).await?;
    stream.desired().await?;
    let name = one.name().to_owned();
    let row = plane
        .admin()
        .executors()
        .deactivate_executor(v1::DeactivateExecutorRequest { name: name.clone() })
        .await?
        .into_inner();
    assert_eq!(row.state(), v1::executor::State::Deactivated);
    let seen = attempt(&plane.member(), &requested.name).await?;
    assert_eq!((seen.outcome(), seen.reason.as_str()), (v1::Outcome::Cancelled, "EXECUTOR_DEACTIVATED"));
    while let Ok(Some(_)) = stream.next().await {}
    assert!(one.connect().await.is_err(), "its certificate is refused");
    refused(request(&plane.admin(), ask(&name, "1.1.0")).await, Code::FailedPrecondition, "EXECUTOR_DEACTIVATED");
    let row = plane.admin().executors().activate_executor(v1::ActivateExecutorRequest { name }).await?.into_inner();
    assert_eq!(row.state(), v1::executor::State::Active);
    one.connect().await?;
    plane.stop().await
}

#[tokio::test]
async fn a_deleted_executor_is_gone_its_attempts_stay_and_its_name_is_free() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (one, _stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let requested = request(&plane.admin(), ask(one.name(), "1.1.0")).await?;
    let name = one.name().to_owned();
    plane.admin().executors().delete_executor(v1::DeleteExecutorRequest { name: name.clone() }).await?;
    refused(executor(&plane.member(), &name).await, Code::NotFound, "NOT_FOUND");
    let seen = attempt(&plane.member(), &requested.name).await?;
    assert_eq!((seen.outcome(), seen.reason.as_str()), (v1::Outcome::Cancelled, "EXECUTOR_DELETED"));
    assert!(one.connect().await.is_err());
    let again = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    assert_ne!(again.uid(), one.uid());
    plane.stop().await
}

#[tokio::test]
async fn a_hold_is_cleared_by_a_person_or_is_not_there() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let clear = v1::ClearHoldRequest { name: one.name().to_owned(), version: "1.1.0".to_owned() };
    refused(plane.admin().executors().clear_hold(clear).await, Code::NotFound, "NOT_FOUND");
    plane.stop().await
}

#[tokio::test]
async fn a_watch_lists_then_says_synced_then_every_change() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let watch = v1::WatchExecutorsRequest { parent: parent(), filter: "name:web".to_owned() };
    let mut changes = plane.member().executors().watch_executors(watch).await?.into_inner();
    let mut next = async || -> Result<(ChangeType, v1::Executor)> {
        let change = tokio::time::timeout(Duration::from_secs(20), changes.message()).await??;
        let change = change.ok_or_else(|| anyhow::anyhow!("the watch ended"))?;
        Ok((change.change_type(), change.executor.unwrap_or_default()))
    };
    let (what, first) = next().await?;
    assert_eq!((what, first.online), (ChangeType::Present, false));
    assert_eq!(next().await?.0, ChangeType::Synced);
    let stream = one.connect().await?;
    loop {
        let (what, row) = next().await?;
        assert_eq!(what, ChangeType::Present);
        if row.online && row.version == "1.0.0" {
            break;
        }
    }
    let delete = v1::DeleteExecutorRequest { name: one.name().to_owned() };
    plane.admin().executors().delete_executor(delete).await?;
    drop(stream);
    loop {
        let (what, row) = next().await?;
        if what == ChangeType::Removed {
            assert_eq!((row.name.as_str(), row.uid), (one.name(), one.uid()));
            break;
        }
    }
    plane.stop().await
}

#[tokio::test]
async fn a_revoked_token_watches_no_longer_nor_does_a_session_of_it() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let make =
        v1::CreateTokenRequest { parent: parent(), role: v1::Role::Member.into(), ..v1::CreateTokenRequest::default() };
    let made = plane.owner().organizations().create_token(make).await?.into_inner();
    let visitor = Visitor::show(&plane, &made.secret).await?;
    let mut watches = Vec::new();
    for bearer in [&made.secret, visitor.session()] {
        let watch = v1::WatchExecutorsRequest { parent: parent(), filter: String::new() };
        let mut changes = plane.client(bearer).executors().watch_executors(watch).await?.into_inner();
        assert_eq!(changes.message().await?.map(|change| change.change_type()), Some(ChangeType::Synced));
        watches.push(changes);
    }
    let revoke = v1::RevokeTokenRequest { name: made.token.unwrap_or_default().name };
    plane.owner().organizations().revoke_token(revoke).await?;
    for mut changes in watches {
        let ended = tokio::time::timeout(Duration::from_secs(20), changes.message()).await?;
        refused(ended, Code::Unauthenticated, "TOKEN_INVALID");
    }
    plane.stop().await
}

#[tokio::test]
async fn watches_end_when_the_server_drains() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let watch = v1::WatchExecutorsRequest { parent: parent(), filter: String::new() };
    let mut changes = plane.member().executors().watch_executors(watch).await?.into_inner();
    assert_eq!(changes.message().await?.map(|change| change.change_type()), Some(ChangeType::Synced));
    let stopped = tokio::spawn(plane.stop());
    let ended = tokio::time::timeout(Duration::from_secs(20), changes.message()).await?;
    assert_eq!(ended.map_err(|status| status.code()), Err(Code::Unavailable));
    drop(changes);
    stopped.await?
}
