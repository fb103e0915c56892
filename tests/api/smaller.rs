//! What is compressed, for whom, and what never is.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use flate2::read::GzDecoder;
use harness::control_plane::ControlPlane;
use proto::v1::Role;
use reqwest::Response;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE};

use crate::visitor::Visitor;

const GZIP: (&str, &str) = ("accept-encoding", "br, gzip");
const OURS: (&str, &str) = ("sec-fetch-site", "same-origin");
const HAND: (&str, &str) = ("sec-fetch-site", "none");
const THEIRS: (&str, &str) = ("sec-fetch-site", "cross-site");

fn is_packed(answer: &Response) -> bool {
    answer.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding == "gzip")
}

/// The text, and how many bytes it took.
async fn unpacked(answer: Response) -> Result<(String, usize)> {
    ensure!(is_packed(&answer), "{:?}", answer.headers());
    let bytes = answer.bytes().await?;
    let mut text = String::new();
    GzDecoder::new(&bytes[..]).read_to_string(&mut text)?;
    Ok((text, bytes.len()))
}

#[tokio::test]
async fn pages_are_compressed_unless_another_site_led_to_them() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let owner = Visitor::sign_in(&plane, Role::Owner).await?;
    let path = "/organizations/acme/access";
    for from in [OURS, HAND] {
        let (text, bytes) = unpacked(owner.open_with(path, &[GZIP, from]).await?).await?;
        assert!(text.contains("Access to acme") && bytes * 2 < text.len(), "{bytes} of {}", text.len());
    }
    for plain in [&[GZIP, THEIRS][..], &[GZIP], &[OURS]] {
        assert!(!is_packed(&owner.open_with(path, plain).await?), "{plain:?}");
    }
    // What is live is sent as it comes.
    let live = owner.open_with("/organizations/acme/executors/-/live", &[GZIP, OURS]).await?;
    assert!(!is_packed(&live) && live.headers()[CONTENT_TYPE] == "text/event-stream");
    let export = owner.open_with("/organizations/acme/events/export?format=csv", &[GZIP, OURS]).await?;
    assert!(!is_packed(&export));
    plane.stop().await
}

#[tokio::test]
async fn no_two_pages_share_a_word_of_the_forgery_token_and_each_is_believed() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let owner = Visitor::sign_in(&plane, Role::Owner).await?;
    let page = "/organizations/acme/tokens/new";
    let (one, other) = (owner.forgery_token(page).await?, owner.forgery_token(page).await?);
    let pairs = one.as_bytes().chunks(8).zip(other.as_bytes().chunks(8));
    assert!(one.len() == other.len() && pairs.into_iter().all(|(one, other)| one != other), "{one} {other}");
    for token in [&one, &other, &one] {
        let sent = owner.post_with(token, "/organizations/acme/tokens", &[("ttl", "soon")]).await?;
        sent.says(400, "is not a whole number");
    }
    let swapped = format!("{}{}", &one[..64], &other[64..]);
    owner
        .post_with(&swapped, "/organizations/acme/tokens", &[("ttl", "soon")])
        .await?
        .says(403, "did not come from a page");
    plane.stop().await
}

#[tokio::test]
async fn what_holds_no_secret_is_compressed_for_everybody() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let owner = Visitor::sign_in(&plane, Role::Owner).await?;
    let door = owner.get("/signin").await?.text;
    let (_, rest) = door.split_once("/static/novacula-").context("a style")?;
    let style = format!("/static/novacula-{}", rest.split('"').next().unwrap_or_default());
    let packed = owner.open_with(&style, &[GZIP, THEIRS]).await?;
    assert_eq!(packed.headers()["vary"], "accept-encoding");
    let (text, bytes) = unpacked(packed).await?;
    let plain = owner.open_with(&style, &[]).await?;
    assert_eq!((plain.headers()["vary"].as_bytes(), is_packed(&plain)), (&b"accept-encoding"[..], false));
    assert!(plain.text().await? == text && bytes * 3 < text.len(), "{bytes} of {}", text.len());

    let (document, _) = unpacked(owner.open_with("/openapi.json", &[GZIP]).await?).await?;
    assert!(serde_json::from_str::<serde_json::Value>(&document)?.is_object());
    let client =
        reqwest::Client::builder().tls_backend_preconfigured(plane.tls().as_ref().clone()).no_proxy().build()?;
    let request = client
        .post(format!("https://{}/novacula.v1.EventService/ListEvents", plane.api_addr()))
        .bearer_auth(plane.secret(Role::Owner))
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT_ENCODING, "gzip")
        .body("{\"parent\":\"organizations/acme\"}");
    let (events, _) = unpacked(request.send().await?).await?;
    assert!(serde_json::from_str::<serde_json::Value>(&events)?["events"].is_array(), "{events}");
    plane.stop().await
}
