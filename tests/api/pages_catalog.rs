//! Pages of releases, events and access, over HTTPS and without a browser: what their forms do, whom they refuse, and where
//! secrets are seen.

use anyhow::{Context as _, Result};
use domain::manifest::Subject;
use domain::{Channel, Manifest};
use harness::client::Client;
use harness::control_plane::ControlPlane;
use harness::signing::{manifest, sha256};
use proto::v1;
use proto::v1::Role;
use proto::v1::release::Status;

use crate::support::parent;
use crate::visitor::{Part, Visitor};

const VERSION: &str = "1.2.0";

fn signature(plane: &ControlPlane, bytes: &[u8]) -> Result<String> {
    plane.signer().sign_manifest(bytes, &manifest(VERSION, Channel::Stable, 1, "0.0.1", bytes))
}

async fn release(client: &Client) -> Result<v1::Release> {
    let request = v1::GetReleaseRequest { name: format!("releases/agent-{VERSION}") };
    Ok(client.releases().get_release(request).await?.into_inner())
}

async fn draft(visitor: &Visitor) -> Result<()> {
    let fields = [("kind", "agent"), ("version", VERSION), ("channel", "stable"), ("release_notes", "- **fast**\r\n")];
    visitor.post("/releases/new", "/releases", &fields).await?.leads_to("/releases/agent-1.2.0");
    Ok(())
}

#[tokio::test]
async fn a_publisher_makes_uploads_publishes_and_yanks_by_forms_alone() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let publisher = Visitor::sign_in(&plane, Role::Publisher).await?;
    let again = [("kind", "agent"), ("version", "1.2.0-rc.1"), ("channel", "stable"), ("release_notes", "kept")];
    publisher.post("/releases/new", "/releases", &again).await?.says(400, "is a pre-release, and stable takes none");
    publisher.post("/releases/new", "/releases", &again).await?.says(400, "\nkept</textarea>");
    draft(&publisher).await?;

    // Several messages of the API, and the last one short.
    let bytes: Vec<u8> = (0..3_500_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let signature = signature(&plane, &bytes)?;
    let upload = "/releases/agent-1.2.0/upload";
    let token = publisher.forgery_token(upload).await?;
    let parts = [
        Part::Text("forgery_token", &token),
        Part::File("signature", signature.as_bytes()),
        Part::Text("external_url", ""),
        Part::File("file", &bytes),
    ];
    publisher.post_parts(upload, &parts).await?.leads_to("/releases/agent-1.2.0");
    let page = publisher.get("/releases/agent-1.2.0").await?;
    page.says(200, &plane.signer().key_id());
    page.says(200, "<strong>fast</strong>");

    let publish = "/releases/agent-1.2.0/publish";
    publisher.get(publish).await?.says(200, "Publish 1.2.0");
    assert_eq!(release(&plane.publisher()).await?.status(), Status::Draft, "looking writes nothing");
    publisher.post(publish, publish, &[]).await?.leads_to("/releases/agent-1.2.0");
    assert_eq!(release(&plane.publisher()).await?.status(), Status::Published);

    let yank = "/releases/agent-1.2.0/yank";
    publisher.post(yank, yank, &[("reason", " ")]).await?.says(400, "reason: is required");
    publisher.post(yank, yank, &[("reason", "it eats disks")]).await?.leads_to("/releases/agent-1.2.0");
    publisher.get("/releases/agent-1.2.0").await?.says(200, "it eats disks");
    assert_eq!(release(&plane.publisher()).await?.status(), Status::Yanked);
    plane.stop().await
}

#[tokio::test]
async fn a_release_of_an_image_is_made_by_forms_alone() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let publisher = Visitor::sign_in(&plane, Role::Publisher).await?;
    let operator = [("kind", "operator"), ("version", VERSION), ("channel", "stable"), ("release_notes", "")];
    let page = "/releases/operator-1.2.0";
    publisher.post("/releases/new", "/releases", &operator).await?.leads_to(page);
    let upload = format!("{page}/upload");
    publisher.get(&upload).await?.says(200, "the image itself stays in its registry");

    let index = b"an index".as_slice();
    let token = publisher.forgery_token(&upload).await?;
    let of_a_binary = signature(&plane, index)?;
    let parts = [Part::Text("forgery_token", &token), Part::File("signature", of_a_binary.as_bytes())];
    publisher.post_parts(&upload, &parts).await?.says(409, "KIND_MISMATCH");
    let (image, digest) = ("registry.example/novacula/operator".to_owned(), sha256(index));
    let subject = Subject::Operator { image: image.clone(), digest };
    let signed = Manifest { subject, ..manifest(VERSION, Channel::Stable, 1, "0.0.1", index) };
    let signature = plane.signer().sign_manifest(index, &signed)?;
    let parts = [Part::Text("forgery_token", &token), Part::File("signature", signature.as_bytes())];
    publisher.post_parts(&upload, &parts).await?.leads_to(page);
    for said in [image, digest.to_string(), plane.signer().key_id()] {
        publisher.get(page).await?.says(200, &said);
    }
    let publish = format!("{page}/publish");
    publisher.post(&publish, &publish, &[]).await?.leads_to(page);
    publisher.get(page).await?.says(200, "ublished");
    plane.stop().await
}

