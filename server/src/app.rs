//! The use cases: what people, programs and executors ask of the control plane. Only this module calls the store.
//!
//! A use case authorizes its caller, reads, lets [`domain`] decide, and writes the decision with its feed rows in one
//! transaction. Nothing here calls a session: a commit wakes the change feed, and the sessions and watchers listen to it.
//!
//! Time is the store's ([`store::StoreClock`]), and randomness is injected ([`Entropy`]), so that tests own both.

pub mod caller;

pub mod bearer;

pub mod authority;

pub mod enrolment;

pub mod artifact;

pub mod replica;

pub mod restore;

pub mod error;

pub mod settings;

pub mod page;

pub mod presence;

pub mod spec;

pub mod commit;

pub mod sync;

pub mod minisign;

pub mod organization;

pub mod bootstrap;

pub mod token;

pub mod sign_in;

pub mod join_token;

pub mod once;

pub mod executor;

pub mod upgrade;

pub mod explain;

pub mod release;

pub mod event;

pub mod names;

pub mod watch;

pub mod deadline;

pub mod housekeeping;

use std::fmt;
use std::sync::Arc;

use domain::{AttemptId, Timestamp};
use store::{ReplicaId, Store};
use uuid::Uuid;

use crate::app::error::Error;
use crate::app::minisign::ReleaseKey;
use crate::app::replica::Lease;
use crate::app::sync::ending::Unwritten;
use crate::app::sync::unknown::UnknownReports;
use crate::artifacts::ArtifactStorage;
use crate::tls::authority::Authority;
use crate::tls::authority::shared::Authorities;

pub use settings::Settings;

/// Where random bytes come from: the system in production, a seed in tests.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `bytes`. They have to be fit for secrets.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

/// What the use cases stand on.
#[derive(Clone)]
pub struct Parts {
    /// The disk.
    pub store: Arc<dyn Store>,
    /// Artifacts by content.
    pub artifacts: Arc<ArtifactStorage>,
    /// Signs executor certificates; join tokens carry its pin.
    pub authorities: Arc<Authorities>,
    /// Which signatures count when a release is published. Empty: only their form and manifests are checked.
    pub release_keys: Vec<ReleaseKey>,
    /// How it was set up.
    pub settings: Settings,
    /// This process.
    pub replica: ReplicaId,
    /// Random bytes.
    pub entropy: Arc<dyn Entropy>,
}

/// The use cases. Behind an `Arc`, shared by listeners, sessions and background jobs.
pub struct App {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) artifacts: Arc<ArtifactStorage>,
    pub(crate) authorities: Arc<Authorities>,
    pub(crate) release_keys: Vec<ReleaseKey>,
    pub(crate) settings: Settings,
    pub(crate) replica: ReplicaId,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) unknown_reports: UnknownReports,
    pub(crate) unwritten_ends: Unwritten,
    pub(crate) lease: tokio::sync::watch::Sender<Lease>,
}

// === impl App ===

impl App {
    /// Joins the parts. `run.rs` is the only caller beside tests.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { store, artifacts, authorities, release_keys, settings, replica, entropy } = parts;
        Self {
            store,
            artifacts,
            authorities,
            release_keys,
            settings,
            replica,
            entropy,
            unknown_reports: UnknownReports::default(),
            unwritten_ends: Unwritten::default(),
            lease: tokio::sync::watch::Sender::new(Lease::Held),
        }
    }

    /// How it was set up.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who signs and is trusted now.
    pub(crate) fn authority(&self) -> Arc<Authority> {
        self.authorities.current()
    }

    /// The store's clock.
    pub(crate) async fn now(&self) -> Result<Timestamp, Error> {
        Ok(self.store.store_now().await?)
    }

    /// 256 random bits as 64 hexadecimal digits.
    #[must_use]
    pub fn random_word(&self) -> String {
        hex::encode(self.random_32())
    }

    /// 256 bits for a secret.
    pub(crate) fn random_32(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes);
        bytes
    }

    /// An attempt's id: UUIDv7 of the request time, so that attempts sort by it.
    pub(crate) fn new_attempt_id(&self, now: Timestamp) -> AttemptId {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let millis = u64::try_from(now.as_micros() / 1_000).unwrap_or(0);
        AttemptId::new(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// A short public id that nobody has to type: of this moment, with 40 random bits.
    pub(crate) fn new_public_id(&self, now: Timestamp) -> String {
        let mut random = [0; 8];
        self.entropy.fill(&mut random);
        public_id(u64::try_from(now.as_micros() / 1_000).unwrap_or(0), random)
    }
}

/// A public id. Its first nine characters count down the milliseconds, so that a list in order of id is newest first; five bits
/// of each byte follow.
fn public_id(millis: u64, bytes: [u8; 8]) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
    // 45 bits of milliseconds: until the year 3084.
    const LAST: u64 = (1 << 45) - 1;
    let left = LAST - millis.min(LAST);
    let digit = |five_bits: u64| char::from(DIGITS[usize::try_from(five_bits & 31).unwrap_or(0)]);
    let time = (0..9).rev().map(|place| digit(left >> (5 * place)));
    time.chain(bytes.iter().map(|byte| digit(u64::from(*byte)))).collect()
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App").field("replica", &self.replica).finish_non_exhaustive()
    }
}

// === impl SystemEntropy ===

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
    }
}

/// The name of this process for the leases, fresh at each start.
#[must_use]
pub fn new_replica_id() -> ReplicaId {
    ReplicaId(Uuid::new_v4())
}
