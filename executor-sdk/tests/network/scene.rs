//! A host with its loop running, against a control plane in hand.

use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::attempt::{ErrorCode, Stage, Waiting};
use domain::manifest::Subject;
use domain::sync::{AttemptReport, Request, Response};
use domain::{AgentUpgradeSpec, AttemptId, Channel, Desired, Generation, Kind, Manifest, Sha256, Spec, Version, Want};
use novacula_executor_sdk::credentials::CredentialStore;
use novacula_executor_sdk::download::{self, LocalAddresses};
use novacula_executor_sdk::driver::{self, End, Options};
use novacula_executor_sdk::executor::{
    Applied, Artifact, Description, Executor, Failure, Leave, Plan, Prepared, Workplace,
};
use novacula_executor_sdk::journal::{Journal, OpenAttempt};
use novacula_executor_sdk::release_keys::{BuildKind, build_kind};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::authority::Authority;
use crate::control_plane::{ControlPlane, PATIENCE, Stream};
use crate::web::{Web, answer};

const ATTEMPT: &str = "0190163d-8694-739b-aea5-966c26f8ad91";
pub(crate) const BINARY: &[u8] = b"\x7fELF the new version";
pub(crate) const OFTEN: Duration = Duration::from_millis(100);
pub(crate) const SELDOM: Duration = Duration::from_secs(3600);

pub(crate) fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

pub(crate) fn attempt() -> AttemptId {
    ATTEMPT.parse().expect("an id")
}

/// An executor that notes what it is asked to do.
pub(crate) struct Host {
    pub(crate) version: Version,
    pub(crate) directory: PathBuf,
    pub(crate) journal: Journal,
    pub(crate) calls: Mutex<Vec<&'static str>>,
    pub(crate) applied: Mutex<Vec<u8>>,
    /// The number of the plan that was applied.
    pub(crate) planned: Mutex<Option<Generation>>,
    /// What apply or preflight waits for.
    pub(crate) go: Notify,
    /// What it says that its preflight waits out.
    waiting: watch::Sender<Option<Waiting>>,
    pub(crate) mood: Mood,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    Willing,
    WaitsInApply,
    WaitsInPreflight,
    PanicsInPreflight,
    CannotGoBack,
}

impl Host {
    pub(crate) fn call(&self, name: &'static str) {
        self.calls.lock().expect("not poisoned").push(name);
    }

    pub(crate) fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().expect("not poisoned").clone()
    }
}

impl Executor for Host {
    fn describe(&self) -> Description {
        Description {
            kind: Kind::Agent,
            version: self.version.clone(),
            platform: Some("linux/amd64".parse().expect("a platform")),
            binary_sha256: None,
            pinned: None,
            channel: None,
            channel_ceiling: None,
            capabilities: Vec::new(),
        }
    }

    fn waiting(&self) -> Option<watch::Receiver<Option<Waiting>>> {
        Some(self.waiting.subscribe())
    }

    async fn preflight(&self, _: &Plan) -> Result<Workplace, Failure> {
        self.call("preflight");
        assert!(self.mood != Mood::PanicsInPreflight, "on purpose");
        if self.mood == Mood::WaitsInPreflight {
            self.waiting.send_replace(Some(waits_out(ErrorCode::RegistryUnreachable)));
            self.go.notified().await;
        }
        Ok(Workplace::Directory(self.directory.clone()))
    }

    async fn apply(&self, prepared: Prepared, leave: Leave) -> Result<Applied, Failure> {
        self.call("apply");
        let plan = &prepared.plan;
        *self.planned.lock().expect("not poisoned") = Some(plan.generation);
        let open = OpenAttempt::new(
            leave.attempt(),
            leave.generation(),
            plan.from_version.clone(),
            plan.target_version().clone(),
        );
        self.journal.update(PATIENCE, |state| state.open = Some(open)).expect("writes");
        let Artifact::File(file) = prepared.artifact else { panic!("a file") };
        *self.applied.lock().expect("not poisoned") = std::fs::read(file.path()).expect("reads");
        if self.mood == Mood::WaitsInApply {
            self.go.notified().await;
        }
        self.call("applied");
        Ok(Applied::Restart)
    }

    async fn roll_back(&self, _: AttemptId) -> Result<Applied, Failure> {
        self.call("roll_back");
        if self.mood == Mood::CannotGoBack {
            return Err(Failure::failed(Stage::Rollback, ErrorCode::PreviousUnusable, "what ran before is gone"));
        }
        Ok(Applied::Restart)
    }

    fn confirmed(&self, _: AttemptId) -> impl Future<Output = ()> + Send {
        self.call("confirmed");
        std::future::ready(())
    }
}

/// A host with its loop running, and what it talks to.
pub(crate) struct Scene {
    pub(crate) authority: Arc<Authority>,
    pub(crate) control_plane: ControlPlane,
    pub(crate) web: Web,
    pub(crate) home: tempfile::TempDir,
    pub(crate) host: Arc<Host>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) status: watch::Receiver<driver::Status>,
    pub(crate) running: JoinHandle<Result<End, driver::Error>>,
}

impl Scene {
    pub(crate) async fn new(running: &str, mood: Mood) -> Self {
        Self::prepared(running, mood, 300, |_| {}).await
    }

