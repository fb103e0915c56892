//! Binaries by plain PUT: from where they were cut, checked as gRPC checks them, for publishers and their browsers.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use domain::manifest::Subject;
use domain::{Channel, Manifest, Sha256};
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;
use harness::signing::{FILE, PLATFORM, manifest, sha256};
use harness::wait;
use proto::v1;
use proto::v1::Role;
use reqwest::header::HeaderMap;
use reqwest::{Body, Method, StatusCode};
use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};
use tokio::sync::oneshot::{self, Sender};
use tokio::task::spawn_blocking;
use tokio_stream::StreamExt as _;

use crate::http::{Answer, Http, Version, pair};

/// Whether somebody writes a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Still,
    NoMore,
}

/// Where the bytes of a release go.
fn target(sha256: &Sha256, release: &str) -> String {
    format!("/upload/{sha256}?release={release}&platform={PLATFORM}&file={FILE}")
}

/// A draft of some size.
fn large(version: &str) -> Draft {
    let bytes = (0..200_000_u32).flat_map(|n| format!("{version} {n}\n").into_bytes()).collect();
    Draft { bytes, ..Draft::new(version, 1) }
}

/// A body that pauses behind `sent` until it is told to go on with the rest; none: the cable is cut there.
fn paused(sent: &[u8], rest: Option<&[u8]>) -> (Body, Sender<()>) {
    let (tell, told) = oneshot::channel::<()>();
    let rest = rest.map(<[u8]>::to_vec).ok_or_else(|| io::Error::other("the cable"));
    let mut told = Some((told, rest));
    let pieces = [Ok(sent.to_vec()), Err(())];
    let pieces = tokio_stream::iter(pieces).then(move |piece| {
        let last = if piece.is_err() { told.take() } else { None };
        async move {
            match (piece, last) {
                (_, Some((told, rest))) => {
                    // Dropped is told, too.
                    let _ = told.await;
                    rest
                }
                (piece, None) => Ok(piece.unwrap_or_default()),
            }
        }
    });
    (Body::wrap_stream(pieces), tell)
}

/// The part of an upload, on the server's disk.
fn part(plane: &ControlPlane, sha256: &Sha256) -> PathBuf {
    plane.data_dir().join(format!("artifacts/incoming/{sha256}.part"))
}

/// Waits until the part has so many bytes, and is written by somebody still or no more.
async fn arrived(plane: &ControlPlane, sha256: &Sha256, bytes: usize, written: Written) -> Result<()> {
    let part = part(plane, sha256);
    let look = move || {
        let Ok(file) = File::options().write(true).open(&part) else { return Ok((0, Written::NoMore)) };
        // Where a writer is expected its lock is not tried: the writer could find it taken.
        let free = written == Written::NoMore && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        Ok((file.metadata()?.len(), if free { Written::NoMore } else { Written::Still }))
    };
    let wanted = move |seen: &(u64, Written)| *seen == (bytes as u64, written);
    spawn_blocking(move || wait::until("the part", Duration::from_secs(30), look, wanted)).await??;
    Ok(())
}

async fn progress(http: &Http, sha256: &Sha256) -> Result<(StatusCode, u64, String)> {
    let answer = Answer::of(http.ask(Method::HEAD, &format!("/upload/{sha256}")).send().await?).await?;
    Ok((
        answer.code,
        answer.header("upload-offset").parse().unwrap_or(u64::MAX),
        answer.header("upload-complete").to_owned(),
    ))
}

async fn send(http: &Http, draft: &Draft, range: &str, bytes: &[u8]) -> Result<Answer> {
    let request = http.ask(Method::PUT, &target(&sha256(&draft.bytes), &draft.name())).header("content-range", range);
    Answer::of(request.body(bytes.to_vec()).send().await?).await
}

/// Signs and offers it, in JSON.
async fn offer(plane: &ControlPlane, http: &Http, draft: &Draft) -> Result<Answer> {
    let signed = plane.signer().sign_manifest(
        &draft.bytes,
        &manifest(&draft.version, draft.channel, draft.sequence, &draft.floor, &draft.bytes),
    )?;
    let sign = json!({ "name": draft.name(), "platform": PLATFORM, "minisignSignature": signed });
    let answer = http.call("ReleaseService/AddReleaseSignature", &sign).await?;
    assert_eq!(answer.code, StatusCode::OK, "{answer:?}");
    http.call("ReleaseService/PublishRelease", &json!({ "name": draft.name() })).await
}

