//! A control plane in this process: the embedded store behind `store::fault`, a clock that is moved by hand, the real
//! executor listener on port 0. People's words go to the use cases directly; their way over TLS is another suite's.

mod people;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use domain::release::{Artifact, Location, Release, Status};
use domain::role::Demand;
use domain::{
    Channel, ExecutorName, JoinSecret, Kind, OrganizationId, Reason, ReleaseId, Revision, Role, Sha256, TokenId,
    Version,
};
use executor_sdk::credentials::{CredentialStore, Credentials};
use server::app::caller::Caller;
use server::app::enrolment::Enrolment;
use server::app::join_token::{NewJoinToken, TakeOver};
use server::app::{self, App, Parts, Settings, SystemEntropy};
use server::artifacts::ArtifactStorage;
use server::background;
use server::grpc::access::Listener as Kinds;
use server::grpc::{enrollment, limits, routes, sync};
use server::session::{self, Sessions};
use server::supervise::{OnCancel, OnError, Supervisor};
use server::tls::authority::Authority;
use server::tls::authority::issue::ServerName;
use server::tls::authority::shared::Authorities;
use server::tls::config::{ApiCertificate, TlsConfigs};
use server::tls::gate::Gate;
use server::tls::listener::{self, Limits, Listener};
use store::fault::{FaultStore, Faults};
use store::sqlite::SqliteStore;
use store::{Clock, EventQuery, EventRow, ManualClock, Store, SystemClock};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::Result;

/// What cases may turn.
#[derive(Clone, Debug)]
pub(crate) struct Knobs {
    pub(crate) session: session::Limits,
    pub(crate) silent_after: Duration,
    pub(crate) certificate_life: Duration,
    /// How large each release's signatures are, in bytes: to fill a peer's window.
    pub(crate) signature_bytes: usize,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            session: session::Limits {
                drain_spread: Duration::ZERO,
                drain_patience: Duration::ZERO,
                ..session::Limits::default()
            },
            silent_after: Duration::from_secs(30),
            certificate_life: 30 * DAY,
            signature_bytes: 64,
        }
    }
}

/// A running control plane.
pub(crate) struct Plane {
    pub(crate) app: Arc<App>,
    pub(crate) faults: Faults,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Arc<dyn Store>,
    supervisors: [Supervisor; 3],
    shutdown: CancellationToken,
    knobs: Knobs,
    folder: Arc<TempDir>,
}

/// One of the clock.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const EXECUTORS: [&str; 3] = ["web-1", "web-2", "web-3"];