#[tokio::test]
async fn an_upload_is_what_was_signed_or_it_is_refused_where_it_was_sent() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let publisher = Visitor::sign_in(&plane, Role::Publisher).await?;
    draft(&publisher).await?;
    let bytes = b"what was signed".as_slice();
    let signature = signature(&plane, bytes)?;
    let signature = Part::File("signature", signature.as_bytes());
    let upload = "/releases/agent-1.2.0/upload";
    let word = publisher.forgery_token(upload).await?;
    let token = || Part::Text("forgery_token", &word);

    let other = Part::File("file", b"what was swapd!".as_slice());
    publisher.post_parts(upload, &[token(), signature, other]).await?.says(409, "DIGEST_MISMATCH");
    let none = publisher.post_parts(upload, &[token(), Part::File("file", bytes)]).await?;
    none.says(400, "choose the signature file");
    let long = "x".repeat(8 * 1024);
    let cat = Part::File("signature", b"a picture of a cat");
    publisher.post_parts(upload, &[token(), cat]).await?.says(409, "SIGNATURE_INVALID");
    let novel = Part::File("signature", long.as_bytes());
    publisher.post_parts(upload, &[token(), novel]).await?.says(400, "signature: is longer than 4096 bytes");
    publisher.post_parts(upload, &[token(), Part::Text("surprise", "")]).await?.says(400, "surprise");

    let forged = [Part::Text("forgery_token", "0".repeat(64).leak()), Part::File("file", bytes)];
    publisher.post_parts(upload, &forged).await?.says(403, "did not come from a page of this session");
    publisher.post_parts(upload, &[Part::File("file", bytes), token()]).await?.says(403, "did not come from a page");
    assert!(release(&plane.publisher()).await?.artifacts.is_empty());
    plane.stop().await
}

#[tokio::test]
async fn a_secret_is_in_the_answer_that_made_it_and_nowhere_else() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let owner = Visitor::sign_in(&plane, Role::Owner).await?;
    let access = "/organizations/acme/access";
    let fields = [("executor", "web-1"), ("max_uses", "1"), ("ttl", "3600")];
    let made = owner.post("/organizations/acme/joinTokens/new", "/organizations/acme/joinTokens", &fields).await?;
    let join = word(&made.text, "nvj1_").context("no join token")?;
    made.says(200, "novacula-agent enroll --join-token-file join-token");
    assert_eq!(made.cache_control, "no-store");

    let fields = [("role", "member"), ("display_name", "Ada"), ("ttl", "86400")];
    let made = owner.post("/organizations/acme/tokens/new", "/organizations/acme/tokens", &fields).await?;
    let token = word(&made.text, "nvt_").context("no token")?;
    assert_eq!(made.cache_control, "no-store");
    let who = plane.client(&token).organizations().who_am_i(v1::WhoAmIRequest {}).await?.into_inner();
    assert_eq!(who.token.map(|token| token.role()), Some(Role::Member));

    for path in [
        access.to_owned(),
        "/organizations/acme/events".to_owned(),
        "/organizations/acme/events/export?format=ndjson".to_owned(),
        "/organizations/acme/joinTokens/new".to_owned(),
    ] {
        let page = owner.get(&path).await?;
        page.says(200, "");
        assert!(!page.text.contains(&join) && !page.text.contains(&token), "{path}");
    }
    owner.get(access).await?.says(200, "Ada");
    plane.stop().await
}

#[tokio::test]
async fn what_was_revoked_by_a_form_lets_nobody_in() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let owner = Visitor::sign_in(&plane, Role::Owner).await?;
    let request =
        v1::CreateTokenRequest { parent: parent(), role: Role::Member.into(), ..v1::CreateTokenRequest::default() };
    let made = plane.owner().organizations().create_token(request).await?.into_inner();
    let path = format!("/{}/revoke", made.token.context("no token")?.name);
    owner.post(&path, &path, &[]).await?.leads_to("/organizations/acme/access");
    let refused = plane.client(&made.secret).organizations().who_am_i(v1::WhoAmIRequest {}).await;
    assert_eq!(refused.map(|_| ()).map_err(|status| status.code()), Err(tonic::Code::Unauthenticated));

    let request = v1::CreateJoinTokenRequest { parent: parent(), ..v1::CreateJoinTokenRequest::default() };
    let made = plane.owner().organizations().create_join_token(request).await?.into_inner();
    let path = format!("/{}/revoke", made.join_token.context("no join token")?.name);
    owner.post(&path, &path, &[]).await?.leads_to("/organizations/acme/access");
    owner.get("/organizations/acme/access").await?.says(200, "revoked");
    plane.stop().await
}

