//! Downloads under attack, by name, against a real TLS server. No attack leaves a file behind.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Waiting};
use novacula_executor_sdk::connect;
use novacula_executor_sdk::credentials::CredentialStore;
use novacula_executor_sdk::download::{ControlPlane, Heard, LocalAddresses, Policy, Request, TemporaryFile, fetch};
use novacula_executor_sdk::executor::Failure;

use crate::authority::Authority;
use crate::web::{Answer, Then, Web, answer};

const BYTES: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// A host, a server, and what the server answers.
struct Scene {
    home: tempfile::TempDir,
    web: Web,
    control_plane: ControlPlane,
    policy: Policy,
    seen: Arc<Mutex<Vec<Heard>>>,
}

impl Scene {
    async fn new(answers: Vec<Answer>) -> Self {
        let authority = Authority::new();
        let home = tempfile::tempdir().expect("a directory");
        let web = Web::serve(&authority, answers).await;
        let credentials = authority.enrolled(&CredentialStore::new(home.path()), &web.endpoint, 30);
        std::fs::create_dir(home.path().join("bin")).expect("a directory");
        let control_plane =
            ControlPlane { endpoint: web.endpoint.clone(), tls: connect::tls(&credentials).expect("TLS") };
        let policy = Policy {
            authorities: vec![authority.certificate().der().clone()],
            local_addresses: LocalAddresses::Allowed,
            stall_deadline: Duration::from_secs(5),
            ..Policy::default()
        };
        Self { home, web, control_plane, policy, seen: Arc::default() }
    }

    fn directory(&self) -> std::path::PathBuf {
        self.home.path().join("bin")
    }

    async fn fetch(&self, uri: &str) -> Result<TemporaryFile, Failure> {
        let directory = self.directory();
        let request = Request { uri, size: u64::try_from(BYTES.len()).expect("small"), directory: &directory };
        let seen = Arc::clone(&self.seen);
        fetch(request, &self.control_plane, &self.policy, move |heard| seen.lock().expect("not poisoned").push(heard))
            .await
    }

    /// The path on the executor listener is refused with this code, and nothing is left.
    async fn refuses(&self, uri: &str) -> (Outcome, ErrorCode, String) {
        let failure = self.fetch(uri).await.expect_err("refused");
        assert_eq!(names(&self.directory()), Vec::<String>::new(), "nothing is left behind");
        (failure.outcome, failure.code, failure.message)
    }

    fn external(&self) -> String {
        format!("https://{}/agent", self.web.endpoint)
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("reads");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

fn ok(body: &[u8]) -> Answer {
    answer(&format!("HTTP/1.1 200 OK\ncontent-length: {}\netag: \"a\"\nconnection: close", body.len()), body)
}

/// The head promises everything, and the connection is cut after `bytes`.
fn cut(bytes: usize) -> Answer {
    answer(
        &format!("HTTP/1.1 200 OK\ncontent-length: {}\netag: \"a\"\nconnection: close", BYTES.len()),
        &BYTES[..bytes],
    )
}

fn rest(from: usize, etag: &str) -> Answer {
    let length = BYTES.len();
    let head = format!(
        "HTTP/1.1 206 Partial Content\ncontent-length: {}\ncontent-range: bytes {from}-{}/{length}\netag: {etag}\nconnection: close",
        length - from,
        length - 1
    );
    answer(&head, &BYTES[from..])
}

fn content(file: &TemporaryFile) -> Vec<u8> {
    std::fs::read(file.path()).expect("reads")
}

#[tokio::test]
async fn a_path_is_fetched_with_the_client_certificate_into_a_private_file() {
    let scene = Scene::new(vec![ok(BYTES)]).await;
    let file = scene.fetch("/artifacts/x").await.expect("fetched");
    assert_eq!(content(&file), BYTES);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file.path()).expect("is there").permissions());
    assert_eq!(mode & 0o777, 0o600);
    let requests = scene.web.requests();
    assert!(
        requests[0].contains("get /artifacts/x ") && requests[0].contains("client-certificate: true"),
        "{requests:?}"
    );
    assert_eq!(scene.seen.lock().expect("not poisoned").last(), Some(&Heard::Bytes(36)));
    let path = file.path().to_owned();
    drop(file);
    assert!(!path.exists(), "an unproven file goes with its handle");
}