impl Plane {
    /// With releases 1.0.0, 1.1.0 and 1.2.0 published, and the organization acme.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(Knobs::default()).await
    }

    pub(crate) async fn start_with(knobs: Knobs) -> Result<Self> {
        let folder = Arc::new(TempDir::new()?);
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let plane = Self::open(knobs, folder, clock).await?;
        let acme = OrganizationId::new("acme")?;
        plane.app.bootstrap(&acme).await?;
        for version in ["1.0.0", "1.1.0", "1.2.0"] {
            plane.publish(version).await?;
        }
        Ok(plane)
    }

    async fn open(knobs: Knobs, folder: Arc<TempDir>, clock: Arc<ManualClock>) -> Result<Self> {
        let data: PathBuf = folder.path().to_owned();
        let socket = listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port(&data)?)))?;
        let address = socket.local_addr()?;
        std::fs::write(data.join("port"), address.port().to_string())?;
        let clock_of_parts: Arc<dyn Clock> = Arc::clone(&clock) as Arc<dyn Clock>;
        let sqlite = SqliteStore::open(data.join("novacula.db"), Arc::clone(&clock_of_parts))?;
        let faulty = FaultStore::new(Arc::new(sqlite));
        let faults = faulty.faults();
        let store: Arc<dyn Store> = Arc::new(faulty);
        let authority = Authority::load(&data, None, "novacula.internal", clock.now())?;
        let authorities = Arc::new(Authorities::of_files(authority));
        let names = vec![ServerName::Ip(Ipv4Addr::LOCALHOST.into())];
        let tls = TlsConfigs::new(Arc::clone(&authorities), names, ApiCertificate::Own, clock_of_parts)?;
        let mut settings = Settings::new("1.0.0".parse()?);
        settings.silent_after = knobs.silent_after;
        settings.certificate_life = knobs.certificate_life;
        settings.executor_endpoint = Some(format!("127.0.0.1:{}", address.port()).parse()?);
        let app = Arc::new(App::new(Parts {
            store: Arc::clone(&store),
            artifacts: Arc::new(ArtifactStorage::open(&data.join("artifacts"))?),
            authorities,
            release_keys: Vec::new(),
            settings,
            replica: app::new_replica_id(),
            entropy: Arc::new(SystemEntropy),
        }));
        let shutdown = CancellationToken::new();
        let executors = Supervisor::new("executors", shutdown.clone());
        let streams = executors.storey("sessions");
        let jobs = executors.storey("background");
        background::start(&app, &jobs).await?;
        let sessions = Sessions::start(Arc::clone(&app), knobs.session, &streams);
        let enrolment = Enrolment::new(Arc::clone(&app));
        let gate = Gate { enrolment: enrolment.clone(), limits: Arc::new(limits::Limits::default()) };
        let mut services = tonic::service::Routes::builder();
        let service =
            proto::v1::enrollment_service_server::EnrollmentServiceServer::new(enrollment::Service::new(enrolment));
        services.add_service(service);
        services.add_service(sync::service(Arc::clone(&sessions)));
        let router = routes::executors(services, gate);
        let limits = Limits { drain_spread: Duration::ZERO, ..Limits::executors() };
        let listener = Listener::new(Kinds::Executors, socket, limits, Arc::new(tls), executors.clone(), router);
        executors.spawn("listener", OnCancel::Abort, OnError::Stop, listener.serve());
        Ok(Self {
            app,
            faults,
            clock,
            sessions,
            store,
            supervisors: [streams, executors, jobs],
            shutdown,
            knobs,
            folder,
        })
    }

    /// Stops it as a process that drains would, and gives back what a restart needs.
    pub(crate) async fn stop(self) -> Stopped {
        let Self { supervisors, shutdown, knobs, folder, clock, .. } = self;
        shutdown.cancel();
        for supervisor in &supervisors {
            supervisor.stop(Duration::from_secs(5)).await;
        }
        Stopped { knobs, folder, clock }
    }

    /// Where executors reach it.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        Ok((Ipv4Addr::LOCALHOST, port(self.folder.path())?).into())
    }

    /// For any one executor.
    pub(crate) async fn join_token(&self) -> Result<JoinSecret> {
        let new = NewJoinToken {
            request_id: None,
            organization: OrganizationId::new("acme")?,
            executor: None,
            take_over: TakeOver::No,
            ttl: None,
            max_uses: None,
        };
        Ok(self.app.join_token_create(&owner(Demand::Own), new).await?.1)
    }

    /// Enrols an executor over TLS, with a join token of its own.
    pub(crate) async fn enrol(&self, name: &str) -> Result<(Credentials, TempDir)> {
        let folder = TempDir::new()?;
        let secret = self.join_token().await?;
        let name = name.parse()?;
        let store = CredentialStore::new(folder.path());
        Ok((executor_sdk::enrol::enrol(&secret, Some(&name), &store).await?, folder))
    }

    /// Writes the yank of a release and nothing else: as if the sweep over its attempts had not come by yet.
    pub(crate) async fn yank_without_sweep(&self, version: &str) -> Result {
        let id = release_id(version)?;
        let mut release = self.store.release_get(&id).await?.context("no release")?;
        release.status = Status::Yanked;
        release.yank_reason = Some("by a test".to_owned());
        Ok(self.store.release_commit(&release, &[]).await?)
    }

    /// Writes a release as only a control plane in wrong hands would: nothing of it is checked.
    pub(crate) async fn sow(&self, release: &Release) -> Result {
        Ok(self.store.release_insert(release, &[]).await?)
    }

    /// Where artifacts lie, by their digest.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.folder.path().join("artifacts")
    }

    /// How often an event stands in acme's feed.
    pub(crate) async fn events(&self, kind: &str) -> Result<usize> {
        Ok(self.feed(kind).await?.len())
    }

    /// What stands in acme's feed of an event.
    pub(crate) async fn feed(&self, kind: &str) -> Result<Vec<EventRow>> {
        let query = EventQuery {
            organization: Some(OrganizationId::new("acme")?),
            kinds: vec![kind.to_owned()],
            limit: 10_000,
            ..EventQuery::default()
        };
        Ok(self.store.event_list(&query).await?)
    }

    /// Copies the database as a backup would.
    pub(crate) fn backup(&self) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(self.folder.path())? {
            let path = entry?.path();
            let is_database = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("novacula.db"));
            if is_database && path.extension().is_none_or(|extension| extension != "lock") {
                files.push((path.clone(), std::fs::read(&path)?));
            }
        }
        Ok(files)
    }

    /// Asks until it holds.
    pub(crate) async fn until<T, F>(
        &self,
        what: &str,
        mut look: impl FnMut() -> F,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<T>
    where
        F: Future<Output = Result<T>>,
        T: std::fmt::Debug,
    {
        let end = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let seen = look().await?;
            if wanted(&seen) {
                return Ok(seen);
            }
            if tokio::time::Instant::now() >= end {
                return Err(anyhow!("waited for {what}; last seen: {seen:?}"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn publish(&self, version: &str) -> Result {
        let release = Release {
            id: release_id(version)?,
            revision: Revision::default(),
            channel: Channel::Stable,
            status: Status::Published,
            notes: String::new(),
            floor: Some("1.0.0".parse()?),
            sequence: Some(1),
            artifacts: vec![Artifact::Agent {
                platform: "linux/amd64".parse()?,
                file: "novacula-agent".to_owned(),
                size: 1000,
                sha256: Sha256::new([7; 32]),
                location: Location::Stored,
                signatures: vec!["x".repeat(self.knobs.signature_bytes)],
            }],
            create_time: self.clock.now(),
            publish_time: Some(self.clock.now()),
            yank_reason: None,
        };
        Ok(self.store.release_insert(&release, &[]).await?)
    }
}

/// What a restart needs.
pub(crate) struct Stopped {
    knobs: Knobs,
    folder: Arc<TempDir>,
    clock: Arc<ManualClock>,
}

impl Stopped {
    /// Starts it again where it was, on the same port.
    pub(crate) async fn start(self) -> Result<Plane> {
        Plane::open(self.knobs, self.folder, self.clock).await
    }

    /// Puts an older copy of the database back.
    pub(crate) fn restore(&self, files: &[(PathBuf, Vec<u8>)]) -> Result {
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(self.folder.path().join(format!("novacula.db{suffix}")));
        }
        for (path, bytes) in files {
            std::fs::write(path, bytes)?;
        }
        Ok(())
    }
}

/// The refusal of a use case.
pub(crate) fn reason(error: &anyhow::Error) -> Option<Reason> {
    refused(error.downcast_ref::<server::app::error::Error>()?)
}

pub(crate) fn refused(error: &server::app::error::Error) -> Option<Reason> {
    match error {
        server::app::error::Error::Refused(refusal) => Some(refusal.reason),
        _ => None,
    }
}

pub(crate) fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

pub(crate) const fn names() -> [&'static str; 3] {
    EXECUTORS
}

fn release_id(version: &str) -> Result<ReleaseId> {
    Ok(ReleaseId { kind: Kind::Agent, version: version.parse()? })
}

fn executor_name(name: &str) -> Result<ExecutorName> {
    Ok(format!("organizations/acme/executors/{name}").parse()?)
}

fn owner(demand: Demand) -> Caller {
    let acme = OrganizationId::new("acme").expect("a label");
    Caller { token: TokenId::new("owner").expect("a label"), role: Role::Owner(acme), demand }
}

fn port(data: &Path) -> Result<u16> {
    match std::fs::read_to_string(data.join("port")) {
        Ok(port) => Ok(port.parse()?),
        Err(_) => Ok(0),
    }
}
