//! Sessions: one open stream of one executor each, and what keeps them right (DESIGN section 8).
//!
//! ```text
//!              ┌ driver (one task each): inbound ─> machine ─> app::sync ─> outbox ─> body of the response
//! stream ──────┤                            │ hello                          ^
//!              │                            v                                │ desired, close
//!              └──────────────────── admission (batches) ──> registry <── dispatcher <── change feed, sweep every 2 s
//! ```
//!
//! - `machine` decides what a message means, without I/O.
//! - `outbox` is the one slot of latest desired plus a few answers: a slow executor makes nothing grow, and the dispatcher
//!   writes into it without ever waiting.
//! - `registry` knows which outbox is whose; the newest epoch wins.
//! - `trust` says which sessions have to renew their certificate after a change of authorities.
//! - `admission` opens sessions that arrive together together.
//! - `offer` names another replica to the streams of one that has lost its lease for a while.
//! - `dispatcher` turns commits into what is desired. Nothing in `app` calls a session: commits wake it.

pub mod admission;

pub mod close;

pub mod dispatcher;

pub mod driver;

pub mod machine;

pub mod metric;

pub mod offer;

pub mod outbox;

pub mod registry;

pub mod trust;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::session::admission::Door;
use crate::session::registry::Registry;
use crate::supervise::{OnCancel, OnError, Supervisor};

/// How much of a peer is borne, and how streams are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the stream's beginning to its hello. Default 10 s.
    pub hello_deadline: Duration,
    /// Messages a peer may send at once. Default 512: a hello's worth of unsent outcomes, twice.
    pub message_burst: u32,
    /// Messages a second that it may go on with. Default 16: a good executor sends one, or two while it downloads.
    pub messages_per_second: u32,
    /// Something was to be said for this long and the peer did not take it: closed. Default 10 s.
    pub slow_after: Duration,
    /// Streams at a time. Past it newcomers are told to come back later. Default 50,000.
    pub max_sessions: usize,
    /// How long before its certificate ends a stream is told to dial again, so that the newer certificate takes over without
    /// a gap. Default 60 s.
    pub certificate_notice: Duration,
    /// How far the reconnects of a drain are spread. Default 5 s.
    pub drain_spread: Duration,
    /// How long the stream that is told last in a drain may stay; those told before stay as long. Default 3 s: inside the patience that `run` has beside the spread.
    pub drain_patience: Duration,
    /// Streams a second that are offered another replica while this one has lost its lease. Default 0: the embedded store has no
    /// other; [`offer::A_SECOND`] over PostgreSQL.
    pub offers_per_second: usize,
}

/// The sessions of this process.
#[derive(Debug)]
pub struct Sessions {
    app: Arc<App>,
    registry: Arc<Registry>,
    door: Door,
    limits: Limits,
    supervisor: Supervisor,
    draining: CancellationToken,
}

// === impl Sessions ===

impl Sessions {
    /// Starts what all sessions share. They and their helpers run under `supervisor`; stopping it drains them.
    #[must_use]
    pub fn start(app: Arc<App>, limits: Limits, supervisor: &Supervisor) -> Arc<Self> {
        let registry = Arc::new(Registry::default());
        let (door, admission) = admission::new(Arc::clone(&app), Arc::clone(&registry));
        let draining = supervisor.cancelled();
        supervisor.spawn("session.admission", OnCancel::Abort, OnError::Stop, async {
            admission.run().await;
            Ok(())
        });
        let dispatcher = dispatcher::Dispatcher::new(Arc::clone(&app), Arc::clone(&registry));
        supervisor.spawn("session.dispatcher", OnCancel::Abort, OnError::Stop, async {
            dispatcher.run().await;
            Ok(())
        });
        if limits.offers_per_second > 0 {
            let offers = offer::run(Arc::clone(&app), Arc::clone(&registry), limits.offers_per_second);
            supervisor.spawn("session.offer", OnCancel::Abort, OnError::Stop, offers);
        }
        Arc::new(Self { app, registry, door, limits, supervisor: supervisor.clone(), draining })
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.registry.count()
    }

    /// The use cases behind them.
    #[must_use]
    pub const fn app(&self) -> &Arc<App> {
        &self.app
    }
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            hello_deadline: Duration::from_secs(10),
            message_burst: 512,
            messages_per_second: 16,
            slow_after: Duration::from_secs(10),
            max_sessions: 50_000,
            certificate_notice: Duration::from_secs(60),
            drain_spread: Duration::from_secs(5),
            drain_patience: Duration::from_secs(3),
            offers_per_second: 0,
        }
    }
}
