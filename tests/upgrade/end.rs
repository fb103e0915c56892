//! Rule 5 after pick-up and rules 9 to 12: how attempts end, in the executor's words and without them.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use domain::attempt::{ErrorCode, Outcome, OutcomeSource, Phase, Stage, Waiting};
use domain::sync::{Request, Response};
use domain::{Attempt, AttemptId, Generation, Reason, Want};
use libtest_mimic::Trial;
use store::fault::{Calls, Fault, Rule};

use crate::fake::{Fake, Stream, report};
use crate::plane::{Plane, version};
use crate::{Result, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("rule_05_no_new_byte_for_ten_minutes_is_stalled", stalled),
        trial("rule_09_the_target_says_hello_then_is_confirmed", confirmed),
        trial("rule_10_the_old_version_comes_back_with_the_reason", rolled_back),
        trial("rule_11_a_refused_upgrade_stays_pending_and_marked", refused),
        trial("rule_12_another_version_is_changed_locally", changed_locally),
        trial("rule_12_leave_without_a_swap_is_expired", leave_expired),
        trial("rule_12_no_word_by_the_confirm_deadline_is_unconfirmed", unconfirmed),
        trial("rule_12_deactivation_cancels_what_has_no_leave", deactivated),
        trial("rule_12_a_report_is_acknowledged_only_when_it_is_durable", durable_first),
        trial("rule_12_a_repeated_report_changes_nothing_and_is_acknowledged", repeated),
        trial("rule_12_a_report_about_an_unknown_attempt_is_accepted", unknown_attempt),
        trial("rule_12_unsent_outcomes_in_hello_are_taken_in", in_hello),
        trial("progress_is_written_by_phase_and_now_and_then", progress),
    ]
}

struct Case {
    plane: Plane,
    fake: Fake,
    stream: Stream,
    attempt: Attempt,
    generation: Generation,
}

impl Case {
    async fn begin() -> Result<Self> {
        let plane = Plane::start().await?;
        let mut fake = Fake::enrol(&plane, "web-1").await?;
        let mut stream = fake.open().await?;
        let attempt = plane.request("web-1", "1.1.0").await?;
        let (_, generation) = stream.wanted().await?;
        fake.generation = generation;
        Ok(Self { plane, fake, stream, attempt, generation })
    }

    async fn leave(&mut self) -> Result {
        self.stream.ready(self.attempt.id, self.generation).await?;
        match self.stream.answer().await? {
            Response::Proceed { .. } => Ok(()),
            other => bail!("no leave: {other:?}"),
        }
    }

    /// The next process, as `running`, with the attempt in its journal.
    async fn restart(&mut self, running: &'static str) -> Result {
        self.fake = self.fake.another().await?;
        self.fake.running = running;
        let mut hello = self.fake.hello();
        hello.open_attempt = Some(self.attempt.id);
        self.stream = self.fake.open_with(hello).await?.0;
        Ok(())
    }

    async fn now(&self) -> Result<Attempt> {
        self.plane.attempt(&self.attempt).await
    }

    async fn ended(&self) -> Result<(Outcome, OutcomeSource, Option<Reason>)> {
        let look = || async { self.now().await };
        let attempt = self.plane.until("an end", look, Attempt::is_ended).await?;
        let Some(ending) = attempt.ending else { bail!("not ended") };
        Ok((ending.outcome, ending.source, ending.reason))
    }
}

async fn confirmed() -> Result {
    let mut case = Case::begin().await?;
    case.leave().await?;
    case.restart("1.1.0").await?;
    let desired = case.stream.desired().await?;
    ensure!(desired.want == Want::Nothing && desired.generation > case.generation);
    ensure!(case.now().await?.phase == Phase::Confirming);
    let executor = case.plane.executor("web-1").await?.executor;
    ensure!(executor.pending.is_none() && executor.open_attempt == Some(case.attempt.id));
    ensure!(executor.version == Some(version("1.1.0")));
    ensure!(case.plane.events("executor.version_changed").await? == 1);
    case.stream.report(report(case.attempt.id, Outcome::Succeeded, "1.1.0")).await?;
    ensure!(case.ended().await? == (Outcome::Succeeded, OutcomeSource::Reported, None));
    let executor = case.plane.executor("web-1").await?.executor;
    ensure!(executor.floor == Some(version("1.0.0")), "the floor of the release counts once it is confirmed");
    Ok(())
}