#[tokio::test]
async fn a_release_is_made_sent_signed_and_published_without_grpc() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for (http, version) in pair(&plane, Role::Publisher).await?.iter().zip(["1.1.0", "1.2.0"]) {
        let draft = Draft { sequence: if version == "1.1.0" { 1 } else { 2 }, ..large(version) };
        let name = sha256(&draft.bytes);
        let made = json!({ "kind": "KIND_AGENT", "version": version });
        assert_eq!(http.call("ReleaseService/CreateRelease", &made).await?.code, StatusCode::OK);
        assert_eq!(progress(http, &name).await?, (StatusCode::OK, 0, "?0".to_owned()));
        let whole = http.ask(Method::PUT, &target(&name, &draft.name())).body(draft.bytes.clone());
        let answer = Answer::of(whole.send().await?).await?;
        assert_eq!((answer.code, answer.header("upload-complete")), (StatusCode::OK, "?1"), "{answer:?}");
        assert_eq!(answer.body["artifacts"][0]["agent"]["sha256"], json!(name.to_string()));
        assert_eq!(progress(http, &name).await?, (StatusCode::OK, draft.bytes.len() as u64, "?1".to_owned()));
        let published = offer(&plane, http, &draft).await?;
        assert_eq!(published.body["release"]["status"], "STATUS_PUBLISHED", "{published:?}");
        assert_eq!(std::fs::read(plane.data_dir().join("artifacts").join(name.to_string()))?, draft.bytes);
    }
    plane.stop().await
}

#[tokio::test]
async fn an_upload_that_is_cut_goes_on_where_it_was_cut() -> Result<()> {
    let plane = ControlPlane::start().await?;
    for (http, version) in pair(&plane, Role::Publisher).await?.iter().zip(["1.1.0", "1.2.0"]) {
        let draft = large(version);
        plane.draft(&draft).await?;
        let (name, total) = (sha256(&draft.bytes), draft.bytes.len());
        let whole = format!("bytes 0-{}/{total}", total - 1);
        let request = http.ask(Method::PUT, &target(&name, &draft.name())).header("content-range", whole);
        let (body, cut) = paused(&draft.bytes[..total / 2], None);
        let sending = tokio::spawn(request.body(body).send());
        arrived(&plane, &name, total / 2, Written::Still).await?;
        let _ = cut.send(());
        assert!(sending.await?.is_err(), "the cable was cut");
        arrived(&plane, &name, total / 2, Written::NoMore).await?;
        let (_, there, complete) = progress(http, &name).await?;
        assert_eq!((there, complete.as_str()), (total as u64 / 2, "?0"));
        // Somewhere else it does not go on.
        let wrong = send(http, &draft, &format!("bytes 7-8/{total}"), b"xx").await?;
        assert_eq!((wrong.code, wrong.reason()), (StatusCode::CONFLICT, "SIZE_MISMATCH"), "{wrong:?}");
        assert_eq!((wrong.header("upload-offset"), wrong.header("upload-complete")), (&*there.to_string(), "?0"));
        let rest = &draft.bytes[usize::try_from(there)?..];
        let answer = send(http, &draft, &format!("bytes {there}-{}/{total}", total - 1), rest).await?;
        assert_eq!((answer.code, answer.header("upload-complete")), (StatusCode::OK, "?1"), "{answer:?}");
        assert_eq!(std::fs::read(plane.data_dir().join("artifacts").join(name.to_string()))?, draft.bytes);
        // Its answer may be lost: what is complete is taken again without a byte.
        let again = send(http, &draft, &format!("bytes */{total}"), b"").await?;
        assert_eq!((again.code, &again.body["name"]), (StatusCode::OK, &json!(draft.name())), "{again:?}");
    }
    plane.stop().await
}

