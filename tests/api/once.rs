//! What makes a secret, sent twice: one token, one secret, and a second answer that says so.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use harness::client::Client;
use harness::control_plane::ControlPlane;
use proto::v1;
use proto::v1::Role;
use tonic::Code;
use uuid::{NoContext, Uuid};

use crate::support::{parent, refused};
use crate::visitor::Visitor;

/// As a client that lives so many seconds away from now makes it.
fn request_id(away: i64) -> Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    Ok(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, now.saturating_add_signed(away), 0)).to_string())
}

async fn token(by: &Client, request_id: &str) -> Result<v1::CreateTokenResponse, tonic::Status> {
    let request = v1::CreateTokenRequest {
        parent: parent(),
        role: Role::Member.into(),
        request_id: request_id.to_owned(),
        ..v1::CreateTokenRequest::default()
    };
    Ok(by.organizations().create_token(request).await?.into_inner())
}

async fn names(by: &Client) -> Result<Vec<String>> {
    let request = v1::ListTokensRequest { parent: parent(), ..v1::ListTokensRequest::default() };
    let tokens = by.organizations().list_tokens(request).await?.into_inner().tokens;
    let request = v1::ListJoinTokensRequest { parent: parent(), ..v1::ListJoinTokensRequest::default() };
    let joins = by.organizations().list_join_tokens(request).await?.into_inner().join_tokens;
    Ok(tokens.into_iter().map(|token| token.name).chain(joins.into_iter().map(|token| token.name)).collect())
}

#[tokio::test]
async fn a_request_id_makes_one_token_and_no_second() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (owner, root) = (plane.owner(), plane.installation_admin());
    let id = request_id(0)?;
    let made = token(&owner, &id).await?.token.context("a token")?;
    let again = refused(token(&owner, &id).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    assert!(again.message().contains(&made.name), "{}", again.message());
    // Somebody else's request of the same id is another request, and so is one for something else.
    let other = token(&root, &id).await?.token.context("a token")?;
    assert_ne!(other.name, made.name);
    let join = v1::CreateJoinTokenRequest { parent: parent(), request_id: id, ..v1::CreateJoinTokenRequest::default() };
    let joined = owner.organizations().create_join_token(join.clone()).await?.into_inner();
    assert!(joined.join_token.is_some());
    let again = owner.organizations().create_join_token(join).await;
    refused(again, Code::AlreadyExists, "REQUEST_ID_REUSED");
    // Newest first, whoever made the id.
    let newest = token(&owner, &request_id(1)?).await?.token.context("a token")?.name;
    assert_eq!(names(&owner).await?.first(), Some(&newest));

    let before = names(&owner).await?;
    for wrong in ["x", &Uuid::new_v4().to_string(), &request_id(-90_000)?, &request_id(90_000)?] {
        refused(token(&owner, wrong).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }
    assert_eq!(names(&owner).await?, before);
    plane.stop().await
}

#[tokio::test]
async fn a_form_that_is_sent_again_makes_no_second_secret() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let owner = Visitor::sign_in(&plane, Role::Owner).await?;
    let one = [("role", "member"), ("display_name", "Ada"), ("ttl", "86400")];
    let many = [("executor", ""), ("max_uses", "5"), ("ttl", "3600")];
    for (noun, word, fields) in [("tokens", "nvt_", &one), ("joinTokens", "nvj1_", &many)] {
        let (form, path) = (format!("/organizations/acme/{noun}/new"), format!("/organizations/acme/{noun}"));
        let page = owner.get(&form).await?;
        let (_, id) = page.text.split_once("name=\"request_id\" value=\"").context("a request id")?;
        let id = id.split('"').next().unwrap_or_default();
        let fields = [&fields[..], &[("request_id", id)]].concat();
        // What is refused made nothing: the same form is sent again when it is right.
        let mistyped = [&[("ttl", "soon"), ("request_id", id)], &fields[..2]].concat();
        owner.post(&form, &path, &mistyped).await?.says(400, id);
        let before = names(&plane.owner()).await?.len();
        let made = owner.post(&form, &path, &fields).await?;
        made.says(200, word);
        for _ in 0..2 {
            let again = owner.post(&form, &path, &fields).await?;
            again.says(409, "It was shown once");
            again.says(409, "/revoke");
            assert!(!again.text.contains(word), "{}", again.text);
        }
        assert_eq!(names(&plane.owner()).await?.len(), before + 1, "{noun}");
        let other = owner.get(&form).await?;
        assert!(!other.text.contains(id), "each form has an id of its own");
    }
    plane.stop().await
}
