//! The only wiring: what stands on what, and in which order it starts and stops. It decides nothing.
//!
//! ```text
//! start: store -> authority, artifacts, TLS -> sockets -> use cases -> sessions -> background -> listeners -> ready
//! stop:  not ready -> end streams, accept no executor -> stop accepting -> finish use cases -> background -> store
//! ```

pub mod parts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use proto::v1::enrollment_service_server::EnrollmentServiceServer;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::service::{Routes, RoutesBuilder};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::app::enrolment::Enrolment;
use crate::app::{App, Entropy, SystemEntropy};
use crate::background;
use crate::config::Config;
use crate::grpc::access::Listener as Kind;
use crate::grpc::layer::Gatekeeper;
use crate::grpc::limits::Limits as RateLimits;
use crate::grpc::{enrollment, routes, services, sync};
use crate::observe::metrics;
use crate::run::parts::Opened;
use crate::session::{self, Sessions};
use crate::supervise::{OnCancel, OnError, Supervisor};
use crate::tls::config::{Renewal, TlsConfigs};
use crate::tls::gate::Gate;
use crate::tls::listener::{self, Limits, Listener};
use crate::web::status;

/// How often server certificates are looked at. They are renewed ten days before their end.
const TLS_CHECK: Duration = Duration::from_secs(3600);

/// How often histograms are folded, so that they do not grow between scrapes.
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

/// What requests and streams get beside the drain's spread before they are cut.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a started server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// People and programs.
    pub api_addr: SocketAddr,
    /// Agents and operators.
    pub executor_addr: SocketAddr,
}

/// What a process is given from outside, and tests replace.
#[derive(Clone, Debug)]
pub struct World {
    /// The clock of store and certificates.
    pub clock: Arc<dyn store::Clock>,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Woken to read given certificates again (SIGHUP).
    pub reload: Arc<Notify>,
    /// How much the executor listener bears.
    pub executor_limits: Limits,
    /// How much the API listener bears.
    pub api_limits: Limits,
}

impl Default for World {
    fn default() -> Self {
        Self {
            clock: Arc::new(store::SystemClock),
            entropy: Arc::new(SystemEntropy),
            reload: Arc::new(Notify::new()),
            executor_limits: Limits::executors(),
            api_limits: Limits::api(),
        }
    }
}

/// Runs a control plane until `shutdown`, then drains it. `ready` is called once both listeners accept.
///
/// # Errors
/// What keeps it from starting, or the task that it cannot go on without.
pub async fn run(config: Config, shutdown: CancellationToken, ready: impl FnOnce(Bound) + Send) -> anyhow::Result<()> {
    run_in(World::default(), config, shutdown, ready).await
}

/// The same in another world.
///
/// # Errors
/// As [`run`].
pub async fn run_in(
    world: World,
    config: Config,
    shutdown: CancellationToken,
    ready: impl FnOnce(Bound) + Send,
) -> anyhow::Result<()> {
    let sockets = Sockets::bind(&config)?;
    let opened = parts::open(&config, &world, sockets.bound()?.executor_addr).await?;
    serve(&world, &config, sockets, opened, shutdown, ready).await
}