async fn rolled_back() -> Result {
    let mut case = Case::begin().await?;
    case.leave().await?;
    case.restart("1.1.0").await?;
    case.restart("1.0.0").await?;
    let mut back = report(case.attempt.id, Outcome::RolledBack, "1.0.0");
    back.report.stage = Some(Stage::Start);
    back.report.error_code = Some(ErrorCode::CrashLoop);
    back.report.rolled_back_to = Some(version("1.0.0"));
    back.report.log_tail = vec!["panicked at \u{1b}[31mmain\u{1b}[0m".to_owned()];
    case.stream.report(back).await?;
    let Some(ending) = case.now().await?.ending else { bail!("not ended") };
    ensure!(ending.outcome == Outcome::RolledBack && ending.stage == Some(Stage::Start));
    ensure!(ending.error_code == Some(ErrorCode::CrashLoop));
    ensure!(ending.rolled_back_to == Some(version("1.0.0")));
    ensure!(ending.log_tail == ["panicked at main"], "{:?}", ending.log_tail);
    ensure!(case.plane.executor("web-1").await?.executor.hold_on(&version("1.1.0")).is_some());
    ensure!(case.plane.events("executor.hold_set").await? == 1);
    // Asking again is allowed, and clears the hold.
    let again = case.plane.request("web-1", "1.1.0").await?;
    ensure!(again.id != case.attempt.id);
    Ok(())
}

async fn refused() -> Result {
    let mut case = Case::begin().await?;
    let mut bad = report(case.attempt.id, Outcome::Refused, "1.0.0");
    bad.report.stage = Some(Stage::Verify);
    bad.report.error_code = Some(ErrorCode::DigestMismatch);
    case.stream.report(bad).await?;
    let attempt = case.now().await?;
    ensure!(!attempt.is_ended() && attempt.refused.is_some());
    ensure!(case.plane.executor("web-1").await?.executor.pending == Some(case.attempt.id));
    ensure!(case.plane.events("artifact.refused").await? == 1);
    // It is still said to whoever connects; the executor remembers.
    let mut stream = case.fake.open().await?;
    ensure!(stream.wanted().await?.0 == case.attempt.id);
    case.plane.clock.advance(Duration::from_secs(15 * 60));
    ensure!(case.plane.app.deadline_sweep().await.is_ok());
    ensure!(case.ended().await?.0 == Outcome::Refused);
    Ok(())
}

async fn changed_locally() -> Result {
    let mut case = Case::begin().await?;
    case.fake = case.fake.another().await?;
    case.fake.running = "1.2.0";
    case.stream = case.fake.open().await?;
    let end = (Outcome::Superseded, OutcomeSource::Inferred, Some(Reason::ChangedLocally));
    ensure!(case.ended().await? == end);
    Ok(())
}

async fn unconfirmed() -> Result {
    let mut case = Case::begin().await?;
    case.leave().await?;
    case.restart("1.1.0").await?;
    case.plane.clock.advance(Duration::from_secs(60 * 60));
    case.plane.app.deadline_sweep().await?;
    let end = (Outcome::Failed, OutcomeSource::Inferred, Some(Reason::Unconfirmed));
    ensure!(case.ended().await? == end);
    // An inferred end is corrected once, by a report.
    case.stream.report(report(case.attempt.id, Outcome::Succeeded, "1.1.0")).await?;
    ensure!(case.ended().await? == (Outcome::Succeeded, OutcomeSource::Reported, None));
    ensure!(case.plane.events("attempt.corrected").await? == 1);
    Ok(())
}

async fn stalled() -> Result {
    let mut case = Case::begin().await?;
    let (id, generation) = (case.attempt.id, case.generation);
    // Once it is picked up its TTL of 15 minutes counts no more: it lives as long as bytes come.
    for (phase, bytes) in [(Phase::Downloading, 100), (Phase::Verifying, 1000)] {
        case.stream.progress(id, generation, phase, bytes).await?;
        case.stream.beat(generation).await?;
        case.plane.clock.advance(Duration::from_secs(10 * 60 - 1));
        case.plane.app.deadline_sweep().await?;
        let now = case.now().await?;
        ensure!(!now.is_ended(), "bytes came less than 10 minutes ago: {now:?}");
    }
    // The same bytes again are no new ones.
    case.stream.progress(id, generation, Phase::Verifying, 1000).await?;
    let waiting = Waiting { error_code: ErrorCode::Unreachable, message: "connection\u{1b}[31m refused".to_owned() };
    case.stream.waits_out(id, generation, waiting).await?;
    case.stream.beat(generation).await?;
    let kept = case.now().await?.waiting.map(|kept| kept.waiting.sentence());
    ensure!(kept.as_deref() == Some("UNREACHABLE: connection refused"), "{kept:?}");
    case.plane.clock.advance(Duration::from_secs(1));
    case.plane.app.deadline_sweep().await?;
    let end = (Outcome::Failed, OutcomeSource::Inferred, Some(Reason::ProgressStalled));
    ensure!(case.ended().await? == end);
    let ending = case.now().await?.ending.context("an end")?;
    ensure!(ending.error_code == Some(ErrorCode::Unreachable), "{ending:?}");
    ensure!(ending.message.ends_with("; last it waited out UNREACHABLE: connection refused"), "{ending:?}");
    ensure!(case.plane.executor("web-1").await?.executor.pending.is_none(), "the next one may be asked");
    ensure!(case.stream.desired().await?.want == Want::Nothing, "the executor is told");
    Ok(())
}

