//! Registries that lie, dawdle, or are none; and token services, which a test plays since a real one needs a name in the web.

use std::time::Duration;

use anyhow::ensure;
use base64::Engine as _;
use domain::Sha256;
use libtest_mimic::Trial;
use novacula_operator::registry::ErrorKind;
use serde_json::json;

use crate::process::USER;
use crate::scene::{Ask, Scene, settings, sha256};
use crate::web::{Answer, Web};
use crate::{Result, plain, trial};

/// What a case is willing to wait for who never answers.
const BRIEF: Duration = Duration::from_millis(300);

const DIGEST: Sha256 = Sha256::new([7; 32]);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("another_image_under_the_signed_digest_is_refused", digest),
        plain("who_never_answers_is_given_up", slow),
        plain("answers_that_no_registry_gives_are_named", garbage),
        plain("a_registry_that_is_busy_or_broken_is_asked_again", busy),
        plain("a_token_service_is_asked_as_the_registry_says", token),
        plain("credentials_go_to_nobody_without_tls_and_follow_no_redirect", leaks),
    ]
}

async fn digest() -> Result {
    let scene = Scene::new()?;
    let (signed, manifest) = scene.index(&["linux/amd64"]).await?;
    let (other, _) = scene.image("linux/arm64").await?;
    let ask = Ask::plain(&scene.open.host(), signed);
    ask.found().await?;
    // The image that the index points at, exchanged on the registry's disk.
    let kept = std::fs::read(scene.file_of(manifest))?;
    std::fs::copy(scene.file_of(other), scene.file_of(manifest))?;
    ask.fails(ErrorKind::DigestMismatch, &["gives another image", &other.to_string(), &manifest.to_string()]).await?;
    std::fs::write(scene.file_of(manifest), kept)?;
    ask.found().await?;
    // The index itself.
    std::fs::copy(scene.file_of(other), scene.file_of(signed))?;
    ask.fails(ErrorKind::DigestMismatch, &["gives another image", &signed.to_string()]).await
}

async fn slow() -> Result {
    let web = Web::start(|_| Answer::Silence).await?;
    let mut ask = Ask::plain(&web.host(), DIGEST);
    ask.settings = ask.settings.within(BRIEF);
    ask.fails(ErrorKind::Unreachable, &[&web.host(), "was not done within 0.3 s"]).await
}

async fn told(answer: Answer, kind: ErrorKind, says: &str) -> Result {
    let web = Web::start(move |_| answer.clone()).await?;
    Ask::plain(&web.host(), DIGEST).fails(kind, &[&web.host(), says]).await
}