/// Serves over what is open.
async fn serve(
    world: &World,
    config: &Config,
    sockets: Sockets,
    opened: Opened,
    shutdown: CancellationToken,
    ready: impl FnOnce(Bound) + Send,
) -> anyhow::Result<()> {
    let Opened { app, tls, listener } = opened;
    let bound = sockets.bound()?;
    let api = Supervisor::new("api", shutdown.clone());
    let storeys = Storeys {
        executors: api.storey("executors"),
        sessions: api.storey("sessions"),
        background: api.storey("background"),
        api,
        shutdown: shutdown.clone(),
    };
    let reporter = HealthReporter::new();
    if let Some(listener) = listener {
        storeys.background.spawn("store.listen", OnCancel::Abort, OnError::Stop, async move {
            listener.run().await;
            Ok(())
        });
    }
    // The lease first: sessions that open count from their first moment.
    background::start(&app, &storeys.background).await.context("start the background jobs")?;
    start(world, config, &app, &tls, &storeys, &reporter, sockets)?;
    reporter.set_service_status("", ServingStatus::Serving).await;
    tracing::info!(api = %bound.api_addr, executors = %bound.executor_addr, version = %app.settings().server_version, "serving");
    ready(bound);
    shutdown.cancelled().await;
    tracing::info!("draining");
    reporter.set_service_status("", ServingStatus::NotServing).await;
    storeys.stop(config.drain).await;
    app.replica_leave().await;
    tracing::info!("stopped");
    match storeys.background.failure() {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

/// Both sockets, taken before anything is written: a server that is there already is found out first.
struct Sockets {
    api: TcpListener,
    executors: TcpListener,
}

impl Sockets {
    fn bind(config: &Config) -> anyhow::Result<Self> {
        let bind = |address: SocketAddr, what: &str| {
            listener::bind(address).with_context(|| format!("listen on {address} for {what}"))
        };
        Ok(Self { api: bind(config.api_listen, "the API")?, executors: bind(config.executor_listen, "executors")? })
    }

    fn bound(&self) -> anyhow::Result<Bound> {
        let api_addr = self.api.local_addr().context("ask for the API's address")?;
        let executor_addr = self.executors.local_addr().context("ask for the executors' address")?;
        Ok(Bound { api_addr, executor_addr })
    }
}

/// Who owns which tasks.
struct Storeys {
    api: Supervisor,
    executors: Supervisor,
    sessions: Supervisor,
    background: Supervisor,
    shutdown: CancellationToken,
}

impl Storeys {
    async fn stop(&self, drain: Duration) {
        let limit = drain + PATIENCE;
        // Streams end by the sessions' word, and their connections with them.
        tokio::join!(self.sessions.stop(limit), self.executors.stop(limit));
        // Last of the doors: while the streams go, whoever asks is told that this server is not ready, and is answered.
        self.api.stop(PATIENCE).await;
        self.background.stop(PATIENCE).await;
    }
}

fn start(
    world: &World,
    config: &Config,
    app: &Arc<App>,
    tls: &Arc<TlsConfigs>,
    storeys: &Storeys,
    reporter: &HealthReporter,
    sockets: Sockets,
) -> anyhow::Result<()> {
    let limits = Arc::new(RateLimits::default());
    let offers_per_second = if config.database.is_some() { session::offer::A_SECOND } else { 0 };
    let session_limits =
        session::Limits { drain_spread: config.drain, offers_per_second, ..session::Limits::default() };
    let sessions = Sessions::start(Arc::clone(app), session_limits, &storeys.sessions);
    watch_over(world, config, app, tls, &storeys.background);

    let status =
        status::Status { app: Arc::clone(app), draining: storeys.shutdown.clone(), metrics: metrics::install() };
    let keeper = Gatekeeper { app: Arc::clone(app), limits: Arc::clone(&limits) };
    let router = routes::api(api_services(app, reporter, &storeys.api)?, keeper, status, storeys.api.clone());
    let api_limits = Limits { drain_spread: world.api_limits.drain_spread.min(config.drain), ..world.api_limits };
    let listener = Listener::new(Kind::Api, sockets.api, api_limits, Arc::clone(tls), storeys.api.clone(), router);
    storeys.api.spawn("listener.api", OnCancel::Abort, OnError::Stop, listener.serve());

    let enrolment = Enrolment::new(Arc::clone(app));
    let gate = Gate { enrolment: enrolment.clone(), limits };
    let router = routes::executors(executor_services(enrolment, sessions), gate);
    let executor_limits = Limits { drain_spread: config.drain, ..world.executor_limits };
    let supervisor = storeys.executors.clone();
    let listener =
        Listener::new(Kind::Executors, sockets.executors, executor_limits, Arc::clone(tls), supervisor, router);
    storeys.executors.spawn("listener.executors", OnCancel::Abort, OnError::Stop, listener.serve());
    Ok(())
}

fn api_services(app: &Arc<App>, reporter: &HealthReporter, tasks: &Supervisor) -> anyhow::Result<RoutesBuilder> {
    let mut services = Routes::builder();
    routes::add_reflection(&mut services).context("read the built-in descriptors")?;
    services.add_service(tonic_health::pb::health_server::HealthServer::new(
        tonic_health::server::HealthService::from_health_reporter(reporter.clone()),
    ));
    services::add(&mut services, app, tasks);
    Ok(services)
}

fn executor_services(enrolment: Enrolment, sessions: Arc<Sessions>) -> RoutesBuilder {
    let mut services = Routes::builder();
    let enrollment = EnrollmentServiceServer::new(enrollment::Service::new(enrolment));
    services.add_service(enrollment.max_decoding_message_size(enrollment::MAX_MESSAGE_BYTES));
    services.add_service(sync::service(sessions));
    services
}

/// What renews certificates and keeps metrics small.
fn watch_over(world: &World, config: &Config, app: &Arc<App>, tls: &Arc<TlsConfigs>, background: &Supervisor) {
    let (renewed, reload) = (Arc::clone(tls), Arc::clone(&world.reload));
    let (app, data_dir) = (Arc::clone(app), config.data_dir.clone());
    let mut rotated = app.authorities.subscribe();
    background.spawn("tls.renewal", OnCancel::Abort, OnError::Stop, async move {
        loop {
            let reloads = tokio::select! {
                // Given certificates may have changed.
                () = reload.notified() => true,
                // Others sign, or are trusted.
                Ok(()) = rotated.changed() => true,
                // Our own near their end.
                () = tokio::time::sleep(TLS_CHECK) => false,
            };
            let (configs, authority, data_dir) = (Arc::clone(&renewed), app.authority(), data_dir.clone());
            let done = tokio::task::spawn_blocking(move || match reloads {
                true => {
                    authority.publish(&data_dir)?;
                    configs.reload().map(|()| Renewal::Renewed)
                }
                false => configs.renew_if_due(),
            });
            match done.await? {
                Ok(Renewal::Renewed) => tracing::info!("server certificates were renewed"),
                Ok(Renewal::NotDue) => {}
                Err(error) => {
                    let error = crate::observe::chain(&error);
                    tracing::error!(error, "server certificates could not be renewed; the old ones are shown still");
                }
            }
        }
    });
    let metrics = metrics::install();
    background.spawn("metrics.upkeep", OnCancel::Abort, OnError::Log, async move {
        loop {
            tokio::time::sleep(METRICS_UPKEEP).await;
            metrics.run_upkeep();
        }
    });
}

#[cfg(test)]
mod tests;
