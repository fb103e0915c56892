//! `novacula-agent run`: recover, say READY, stay in step with the control plane.
//!
//! READY is said once configuration, journal and credentials are read, and never waits for a connection: an agent that
//! cannot reach its control plane is healthy.

use std::sync::Arc;
use std::time::Duration;

use domain::Version;
use executor_sdk::credentials::{self, CredentialStore, Credentials};
use executor_sdk::download::{self, LocalAddresses};
use executor_sdk::driver::{self, End, Options, Status};
use executor_sdk::program::Signals;
use executor_sdk::report::chain;
use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::apply::recover::{Recovered, recover};
use crate::config::{Config, PrivateDownloads};
use crate::executor::{Agent, Wishes};
use crate::exit::Failure;
use crate::layout::Layout;
use crate::rollback::steps;
use crate::service_manager::{Manager, ServiceManager};

/// How often an agent that is not enrolled looks for credentials.
const ENROLMENT_WAIT: Duration = Duration::from_secs(5);

/// Runs until a signal, or until another version is to start in this one's place.
///
/// # Errors
/// [`Failure`] when journal or credentials cannot be used, which no later connection would mend.
pub async fn run(layout: Layout, version: Version, config: Config) -> Result<(), Failure> {
    let manager = Manager::of_this_process(&layout);
    let mut signals = Signals::new().map_err(|error| Failure::because(&error))?;
    let invocation = std::env::var("INVOCATION_ID").ok();
    let recovered = recover(&layout, &manager, &version, invocation.as_deref()).await;
    if recovered.map_err(|error| Failure::because(&error))? == Recovered::Restart {
        if let Err(error) = manager.restart().await {
            tracing::error!(error = %chain(&error), "no restart; ending, to be started again");
        }
        return Ok(());
    }
    let store = credential_store(&layout);
    let loaded = store.load();
    if let Err(error @ credentials::Error::NotEnrolled { .. }) = &loaded {
        tracing::warn!(error = %chain(error), next = layout.command("enroll"), "waiting to be enrolled");
        ready("waiting to be enrolled");
        if !enrolled(&store, &mut signals).await {
            return Ok(());
        }
    }
    let credentials = store.load().map_err(|error| Failure::because(&error))?;
    let credentials = moved(credentials, &config, &store)?;
    tracing::info!(%version, executor = %credentials.executor, manager = manager.name(), "ready");
    ready("running");
    #[cfg(feature = "fault-points")]
    crate::misbehaviour::after_ready(&layout);
    let wishes = Wishes {
        channel: config.channel,
        channel_ceiling: config.channel_ceiling,
        volatile_state: config.volatile_state,
    };
    let agent = Arc::new(Agent::new(layout.clone(), version, manager, wishes).await);
    let shutdown = CancellationToken::new();
    let (status, mut news) = watch::channel(Status::default());
    let mut driver = Box::pin(driver::run(agent, options(&layout, &config, store, status), shutdown.clone()));
    let mut started = false;
    let end = loop {
        tokio::select! {
            end = &mut driver => break end,
            // What the loop is doing is told to the service manager, and once to the journal.
            Ok(()) = news.changed() => {
                let now = news.borrow_and_update().clone();
                if !started && (now.connected.is_some() || now.trouble.is_some()) {
                    started = true;
                    note_started(&layout);
                }
                tell(&now);
            }
            // Told to end: a swap that has begun is finished first.
            () = signals.recv() => {
                shutdown.cancel();
                break driver.await;
            }
        }
    };
    match end.map_err(|error| Failure::because(&error))? {
        End::Shutdown => tracing::info!("ended by a signal"),
        End::Restart => tracing::info!("ending for another version"),
    }
    Ok(())
}

fn options(layout: &Layout, config: &Config, credentials: CredentialStore, status: watch::Sender<Status>) -> Options {
    let local_addresses = match config.private_downloads {
        PrivateDownloads::Refused => LocalAddresses::Refused,
        PrivateDownloads::Allowed => LocalAddresses::Allowed,
    };
    let downloads =
        download::Policy { bytes_per_second: config.bytes_per_second, local_addresses, ..download::Policy::default() };
    let credentials = Arc::new(credentials);
    Options { credentials, downloads, status: Some(status), ..Options::new(layout.state_dir()) }
}

#[cfg(not(feature = "fault-points"))]
fn credential_store(layout: &Layout) -> CredentialStore {
    CredentialStore::new(layout.state_dir())
}

#[cfg(feature = "fault-points")]
fn credential_store(layout: &Layout) -> CredentialStore {
    crate::misbehaviour::credential_store(layout)
}

/// The host's configuration has the last word on where the control plane is.
fn moved(mut credentials: Credentials, config: &Config, store: &CredentialStore) -> Result<Credentials, Failure> {
    if let Some(endpoint) = &config.endpoint
        && credentials.move_to(endpoint)
    {
        tracing::info!(%endpoint, "the control plane has moved, says the configuration");
        store.save(&credentials).map_err(|error| Failure::because(&error))?;
    }
    Ok(credentials)
}

/// Waits for an enrolment; says whether there was one before the end.
async fn enrolled(store: &CredentialStore, signals: &mut Signals) -> bool {
    loop {
        tokio::select! {
            () = signals.recv() => return false,
            () = tokio::time::sleep(ENROLMENT_WAIT) => {}
        }
        if !matches!(store.load(), Err(credentials::Error::NotEnrolled { .. })) {
            return true;
        }
    }
}

/// Tells whoever started this process, if anybody wants to know.
fn ready(status: &str) {
    if let Err(error) = sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)]) {
        tracing::warn!(%error, "the service manager cannot be told that this process is ready");
    }
}

/// A journal that cannot be written costs the reason of a later rollback, and nothing else.
fn note_started(layout: &Layout) {
    if let Err(error) = steps::note_started(layout) {
        tracing::warn!(error = %chain(&error), "the journal does not say that this version runs");
    }
}

/// One line for `systemctl status`.
fn tell(status: &Status) {
    let line = match (&status.connected, &status.trouble) {
        (Some(endpoint), _) => format!("connected to {endpoint}"),
        (None, Some(trouble)) => format!("not connected: {trouble}"),
        (None, None) => "connecting".to_owned(),
    };
    // Nobody may be listening; the log says it too.
    let _ = sd_notify::notify(&[NotifyState::Status(&line)]);
}