async fn leave_expired() -> Result {
    let mut case = Case::begin().await?;
    case.leave().await?;
    case.plane.clock.advance(Duration::from_secs(10 * 60 - 1));
    case.plane.app.deadline_sweep().await?;
    ensure!(!case.now().await?.is_ended(), "it has a second left");
    case.plane.clock.advance(Duration::from_secs(1));
    case.plane.app.deadline_sweep().await?;
    let end = (Outcome::Failed, OutcomeSource::Inferred, Some(Reason::LeaveExpired));
    ensure!(case.ended().await? == end);
    ensure!(case.now().await?.ending.is_some_and(|ending| ending.stage == Some(Stage::Swap)));
    // The swap was made after all: its report corrects what was concluded.
    case.restart("1.1.0").await?;
    case.stream.report(report(case.attempt.id, Outcome::Succeeded, "1.1.0")).await?;
    ensure!(case.ended().await? == (Outcome::Succeeded, OutcomeSource::Reported, None));
    Ok(())
}

async fn deactivated() -> Result {
    let case = Case::begin().await?;
    case.plane.deactivate("web-1").await?;
    let end = (Outcome::Cancelled, OutcomeSource::Inferred, Some(Reason::ExecutorDeactivated));
    ensure!(case.ended().await? == end);
    Ok(())
}

async fn durable_first() -> Result {
    let mut case = Case::begin().await?;
    case.stream.settle(case.generation).await?;
    let away = Rule { calls: Calls::Of("executor_commit"), skip: 0, times: 1, fault: Fault::Before };
    case.plane.faults.inject(away);
    let failed = report(case.attempt.id, Outcome::Failed, "1.0.0");
    case.stream.say(Request::Report(Box::new(failed.clone()))).await?;
    let heard = case.stream.beat(case.generation).await?;
    ensure!(heard.is_empty(), "not durable, not acknowledged: {heard:?}");
    case.stream.report(failed).await?;
    ensure!(case.ended().await?.0 == Outcome::Failed);
    Ok(())
}

async fn repeated() -> Result {
    let mut case = Case::begin().await?;
    let failed = report(case.attempt.id, Outcome::Failed, "1.0.0");
    for _ in 0..3 {
        case.stream.report(failed.clone()).await?;
    }
    case.stream.report(report(case.attempt.id, Outcome::Succeeded, "1.1.0")).await?;
    ensure!(case.ended().await? == (Outcome::Failed, OutcomeSource::Reported, None));
    ensure!(case.plane.events("attempt.ended").await? == 1);
    Ok(())
}

async fn unknown_attempt() -> Result {
    let plane = Plane::start().await?;
    let mut stream = Fake::enrol(&plane, "web-1").await?.open().await?;
    let id = AttemptId::new(uuid::Uuid::now_v7());
    stream.report(report(id, Outcome::Succeeded, "1.1.0")).await?;
    let attempts = plane.attempts("web-1").await?;
    let known = attempts.iter().find(|attempt| attempt.id == id);
    ensure!(
        known.is_some_and(|attempt| {
            attempt.ending.as_ref().is_some_and(|ending| ending.outcome == Outcome::Succeeded)
        })
    );
    stream.report(report(id, Outcome::Succeeded, "1.1.0")).await?;
    ensure!(plane.attempts("web-1").await?.len() == 1);
    Ok(())
}

async fn in_hello() -> Result {
    let mut case = Case::begin().await?;
    case.fake = case.fake.another().await?;
    let mut hello = case.fake.hello();
    hello.unsent_outcomes = vec![report(case.attempt.id, Outcome::Failed, "1.0.0")];
    let (mut stream, _) = case.fake.open_with(hello).await?;
    ensure!(stream.answer().await? == Response::ReportAck { attempt: case.attempt.id });
    ensure!(case.ended().await?.0 == Outcome::Failed);
    Ok(())
}

async fn progress() -> Result {
    let mut case = Case::begin().await?;
    let (id, generation) = (case.attempt.id, case.generation);
    case.stream.progress(id, generation, Phase::Downloading, 100).await?;
    case.stream.progress(id, generation, Phase::Downloading, 200).await?;
    case.stream.beat(generation).await?;
    let attempt = case.now().await?;
    ensure!((attempt.phase, attempt.bytes_done) == (Phase::Downloading, 100), "bytes are written now and then");
    case.stream.progress(id, generation, Phase::Verifying, 1000).await?;
    case.stream.beat(generation).await?;
    let attempt = case.now().await?;
    ensure!((attempt.phase, attempt.bytes_done) == (Phase::Verifying, 1000), "a phase at once");
    case.plane.cancel(&case.attempt).await?;
    case.stream.progress(id, generation, Phase::Downloading, 1000).await?;
    let withdrawn = Response::Withdrawn { attempt: id, reason: "CANCELLED_BY_REQUEST".to_owned() };
    ensure!(case.stream.answer().await? == withdrawn);
    Ok(())
}
