//! A whole control plane inside the test: `server::run` on free ports of the loopback, with its own authority, real TLS, a real
//! store in a directory of its own, and a clock that the test may move.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use harness::control_plane::ControlPlane;
//!
//! let plane = ControlPlane::start().await?;
//! let answer = plane.owner().organizations().who_am_i(proto::v1::WhoAmIRequest {}).await?;
//! assert_eq!(answer.into_inner().organization, "organizations/acme");
//! plane.stop().await?;
//! # Ok(())
//! # }
//! ```

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use domain::join::Endpoint;
use domain::{OrganizationId, Role, Timestamp, Version};
use proto::v1;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use server::config::Config;
use server::run::{World, parts, run_in};
use server::tls::authority::Source;
use store::{Clock, SystemClock};
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::client::Client;
use crate::signing::Signer;

/// The organization that every control plane of a test has.
pub const ORGANIZATION: &str = "acme";

/// Its version, unless a test says otherwise.
pub const VERSION: &str = "1.5.0";

/// The wall's clock, moved by the test.
#[derive(Debug, Default)]
pub struct MovedClock(AtomicI64);

/// A running control plane.
pub struct ControlPlane {
    api_addr: SocketAddr,
    executor_addr: SocketAddr,
    folder: Arc<TempDir>,
    clock: Arc<MovedClock>,
    channel: Channel,
    tls: Arc<ClientConfig>,
    secrets: Secrets,
    signer: Arc<Signer>,
    config: Config,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

/// A token for each role.
#[derive(Clone, Debug, Default)]
struct Secrets {
    owner: String,
    admin: String,
    member: String,
    publisher: String,
    installation_admin: String,
}

// === impl MovedClock ===

impl MovedClock {
    /// Moves it later.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        let wall = SystemClock.now().as_micros();
        Timestamp::from_micros(wall.saturating_add(self.0.load(Ordering::SeqCst)))
    }
}

// === impl ControlPlane ===

impl ControlPlane {
    /// Starts one with the defaults.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub async fn start() -> Result<Self> {
        Self::start_with(|_| {}).await
    }

    /// Starts one after `change` had its way with the configuration.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Result<Self> {
        let folder = Arc::new(TempDir::new()?);
        let signer = Signer::new()?;
        let keys = folder.path().join("release-keys.pub");
        std::fs::write(&keys, signer.public_key_file()?)?;
        let version: Version = VERSION.parse()?;
        let mut config = Config::for_tests(folder.path(), version);
        config.release_keys = Some(keys);
        change(&mut config);
        let clock = Arc::new(MovedClock::default());
        let world = World { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..World::default() };
        let mut secrets = bootstrap(&config, &world).await?;
        let running = Running::start(config.clone(), world).await?;
        let tls = match &config.authority {
            Source::Given(files) => trusting(&files.certificate)?,
            Source::Own | Source::Store { .. } => trusting(&folder.path().join("ca.pem"))?,
        };
        let channel = dial(running.bound.api_addr, Arc::clone(&tls)).await?;
        secrets.admin = new_token(&channel, &secrets, v1::Role::Admin).await?;
        secrets.member = new_token(&channel, &secrets, v1::Role::Member).await?;
        Ok(Self {
            api_addr: running.bound.api_addr,
            executor_addr: running.bound.executor_addr,
            folder,
            clock,
            channel,
            tls,
            secrets,
            signer: Arc::new(signer),
            config,
            shutdown: running.shutdown,
            task: running.task,
        })
    }

    /// One more replica, with this one's tokens and release key: over its database, which it was given, with an authority.
    ///
    /// # Errors
    /// What keeps it from starting.
    pub async fn another(&self) -> Result<Self> {
        let folder = Arc::new(TempDir::new()?);
        let config = Config { data_dir: folder.path().to_owned(), ..self.config.clone() };
        let clock = Arc::new(MovedClock::default());
        let world = World { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..World::default() };
        let running = Running::start(config.clone(), world).await?;
        Ok(Self {
            api_addr: running.bound.api_addr,
            executor_addr: running.bound.executor_addr,
            folder,
            clock,
            channel: dial(running.bound.api_addr, self.tls()).await?,
            tls: self.tls(),
            secrets: self.secrets.clone(),
            signer: Arc::clone(&self.signer),
            config,
            shutdown: running.shutdown,
            task: running.task,
        })
    }

    /// Where people and programs connect.
    #[must_use]
    pub const fn api_addr(&self) -> SocketAddr {
        self.api_addr
    }

    /// Where executors connect.
    #[must_use]
    pub const fn executor_addr(&self) -> SocketAddr {
        self.executor_addr
    }

    /// Its data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        self.folder.path()
    }

    /// The store's clock.
    #[must_use]
    pub fn clock(&self) -> &MovedClock {
        &self.clock
    }

    /// Signs what it publishes; its key is the one that the control plane was given.
    #[must_use]
    pub fn signer(&self) -> &Signer {
        &self.signer
    }

    /// A TLS client that trusts it and shows no certificate.
    #[must_use]
    pub fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// The owner of [`ORGANIZATION`].
    #[must_use]
    pub fn owner(&self) -> Client {
        self.client(&self.secrets.owner)
    }

    /// One who may deploy.
    #[must_use]
    pub fn admin(&self) -> Client {
        self.client(&self.secrets.admin)
    }

    /// One who may look.
    #[must_use]
    pub fn member(&self) -> Client {
        self.client(&self.secrets.member)
    }

    /// One who changes the catalog.
    #[must_use]
    pub fn publisher(&self) -> Client {
        self.client(&self.secrets.publisher)
    }

    /// One who manages the installation.
    #[must_use]
    pub fn installation_admin(&self) -> Client {
        self.client(&self.secrets.installation_admin)
    }

    /// What the browser's sign-in page takes: the token of this role in [`ORGANIZATION`], or of the installation.
    #[must_use]
    pub fn secret(&self, role: v1::Role) -> &str {
        match role {
            v1::Role::Owner => &self.secrets.owner,
            v1::Role::Admin => &self.secrets.admin,
            v1::Role::Member => &self.secrets.member,
            v1::Role::Publisher => &self.secrets.publisher,
            v1::Role::InstallationAdmin => &self.secrets.installation_admin,
            v1::Role::Unspecified => "",
        }
    }

    /// Nobody.
    #[must_use]
    pub fn stranger(&self) -> Client {
        Client::new(self.channel.clone(), None)
    }

    /// The bearer of a token.
    #[must_use]
    pub fn client(&self, secret: &str) -> Client {
        Client::new(self.channel.clone(), Some(secret))
    }

    /// Another connection to one of its listeners, without a certificate.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn dial(&self, address: SocketAddr) -> Result<Channel> {
        dial(address, self.tls()).await
    }

    /// Another organization, with its owner.
    ///
    /// # Errors
    /// The API's.
    pub async fn another_organization(&self, id: &str) -> Result<Client> {
        let root = self.installation_admin();
        let request = v1::CreateOrganizationRequest { organization_id: id.to_owned(), display_name: String::new() };
        root.organizations().create_organization(request).await?;
        let request = v1::CreateTokenRequest {
            parent: format!("organizations/{id}"),
            role: v1::Role::Owner.into(),
            ..v1::CreateTokenRequest::default()
        };
        let made = root.organizations().create_token(request).await?.into_inner();
        Ok(self.client(&made.secret))
    }

    /// A join word for a new executor.
    ///
    /// # Errors
    /// The API's.
    pub async fn join_word(&self, executor: &str) -> Result<String> {
        let request = v1::CreateJoinTokenRequest {
            parent: format!("organizations/{ORGANIZATION}"),
            executor_id: executor.to_owned(),
            ..v1::CreateJoinTokenRequest::default()
        };
        let made = self.owner().organizations().create_join_token(request).await?;
        Ok(made.into_inner().secret)
    }

    /// What it counts, in the Prometheus text format.
    #[must_use]
    pub fn metrics(&self) -> String {
        server::observe::metrics::install().render()
    }

    /// Drains it, and waits for that.
    ///
    /// # Errors
    /// What it stopped for, when it was not for being asked.
    pub async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        drop(self.channel);
        self.task.await.context("the control plane panicked")?
    }
}

