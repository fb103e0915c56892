//! Who did it, by name: what people and programs are called in attempts, in the feed and on pages, and whom that is told.

use anyhow::{Context as _, Result};
use harness::catalog::Draft;
use harness::client::Client;
use harness::control_plane::ControlPlane;
use harness::fake_executor::FakeExecutor;
use proto::v1;
use proto::v1::Role;

use crate::support::{ask, attempt, parent, request};
use crate::visitor::Visitor;

/// Somebody whose name is none of HTML's business.
const KIM: &str = "Kim <b>& Co</b>";

async fn token(by: &Client, parent: String, role: Role, name: &str) -> Result<(String, String)> {
    let display_name = name.to_owned();
    let request =
        v1::CreateTokenRequest { parent, role: role.into(), display_name, ..v1::CreateTokenRequest::default() };
    let made = by.organizations().create_token(request).await?.into_inner();
    Ok((made.token.context("a token")?.name, made.secret))
}

async fn events(by: &Client, parent: &str, kind: &str) -> Result<Vec<v1::Event>> {
    let request = v1::ListEventsRequest {
        parent: parent.to_owned(),
        types: vec![kind.to_owned()],
        ..v1::ListEventsRequest::default()
    };
    Ok(by.events().list_events(request).await?.into_inner().events)
}

#[tokio::test]
async fn who_asked_is_called_by_name_and_a_revoked_token_keeps_its() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (web, _stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let (kim, secret) = token(&plane.owner(), parent(), Role::Admin, KIM).await?;
    let asked = request(&plane.client(&secret), ask(web.name(), "1.1.0")).await?;
    assert_eq!(asked.requested_by_display_name, KIM, "in the answer to whoever asks");
    plane.owner().organizations().revoke_token(v1::RevokeTokenRequest { name: kim.clone() }).await?;

    let member = plane.member();
    let got = attempt(&member, &asked.name).await?;
    assert_eq!((got.requested_by.as_str(), got.requested_by_display_name.as_str()), (kim.as_str(), KIM));
    let list = v1::ListAttemptsRequest { parent: web.name().to_owned(), page_size: 1, ..Default::default() };
    let listed = member.upgrades().list_attempts(list).await?.into_inner().attempts;
    assert_eq!(listed.first().map(|row| row.requested_by_display_name.as_str()), Some(KIM));
    let explain = v1::ExplainUpgradeRequest { name: web.name().to_owned() };
    let explained = member.upgrades().explain_upgrade(explain).await?.into_inner().attempt;
    assert_eq!(explained.map(|row| row.requested_by_display_name).as_deref(), Some(KIM));
    for (kind, called) in [("attempt.requested", KIM), ("executor.connected", "web-1"), ("token.revoked", "bootstrap")]
    {
        let rows = events(&member, &parent(), kind).await?;
        assert_eq!(rows.last().map(|row| row.actor_display_name.as_str()), Some(called), "{kind}");
    }

    let visitor = Visitor::sign_in(&plane, Role::Member).await?;
    let shown = "Kim &#60;b&#62;&#38; Co&#60;/b&#62;";
    for page in [format!("/{}", web.name()), format!("/{}", asked.name), format!("/{}/attempts", web.name())] {
        visitor.get(&page).await?.says(200, shown);
    }
    let feed = visitor.get("/organizations/acme/events").await?;
    feed.says(200, shown);
    feed.says(200, "executor web-1");
    feed.says(200, "token of Kim");
    plane.stop().await
}

#[tokio::test]
async fn answers_to_batches_and_cancellations_say_who_asked() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new("1.1.0", 1)).await?;
    let (web, _stream) = FakeExecutor::online(&plane, "web-1", "1.0.0").await?;
    let (_, secret) = token(&plane.owner(), parent(), Role::Admin, KIM).await?;
    let missing = ask(&format!("{}/executors/nobody", parent()), "1.1.0");
    let batch = v1::BatchRequestUpgradeRequest { parent: parent(), requests: vec![missing, ask(web.name(), "1.1.0")] };
    let results = plane.client(&secret).upgrades().batch_request_upgrade(batch).await?.into_inner().results;
    let Some(v1::batch_request_upgrade_response::result::Result::Attempt(asked)) = &results[1].result else {
        anyhow::bail!("{results:?}");
    };
    assert_eq!(asked.requested_by_display_name, KIM);
    // By somebody else: it is still who asked.
    let cancel = v1::CancelUpgradeRequest { name: asked.name.clone(), ..v1::CancelUpgradeRequest::default() };
    let cancelled = plane.owner().upgrades().cancel_upgrade(cancel).await?.into_inner();
    assert_eq!(cancelled.requested_by_display_name, KIM);
    let repeated =
        plane.client(&secret).upgrades().get_attempt(v1::GetAttemptRequest { name: asked.name.clone() }).await?;
    assert_eq!(repeated.into_inner(), cancelled, "one truth");
    plane.stop().await
}

#[tokio::test]
async fn an_organization_is_not_told_what_tokens_of_others_are_called() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let (_, secret) = token(&plane.installation_admin(), String::new(), Role::InstallationAdmin, "the vault").await?;
    let vault = plane.client(&secret);
    token(&vault, parent(), Role::Member, "Ada").await?;
    token(&vault, String::new(), Role::Publisher, "the pipeline").await?;
    let rows = events(&plane.owner(), &parent(), "token.created").await?;
    let row = rows.last().context("a row")?;
    assert_eq!((row.details["display_name"].as_str(), row.actor_display_name.as_str()), ("Ada", ""));
    let visitor = Visitor::sign_in(&plane, Role::Owner).await?;
    let page = visitor.get("/organizations/acme/events").await?;
    assert!(page.text.contains("token of Ada") && !page.text.contains("the vault"), "{}", page.text);
    // Who may list the installation's tokens reads their names in the installation's feed.
    let rows = events(&plane.installation_admin(), "", "token.created").await?;
    assert!(rows.iter().any(|row| row.actor_display_name == "the vault"), "{rows:?}");
    plane.stop().await
}
