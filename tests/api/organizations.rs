//! Organizations, tokens and join tokens.

use std::time::Duration;

use anyhow::Result;
use domain::JoinSecret;
use executor_sdk::credentials::CredentialStore;
use executor_sdk::enrol::enrol;
use harness::client::fields;
use harness::control_plane::ControlPlane;
use harness::fake_executor::FakeExecutor;
use proto::v1;
use tempfile::TempDir;
use tonic::Code;

use crate::support::{parent, refused};

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn new_token(parent: &str, role: v1::Role) -> v1::CreateTokenRequest {
    v1::CreateTokenRequest { parent: parent.to_owned(), role: role.into(), ..v1::CreateTokenRequest::default() }
}

#[tokio::test]
async fn an_organization_is_made_by_the_installation_and_seen_by_its_own() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let other = plane.another_organization("globex").await?;
    let names = async |client: harness::client::Client| -> Result<Vec<String>> {
        let listed =
            client.organizations().list_organizations(v1::ListOrganizationsRequest::default()).await?.into_inner();
        Ok(listed.organizations.into_iter().map(|organization| organization.name).collect())
    };
    assert_eq!(names(plane.installation_admin()).await?, ["organizations/acme", "organizations/globex"]);
    assert_eq!(names(other.clone()).await?, ["organizations/globex"]);
    assert_eq!(names(plane.member()).await?, ["organizations/acme"]);
    assert_eq!(names(plane.publisher()).await?, Vec::<String>::new());
    let get = v1::GetOrganizationRequest { name: parent() };
    refused(other.organizations().get_organization(get.clone()).await, Code::PermissionDenied, "ROLE_REQUIRED");
    plane.member().organizations().get_organization(get).await?;
    let again = v1::CreateOrganizationRequest { organization_id: "globex".to_owned(), display_name: String::new() };
    refused(
        plane.installation_admin().organizations().create_organization(again).await,
        Code::AlreadyExists,
        "ALREADY_EXISTS",
    );
    plane.stop().await
}

#[tokio::test]
async fn a_token_is_never_above_its_makers_own_role() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.another_organization("globex").await?;
    for role in [v1::Role::Owner, v1::Role::Admin, v1::Role::Member] {
        plane.owner().organizations().create_token(new_token(&parent(), role)).await?;
        let foreign = new_token("organizations/globex", role);
        refused(plane.owner().organizations().create_token(foreign).await, Code::PermissionDenied, "ROLE_REQUIRED");
        let by_admin = plane.admin().organizations().create_token(new_token(&parent(), role)).await;
        refused(by_admin, Code::PermissionDenied, "ROLE_REQUIRED");
    }
    for role in [v1::Role::Publisher, v1::Role::InstallationAdmin] {
        let by_owner = plane.owner().organizations().create_token(new_token("", role)).await;
        refused(by_owner, Code::PermissionDenied, "ROLE_REQUIRED");
        plane.installation_admin().organizations().create_token(new_token("", role)).await?;
        // A role in the wrong place is no role.
        let misplaced =
            plane.owner().organizations().create_token(new_token(&parent(), role)).await.expect_err("refused");
        assert_eq!(fields(&misplaced), ["role"]);
    }
    plane.stop().await
}

#[tokio::test]
async fn a_token_works_until_it_is_revoked_or_ends() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let whoami = async |secret: &str| plane.client(secret).organizations().who_am_i(v1::WhoAmIRequest {}).await;
    let request = v1::CreateTokenRequest {
        ttl: seconds(3_600),
        display_name: "ci".to_owned(),
        ..new_token(&parent(), v1::Role::Member)
    };
    let made = plane.owner().organizations().create_token(request.clone()).await?.into_inner();
    let said = whoami(&made.secret).await?.into_inner();
    assert_eq!((said.organization, said.server_version.as_str()), (parent(), "1.5.0"));
    assert_eq!(said.token.map(|token| token.display_name), Some("ci".to_owned()));
    let name = made.token.unwrap_or_default().name;
    let revoked =
        plane.owner().organizations().revoke_token(v1::RevokeTokenRequest { name: name.clone() }).await?.into_inner();
    refused(whoami(&made.secret).await, Code::Unauthenticated, "TOKEN_INVALID");
    let again = plane.owner().organizations().revoke_token(v1::RevokeTokenRequest { name }).await?.into_inner();
    assert_eq!(again.revoke_time, revoked.revoke_time, "the first revocation's time stays");

    let made = plane.owner().organizations().create_token(request).await?.into_inner();
    whoami(&made.secret).await?;
    plane.clock().advance(Duration::from_secs(3_601));
    refused(whoami(&made.secret).await, Code::Unauthenticated, "TOKEN_INVALID");
    plane.stop().await
}

#[tokio::test]
async fn lives_are_bounded() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for ttl in [0, 59, 366 * 86_400 + 1, -1] {
        let request = v1::CreateTokenRequest { ttl: seconds(ttl), ..new_token(&parent(), v1::Role::Member) };
        let status = plane.owner().organizations().create_token(request).await.expect_err("refused");
        assert_eq!(fields(&status), ["ttl"], "{ttl}");
    }
    plane.stop().await
}