#[tokio::test]
async fn an_external_url_is_fetched_without_the_client_certificate() {
    let scene = Scene::new(vec![ok(BYTES)]).await;
    let file = scene.fetch(&scene.external()).await.expect("fetched");
    assert_eq!(content(&file), BYTES);
    assert!(scene.web.requests()[0].contains("client-certificate: false"));
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_broke_off() {
    let scene = Scene::new(vec![cut(10), rest(10, "\"a\"")]).await;
    let file = scene.fetch("/artifacts/x").await.expect("fetched");
    assert_eq!(content(&file), BYTES);
    let second = &scene.web.requests()[1];
    assert!(second.contains("range: bytes=10-\r\n") && second.contains("if-range: \"a\"\r\n"), "{second}");
}

#[tokio::test]
async fn wrong_etag_on_resume_starts_over() {
    let other = rest(10, "\"b\"");
    let scene = Scene::new(vec![cut(10), other, ok(BYTES)]).await;
    let file = scene.fetch("/artifacts/x").await.expect("fetched");
    assert_eq!(content(&file), BYTES);
    assert!(!scene.web.requests()[2].contains("range:"), "from the first byte");
}

#[tokio::test]
async fn a_changed_file_on_resume_is_taken_whole() {
    let scene = Scene::new(vec![cut(10), ok(BYTES)]).await;
    assert_eq!(content(&scene.fetch("/artifacts/x").await.expect("fetched")), BYTES);
}

#[tokio::test]
async fn a_server_without_etags_is_asked_from_the_first_byte() {
    let mut first = cut(10);
    first.bytes = String::from_utf8(first.bytes).expect("text").replace("etag: \"a\"", "etag: W/\"a\"").into_bytes();
    let scene = Scene::new(vec![first, ok(BYTES)]).await;
    assert_eq!(content(&scene.fetch("/artifacts/x").await.expect("fetched")), BYTES);
    assert!(!scene.web.requests()[1].contains("range:"));
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again() {
    let busy = answer("HTTP/1.1 503 Service Unavailable\ncontent-length: 0\nconnection: close", b"");
    let scene = Scene::new(vec![busy, ok(BYTES)]).await;
    assert_eq!(content(&scene.fetch("/artifacts/x").await.expect("fetched")), BYTES);
    let message = "the server answered 503 Service Unavailable".to_owned();
    let waiting = Heard::BrokeOff(Waiting { error_code: ErrorCode::Unreachable, message });
    assert_eq!(*scene.seen.lock().expect("not poisoned"), [waiting, Heard::Bytes(36)], "told, then over");
}

#[tokio::test]
async fn truncated() {
    let scene = Scene::new(vec![ok(&BYTES[..20])]).await;
    let (outcome, code, _) = scene.refuses("/artifacts/x").await;
    assert_eq!((outcome, code), (Outcome::Refused, ErrorCode::Truncated));
    let chunked = answer("HTTP/1.1 200 OK\ntransfer-encoding: chunked\nconnection: close", b"4\r\n0123\r\n0\r\n\r\n");
    let scene = Scene::new(vec![chunked]).await;
    assert_eq!(scene.refuses("/artifacts/x").await.1, ErrorCode::Truncated);
}

#[tokio::test]
async fn too_large() {
    let scene = Scene::new(vec![ok(&[BYTES, b"x"].concat())]).await;
    let (outcome, code, _) = scene.refuses("/artifacts/x").await;
    assert_eq!((outcome, code), (Outcome::Refused, ErrorCode::TooLarge));
}

#[tokio::test]
async fn endless_body() {
    let mut endless = answer("HTTP/1.1 200 OK\nconnection: close", b"");
    endless.then = Then::Endless;
    let scene = Scene::new(vec![endless]).await;
    assert_eq!(scene.refuses("/artifacts/x").await.1, ErrorCode::TooLarge);
}

#[tokio::test]
async fn gzip_bomb() {
    let bomb = answer(
        &format!("HTTP/1.1 200 OK\ncontent-encoding: gzip\ncontent-length: {}\nconnection: close", BYTES.len()),
        BYTES,
    );
    let scene = Scene::new(vec![bomb]).await;
    let (outcome, code, message) = scene.refuses("/artifacts/x").await;
    assert_eq!((outcome, code), (Outcome::Refused, ErrorCode::HttpStatus), "{message}");
    assert!(scene.web.requests()[0].contains("accept-encoding: identity"));
}

#[tokio::test]
async fn redirect_to_another_host() {
    let away =
        answer("HTTP/1.1 302 Found\nlocation: https://example.com/agent\ncontent-length: 0\nconnection: close", b"");
    let scene = Scene::new(vec![away]).await;
    for uri in [scene.external(), "/artifacts/x".to_owned()] {
        let (outcome, code, message) = scene.refuses(&uri).await;
        assert_eq!((outcome, code), (Outcome::Refused, ErrorCode::UrlNotAllowed), "{message}");
    }
}

#[tokio::test]
async fn redirect_on_the_same_origin_is_followed_for_an_external_url() {
    let here = answer("HTTP/1.1 302 Found\nlocation: /elsewhere\ncontent-length: 0\nconnection: close", b"");
    let scene = Scene::new(vec![here, ok(BYTES)]).await;
    assert_eq!(content(&scene.fetch(&scene.external()).await.expect("fetched")), BYTES);
    assert!(scene.web.requests()[1].contains("get /elsewhere "));
}

#[tokio::test]
async fn download_uri_into_the_local_network() {
    let mut scene = Scene::new(vec![ok(BYTES)]).await;
    scene.policy.local_addresses = LocalAddresses::Refused;
    let port = scene.web.endpoint.port();
    for uri in [
        scene.external(),
        format!("https://127.0.0.1:{port}/agent"),
        format!("https://[::1]:{port}/agent"),
        format!("https://[::ffff:127.0.0.1]:{port}/agent"),
        format!("https://2130706433:{port}/agent"),
        "https://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        let (outcome, code, message) = scene.refuses(&uri).await;
        assert_eq!((outcome, code), (Outcome::Refused, ErrorCode::UrlNotAllowed), "{uri}: {message}");
    }
    assert_eq!(scene.web.requests(), Vec::<String>::new(), "nobody was asked");
}

#[tokio::test]
async fn download_uri_that_is_no_plain_https_url_or_path() {
    let scene = Scene::new(vec![ok(BYTES)]).await;
    for uri in [
        "http://example.com/agent",
        "ftp://example.com/agent",
        "file:///etc/passwd",
        "https://user:secret@example.com/agent",
        "//example.com/agent",
        "/\\example.com/agent",
        "agent",
        "",
    ] {
        assert_eq!(scene.refuses(uri).await.1, ErrorCode::UrlNotAllowed, "{uri}");
    }
    assert_eq!(scene.web.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_says_no_ends_it() {
    let gone = answer("HTTP/1.1 404 Not Found\ncontent-length: 0\nconnection: close", b"");
    let scene = Scene::new(vec![gone]).await;
    let (outcome, code, message) = scene.refuses("/artifacts/x").await;
    assert_eq!((outcome, code), (Outcome::Failed, ErrorCode::HttpStatus));
    assert!(message.contains("404"), "{message}");
}

#[tokio::test]
async fn the_same_bytes_again_and_again_are_no_progress() {
    let mut scene = Scene::new(vec![cut(10), rest(10, "\"b\""), cut(10), cut(5)]).await;
    scene.policy.stall_deadline = Duration::from_millis(1500);
    let (outcome, code, message) = scene.refuses("/artifacts/x").await;
    assert_eq!((outcome, code), (Outcome::Failed, ErrorCode::Unreachable), "{message}");
}

#[tokio::test]
async fn another_control_planes_server_gets_nothing() {
    let scene = Scene::new(vec![ok(BYTES)]).await;
    let mut stranger = Scene::new(vec![ok(BYTES)]).await;
    stranger.control_plane.endpoint = scene.web.endpoint.clone();
    stranger.policy.stall_deadline = Duration::from_millis(200);
    assert_eq!(stranger.refuses("/artifacts/x").await.1, ErrorCode::Unreachable);
    assert_eq!(scene.web.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn a_disk_too_small_is_told_before_the_first_byte() {
    let scene = Scene::new(vec![ok(BYTES)]).await;
    let directory = scene.directory();
    let request = Request { uri: "/artifacts/x", size: u64::MAX / 2, directory: &directory };
    let failure = fetch(request, &scene.control_plane, &scene.policy, |_| {}).await.expect_err("refused");
    assert_eq!(failure.code, ErrorCode::NoSpace);
    assert_eq!(scene.web.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn leftovers_of_earlier_processes_are_swept_away() {
    let scene = Scene::new(vec![ok(BYTES)]).await;
    let (ours, theirs) = (scene.directory().join(".novacula-download-0"), scene.directory().join("novacula-agent"));
    std::fs::write(&ours, "x").expect("writes");
    std::fs::write(&theirs, "x").expect("writes");
    let file = scene.fetch("/artifacts/x").await.expect("fetched");
    assert!(!ours.exists() && theirs.exists() && file.path().exists());
}

#[tokio::test]
async fn a_rate_cap_holds() {
    let mut scene = Scene::new(vec![ok(BYTES)]).await;
    scene.policy.bytes_per_second = Some(36 * 4);
    let begin = std::time::Instant::now();
    scene.fetch("/artifacts/x").await.expect("fetched");
    assert!(begin.elapsed() >= Duration::from_millis(240), "{:?}", begin.elapsed());
}
