//! How the use cases behave where operators may choose. Everything has a default; `config.rs` and tests set the rest.

use std::sync::Arc;
use std::time::Duration;

use domain::Version;
use domain::attempt::Policy;
use domain::join::Endpoint;

use crate::clusters::Clusters;
use crate::oidc::provider::Provider;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The choices.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The control plane's own version: what out of support is measured by.
    pub server_version: Version,
    /// How long each silence of an attempt is borne.
    pub policy: Policy,
    /// How long one unbroken process of a new version runs before it is confirmed. Default 120 s.
    pub probation: Duration,
    /// How often an executor says that it is alive. Default 5 s.
    pub heartbeat_interval: Duration,
    /// Time to be picked up when a request names none (`PENDING_UPGRADE_TTL_MS`). Default 15 min, at most 24 h.
    pub pending_upgrade_ttl: Duration,
    /// Last seen this long ago is offline (rule 2), and a silent stream is closed after it. Default 30 s.
    pub silent_after: Duration,
    /// How long an executor's certificate lives. Default 30 days.
    pub certificate_life: Duration,
    /// How long the renewals are spread that a change of the authorities asks of the fleet. Default 1 h.
    pub authority_spread: Duration,
    /// How long after its end a certificate is still renewed. Default 180 days.
    pub late_renewal: Duration,
    /// Where join tokens send executors: the executor listener as hosts see it. None: no join token can be made.
    pub executor_endpoint: Option<Endpoint>,
    /// How long a replica's lease runs. Renewed at a third of it. Default 15 s, half of `silent_after`, so that two
    /// renewals may be lost before an executor of a living replica would count as gone.
    pub replica_lease: Duration,
    /// What is forgotten, and when.
    pub retention: Retention,
    /// Clusters whose word enrols their operators. Default: none.
    pub trusted_clusters: Arc<Clusters>,
    /// Who vouches for people on the web page. Default: nobody; they sign in with tokens.
    pub identity_provider: Option<Arc<Provider>>,
    /// Largest artifact taken into storage, in bytes. Default 1 GiB.
    pub max_artifact_bytes: u64,
}

/// How long what is over is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Ended attempts. Default 400 days: a year and the time to write its report.
    pub attempts: Duration,
    /// Feed and audit rows. Default 400 days.
    pub events: Duration,
    /// Ended sessions that are not their executor's newest. Default 7 days.
    pub sessions: Duration,
    /// Certificates, after their end. Default 365 days; never less than late renewal.
    pub certificates: Duration,
    /// Tokens, web sessions and join tokens, after their end. Default 30 days.
    pub tokens: Duration,
    /// Executors, after they were deleted; longer while an attempt or a certificate means one. Default 400 days.
    pub executors: Duration,
    /// Stored bytes, after the last release that named them was seen. Default 7 days.
    pub artifacts: Duration,
}

// === impl Settings ===

impl Settings {
    /// The defaults, for a control plane of `server_version`.
    #[must_use]
    pub fn new(server_version: Version) -> Self {
        Self {
            server_version,
            policy: Policy::default(),
            probation: domain::sync::DEFAULT_PROBATION,
            heartbeat_interval: domain::sync::DEFAULT_HEARTBEAT_INTERVAL,
            pending_upgrade_ttl: domain::attempt::request::DEFAULT_TTL,
            silent_after: Duration::from_secs(30),
            certificate_life: 30 * DAY,
            authority_spread: Duration::from_secs(3600),
            late_renewal: 180 * DAY,
            executor_endpoint: None,
            replica_lease: Duration::from_secs(15),
            retention: Retention::default(),
            trusted_clusters: Arc::default(),
            identity_provider: None,
            max_artifact_bytes: 1 << 30,
        }
    }
}

// === impl Retention ===

impl Default for Retention {
    fn default() -> Self {
        Self {
            attempts: 400 * DAY,
            events: 400 * DAY,
            sessions: 7 * DAY,
            certificates: 365 * DAY,
            tokens: 30 * DAY,
            executors: 400 * DAY,
            artifacts: 7 * DAY,
        }
    }
}
