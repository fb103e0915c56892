//! The use cases: what people, programs and executors ask of the control plane. Only this module calls the store.
//!
//! A use case authorizes its caller, reads, lets [`domain`] decide, and writes the decision with its feed rows in one
//! transaction. Nothing here calls a session: a commit wakes the change feed, and the sessions and watchers listen to it.
//!
//! Time is the store's ([`store::StoreClock`]), and randomness is injected ([`Entropy`]), so that tests own both.

pub mod caller;

pub mod commit;

pub mod error;

pub mod settings;

use std::fmt;
use std::sync::Arc;

use domain::{AttemptId, Timestamp};
use store::{ReplicaId, Store};
use uuid::Uuid;

use crate::app::error::Error;

pub use settings::Settings;

/// Where random bytes come from: the system in production, a seed in tests.
pub trait Entropy: Send + Sync + fmt::Debug {
    /// Fills `bytes`. They have to be fit for secrets.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

/// What the use cases stand on. Behind an `Arc`, shared by listeners, sessions and background jobs.
pub struct App {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Settings,
    pub(crate) replica: ReplicaId,
    pub(crate) entropy: Arc<dyn Entropy>,
}

// === impl App ===

impl App {
    /// Joins the parts. `run.rs` is the only caller beside tests.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        settings: Settings,
        replica: ReplicaId,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self {
            store,
            settings,
            replica,
            entropy,
        }
    }

    /// How it was set up.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The store's clock.
    pub(crate) async fn now(&self) -> Result<Timestamp, Error> {
        Ok(self.store.store_now().await?)
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

    /// A short public id that nobody has to type: 12 characters of `0-9 a-v`, 60 random bits.
    pub(crate) fn new_public_id(&self) -> String {
        const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
        let mut random = [0; 12];
        self.entropy.fill(&mut random);
        random
            .iter()
            .map(|byte| char::from(DIGITS[usize::from(byte & 31)]))
            .collect()
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("replica", &self.replica)
            .finish_non_exhaustive()
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