#[tokio::test]
async fn whom_a_page_is_not_for_is_offered_nothing_and_refused() -> Result<()> {
    let plane = ControlPlane::start().await?;
    plane.release(&harness::catalog::Draft::new(VERSION, 1)).await?;
    let member = Visitor::sign_in(&plane, Role::Member).await?;
    let page = member.get("/releases/agent-1.2.0").await?;
    for offer in ["/yank", "/signatures", "/organizations/acme/access"] {
        assert!(!page.text.contains(offer), "{offer}");
    }
    for path in [
        "/organizations/acme/access",
        "/organizations/acme/joinTokens/new",
        "/organizations/acme/tokens/new",
        "/organizations/globex/events",
        "/access",
        "/events",
        "/tokens/new",
        "/organizations/new",
        "/releases/new",
        "/releases/agent-1.2.0/upload",
        "/releases/agent-1.2.0/yank",
        "/organizations/acme/tokens/t1/revoke",
    ] {
        assert_eq!(member.get(path).await?.code, 403, "{path}");
    }
    for (path, fields) in [
        ("/organizations/acme/joinTokens", &[("ttl", "3600")][..]),
        ("/organizations/acme/tokens", &[("role", "owner")]),
        ("/organizations", &[("id", "evil")]),
        ("/releases", &[("kind", "agent"), ("version", "9.9.9")]),
        ("/releases/agent-1.2.0/yank", &[("reason", "I can")]),
        ("/releases/agent-1.2.0/publish", &[]),
    ] {
        assert_eq!(member.post("/releases", path, fields).await?.code, 403, "{path}");
    }
    assert_eq!(release(&plane.member()).await?.status(), Status::Published);
    let request = v1::ListEventsRequest {
        parent: parent(),
        types: vec!["access.denied".to_owned()],
        ..v1::ListEventsRequest::default()
    };
    let denied = plane.owner().events().list_events(request).await?.into_inner().events;
    let forms = denied.iter().filter(|event| !event.target.ends_with("/ListEvents")).count();
    assert_eq!(forms, 6, "each form is in the audit log: {denied:?}");

    let publisher = Visitor::sign_in(&plane, Role::Publisher).await?;
    let page = publisher.get("/releases").await?;
    assert!(!page.text.contains("/events\"") && !page.text.contains("/access\""), "{}", page.text);
    plane.stop().await
}

#[tokio::test]
async fn an_admin_of_the_installation_makes_an_organization_and_its_owner() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let admin = Visitor::sign_in(&plane, Role::InstallationAdmin).await?;
    let fields = [("id", "globex"), ("display_name", "Globex")];
    let made = admin.post("/organizations/new", "/organizations", &fields).await?;
    made.leads_to("/organizations/globex/tokens/new");
    let fields = [("role", "owner"), ("ttl", "86400")];
    let made = admin.post("/organizations/globex/tokens/new", "/organizations/globex/tokens", &fields).await?;
    let token = word(&made.text, "nvt_").context("no token")?;
    let who = plane.client(&token).organizations().who_am_i(v1::WhoAmIRequest {}).await?.into_inner();
    assert_eq!(who.organization, "organizations/globex");
    admin.get("/access").await?.says(200, "/organizations/globex/access");
    admin.get("/events").await?.says(200, "organization.created");
    plane.stop().await
}

#[tokio::test]
async fn an_export_is_whole_and_no_formula() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let attack = "=cmd|' /C calc'!A0";
    // More than a page of the API's. Three callers, since each may write so much at once and no more.
    let write = async |client: Client| -> Result<()> {
        for _ in 0..350 {
            let request = v1::CreateJoinTokenRequest { parent: parent(), ..v1::CreateJoinTokenRequest::default() };
            client.organizations().create_join_token(request).await?;
        }
        Ok(())
    };
    let request = v1::CreateTokenRequest {
        parent: parent(),
        role: Role::Owner.into(),
        display_name: attack.to_owned(),
        ..v1::CreateTokenRequest::default()
    };
    let third = plane.owner().organizations().create_token(request).await?.into_inner().secret;
    tokio::try_join!(write(plane.owner()), write(plane.installation_admin()), write(plane.client(&third)))?;

    let owner = Visitor::sign_in(&plane, Role::Owner).await?;
    let file = owner.get("/organizations/acme/events/export?format=ndjson&type=join_token.*").await?;
    assert_eq!((file.code, file.text.lines().count()), (200, 1050));
    let read = |line: &str| serde_json::from_str::<serde_json::Value>(line).ok()?["sequence"].as_u64();
    let sequences: Vec<u64> = file.text.lines().filter_map(read).collect();
    assert!(sequences.len() == 1050 && sequences.is_sorted_by(|one, next| one > next));

    let file = owner.get("/organizations/acme/events/export?format=csv&type=token.created").await?;
    file.says(200, "sequence,time,type,actor,target,organization,details,actor_display_name\r\n");
    assert!(file.text.contains("=cmd|"), "{}", file.text);
    for formula in ["=", "+", "-", "@"] {
        assert!(!file.text.contains(&format!(",\"{formula}")), "{}", file.text);
    }
    owner.get("/organizations/acme/events/export?format=xls").await?.says(400, "csv or ndjson");
    owner.get("/organizations/acme/events?type=colour.red").await?.says(400, "is no type of event");
    plane.stop().await
}