async fn garbage() -> Result {
    let garbage = ErrorKind::Garbage;
    told(Answer::ok("<html>log in first</html>"), garbage, "it is no image manifest").await?;
    told(Answer::ok(""), garbage, "it is no image manifest").await?;
    told(Answer::ok(vec![b'['; 1 << 20]), garbage, "it is no image manifest").await?;
    told(Answer::Endless, garbage, "longer than 4194304 bytes").await?;
    told(Answer::header(418, "x: y"), garbage, "answers 418").await?;
    told(Answer::header(401, "WWW-Authenticate: Bearer realm=\"not a URL\""), garbage, "to no URL").await?;
    told(Answer::header(302, "Location: /v2/again"), garbage, "redirected too often").await?;
    told(Answer::Raw(b"220 mail.example ESMTP\r\n".to_vec()), ErrorKind::Unreachable, "cannot be reached").await?;
    told(Answer::Raw(Vec::new()), ErrorKind::Unreachable, "cannot be reached").await?;
    let bytes = br#"{"schemaVersion":2,"blobs":[]}"#;
    let web = Web::start(|_| Answer::ok(*br#"{"schemaVersion":2,"blobs":[]}"#)).await?;
    Ask::plain(&web.host(), sha256(bytes)).fails(ErrorKind::NotAnImage, &["neither an image index"]).await
}

async fn busy() -> Result {
    for status in [429, 500, 503] {
        told(Answer::header(status, "x: y"), ErrorKind::Unreachable, &format!("answers {status}")).await?;
    }
    Ok(())
}

/// A registry that believes one token, whose service gives it to [`USER`], or to everybody.
async fn guarded(open: bool) -> Result<(Web, Web, Sha256)> {
    let config = json!({ "os": "linux", "architecture": "amd64" }).to_string();
    let manifest = json!({
        "schemaVersion": 2, "layers": [],
        "config": { "digest": format!("sha256:{}", sha256(config.as_bytes())), "size": config.len() },
    });
    let manifest = manifest.to_string();
    let digest = sha256(manifest.as_bytes());
    let basic = base64::prelude::BASE64_STANDARD.encode(format!("{}:{}", USER.0, USER.1));
    let service = Web::start(move |asked| {
        let known = asked.authorization.as_deref() == Some(&format!("Basic {basic}"));
        if known || open { Answer::ok(r#"{"access_token":"let-me-in"}"#) } else { Answer::header(401, "x: y") }
    });
    let service = service.await?;
    let realm = format!("http://{}/token", service.host());
    let registry = Web::start(move |asked| match asked.authorization.as_deref() {
        Some("Bearer let-me-in") if asked.path.contains("/blobs/") => Answer::ok(config.as_bytes()),
        Some("Bearer let-me-in") => Answer::ok(manifest.as_bytes()),
        _ => Answer::header(401, format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"registry of tests\"")),
    });
    Ok((registry.await?, service, digest))
}

async fn token() -> Result {
    let (registry, service, digest) = guarded(true).await?;
    let both = settings(&[], &[&registry.host(), &service.host()]);
    Ask::plain(&registry.host(), digest).with(both).found().await?;
    let asked = service.asked();
    let scope = "/token?scope=repository%3Anovacula%2Foperator%3Apull&service=registry+of+tests";
    ensure!(asked.len() == 1 && asked[0].path == scope && asked[0].authorization.is_none(), "{asked:?}");

    let (registry, service, digest) = guarded(false).await?;
    let host = registry.host();
    let ask = Ask::plain(&host, digest).with(settings(&[], &[&host, &service.host()]));
    let hidden = ask.hidden().await?;
    ensure!(hidden.contains("its token service") && hidden.contains("answers 401"), "{hidden}");
    ask.clone().login(&host, ("x", "y")).fails(ErrorKind::Unauthorized, &["its token service"]).await?;
    ask.login(&host, USER).found().await.map(drop)
}

async fn leaks() -> Result {
    // A service without TLS that nobody allowed gets nothing at all.
    let (registry, service, digest) = guarded(false).await?;
    let host = registry.host();
    Ask::plain(&host, digest).login(&host, USER).fails(ErrorKind::Garbage, &["without TLS"]).await?;
    ensure!(service.asked().is_empty(), "{:?}", service.asked());

    // Whoever is redirected to hears no password.
    let thief = Web::start(|_| Answer::header(404, "x: y")).await?;
    let to = format!("Location: http://{}/take", thief.host());
    let registry = Web::start(move |asked| match asked.authorization {
        Some(_) => Answer::header(307, &to),
        None => Answer::header(401, "WWW-Authenticate: Basic realm=x"),
    });
    let registry = registry.await?;
    let host = registry.host();
    let ask = Ask::plain(&host, digest).login(&host, USER);
    ask.fails(ErrorKind::Garbage, &["redirected to plain HTTP"]).await?;
    ensure!(thief.asked().is_empty(), "{:?}", thief.asked());
    ask.with(settings(&[], &[&host, &thief.host()])).fails(ErrorKind::NotFound, &[]).await?;
    let asked = thief.asked();
    ensure!(asked.len() == 1 && asked[0].authorization.is_none(), "{asked:?}");
    Ok(())
}