#[tokio::test]
async fn bytes_that_are_not_what_was_announced_are_refused_and_gone() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let publisher = Http::of(&plane, Some(Role::Publisher), Version::Two).await?;
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    let (name, total) = (sha256(&draft.bytes), draft.bytes.len());
    let whole = format!("bytes 0-{}/{total}", total - 1);
    let other = vec![b'x'; total];
    let answer = send(&publisher, &draft, &whole, &other).await?;
    assert_eq!((answer.code, answer.reason()), (StatusCode::CONFLICT, "DIGEST_MISMATCH"), "{answer:?}");
    assert_eq!((answer.header("upload-offset"), answer.header("upload-complete")), ("0", "?0"), "they are gone");
    // A lie in the beginning is found out at the end, and does not stay in the way.
    let answer = send(&publisher, &draft, &format!("bytes 0-1/{total}"), b"xx").await?;
    assert_eq!((answer.code, answer.header("upload-offset")), (StatusCode::ACCEPTED, "2"));
    let answer = send(&publisher, &draft, &format!("bytes 2-{}/{total}", total - 1), &draft.bytes[2..]).await?;
    assert_eq!(answer.reason(), "DIGEST_MISMATCH", "{answer:?}");
    let early = send(&publisher, &draft, &format!("bytes */{total}"), b"").await?;
    assert_eq!((early.code, early.reason()), (StatusCode::CONFLICT, "SIZE_MISMATCH"), "{early:?}");
    let answer = send(&publisher, &draft, &whole, &draft.bytes).await?;
    assert_eq!((answer.code, answer.header("upload-complete")), (StatusCode::OK, "?1"), "{answer:?}");
    assert_eq!(progress(&publisher, &name).await?.2, "?1");
    plane.stop().await
}

#[tokio::test]
async fn what_the_release_or_the_range_may_not_be_is_refused_by_its_name() -> Result<()> {
    let plane = ControlPlane::start_with(|config| config.settings.max_artifact_bytes = 1_000).await?;
    let publisher = Http::of(&plane, Some(Role::Publisher), Version::One).await?;
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    plane.release(&Draft::new("1.2.0", 2)).await?;
    let name = sha256(&draft.bytes);
    let path = |query: &str| format!("/upload/{name}?{query}");
    let (platform, file) = (format!("platform={PLATFORM}"), format!("file={FILE}"));
    let all = |release: &str| path(&format!("release={release}&{platform}&{file}"));
    let cases = [
        (all("releases/agent-1.1.0"), "bytes 0-1000/1001", 400, "artifact.agent.size_bytes"),
        (all("releases/agent-1.1.0"), "bytes 0-4/3", 400, "content-range"),
        (all("releases/agent-1.1.0"), "bytes 0-2/18", 400, "content-length"),
        (all("agent-1.1.0"), "bytes 0-17/18", 400, "release"),
        (path(&format!("{platform}&{file}")), "bytes 0-17/18", 400, "release"),
        (path(&format!("release=releases/agent-1.1.0&{file}")), "bytes 0-17/18", 400, "agent.platform"),
        (path(&format!("release=releases/agent-1.1.0&{platform}")), "bytes 0-17/18", 400, "agent.file"),
        (
            path(&format!("release=releases/agent-1.1.0&{platform}&file=../x")),
            "bytes 0-17/18",
            400,
            "artifact.agent.file",
        ),
        (path("sign=no"), "bytes 0-17/18", 400, "query"),
        (all("releases/agent-9.9.9"), "bytes 0-17/18", 404, "NOT_FOUND"),
        (all("releases/agent-1.2.0"), "bytes 0-17/18", 409, "ALREADY_EXISTS"),
        (all("releases/operator-1.1.0"), "bytes 0-17/18", 404, "NOT_FOUND"),
    ];
    for (path, range, code, said) in cases {
        let bytes = if range.ends_with("/1001") { vec![b'x'; 1_001] } else { draft.bytes.clone() };
        let request = publisher.ask(Method::PUT, &path).header("content-range", range).body(bytes);
        let answer = Answer::of(request.send().await?).await?;
        let field = &answer.detail("google.rpc.BadRequest")["fieldViolations"][0]["field"];
        let told = field.as_str().unwrap_or_else(|| answer.reason());
        assert_eq!((answer.code.as_u16(), told), (code, said), "{path} {range}: {answer:?}");
    }
    assert_eq!(progress(&publisher, &name).await?.1, 0, "nothing was taken");
    let incoming = std::fs::read_dir(plane.data_dir().join("artifacts/incoming"))?.count();
    assert_eq!(incoming, 0);
    plane.stop().await
}