    /// With a certificate good for `days`, and a journal that `journal` has written to.
    pub(crate) async fn prepared(running: &str, mood: Mood, days: i64, journal: impl FnOnce(&Journal)) -> Self {
        let authority = Authority::new();
        let control_plane = ControlPlane::new(&authority).await;
        let web = serve(&authority).await;
        let home = tempfile::tempdir().expect("a directory");
        let directory = home.path().join("bin");
        std::fs::create_dir(&directory).expect("a directory");
        let credentials = CredentialStore::new(home.path());
        authority.enrolled(&credentials, &control_plane.endpoint, days);
        let own = Journal::new(home.path());
        journal(&own);
        let host = Arc::new(Host {
            version: version(running),
            directory,
            journal: own.clone(),
            calls: Mutex::default(),
            applied: Mutex::default(),
            planned: Mutex::default(),
            go: Notify::new(),
            // Left by an earlier preflight that was dropped.
            waiting: watch::Sender::new(Some(waits_out(ErrorCode::Cluster))),
            mood,
        });
        let downloads = downloads(&authority);
        let (status, seen) = watch::channel(driver::Status::default());
        let options = Options { downloads, status: Some(status), ..Options::new(home.path()) };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(driver::run(Arc::clone(&host), options, shutdown.clone()));
        Self { authority, control_plane, web, home, host, shutdown, status: seen, running }
    }

    pub(crate) async fn end(&mut self) -> End {
        timeout(PATIENCE, &mut self.running).await.expect("ends in time").expect("does not panic").expect("no error")
    }

    pub(crate) fn journal(&self) -> novacula_executor_sdk::journal::State {
        Journal::new(self.home.path()).read().expect("reads")
    }

    /// Waits until the loop says so.
    pub(crate) async fn status(&mut self, wanted: impl FnMut(&driver::Status) -> bool) {
        timeout(PATIENCE, self.status.wait_for(wanted)).await.expect("in time").expect("the loop runs");
    }

    pub(crate) fn spec(&self, signatures: Vec<String>) -> Spec {
        spec(&self.web, signatures)
    }

    pub(crate) fn desired(&self, generation: u64, signatures: Vec<String>) -> Response {
        desired(&self.web, generation, signatures)
    }
}

pub(crate) fn waits_out(error_code: ErrorCode) -> Waiting {
    Waiting { error_code, message: "away".to_owned() }
}

fn spec(web: &Web, signatures: Vec<String>) -> Spec {
    Spec::Agent(AgentUpgradeSpec {
        download_uri: format!("https://{}/agent", web.endpoint),
        size_bytes: u64::try_from(BINARY.len()).expect("small"),
        sha256: sha256(BINARY),
        minisign_signatures: signatures,
        target_version: version("1.1.0"),
    })
}

/// 1.1.0 is desired, and its bytes are at `web`.
pub(crate) fn desired(web: &Web, generation: u64, signatures: Vec<String>) -> Response {
    let (attempt, spec, remaining_ttl) = (attempt(), spec(web, signatures), Duration::from_secs(60));
    Response::Desired(Desired {
        generation: Generation(generation),
        want: Want::Upgrade { attempt, spec, remaining_ttl },
    })
}

/// Serves 1.1.0.
pub(crate) async fn serve(authority: &Authority) -> Web {
    let head = format!("HTTP/1.1 200 OK\ncontent-length: {}\nconnection: close", BINARY.len());
    Web::serve(authority, vec![answer(&head, BINARY)]).await
}

/// Downloads from where tests serve.
pub(crate) fn downloads(authority: &Authority) -> download::Policy {
    download::Policy {
        local_addresses: LocalAddresses::Allowed,
        authorities: vec![authority.certificate().der().clone()],
        ..download::Policy::default()
    }
}

fn sha256(bytes: &[u8]) -> Sha256 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    Sha256::from_slice(digest.as_ref()).expect("32 bytes")
}

pub(crate) fn signed_by(pair: &minisign::SecretKey) -> String {
    let manifest = Manifest {
        version: version("1.1.0"),
        channel: Channel::Stable,
        subject: Subject::Agent {
            platform: "linux/amd64".parse().expect("a platform"),
            file: "novacula-agent".to_owned(),
            size: u64::try_from(BINARY.len()).expect("small"),
            sha256: sha256(BINARY),
        },
        sequence: 1,
        floor: version("1.0.0"),
    };
    minisign::sign(None, pair, BINARY, Some(&manifest.to_string()), None).expect("signs").to_string()
}

/// A signature by the checkout's development key; none when this build trusts other keys.
#[expect(clippy::print_stderr, reason = "says why a test did nothing; libtest has no other way")]
pub(crate) fn signed() -> Option<String> {
    if build_kind() == BuildKind::Release {
        eprintln!("ignored: needs the development key: unset NOVACULA_RELEASE_KEYS");
        return None;
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/development-key/release.key");
    let text = std::fs::read_to_string(path).expect("build.rs made it");
    let secret =
        minisign::SecretKeyBox::from_string(&text).expect("a key").into_unencrypted_secret_key().expect("no password");
    Some(signed_by(&secret))
}

pub(crate) fn heartbeat(request: Request) -> Option<u64> {
    match request {
        Request::Heartbeat { generation } => Some(generation.0),
        _ => None,
    }
}

pub(crate) fn report(request: Request) -> Option<AttemptReport> {
    match request {
        Request::Report(report) => Some(*report),
        _ => None,
    }
}

/// Answers heartbeats until the executor asks for leave.
pub(crate) async fn asked_for_leave(stream: &mut Stream) -> (AttemptId, Generation) {
    let asked = |request| match request {
        Request::ReadyToSwap { attempt, generation } => Some((attempt, generation)),
        _ => None,
    };
    stream.until(asked).await
}
