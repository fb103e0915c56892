//! One executor in wrong hands says more than there can be: it costs the others nothing, and the disk little.

use anyhow::ensure;
use domain::attempt::Outcome;
use domain::sync::{AttemptReport, Response};
use domain::{AttemptId, Generation};
use libtest_mimic::Trial;
use uuid::Uuid;

use crate::fake::{Fake, report};
use crate::plane::{Plane, version};
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("two_thousand_invented_reports_are_acknowledged_and_few_are_kept", inventions)]
}

/// A report about an attempt that nobody asked for, to a version of its own.
fn invention(n: u64) -> AttemptReport {
    let mut invention = report(AttemptId::new(Uuid::now_v7()), Outcome::Refused, "1.0.0");
    invention.target_version = Some(version(&format!("1.1.{n}")));
    invention.report.message = "x".repeat(4_000);
    invention
}

async fn inventions() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    for round in 0..8 {
        let mut hello = fake.hello();
        hello.unsent_outcomes = (0..250).map(|n| invention(round * 250 + n)).collect();
        let ids: Vec<AttemptId> = hello.unsent_outcomes.iter().map(|report| report.attempt).collect();
        let (mut stream, _) = fake.open_with(hello).await?;
        for id in ids {
            let heard = stream.answer().await?;
            ensure!(heard == Response::ReportAck { attempt: id }, "not acknowledged: {heard:?}");
        }
    }
    let kept = plane.attempts("web-1").await?.len();
    ensure!(kept == 32, "{kept} are kept");
    ensure!(plane.events("attempt.ended").await? == 32);
    let holds = plane.executor("web-1").await?.executor.holds.len();
    ensure!(holds <= 64, "{holds} holds");
    // Its own upgrades, and another executor's memory, go on as ever.
    let mut stream = fake.open().await?;
    let asked = plane.request("web-1", "1.1.0").await?;
    ensure!(stream.wanted().await?.0 == asked.id);
    let mut other = Fake::enrol(&plane, "web-2").await?.open().await?;
    other.report(report(AttemptId::new(Uuid::now_v7()), Outcome::Succeeded, "1.1.0")).await?;
    ensure!(plane.attempts("web-2").await?.len() == 1);
    other.beat(Generation(0)).await?;
    Ok(())
}
