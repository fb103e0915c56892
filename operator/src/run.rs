//! `novacula-operator run`: a candidate proves itself and is ready; whoever holds the Lease speaks.
//!
//! ```text
//! candidate ─ Probe ─→ ready ─ the Lease is free ─→ leads: one stream, the journal, the watch ─ SIGTERM, Lease lost ─→ silent
//! ```
//!
//! Readiness never waits for the Lease, and the Lease only for readiness: while the old pod leads, the new one proves itself, is
//! ready by that, and takes over when the old one lets go. While both are there, the holder watches and patches back: the
//! version before, or after it died, the new version, which then is its own trial.
//!
//! Who has no certificate, or one that has ended, takes the Lease for the time of asking for one. It proves itself with that.

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
    let told = async {
        signals.recv().await;
        shutdown.cancel();
    };
    // It serves until it is told.
    tokio::join!(told, serve(version, arguments, registries, cluster, &shutdown));
    Ok(())
}

/// Runs in this cluster until it is told to end.
pub async fn serve(
    version: Version,
    arguments: Run,
    registries: Registries,
    cluster: Cluster,
    shutdown: &CancellationToken,
) {
    tracing::info!(%version, pod = arguments.pod, deployment = arguments.deployment, "a candidate");
    Box::pin(Candidate::new(version, arguments, registries, cluster).serve(shutdown)).await;
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

/// What its objects are called.
#[must_use]
pub fn names(arguments: &Run) -> Names {
    Names {
        namespace: arguments.namespace.clone(),
        deployment: arguments.deployment.clone(),
        container: arguments.container.clone(),
        secret: arguments.secret.clone(),
        lease: arguments.lease.clone(),
        pod: arguments.pod.clone(),
    }
}

/// A pod that cannot prove itself tries again within this at the latest: somebody may be waiting for its rollout.
const PROVE_WAIT_MAX: Duration = Duration::from_secs(10);

/// A control plane that gives no certificate is asked less and less often.
const CERTIFY_WAIT_MAX: Duration = Duration::from_secs(60);

struct Candidate {
    version: Version,
    arguments: Run,
    cluster: Cluster,
    kept: Kept,
    registries: Registries,
    holder: Holder,
    proof: Proof,
    prove_again: Backoff,
    /// Not asking for a certificate again before this.
    certify_at: Duration,
    certify_again: Backoff,
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
            prove_again: Backoff::between(lease::EVERY, PROVE_WAIT_MAX),
            certify_at: Duration::ZERO,
            certify_again: Backoff::between(lease::EVERY, CERTIFY_WAIT_MAX),
        }
    }

    async fn serve(mut self, shutdown: &CancellationToken) {
        while !shutdown.is_cancelled() {
            self.proof.try_once().await;
            if self.may_speak() && self.holds().await {
                match self.proof.state() {
                    State::NotEnrolled | State::Late => {
                        if self.certify().await {
                            continue;
                        }
                    }
                    State::Unproved | State::Proved => self.lead(shutdown).await,
                }
            }
            tokio::select! {
                // The end.
                () = shutdown.cancelled() => {}
                // The next look.
                () = sleep(self.rest()) => {}
            }
        }
        self.let_go().await;
        tracing::info!("ended by a signal");
    }

    /// Whether the Lease would be of use here.
    fn may_speak(&self) -> bool {
        match self.proof.state() {
            State::NotEnrolled | State::Proved => true,
            State::Late => clock::since_boot() >= self.certify_at,
            State::Unproved => false,
        }
    }

    /// How long until the next look. A control plane that was away is asked by many candidates: not in step, and less and less often.
    fn rest(&mut self) -> Duration {
        match self.proof.state() {
            State::Unproved | State::Late => self.prove_again.wait(),
            State::NotEnrolled | State::Proved => self.holder.rest(),
        }
    }

    async fn let_go(&mut self) {
        if let Err(error) = self.holder.let_go(clock::wall()).await {
            tracing::warn!(%error, "the next pod has to wait for the Lease");
        }
    }

    async fn holds(&mut self) -> bool {
        self.holder.look(clock::since_boot(), clock::wall()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the Lease cannot be looked at");
            false
        })
    }

    /// One pod asks for a certificate: a join token may be good for one. Says whether there is a new one.
    async fn certify(&mut self) -> bool {
        let now = clock::since_boot();
        if now < self.certify_at {
            return false;
        }
        self.certify_at = now + self.certify_again.wait();
        let is_late = self.proof.state() == State::Late;
        let set = &self.arguments.enrolment;
        let certified = if is_late { enrol::renew(set, &self.kept).await } else { enrol::enrol(set, &self.kept).await };
        match certified {
            Ok(credentials) => {
                let how = if is_late { "its certificate was renewed" } else { "enrolled" };
                tracing::info!(executor = %credentials.executor, "{how}");
                return true;
            }
            Err(error) => tracing::error!(error = report::chain(&error), "no certificate yet, trying again"),
        }
        if is_late {
            // A pod that was told of another control plane may be taken there.
            self.let_go().await;
        }
        false
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
