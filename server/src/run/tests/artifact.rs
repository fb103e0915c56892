//! Artifacts: whole, in ranges, and only when published.

use bytes::Bytes;
use domain::release::{Location, Status};
use domain::{Artifact, Channel, Kind, Release, ReleaseId, Revision};

use super::client::{config, get};
use super::harness::Server;
use crate::artifacts::Unfinished;
use crate::tls::authority::sha256;

/// Headers of the request; status and bytes of the answer.
type Case<'a> = (&'a [(&'a str, &'a str)], u16, &'a [u8]);

const BYTES: &[u8] = b"0123456789";

async fn release(server: &Server, version: &str, status: Status, bytes: &'static [u8]) -> String {
    let name = sha256(bytes);
    let mut upload = server.app.artifacts.begin(name, bytes.len() as u64, Unfinished::Discard).await.unwrap();
    upload.write(Bytes::from_static(bytes)).await.unwrap();
    upload.finish().await.unwrap();
    let artifact = Artifact::Agent {
        platform: "linux/amd64".parse().unwrap(),
        file: "novacula-agent".to_owned(),
        size: bytes.len() as u64,
        sha256: name,
        location: Location::Stored,
        signatures: vec![],
    };
    let release = Release {
        id: ReleaseId { kind: Kind::Agent, version: version.parse().unwrap() },
        revision: Revision::default(),
        channel: Channel::Stable,
        status,
        notes: String::new(),
        floor: None,
        sequence: None,
        artifacts: vec![artifact],
        create_time: server.app.now().await.unwrap(),
        publish_time: None,
        yank_reason: None,
    };
    server.app.store.release_insert(&release, &[]).await.unwrap();
    format!("/artifacts/{name}")
}

#[tokio::test]
async fn an_artifact_is_served_whole_and_in_ranges_of_the_same_bytes() {
    let server = Server::start().await;
    let path = release(&server, "1.1.0", Status::Published, BYTES).await;
    let tag = format!("\"{}\"", sha256(BYTES));
    let identity = server.executor("web-1").await;
    let cases: &[Case<'_>] = &[
        (&[], 200, BYTES),
        (&[("range", "bytes=4-")], 206, b"456789"),
        (&[("range", "bytes=2-3")], 206, b"23"),
        (&[("range", "bytes=4-"), ("if-range", &tag)], 206, b"456789"),
        (&[("range", "bytes=4-"), ("if-range", "\"other\"")], 200, BYTES),
        (&[("range", "bytes=4-"), ("if-range", "Sat, 21 Nov 2026 10:00:00 GMT")], 200, BYTES),
        (&[("range", "bytes=99-")], 416, b""),
        (&[("if-none-match", &tag)], 304, b""),
        (&[("if-match", "\"other\"")], 412, b"the artifact has other bytes\n"),
    ];
    for (headers, code, bytes) in cases {
        let tls = config(&server, Some(&identity), &[b"http/1.1"]);
        let (answer, body) = get(server.bound.executor_addr, tls, &path, headers).await;
        assert_eq!((answer.status.as_u16(), &body[..]), (*code, *bytes), "{headers:?}");
        if *code != 416 {
            assert_eq!(answer.headers.get("etag").unwrap(), &tag, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn only_what_is_published_is_served_and_only_to_executors() {
    let server = Server::start().await;
    let published = release(&server, "1.1.0", Status::Published, BYTES).await;
    let draft = release(&server, "1.2.0", Status::Draft, b"draft").await;
    let yanked = release(&server, "1.0.1", Status::Yanked, b"yanked").await;
    let identity = server.executor("web-1").await;
    let cases = [
        (published.clone(), 200),
        (draft, 404),
        (yanked, 404),
        (published.to_uppercase().replace("/ARTIFACTS", "/artifacts"), 404),
        ("/artifacts/..%2f..%2fauthority.pem".to_owned(), 404),
        ("/artifacts/../authority.pem".to_owned(), 404),
        ("/artifacts/incoming".to_owned(), 404),
        ("/artifacts/".to_owned(), 404),
        (format!("{published}/more"), 404),
        ("/metrics".to_owned(), 404),
    ];
    for (path, code) in cases {
        let tls = config(&server, Some(&identity), &[b"http/1.1"]);
        let (answer, _) = get(server.bound.executor_addr, tls, &path, &[]).await;
        assert_eq!(answer.status.as_u16(), code, "{path}");
    }
    let (answer, _) = get(server.bound.executor_addr, config(&server, None, &[b"http/1.1"]), &published, &[]).await;
    assert_eq!(answer.status.as_u16(), 401, "without a certificate");
    server.deactivate("web-1").await;
    let tls = config(&server, Some(&identity), &[b"http/1.1"]);
    let (answer, _) = get(server.bound.executor_addr, tls, &published, &[]).await;
    assert_eq!(answer.status.as_u16(), 403, "after deactivation");
}
