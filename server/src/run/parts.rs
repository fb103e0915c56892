//! Opens what a control plane stands on: the data directory, the store, the authority, the artifacts, TLS. All of it blocks
//! on the disk, so it happens on the blocking pool.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use domain::join::Endpoint;
use store::postgres::{Listener, PostgresStore};
use store::sqlite::SqliteStore;
use store::{Observer, Store};

use crate::app::authority::Given;
use crate::app::minisign::ReleaseKey;
use crate::app::{self, App, Parts};
use crate::artifacts::ArtifactStorage;
use crate::clusters::Clusters;
use crate::config::Config;
use crate::observe::metrics::{self, Metric};
use crate::oidc::{self, provider::Provider};
use crate::run::World;
use crate::tls::authority::issue::ServerName;
use crate::tls::authority::shared::Authorities;
use crate::tls::authority::{Authority, OWN_FILE, Source};
use crate::tls::config::{ApiCertificate, TlsConfigs};

/// The database, in the data directory.
pub const DATABASE: &str = "novacula.db";

/// What is open.
pub struct Opened {
    /// The use cases.
    pub app: Arc<App>,
    /// What both listeners show and verify by.
    pub tls: Arc<TlsConfigs>,
    /// Hears the other replicas, when there can be any: a process that serves runs it.
    pub listener: Option<Listener>,
}

/// Opens everything. `executor_addr` is where the executor listener is, for join tokens, when no endpoint was set.
///
/// # Errors
/// What cannot be opened, and why.
pub async fn open(config: &Config, world: &World, executor_addr: SocketAddr) -> anyhow::Result<Opened> {
    let (config, world) = (config.clone(), world.clone());
    let (store, listener) = open_store(&config, &world).await?;
    let own = config.data_dir.join(OWN_FILE);
    let kept = open_authorities(&config, &own, store.as_ref()).await.context("open the authority in the store")?;
    let opened = tokio::task::spawn_blocking(move || open_blocking(config, &world, executor_addr, store, kept));
    let (app, tls) = opened.await.context("open the data directory")??;
    Ok(Opened { app, tls, listener })
}

/// The store comes first: a file's lock is the data directory's, and another server's authority is left alone.
async fn open_store(config: &Config, world: &World) -> anyhow::Result<(Arc<dyn Store>, Option<Listener>)> {
    let observer: Observer = Arc::new(|operation, took| {
        metrics::observe(Metric::Store, &[("operation", operation)], took);
    });
    if let Some(options) = &config.database {
        let (store, listener) = PostgresStore::open(options).await.context("open the store")?;
        return Ok((Arc::new(store.with_observer(observer)), Some(listener)));
    }
    let (data_dir, clock) = (config.data_dir.clone(), Arc::clone(&world.clock));
    let store = tokio::task::spawn_blocking(move || {
        create_data_dir(&data_dir)?;
        SqliteStore::open(data_dir.join(DATABASE), clock).context("open the store")
    });
    let store = store.await.context("open the data directory")??;
    Ok((Arc::new(store.with_observer(observer)), None))
}

/// The authorities in the store, when they are there. The first is the one that is given, or `own` when that file is there.
///
/// # Errors
/// What cannot be read or opened, and why.
pub async fn open_authorities(config: &Config, own: &Path, store: &dyn Store) -> anyhow::Result<Option<Authorities>> {
    let Source::Store { keys, first } = &config.authority else {
        return Ok(None);
    };
    let (keys, first, own) = (keys.clone(), first.clone(), own.to_owned());
    let read = tokio::task::spawn_blocking(move || {
        let given = match first {
            Some(files) => Some(Given::read(&files)?),
            None => Given::read_own(&own)?,
        };
        anyhow::Ok((keys.read()?, given))
    });
    let (keys, given) = read.await.context("read the authority")??;
    let (trust_domain, settings) = (&config.trust_domain, &config.settings);
    Ok(Some(app::authority::open(store, keys, given, trust_domain, settings).await?))
}

fn create_data_dir(data_dir: &Path) -> anyhow::Result<()> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
    made.with_context(|| format!("create the data directory {}", data_dir.display()))
}

fn open_blocking(
    mut config: Config,
    world: &World,
    executor_addr: SocketAddr,
    store: Arc<dyn Store>,
    kept: Option<Authorities>,
) -> anyhow::Result<(Arc<App>, Arc<TlsConfigs>)> {
    let data_dir = config.data_dir.clone();
    create_data_dir(&data_dir)?;
    let authorities = match kept {
        Some(kept) => {
            kept.current().publish(&data_dir)?;
            kept
        }
        None => {
            let files = match &config.authority {
                Source::Given(files) => Some(files),
                Source::Own | Source::Store { .. } => None,
            };
            let authority = Authority::load(&data_dir, files, &config.trust_domain, world.clock.now());
            Authorities::of_files(authority.context("load the authority")?)
        }
    };
    let authorities = Arc::new(authorities);
    config.settings.trusted_clusters = Arc::new(trusted_clusters(config.trusted_clusters.as_deref())?);
    config.settings.identity_provider = identity_provider(config.oidc.as_deref())?;
    let artifacts = ArtifactStorage::open(&data_dir.join("artifacts")).context("open the artifact storage")?;
    let endpoint = config.settings.executor_endpoint.get_or_insert(endpoint(executor_addr)?);
    let mut names = server_names(&config.server_names);
    names.push(server_name(endpoint.host()));
    names.sort();
    names.dedup();
    let api_certificate = config.server_certificate.as_ref().map_or(ApiCertificate::Own, |given| {
        ApiCertificate::Given { certificate: given.certificate.clone(), key: given.key.clone() }
    });
    let tls = TlsConfigs::new(Arc::clone(&authorities), names, api_certificate, Arc::clone(&world.clock));
    let tls = Arc::new(tls.context("configure TLS")?);
    let parts = Parts {
        store,
        artifacts: Arc::new(artifacts),
        authorities,
        release_keys: release_keys(config.release_keys.as_deref())?,
        settings: config.settings,
        replica: app::new_replica_id(),
        entropy: Arc::clone(&world.entropy),
    };
    Ok((Arc::new(App::new(parts)), tls))
}

/// Where hosts find the executor listener as far as it knows itself: a wildcard address is none, and becomes the loopback.
fn endpoint(address: SocketAddr) -> anyhow::Result<Endpoint> {
    let host = match address.ip() {
        ip if ip.is_unspecified() => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("{host}:{}", address.port()).parse().context("name the executor listener")
}

fn server_names(names: &[String]) -> Vec<ServerName> {
    names.iter().map(|name| server_name(name)).collect()
}

fn server_name(name: &str) -> ServerName {
    name.parse().map_or_else(|_| ServerName::Dns(name.to_owned()), ServerName::Ip)
}

fn trusted_clusters(path: Option<&Path>) -> anyhow::Result<Clusters> {
    let Some(path) = path else {
        return Ok(Clusters::default());
    };
    Clusters::read(path).map_err(|mistakes| anyhow::anyhow!("read the trusted clusters: {}", mistakes.join("; ")))
}

fn identity_provider(path: Option<&Path>) -> anyhow::Result<Option<Arc<Provider>>> {
    let Some(path) = path else {
        return Ok(None);
    };
    let read =
        oidc::read(path).map_err(|mistakes| anyhow::anyhow!("read the identity provider: {}", mistakes.join("; ")));
    read.map(|provider| Some(Arc::new(provider)))
}

fn release_keys(path: Option<&Path>) -> anyhow::Result<Vec<ReleaseKey>> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    ReleaseKey::parse_all(&text).with_context(|| format!("read the release keys in {}", path.display()))
}
