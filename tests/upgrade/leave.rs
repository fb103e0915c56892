//! Rule 8: one point decides. Cancel, replace, expiry, yank and deactivation win before it and lose after it.

use std::time::Duration;

use anyhow::{bail, ensure};
use domain::attempt::request::Replace;
use domain::attempt::{Outcome, Phase};
use domain::sync::Response;
use domain::{AttemptId, Generation, Reason, Want};
use libtest_mimic::Trial;
use store::fault::{Calls, Fault, Rule};

use crate::fake::{Fake, Stream};
use crate::plane::{Plane, reason, refused};
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("rule_08_leave_is_given_by_one_compare_and_set", given),
        trial("rule_08_no_proceed_after_cancel", || before(Before::Cancel)),
        trial("rule_08_no_proceed_after_replace", || before(Before::Replace)),
        trial("rule_08_no_proceed_after_expiry", || before(Before::Expiry)),
        trial("rule_08_no_proceed_after_yank", || before(Before::Yank)),
        trial("rule_08_a_yank_wins_before_its_sweep_came_by", || before(Before::YankWithoutSweep)),
        trial("rule_08_cancel_replace_yank_lose_after_leave", after),
        trial("rule_08_a_stale_write_is_decided_again", stale),
        trial("rule_08_a_yank_that_committed_first_wins_over_leave", yanked_meanwhile),
        trial("rule_08_no_answer_while_the_store_is_away", no_answer),
        trial("rule_08_another_generation_is_told_what_is_desired", other_generation),
        trial("rule_04_the_version_it_came_from_is_the_rollback", roll_back),
    ]
}

#[derive(Clone, Copy)]
enum Before {
    Cancel,
    Replace,
    Expiry,
    Yank,
    YankWithoutSweep,
}

struct Case {
    plane: Plane,
    stream: Stream,
    attempt: domain::Attempt,
    generation: Generation,
}

impl Case {
    async fn begin() -> Result<Self> {
        let plane = Plane::start().await?;
        let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
        let attempt = plane.request("web-1", "1.1.0").await?;
        let (_, generation) = stream.wanted().await?;
        Ok(Self { plane, stream, attempt, generation })
    }

    async fn ask(&mut self) -> Result<Response> {
        self.stream.ready(self.attempt.id, self.generation).await?;
        self.stream.answer().await
    }
}

fn proceed(attempt: AttemptId, generation: Generation) -> Response {
    Response::Proceed { attempt, generation }
}

async fn given() -> Result {
    let mut case = Case::begin().await?;
    let leave = proceed(case.attempt.id, case.generation);
    ensure!(case.ask().await? == leave);
    let attempt = case.plane.attempt(&case.attempt).await?;
    ensure!(attempt.phase == Phase::Applying && attempt.apply_time.is_some());
    ensure!(case.plane.events("attempt.leave_given").await? == 1);
    // An answer that was lost is given again, and is still one leave.
    ensure!(case.ask().await? == leave);
    ensure!(case.plane.events("attempt.leave_given").await? == 1);
    Ok(())
}

async fn before(what: Before) -> Result {
    let mut case = Case::begin().await?;
    let expected = match what {
        Before::Cancel => {
            case.plane.cancel(&case.attempt).await?;
            (Outcome::Cancelled, Reason::CancelledByRequest)
        }
        Before::Replace => {
            case.plane.request_with("web-1", "1.2.0", Replace::Yes, None).await?;
            (Outcome::Superseded, Reason::ReplacedByRequest)
        }
        Before::Expiry => {
            case.plane.clock.advance(Duration::from_secs(15 * 60));
            (Outcome::Expired, Reason::TtlExpired)
        }
        Before::Yank => {
            case.plane.yank("1.1.0").await?;
            (Outcome::Cancelled, Reason::ReleaseYanked)
        }
        Before::YankWithoutSweep => {
            case.plane.yank_without_sweep("1.1.0").await?;
            (Outcome::Cancelled, Reason::ReleaseYanked)
        }
    };
    match case.ask().await? {
        Response::Withdrawn { attempt, reason } => {
            ensure!(attempt == case.attempt.id && reason == expected.1.as_str(), "{reason}");
        }
        other => bail!("not withdrawn: {other:?}"),
    }
    let ending = case.plane.attempt(&case.attempt).await?.ending;
    let ending = ending.map(|ending| (ending.outcome, ending.reason));
    ensure!(ending == Some((expected.0, Some(expected.1))), "{ending:?}");
    Ok(())
}

