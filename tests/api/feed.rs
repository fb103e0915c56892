//! The feed and the audit log: every change has a row, none is dropped between list and watch.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use harness::catalog::Draft;
use harness::client::{Client, fields};
use harness::control_plane::ControlPlane;
use harness::fake_executor::FakeExecutor;
use proto::v1;
use tonic::Code;

use crate::support::{ask, cancel, executor, parent, refused, request};

async fn events(client: &Client, list: v1::ListEventsRequest) -> Result<Vec<v1::Event>> {
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let list = v1::ListEventsRequest { page_token, ..list.clone() };
        let page = client.events().list_events(list).await?.into_inner();
        rows.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(rows);
        }
    }
}

fn of(parent: &str) -> v1::ListEventsRequest {
    v1::ListEventsRequest { parent: parent.to_owned(), page_size: 3, ..v1::ListEventsRequest::default() }
}

#[tokio::test]
async fn every_change_leaves_a_row_that_says_who_did_what_to_what() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (one, stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let requested = request(&plane.admin(), ask(one.name(), "1.1.0")).await?;
    cancel(&plane.admin(), &requested.name).await?;
    let name = one.name().to_owned();
    plane.admin().executors().deactivate_executor(v1::DeactivateExecutorRequest { name: name.clone() }).await?;
    plane.admin().executors().activate_executor(v1::ActivateExecutorRequest { name: name.clone() }).await?;
    drop(stream);
    plane.admin().executors().delete_executor(v1::DeleteExecutorRequest { name }).await?;
    plane.yank("releases/agent-1.1.0").await?;

    let rows = events(&plane.member(), of(&parent())).await?;
    let seen: BTreeSet<&str> = rows.iter().map(|row| row.r#type.as_str()).collect();
    for kind in [
        "join_token.created",
        "executor.enrolled",
        "executor.connected",
        "attempt.requested",
        "attempt.ended",
        "executor.deactivated",
        "executor.activated",
        "executor.deleted",
        "token.created",
    ] {
        assert!(seen.contains(kind), "{kind} is missing in {seen:?}");
    }
    let asked = rows.iter().find(|row| row.r#type == "attempt.requested").expect("asked above");
    assert_eq!(asked.target, requested.name);
    assert!(asked.actor.starts_with("tokens/"), "{}", asked.actor);
    assert_eq!(asked.details.get("target_version").map(String::as_str), Some("1.1.0"));
    assert!(rows.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));

    let rows = events(&plane.installation_admin(), of("")).await?;
    let seen: BTreeSet<&str> = rows.iter().map(|row| row.r#type.as_str()).collect();
    for kind in
        ["organization.created", "release.created", "release.artifact_uploaded", "release.published", "release.yanked"]
    {
        assert!(seen.contains(kind), "{kind} is missing in {seen:?}");
    }
    plane.stop().await
}

#[tokio::test]
async fn a_denied_access_is_written_down() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    refused(request(&plane.member(), ask(one.name(), "1.1.0")).await, Code::PermissionDenied, "ROLE_REQUIRED");
    let denied = v1::ListEventsRequest { types: vec!["access.denied".to_owned()], ..of(&parent()) };
    let rows = events(&plane.owner(), denied).await?;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].target, "/novacula.v1.UpgradeService/RequestUpgrade");
    plane.stop().await
}