#[tokio::test]
async fn tokens_are_listed_newest_first_without_secrets() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for name in ["one", "two"] {
        let request =
            v1::CreateTokenRequest { display_name: name.to_owned(), ..new_token(&parent(), v1::Role::Member) };
        plane.owner().organizations().create_token(request).await?;
        // Ids count milliseconds: two of one millisecond have no order.
        plane.clock().advance(Duration::from_millis(5));
    }
    let list = v1::ListTokensRequest { parent: parent(), page_size: 1, page_token: String::new() };
    let page = plane.owner().organizations().list_tokens(list.clone()).await?.into_inner();
    assert_eq!(page.tokens[0].display_name, "two");
    let next = v1::ListTokensRequest { page_token: page.next_page_token, ..list };
    assert_eq!(plane.owner().organizations().list_tokens(next).await?.into_inner().tokens[0].display_name, "one");
    plane.stop().await
}

#[tokio::test]
async fn a_token_of_another_organization_is_not_found_here() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let other = plane.another_organization("globex").await?;
    let own = other.organizations().who_am_i(v1::WhoAmIRequest {}).await?.into_inner().token.unwrap_or_default().name;
    let id = own.rsplit('/').next().unwrap_or_default().to_owned();
    let disguised = v1::RevokeTokenRequest { name: format!("{}/tokens/{id}", parent()) };
    refused(plane.owner().organizations().revoke_token(disguised).await, Code::NotFound, "NOT_FOUND");
    plane.stop().await
}

#[tokio::test]
async fn a_join_token_that_takes_over_is_single_use_short_and_names_whom() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let new = |executor: &str, ttl, max_uses| v1::CreateJoinTokenRequest {
        parent: parent(),
        executor_id: executor.to_owned(),
        replace: true,
        ttl: seconds(ttl),
        max_uses,
        request_id: String::new(),
    };
    for (bad, field) in
        [(new("", 600, 1), "executor_id"), (new("web-1", 600, 2), "max_uses"), (new("web-1", 3_601, 1), "ttl")]
    {
        let status = plane.owner().organizations().create_join_token(bad).await.expect_err(field);
        assert_eq!(fields(&status), [field]);
    }
    let old = FakeExecutor::enrol(&plane, "web-1", "1.0.0").await?;
    let taken = enrol_with(&plane.join_word("web-1").await?).await;
    assert!(taken.is_err(), "a name that is taken is refused to a newcomer");
    let word = plane.owner().organizations().create_join_token(new("web-1", 600, 1)).await?.into_inner().secret;
    let uid = enrol_with(&word).await?;
    assert_ne!(uid, old.uid());
    assert!(old.connect().await.is_err(), "the older certificate is ended");
    assert!(enrol_with(&word).await.is_err(), "once");
    plane.stop().await
}

#[tokio::test]
async fn a_join_token_ends_by_use_by_time_and_by_a_person() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let make = async |ttl, max_uses| -> Result<v1::CreateJoinTokenResponse> {
        let request = v1::CreateJoinTokenRequest {
            parent: parent(),
            ttl: seconds(ttl),
            max_uses,
            ..v1::CreateJoinTokenRequest::default()
        };
        Ok(plane.owner().organizations().create_join_token(request).await?.into_inner())
    };
    let twice = make(3_600, 2).await?;
    enrol_as(&twice.secret, "web-1").await?;
    enrol_as(&twice.secret, "web-2").await?;
    assert!(enrol_as(&twice.secret, "web-3").await.is_err());
    let list = v1::ListJoinTokensRequest { parent: parent(), ..v1::ListJoinTokensRequest::default() };
    let listed = plane.owner().organizations().list_join_tokens(list).await?.into_inner();
    assert_eq!(listed.join_tokens[0].uses, 2);

    let revoked = make(3_600, 1).await?;
    let name = revoked.join_token.unwrap_or_default().name;
    plane.owner().organizations().revoke_join_token(v1::RevokeJoinTokenRequest { name }).await?;
    assert!(enrol_as(&revoked.secret, "web-4").await.is_err());

    let short = make(60, 1).await?;
    plane.clock().advance(Duration::from_secs(61));
    assert!(enrol_as(&short.secret, "web-5").await.is_err());
    plane.stop().await
}

async fn enrol_with(word: &str) -> Result<String> {
    let folder = TempDir::new()?;
    let join: JoinSecret = word.parse()?;
    let credentials = enrol(&join, None, &CredentialStore::new(folder.path())).await?;
    Ok(credentials.uid.to_string())
}

async fn enrol_as(word: &str, id: &str) -> Result<String> {
    let folder = TempDir::new()?;
    let join: JoinSecret = word.parse()?;
    let credentials = enrol(&join, Some(&id.parse()?), &CredentialStore::new(folder.path())).await?;
    Ok(credentials.uid.to_string())
}