#[tokio::test]
async fn no_path_but_a_digest_leads_to_a_file() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let publisher = Http::of(&plane, Some(Role::Publisher), Version::One).await?;
    let upper = "A".repeat(64);
    for name in ["..%2F..%2Fnovacula.db", "%2Fetc%2Fpasswd", "x", &upper, &"a".repeat(63), &"a".repeat(65), "incoming"]
    {
        for method in [Method::PUT, Method::HEAD] {
            let path = format!("/upload/{name}?release=releases/agent-1.1.0&platform={PLATFORM}&file={FILE}");
            let answer = Answer::of(publisher.ask(method, &path).body("x").send().await?).await?;
            assert_eq!(answer.code, StatusCode::NOT_FOUND, "{name}: {answer:?}");
        }
    }
    plane.stop().await
}

#[tokio::test]
async fn whoever_is_no_publisher_stores_nothing_and_learns_nothing() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    let (name, whole) = (sha256(&draft.bytes), "bytes 0-17/18");
    for (role, code, reason) in [
        (None, StatusCode::UNAUTHORIZED, "TOKEN_INVALID"),
        (Some(Role::Member), StatusCode::FORBIDDEN, "ROLE_REQUIRED"),
        (Some(Role::Owner), StatusCode::FORBIDDEN, "ROLE_REQUIRED"),
        (Some(Role::InstallationAdmin), StatusCode::FORBIDDEN, "ROLE_REQUIRED"),
    ] {
        let http = Http::of(&plane, role, Version::One).await?;
        let answer = send(&http, &draft, whole, &draft.bytes).await?;
        assert_eq!((answer.code, answer.reason()), (code, reason), "{role:?}: {answer:?}");
        assert_eq!(answer.header("upload-offset"), "", "{role:?}");
        let (seen, offset, _) = progress(&http, &name).await?;
        assert_eq!((seen, offset), (code, u64::MAX), "{role:?}");
    }
    // Who was refused for its role is in the audit log, as over gRPC.
    let request = v1::ListEventsRequest { types: vec!["access.denied".to_owned()], ..v1::ListEventsRequest::default() };
    let events = plane.installation_admin().events().list_events(request).await?.into_inner().events;
    assert!(!events.is_empty());
    plane.stop().await
}

#[tokio::test]
async fn two_who_send_the_same_bytes_do_not_mix_them() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let [one, two] = pair(&plane, Role::Publisher).await?;
    let draft = large("1.1.0");
    plane.draft(&draft).await?;
    let (name, total) = (sha256(&draft.bytes), draft.bytes.len());
    let whole = format!("bytes 0-{}/{total}", total - 1);
    let (body, go_on) = paused(&draft.bytes[..total / 2], Some(&draft.bytes[total / 2..]));
    let request = one.ask(Method::PUT, &target(&name, &draft.name())).header("content-range", whole.clone());
    let first = tokio::spawn(request.body(body).send());
    arrived(&plane, &name, total / 2, Written::Still).await?;
    let second = send(&two, &draft, &whole, &draft.bytes).await?;
    assert_eq!((second.code, second.reason()), (StatusCode::SERVICE_UNAVAILABLE, "UNAVAILABLE"), "{second:?}");
    let _ = go_on.send(());
    let first = Answer::of(first.await??).await?;
    assert_eq!(first.code, StatusCode::OK, "{first:?}");
    assert_eq!(std::fs::read(plane.data_dir().join("artifacts").join(name.to_string()))?, draft.bytes);
    plane.stop().await
}

