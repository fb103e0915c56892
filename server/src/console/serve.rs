//! `run`, as the service manager sees it: READY once both listeners accept, STOPPING at SIGTERM, a drain that ends in
//! bounded time, SIGHUP to read given certificates again.

use std::sync::Arc;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::run::{self, World};

/// Serves until told to stop.
pub(super) async fn serve(config: Config) -> anyhow::Result<()> {
    raise_file_limit();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    let reload = Arc::new(Notify::new());
    let world = World { reload: Arc::clone(&reload), ..World::default() };
    let shutdown = CancellationToken::new();
    let ready = |_| tell(&[NotifyState::Ready]);
    let mut serving = Box::pin(run::run_in(world, config, shutdown.clone(), ready));
    loop {
        tokio::select! {
            // It came to its end: drained, or it could not go on.
            end = &mut serving => return end,
            // The service manager, or a person at a terminal.
            _ = terminate.recv() => stop(&shutdown)?,
            _ = interrupt.recv() => stop(&shutdown)?,
            // Certificates were replaced on disk.
            _ = hangup.recv() => reload.notify_one(),
        }
    }
}

/// The first signal drains; the second ends it at once.
fn stop(shutdown: &CancellationToken) -> anyhow::Result<()> {
    if shutdown.is_cancelled() {
        anyhow::bail!("stopped by a second signal, before the drain was over");
    }
    tell(&[NotifyState::Stopping]);
    shutdown.cancel();
    Ok(())
}

/// Without a service manager this does nothing.
fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Each executor is a file descriptor, and the soft limit is 1,024 as a rule: take what the hard limit allows.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, current = ?limit.current, "the limit of open files stays as it is");
    }
}