#[tokio::test]
async fn what_counts_is_not_pushed_off_the_page_by_what_is_over() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let owner = plane.owner();
    let make = async || {
        let request = v1::CreateJoinTokenRequest { parent: parent(), ..v1::CreateJoinTokenRequest::default() };
        anyhow::Ok(owner.organizations().create_join_token(request).await?.into_inner().join_token.context("one")?.name)
    };
    let first = make().await?;
    for _ in 0..101 {
        let name = make().await?;
        owner.organizations().revoke_join_token(v1::RevokeJoinTokenRequest { name }).await?;
    }
    let page = Visitor::sign_in(&plane, Role::Owner).await?.get("/organizations/acme/access").await?;
    page.says(200, &format!("/{first}/revoke"));
    page.says(200, "101 used up, ended or revoked, the newest 50 of them here");
    assert_eq!(page.text.matches(">revoked<").count(), 50);
    plane.stop().await
}

#[tokio::test]
async fn what_people_write_is_shown_and_does_nothing() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let attack = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>";
    let publisher = Visitor::sign_in(&plane, Role::Publisher).await?;
    let notes = format!("# {attack}\r\n[x](javascript:alert(1))");
    let fields = [("kind", "agent"), ("version", VERSION), ("channel", "stable"), ("release_notes", &notes)];
    let preview = [&fields[..], &[("action", "preview")]].concat();
    let previewed = publisher.post("/releases/new", "/releases", &preview).await?;
    previewed.says(200, "Preview");
    publisher.post("/releases/new", "/releases", &fields).await?.leads_to("/releases/agent-1.2.0");
    let owner = Visitor::sign_in(&plane, Role::Owner).await?;
    let fields = [("role", "member"), ("display_name", attack), ("ttl", "86400")];
    let made = owner.post("/organizations/acme/tokens/new", "/organizations/acme/tokens", &fields).await?;
    let wrong = [("role", attack), ("display_name", attack), ("ttl", attack)];
    let refused = owner.post("/organizations/acme/tokens/new", "/organizations/acme/tokens", &wrong).await?;
    refused.says(400, "&#60;script&#62;");
    let found = format!("/organizations/acme/events?target={}", "%3Cscript%3Ealert%281%29%22%3E%3Cimg");
    for page in [
        previewed,
        made,
        refused,
        publisher.get("/releases/agent-1.2.0").await?,
        owner.get("/organizations/acme/access").await?,
        owner.get("/organizations/acme/events").await?,
        owner.get(&found).await?,
    ] {
        for way in ["<script>", "<img", "href=\"javascript"] {
            assert!(!page.text.contains(way), "{way} in {}", page.text);
        }
    }
    plane.stop().await
}

#[tokio::test]
async fn a_new_event_comes_by_itself() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let member = Visitor::sign_in(&plane, Role::Member).await?;
    let mut live = member.open("/organizations/acme/events/live?type=join_token.*&target=").await?;
    let mut heard = String::new();
    let mut until = async |wanted: &str| -> Result<()> {
        while !heard.contains(wanted) {
            heard.push_str(&String::from_utf8_lossy(&live.chunk().await?.context("the stream ended")?));
        }
        Ok(())
    };
    let limit = std::time::Duration::from_secs(20);
    tokio::time::timeout(limit, until("No event matches")).await??;
    plane.join_word("web-1").await?;
    tokio::time::timeout(limit, until("join_token.created")).await??;
    plane.stop().await
}

/// The first word of a page that begins so.
fn word(text: &str, beginning: &str) -> Option<String> {
    let at = text.find(beginning)?;
    let rest = &text[at..];
    let end = rest.find(|c: char| c == '<' || c == '&' || c.is_whitespace())?;
    Some(rest[..end].to_owned())
}