#[tokio::test]
async fn events_are_chosen_by_type_target_and_order() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    FakeExecutor::enrol(&plane, "web-2", "1.0.0").await?;
    let about =
        v1::ListEventsRequest { target: one.name().to_owned(), types: vec!["executor.*".to_owned()], ..of(&parent()) };
    let rows = events(&plane.member(), about).await?;
    assert_eq!(rows.iter().map(|row| row.r#type.as_str()).collect::<Vec<_>>(), ["executor.enrolled"]);
    let oldest = events(&plane.member(), of(&parent())).await?;
    let mut newest = events(&plane.member(), v1::ListEventsRequest { newest_first: true, ..of(&parent()) }).await?;
    newest.reverse();
    assert_eq!(oldest, newest);
    let after = v1::ListEventsRequest { after_sequence: oldest[1].sequence, ..of(&parent()) };
    assert_eq!(events(&plane.member(), after).await?, oldest[2..]);
    let typing_mistake = v1::ListEventsRequest { types: vec!["executor.conected".to_owned()], ..of(&parent()) };
    let status = plane.member().events().list_events(typing_mistake).await.expect_err("refused");
    assert_eq!(fields(&status), ["types"]);
    plane.stop().await
}

#[tokio::test]
async fn no_event_is_dropped_between_list_and_watch() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let listed = events(&plane.member(), of(&parent())).await?;
    let after_sequence = listed.last().expect("some").sequence;
    let label = async |n: usize| {
        let labels = [("n".to_owned(), n.to_string())].into();
        let row = v1::Executor { name: one.name().to_owned(), labels, ..v1::Executor::default() };
        plane
            .admin()
            .executors()
            .update_executor(v1::UpdateExecutorRequest { executor: Some(row), update_mask: None })
            .await
    };
    // Between the list and the watch, and while it runs: more than one slice.
    for n in 0..60 {
        label(n).await?;
    }
    let watch = v1::WatchEventsRequest { parent: parent(), after_sequence, types: vec!["executor.updated".to_owned()] };
    let mut said = plane.member().events().watch_events(watch).await?.into_inner();
    for n in 60..120 {
        label(n).await?;
    }
    for n in 0..120 {
        let event = tokio::time::timeout(Duration::from_secs(20), said.message()).await??;
        let event = event.and_then(|said| said.event).expect("an event");
        assert_eq!(event.details.get("labels"), Some(&format!("n={n}")));
    }
    assert_eq!(executor(&plane.member(), one.name()).await?.labels.get("n").map(String::as_str), Some("119"));
    plane.stop().await
}

#[tokio::test]
async fn a_watch_goes_on_behind_a_list_also_one_of_nothing() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let one = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let list = async |list| plane.member().events().list_events(list).await.map(|page| page.into_inner());
    let types = vec!["executor.deleted".to_owned()];
    let nothing = list(v1::ListEventsRequest { types: types.clone(), ..of(&parent()) }).await?;
    assert!(nothing.events.is_empty() && nothing.watch_after_sequence > 0, "{nothing:?}");
    let deletion = v1::DeleteExecutorRequest { name: one.name().to_owned() };
    plane.admin().executors().delete_executor(deletion).await?;
    let after_sequence = nothing.watch_after_sequence;
    let watch = v1::WatchEventsRequest { parent: parent(), after_sequence, types };
    let mut said = plane.member().events().watch_events(watch).await?.into_inner();
    let event = tokio::time::timeout(Duration::from_secs(20), said.message()).await??;
    assert_eq!(event.and_then(|said| said.event).expect("an event").target, one.name());

    // Of many pages, only the one that reaches the newest says it.
    let newest = events(&plane.member(), of(&parent())).await?.last().expect("some").sequence;
    for newest_first in [false, true] {
        let page = list(v1::ListEventsRequest { newest_first, page_size: 1, ..of(&parent()) }).await?;
        assert_eq!(page.watch_after_sequence, if newest_first { newest } else { 0 });
        let next =
            v1::ListEventsRequest { page_token: page.next_page_token, newest_first, page_size: 1, ..of(&parent()) };
        assert_eq!(list(next).await?.watch_after_sequence, 0);
    }
    plane.stop().await
}

#[tokio::test]
async fn a_feed_is_its_organizations_own() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let other = plane.another_organization("globex").await?;
    FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    refused(other.events().list_events(of(&parent())).await, Code::PermissionDenied, "ROLE_REQUIRED");
    refused(other.events().list_events(of("")).await, Code::PermissionDenied, "ROLE_REQUIRED");
    let own = events(&other, of("organizations/globex")).await?;
    assert!(own.iter().all(|row| row.organization == "organizations/globex"));
    plane.stop().await
}

#[tokio::test]
async fn a_connection_that_breaks_off_is_a_disconnect_and_no_nonsense() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let executor = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let name = executor.name().to_owned();
    let killed = tokio::task::spawn_blocking(move || {
        let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let stream = process.block_on(executor.connect())?;
        // Its sockets close as those of a killed process do: without a last word of HTTP/2 or TLS.
        process.shutdown_background();
        drop(stream);
        anyhow::Ok(())
    });
    killed.await??;
    let types = vec!["executor.disconnected".to_owned()];
    let watch = v1::WatchEventsRequest { parent: parent(), after_sequence: 1, types };
    let mut events = plane.member().events().watch_events(watch).await?.into_inner();
    let event = loop {
        let said = events.message().await?.and_then(|said| said.event);
        match said {
            Some(event) if event.target == name => break event,
            Some(_) => {}
            None => anyhow::bail!("the feed ended"),
        }
    };
    assert_eq!(event.details.get("reason").map(String::as_str), Some("disconnected"), "{event:?}");
    plane.stop().await
}
