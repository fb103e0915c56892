//! `novacula-operator run`: a candidate proves itself and is ready; whoever holds the Lease speaks.
//!
//! ```text
//! candidate ─ Probe ─→ ready ─ the Lease is free ─→ leads: one stream, the journal, the watch ─ SIGTERM, Lease lost ─→ silent
//! ```
//!
//! Readiness never waits for the Lease, and the Lease only for readiness: while the old pod leads, the new one proves itself, is
//! ready by that, and takes over when the old one lets go. While both are there, the holder watches and patches back: the
//! version before, or after it died, the new version, which then is its own trial.

mod enrol;

mod lead;

use std::time::Duration;

use domain::Version;
use executor_sdk::connect::Backoff;
use executor_sdk::program::Signals;
use executor_sdk::{clock, report};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::args::Run;
use crate::cluster::{Cluster, Names};
use crate::keep::Kept;
use crate::lease::{self, Holder};
use crate::operator::Registries;
use crate::proof::{Proof, State};
use crate::registry::settings::Settings;

/// Why `run` cannot begin. Whatever time may mend is waited for instead.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are wrong: every mistake, one sentence each.
    #[error("bad configuration: {}", .0.join("; "))]
    Configuration(Vec<String>),
    /// There is no way to the cluster.
    #[error("begin")]
    Cluster(#[from] crate::cluster::Error),
    /// The kernel gives no signals.
    #[error("listen to signals")]
    Signals(#[from] std::io::Error),
}

/// Runs until a signal.
///
/// # Errors
/// [`Error`], before anything else only.
pub async fn run(version: Version, arguments: Run) -> Result<(), Error> {
    let shutdown = CancellationToken::new();
    let mut signals = Signals::new()?;
    let registries = registries(&arguments)?;
    let cluster = Cluster::connect(names(&arguments)).await?;
    tracing::info!(%version, pod = arguments.pod, deployment = arguments.deployment, "a candidate");
    let candidate = Candidate::new(version, arguments, registries, cluster);
    let told = async {
        signals.recv().await;
        shutdown.cancel();
    };
    // It serves until it is told.
    tokio::join!(told, candidate.serve(&shutdown));
    Ok(())
}

fn registries(arguments: &Run) -> Result<Registries, Error> {
    let given = &arguments.registries;
    let authorities = match &given.registry_ca_file {
        Some(file) => Some(std::fs::read(file).map_err(|error| {
            Error::Configuration(vec![format!("the file of registries' authorities {}: {error}", file.display())])
        })?),
        None => None,
    };
    let settings = Settings::new(&given.registry_mirrors, &given.plain_http_registries, authorities.as_deref());
    let settings = settings.map_err(Error::Configuration)?;
    Ok(Registries { settings, pull_secrets: given.pull_secrets.clone() })
}

fn names(arguments: &Run) -> Names {
    Names {
        namespace: arguments.namespace.clone(),
        deployment: arguments.deployment.clone(),
        container: arguments.container.clone(),
        secret: arguments.secret.clone(),
        lease: arguments.lease.clone(),
        pod: arguments.pod.clone(),
    }
}

/// A control plane that does not take the join token is asked less and less often.
const ENROL_WAIT_MAX: Duration = Duration::from_secs(60);

struct Candidate {
    version: Version,
    arguments: Run,
    cluster: Cluster,
    kept: Kept,
    registries: Registries,
    holder: Holder,
    proof: Proof,
    /// Not enrolling again before this.
    enrol_at: Duration,
    enrol_again: Backoff,
}

impl Candidate {
    fn new(version: Version, arguments: Run, registries: Registries, cluster: Cluster) -> Self {
        let kept = Kept::new(cluster.clone());
        let holder = Holder::new(cluster.clone());
        let proof = Proof::new(kept.clone(), arguments.enrolment.endpoint.clone(), &arguments.ready_file);
        Self {
            version,
            arguments,
            cluster,
            kept,
            registries,
            holder,
            proof,
            enrol_at: Duration::ZERO,
            enrol_again: Backoff::between(lease::EVERY, ENROL_WAIT_MAX),
        }
    }

    async fn serve(mut self, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            self.proof.try_once().await;
            let may_speak = self.proof.state() != State::Unproved;
            if may_speak && self.holds().await {
                match self.proof.state() {
                    State::NotEnrolled => self.enrol().await,
                    State::Unproved | State::Proved => self.lead(shutdown).await,
                }
            }
            tokio::select! {
                // The end.
                () = shutdown.cancelled() => {}
                // The next look.
                () = sleep(lease::EVERY) => {}
            }
        }
        if let Err(error) = self.holder.let_go(clock::wall()).await {
            tracing::warn!(%error, "the next pod has to wait for the Lease");
        }
        tracing::info!("ended by a signal");
    }

    async fn holds(&mut self) -> bool {
        self.holder.look(clock::since_boot(), clock::wall()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the Lease cannot be looked at");
            false
        })
    }

    /// One pod enrols: a join token may be good for one.
    async fn enrol(&mut self) {
        let now = clock::since_boot();
        if now < self.enrol_at {
            return;
        }
        self.enrol_at = now + self.enrol_again.wait();
        match enrol::enrol(&self.arguments.enrolment, &self.kept).await {
            Ok(credentials) => tracing::info!(executor = %credentials.executor, "enrolled"),
            Err(error) => tracing::error!(error = report::chain(&error), "not enrolled yet, trying again"),
        }
    }

    async fn lead(&mut self, shutdown: &CancellationToken) {
        let site = lead::Site {
            version: self.version.clone(),
            arguments: &self.arguments,
            cluster: self.cluster.clone(),
            kept: self.kept.clone(),
            registries: self.registries.clone(),
        };
        let end = shutdown.child_token();
        let lead = lead::lead(site, &mut self.holder, end);
        if let Err(error) = lead.await {
            tracing::error!(error = report::chain(error.as_ref()), "cannot speak for this executor, trying again");
        }
    }
}