async fn after() -> Result {
    let mut case = Case::begin().await?;
    case.ask().await?;
    let cancel = case.plane.cancel(&case.attempt).await.expect_err("refused");
    ensure!(refused(&cancel) == Some(Reason::AttemptApplying), "{cancel:?}");
    let replace = case.plane.request_with("web-1", "1.2.0", Replace::Yes, None).await.expect_err("refused");
    ensure!(reason(&replace) == Some(Reason::AttemptApplying), "{replace:?}");
    case.plane.yank("1.1.0").await?;
    ensure!(!case.plane.attempt(&case.attempt).await?.is_ended());
    let leave = proceed(case.attempt.id, case.generation);
    ensure!(case.ask().await? == leave, "what was given stays given");
    Ok(())
}

/// Somebody writes the row between the read and the write of the decision: it is made again, on what is true then.
async fn stale() -> Result {
    let mut case = Case::begin().await?;
    case.stream.settle(case.generation).await?;
    case.plane.faults.inject(Rule {
        calls: Calls::Of("executor_commit"),
        skip: 0,
        times: 1,
        fault: Fault::PauseBefore,
    });
    case.stream.ready(case.attempt.id, case.generation).await?;
    case.plane.faults.paused(1).await;
    case.plane.cancel(&case.attempt).await?;
    case.plane.faults.resume();
    match case.stream.answer().await? {
        Response::Withdrawn { reason, .. } => ensure!(reason == "CANCELLED_BY_REQUEST"),
        other => bail!("not withdrawn: {other:?}"),
    }
    Ok(())
}

/// The yank is committed between the reading of the release and the write of leave; its sweep has not come by.
async fn yanked_meanwhile() -> Result {
    let mut case = Case::begin().await?;
    case.stream.settle(case.generation).await?;
    case.plane.faults.inject(Fault::PauseBefore.next(1, Calls::Of("executor_commit")));
    case.stream.ready(case.attempt.id, case.generation).await?;
    case.plane.faults.paused(1).await;
    case.plane.yank_without_sweep("1.1.0").await?;
    case.plane.faults.resume();
    match case.stream.answer().await? {
        Response::Withdrawn { reason, .. } => ensure!(reason == "RELEASE_YANKED", "{reason}"),
        other => bail!("not withdrawn: {other:?}"),
    }
    let attempt = case.plane.attempt(&case.attempt).await?;
    ensure!(attempt.apply_time.is_none());
    ensure!(attempt.ending.is_some_and(|ending| ending.outcome == Outcome::Cancelled));
    ensure!(case.plane.events("attempt.leave_given").await? == 0);
    Ok(())
}

async fn no_answer() -> Result {
    let mut case = Case::begin().await?;
    case.stream.settle(case.generation).await?;
    let away = Rule { calls: Calls::Of("executor_commit"), skip: 0, times: usize::MAX, fault: Fault::Before };
    case.plane.faults.inject(away);
    case.stream.ready(case.attempt.id, case.generation).await?;
    let heard = case.stream.beat(case.generation).await?;
    ensure!(heard.is_empty(), "no answer is no leave: {heard:?}");
    case.plane.faults.heal();
    let leave = proceed(case.attempt.id, case.generation);
    ensure!(case.ask().await? == leave, "asked again, it is answered");
    Ok(())
}

async fn other_generation() -> Result {
    let mut case = Case::begin().await?;
    case.stream.ready(case.attempt.id, Generation(case.generation.0 + 7)).await?;
    let desired = case.stream.desired().await?;
    ensure!(desired.generation == case.generation && desired.want.attempt() == Some(case.attempt.id));
    ensure!(case.plane.attempt(&case.attempt).await?.apply_time.is_none());
    let unknown = AttemptId::new(uuid::Uuid::now_v7());
    case.stream.ready(unknown, case.generation).await?;
    let withdrawn = Response::Withdrawn { attempt: unknown, reason: "NOT_FOUND".to_owned() };
    ensure!(case.stream.answer().await? == withdrawn);
    Ok(())
}

async fn roll_back() -> Result {
    let mut case = Case::begin().await?;
    case.ask().await?;
    let same = case.plane.request("web-1", "1.0.0").await?;
    ensure!(same.id == case.attempt.id && same.rollback_requested);
    let desired = case.stream.desired().await?;
    ensure!(desired.want == Want::RollBack { attempt: case.attempt.id });
    ensure!(desired.generation > case.generation);
    Ok(())
}
