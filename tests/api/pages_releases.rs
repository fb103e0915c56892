//! The catalog's filters, and who depends on a release, as the API and its pages have them.

use anyhow::{Context as _, Result};
use domain::Channel;
use harness::catalog::Draft;
use harness::client::Client;
use harness::control_plane::ControlPlane;
use harness::fake_executor::FakeExecutor;
use proto::v1;
use proto::v1::Role;
use proto::v1::release::Status;
use tonic::Code;

use crate::support::{ask, cancel, parent, request};
use crate::visitor::Visitor;

/// One more than a release's page names at a time.
const ASKED: usize = 21;

async fn listed(by: &Client, filter: v1::ListReleasesRequest) -> Result<Vec<String>, tonic::Status> {
    let (mut versions, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListReleasesRequest { page_size: 1, page_token, ..filter.clone() };
        let page = by.releases().list_releases(request).await?.into_inner();
        versions.extend(page.releases.into_iter().map(|release| release.version));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(versions);
        }
    }
}

#[tokio::test]
async fn the_catalog_is_filtered_by_channel_and_status_across_pages() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for draft in [
        Draft::new("1.0.0", 1),
        Draft::new("1.1.0", 2),
        Draft::new("1.2.0-beta.1", 3).on(Channel::Beta),
        Draft::new("1.2.0-beta.2", 4).on(Channel::Beta),
    ] {
        plane.release(&draft).await?;
    }
    plane.yank("releases/agent-1.1.0").await?;
    plane.draft(&Draft::new("1.2.0", 5)).await?;

    let (beta, stable) = (v1::Channel::Beta, v1::Channel::Stable);
    for (channel, status, found) in [
        (beta, Status::Unspecified, vec!["1.2.0-beta.2", "1.2.0-beta.1"]),
        (stable, Status::Published, vec!["1.0.0"]),
        (v1::Channel::Unspecified, Status::Yanked, vec!["1.1.0"]),
        (stable, Status::Draft, vec!["1.2.0"]),
        (v1::Channel::Dev, Status::Unspecified, vec![]),
    ] {
        let (channel, status) = (channel.into(), status.into());
        let filter = v1::ListReleasesRequest { channel, status, ..v1::ListReleasesRequest::default() };
        assert_eq!(listed(&plane.member(), filter.clone()).await?, found, "{filter:?}");
    }
    let unknown = v1::ListReleasesRequest { status: 77, ..v1::ListReleasesRequest::default() };
    let refused = listed(&plane.member(), unknown).await.expect_err("no such status");
    assert_eq!(refused.code(), Code::InvalidArgument);
    // A page of one filter is no page of another.
    let filter = v1::ListReleasesRequest { page_size: 1, channel: beta.into(), ..v1::ListReleasesRequest::default() };
    let page_token = plane.member().releases().list_releases(filter).await?.into_inner().next_page_token;
    let other = v1::ListReleasesRequest { page_token, ..v1::ListReleasesRequest::default() };
    let refused = plane.member().releases().list_releases(other).await.expect_err("of another filter");
    assert_eq!(refused.code(), Code::InvalidArgument);

    let visitor = Visitor::sign_in(&plane, Role::Member).await?;
    let page = visitor.get("/releases?status=yanked").await?;
    page.says(200, "/releases/agent-1.1.0\"");
    page.says(200, "/releases?status=yanked&#38;channel=beta");
    assert!(!page.text.contains("agent-1.0.0"), "{}", page.text);
    visitor.get("/releases?channel=dev").await?.says(200, "No release is like that.");
    plane.stop().await
}

#[tokio::test]
async fn every_open_attempt_to_a_release_is_found_page_by_page() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let mut attempts = Vec::new();
    for n in 0..ASKED {
        let (web, stream) = FakeExecutor::online(&plane, &format!("web-{n:02}"), "1.0.0").await?;
        attempts.push((request(&plane.admin(), ask(web.name(), "1.1.0")).await?.name, stream));
    }
    let all = format!("{}/executors/-", parent());
    let asked = |parent: &str, page_token| v1::ListAttemptsRequest {
        parent: parent.to_owned(),
        page_size: 20,
        page_token,
        open_to_release: "releases/agent-1.1.0".to_owned(),
    };
    let member = plane.member();
    let first = member.upgrades().list_attempts(asked(&all, String::new())).await?.into_inner();
    let second = member.upgrades().list_attempts(asked(&all, first.next_page_token.clone())).await?.into_inner();
    let rows = first.attempts.iter().chain(&second.attempts).map(|row| &row.name);
    assert!(rows.eq(attempts.iter().map(|(name, _)| name)), "oldest first: {first:?} {second:?}");
    let one = member.upgrades().list_attempts(asked(&format!("{}/executors/web-00", parent()), String::new())).await;
    assert_eq!(one.expect_err("of one executor").code(), Code::InvalidArgument);

    // Another organization's attempts are none of this one's.
    let other = plane.another_organization("other").await?;
    let theirs = other.upgrades().list_attempts(asked("organizations/other/executors/-", String::new())).await?;
    assert!(theirs.into_inner().attempts.is_empty());

    let visitor = Visitor::sign_in(&plane, Role::Member).await?;
    let page = visitor.get("/releases/agent-1.1.0").await?;
    page.says(200, ">web-19</a>");
    assert!(!page.text.contains(">web-20</a>"), "{}", page.text);
    let (_, rest) = page.text.split_once("?attempts=").context("no further page")?;
    let token = rest.split('#').next().unwrap_or_default();
    let further = visitor.get(&format!("/releases/agent-1.1.0?attempts={token}")).await?;
    further.says(200, ">web-20</a>");
    further.says(200, "The oldest");
    // What ended depends on nothing.
    let (last, _) = attempts.last().context("attempts")?;
    cancel(&plane.admin(), last).await?;
    let page = visitor.get("/releases/agent-1.1.0").await?;
    assert!(!page.text.contains("?attempts="), "{}", page.text);
    plane.stop().await
}