#[tokio::test]
async fn a_browsers_session_sends_with_its_forgery_token_and_not_without() -> Result<()> {
    let plane = ControlPlane::start().await?;
    let publisher = Http::of(&plane, Some(Role::Publisher), Version::Two).await?;
    let browser = Http::of(&plane, None, Version::Two).await?;
    let draft = Draft::new("1.1.0", 1);
    plane.draft(&draft).await?;
    let signin = format!("token={}&next=/", publisher.token().expect("a token"));
    let signed_in = browser.ask(Method::POST, "/signin").header("content-type", "application/x-www-form-urlencoded");
    let signed_in = signed_in.header("sec-fetch-site", "same-origin").body(signin).send().await?;
    let cookie = session(signed_in.headers());
    let page = browser.ask(Method::GET, "/releases").header("cookie", &cookie).send().await?.text().await?;
    let (_, rest) = page.split_once("name=\"forgery_token\" value=\"").expect("a form");
    let forgery = rest.split('"').next().unwrap_or_default().to_owned();
    let path = target(&sha256(&draft.bytes), &draft.name());
    let send = async |site: &str, forgery: &str| {
        let request = browser.ask(Method::PUT, &path).header("cookie", &cookie).header("sec-fetch-site", site);
        Answer::of(request.header("x-novacula-forgery-token", forgery).body(draft.bytes.clone()).send().await?).await
    };
    for (site, token) in
        [("cross-site", forgery.as_str()), ("same-origin", ""), ("same-origin", "0123"), ("same-site", &forgery)]
    {
        let answer: Result<Answer> = send(site, token).await;
        let answer = answer?;
        assert_eq!(
            (answer.code, &answer.body["code"]),
            (StatusCode::FORBIDDEN, &Value::from("permission_denied")),
            "{site} {token}"
        );
    }
    let answer: Result<Answer> = send("same-origin", &forgery).await;
    assert_eq!(answer?.code, StatusCode::OK);
    plane.stop().await
}

/// `__Host-novacula=nvt_…`, as a browser sends it back.
fn session(headers: &HeaderMap) -> String {
    let set = headers.get("set-cookie").and_then(|value| value.to_str().ok()).unwrap_or_default();
    set.split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_release_of_an_image_is_made_signed_and_published_without_grpc() -> Result<()> {
    const IMAGE: &str = "registry.example:5000/novacula/operator";
    let plane = ControlPlane::start().await?;
    for (http, (version, sequence)) in pair(&plane, Role::Publisher).await?.iter().zip([("1.1.0", 1), ("1.2.0", 2)]) {
        let index = format!("the index of {version}").into_bytes();
        let digest = sha256(&index);
        let name = format!("releases/operator-{version}");
        let made = json!({ "kind": "KIND_OPERATOR", "version": version });
        assert_eq!(http.call("ReleaseService/CreateRelease", &made).await?.code, StatusCode::OK);
        let path = format!("/upload/{digest}?release={name}&image={IMAGE}");
        for (path, body, named) in [
            (format!("{path}&platform={PLATFORM}"), "", "image"),
            (path.replace("5000/", "5000//"), "", "artifact.operator.image"),
            (path.clone(), "bytes", "content-length"),
        ] {
            let refused = Answer::of(http.ask(Method::PUT, &path).body(body).send().await?).await?;
            assert_eq!(refused.code, StatusCode::BAD_REQUEST, "{path} {refused:?}");
            assert!(refused.body.to_string().contains(&format!("\"{named}\"")), "{named} is not named: {refused:?}");
        }
        let other = Answer::of(http.ask(Method::PUT, &target(&digest, &name)).body("x").send().await?).await?;
        assert_eq!(other.reason(), "KIND_MISMATCH", "{other:?}");
        let answer = Answer::of(http.ask(Method::PUT, &path).send().await?).await?;
        assert_eq!((answer.code, answer.header("upload-complete")), (StatusCode::OK, ""), "{answer:?}");
        let said = &answer.body["artifacts"][0]["operator"];
        assert_eq!((&said["image"], &said["digest"]), (&json!(IMAGE), &json!(format!("sha256:{digest}"))));
        let subject = Subject::Operator { image: IMAGE.to_owned(), digest };
        let manifest = Manifest { subject, ..manifest(version, Channel::Stable, sequence, "1.0.0", &index) };
        let sign = json!({ "name": name, "minisignSignature": plane.signer().sign_manifest(&index, &manifest)? });
        let signed = http.call("ReleaseService/AddReleaseSignature", &sign).await?;
        assert_eq!(signed.code, StatusCode::OK, "{signed:?}");
        let published = http.call("ReleaseService/PublishRelease", &json!({ "name": name })).await?;
        assert_eq!(published.body["release"]["status"], "STATUS_PUBLISHED", "{published:?}");
    }
    plane.stop().await
}
