//! A certificate is renewed in time by the SDK's own driver, and nobody notices.

use std::sync::Arc;

use anyhow::ensure;
use domain::attempt::{ErrorCode, Stage};
use domain::{AttemptId, Kind};
use executor_sdk::credentials::CredentialStore;
use executor_sdk::driver::{self, Options};
use executor_sdk::executor::{Applied, Description, Executor, Failure, Leave, Plan, Prepared, Workplace};
use libtest_mimic::Trial;
use store::Clock as _;
use tokio_util::sync::CancellationToken;

use crate::plane::{DAY, Plane};
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("a_certificate_is_renewed_in_time_and_the_executor_stays_online", renewed)]
}

/// One that is upgraded by nobody.
struct Idle;

impl Executor for Idle {
    fn describe(&self) -> Description {
        Description::new(Kind::Agent, "1.0.0".parse().expect("a version"))
    }

    async fn preflight(&self, _: &Plan) -> std::result::Result<Workplace, Failure> {
        Err(refused())
    }

    async fn apply(&self, _: Prepared, _: Leave) -> std::result::Result<Applied, Failure> {
        Err(refused())
    }

    async fn roll_back(&self, _: AttemptId) -> std::result::Result<Applied, Failure> {
        Err(refused())
    }
}

fn refused() -> Failure {
    Failure::failed(Stage::Preflight, ErrorCode::Io, "not asked for".to_owned())
}

async fn renewed() -> Result {
    let plane = Plane::start().await?;
    // Enrolled a fortnight ago, for thirty days: it is time.
    let today = plane.clock.now();
    plane.clock.set(today.minus(14 * DAY));
    let (first, folder) = plane.enrol("web-1").await?;
    plane.clock.set(today);
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(driver::run(Arc::new(Idle), Options::new(folder.path()), shutdown.clone()));
    let moved = || plane.events("executor.reconnected");
    plane.until("its stream with another certificate", moved, |moved| *moved == 1).await?;
    let cuts = plane.feed("executor.disconnected").await?;
    ensure!(cuts.is_empty(), "it makes before it breaks: {cuts:?}");
    ensure!(plane.events("executor.certificate_renewed").await? == 1 && plane.events("executor.connected").await? == 1);

    // The first one's end is nothing that it would notice.
    let second = CredentialStore::new(folder.path()).load()?;
    let then = today.plus(17 * DAY);
    ensure!(first.validity().is_over(then) && !second.validity().is_over(then));
    ensure!(second.uid == first.uid && second.chain() != first.chain());
    shutdown.cancel();
    running.await??;
    Ok(())
}