struct Running {
    bound: server::run::Bound,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl Running {
    async fn start(config: Config, world: World) -> Result<Self> {
        let shutdown = CancellationToken::new();
        let (tell, ready) = oneshot::channel();
        let run = run_in(world, config, shutdown.clone(), |bound| {
            // Nobody waits any more: the test is over.
            let _ = tell.send(bound);
        });
        let task = tokio::spawn(run);
        match ready.await {
            Ok(bound) => Ok(Self { bound, shutdown, task }),
            // It says itself what kept it.
            Err(_) => {
                task.await.context("the control plane panicked")??;
                anyhow::bail!("the control plane ended before it was ready")
            }
        }
    }
}

/// What `novacula-server bootstrap` does.
async fn bootstrap(config: &Config, world: &World) -> Result<Secrets> {
    // No join token is made here: any port that could be one will do.
    let nowhere = SocketAddr::new(config.executor_listen.ip(), 1);
    let app = parts::open(config, world, nowhere).await?.app;
    let made = app.bootstrap(&OrganizationId::new(ORGANIZATION)?).await?;
    let mut secrets = Secrets::default();
    for (role, token) in made.tokens {
        let secret = token.reveal().to_string();
        match role {
            Role::Owner(_) => secrets.owner = secret,
            Role::Publisher => secrets.publisher = secret,
            Role::InstallationAdmin => secrets.installation_admin = secret,
            Role::Admin(_) | Role::Member(_) => {}
        }
    }
    Ok(secrets)
}

async fn new_token(channel: &Channel, secrets: &Secrets, role: v1::Role) -> Result<String> {
    let owner = Client::new(channel.clone(), Some(&secrets.owner));
    let called = if role == v1::Role::Admin { "Ada Brandt" } else { "Max Oduya" };
    let request = v1::CreateTokenRequest {
        parent: format!("organizations/{ORGANIZATION}"),
        role: role.into(),
        display_name: called.to_owned(),
        ..v1::CreateTokenRequest::default()
    };
    Ok(owner.organizations().create_token(request).await?.into_inner().secret)
}

/// A TLS client that trusts the authorities of a PEM file.
pub(crate) fn trusting(authorities: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(authorities)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

pub(crate) async fn dial(address: SocketAddr, tls: Arc<ClientConfig>) -> Result<Channel> {
    let endpoint: Endpoint = address.to_string().parse()?;
    Ok(executor_sdk::connect::dial(&endpoint, tls).await?.channel())
}
