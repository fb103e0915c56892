//! A yank reaches everybody who has no leave (rule 12), however many have it, and whatever breaks off by it.

use anyhow::{Context as _, ensure};
use domain::attempt::{ErrorCode, Outcome, Phase, Stage};
use domain::sync::{AttemptReport, Response};
use domain::{Attempt, AttemptId, Generation, Reason, Revision};
use libtest_mimic::Trial;
use store::{AttemptWrite, ExecutorCommit, ExecutorFate};
use uuid::Uuid;

use crate::fake::{Fake, report};
use crate::plane::Plane;
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("rule_12_a_yank_reaches_who_has_no_leave_behind_a_thousand_who_have", behind_a_thousand),
        trial("rule_12_a_download_that_broke_off_by_a_yank_is_cancelled_by_it", broke_off),
        trial("rule_12_the_same_told_in_a_hello_is_cancelled_by_the_yank", broke_off_in_hello),
    ]
}

async fn cancelled(plane: &Plane, attempt: &Attempt) -> Result {
    let ending = plane.attempt(attempt).await?.ending.context("still open")?;
    ensure!((ending.outcome, ending.reason) == (Outcome::Cancelled, Some(Reason::ReleaseYanked)), "{ending:?}");
    Ok(())
}

/// Attempts of the executor that are older than `like`, and have leave.
async fn applying(plane: &Plane, like: &Attempt, n: u128) -> Result {
    let executor = plane.store.executor_list_by_uid(&[like.executor]).await?.pop().context("no executor")?;
    let one = |n: u128| {
        let attempt = Attempt {
            id: AttemptId::new(Uuid::from_u128(n)),
            revision: Revision::default(),
            phase: Phase::Applying,
            apply_time: Some(like.request_time),
            ..like.clone()
        };
        AttemptWrite { attempt, deadline: None }
    };
    let attempts = (1..=n).map(one).collect();
    let fate = ExecutorFate::Keep;
    plane
        .store
        .executor_commit(ExecutorCommit { executor, attempts, events: Vec::new(), fate, while_published: None })
        .await?;
    Ok(())
}

async fn behind_a_thousand() -> Result {
    let plane = Plane::start().await?;
    let _stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    let attempt = plane.request("web-1", "1.1.0").await?;
    applying(&plane, &attempt, 2_001).await?;
    plane.yank("1.1.0").await?;
    cancelled(&plane, &attempt).await
}

fn not_found(attempt: &Attempt) -> AttemptReport {
    let mut said = report(attempt.id, Outcome::Failed, "1.0.0");
    said.report.stage = Some(Stage::Download);
    said.report.error_code = Some(ErrorCode::HttpStatus);
    said
}

async fn broke_off() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    let attempt = plane.request("web-1", "1.1.0").await?;
    let (_, generation) = stream.wanted().await?;
    stream.progress(attempt.id, generation, Phase::Downloading, 100).await?;
    stream.settle(generation).await?;
    plane.yank_without_sweep("1.1.0").await?;
    stream.report(not_found(&attempt)).await?;
    cancelled(&plane, &attempt).await?;
    ensure!(plane.events("attempt.ended").await? == 1);
    Ok(())
}

async fn broke_off_in_hello() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    let mut stream = fake.open().await?;
    let attempt = plane.request("web-1", "1.1.0").await?;
    stream.wanted().await?;
    plane.yank_without_sweep("1.1.0").await?;
    let mut hello = fake.hello();
    hello.unsent_outcomes = vec![not_found(&attempt)];
    let (mut again, _) = fake.open_with(hello).await?;
    ensure!(again.answer().await? == Response::ReportAck { attempt: attempt.id });
    again.beat(Generation(0)).await?;
    cancelled(&plane, &attempt).await
}
