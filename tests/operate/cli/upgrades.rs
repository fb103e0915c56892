//! `novacula upgrade …`: the executor is a test, and does what the case says.

use anyhow::{Context as _, ensure};
use harness::catalog::{Draft, release};
use harness::daemon::SOON;
use harness::fake_executor::{FakeExecutor, Stream, refusal, success};
use harness::signing::Signer;
use proto::v1;
use serde_json::Value;
use tokio::process::Child;

use super::shell::{Answer, Shell};
use crate::Result;

/// What `upgrade history` is headed by.
const HISTORY: &str = "REQUESTED EXECUTOR FROM TO PHASE OUTCOME REASON ERROR ATTEMPT";

const WEB_1: &str = "organizations/acme/executors/web-1";

const JSON: [&str; 2] = ["--output", "json"];

/// web-1 is online with 1.0.0; 1.1.0 and 1.2.0 are offered.
pub(super) async fn run(shell: &Shell, stream: &mut Stream) -> Result {
    let words = ["upgrade", "targets", "web-1"];
    let targets = shell.both("owner", &words, "VERSION DIRECTION CHANNEL DIRECT NOTE", "1.1.0").await?;
    ensure!(targets["targets"][0]["allowedAsDirectTarget"] == true, "{targets}");

    let would = shell.done("owner", &["upgrade", "request", "web-1", "1.1.0", "--validate-only"]).await?;
    ensure!(would.err.contains("nothing was written"), "{would:?}");
    let out = shell.people("owner", &["upgrade", "request", "web-1", "1.1.0"], "Attempt:", WEB_1).await?;
    ensure!(out.contains("1.0.0 -> 1.1.0"), "{out}");
    let words = ["upgrade", "request", "web-1", "1.2.0", "--replace", "--request-id", "7", "--ttl", "5min"];
    let requested = shell.json("owner", &words, WEB_1).await?;
    let attempt = requested["name"].as_str().context("a name")?;
    ensure!(shell.json("owner", &words, WEB_1).await?["name"] == attempt, "the same request, the same attempt");
    shell.both("owner", &["upgrade", "get", "web-1"], "Attempt:", attempt).await?;
    shell.both("owner", &["upgrade", "get", attempt], "Attempt:", attempt).await?;
    let out = shell.people("owner", &["upgrade", "cancel", "web-1"], "Attempt:", attempt).await?;
    ensure!(out.contains("cancelled"), "{out}");

    on_the_way(shell).await?;
    batch(shell).await?;
    // A sign of life: commands take their time on a busy machine.
    stream.acknowledge(0).await?;
    let cancelled = shell.json("owner", &["upgrade", "cancel", "web-1"], WEB_1).await?;
    ensure!(cancelled["outcome"] == "OUTCOME_CANCELLED", "{cancelled}");
    shell.both("owner", &["upgrade", "history", "web-1"], HISTORY, WEB_1).await?;
    let one = shell.json("owner", &["upgrade", "history", "-", "--limit", "1"], WEB_1).await?;
    ensure!(one.as_array().is_some_and(|rows| rows.len() == 1), "{one}");
    holds(shell, stream).await?;
    watch(shell, stream).await
}

/// Who is on the way to a release, and who is not any more.
async fn on_the_way(shell: &Shell) -> Result {
    let requested = shell.json("owner", &["upgrade", "request", "web-1", "1.2.0"], WEB_1).await?;
    let attempt = requested["name"].as_str().context("a name")?;
    let words = ["upgrade", "history", "-", "--open-to", "agent-1.2.0"];
    let rows = shell.both("owner", &words, HISTORY, attempt).await?;
    ensure!(rows.as_array().is_some_and(|rows| rows.len() == 1), "what has ended is left out: {rows}");
    let elsewhere = shell.done("owner", &["upgrade", "history", "-", "--open-to", "releases/agent-1.1.0"]).await?.out;
    ensure!(elsewhere.lines().count() == 1, "its head alone: {elsewhere}");
    let one = shell.ask("owner", &["upgrade", "history", "web-1", "--open-to", "agent-1.2.0"]).await?;
    ensure!(one.code == Some(1) && one.err.contains("write - for the executor"), "{one:?}");
    shell.done("owner", &["upgrade", "cancel", "web-1"]).await.map(drop)
}

async fn batch(shell: &Shell) -> Result {
    let heads = "NAME RESULT MESSAGE";
    let mixed = shell.ask("owner", &["upgrade", "batch", "1.1.0", "web-1", "nobody"]).await?;
    ensure!(mixed.code == Some(1) && mixed.err.contains("1 of 2"), "{mixed:?}");
    ensure!(mixed.out.contains("accepted") && mixed.out.contains("NOT_FOUND"), "{mixed:?}");
    let words = ["upgrade", "batch", "1.2.0", "web-1", "--replace"];
    shell.people("owner", &words, heads, WEB_1).await?;
    let words = ["upgrade", "batch", "1.1.0", "web-1", "--replace"];
    shell.json("owner", &words, WEB_1).await.map(drop)
}

/// A refusal holds the version until a person clears it, in each form.
async fn holds(shell: &Shell, stream: &mut Stream) -> Result {
    for form in [&[][..], &JSON[..]] {
        let before = generation(shell).await?;
        let waiting = shell.start("owner", &["upgrade", "request", "web-1", "1.1.0", "--wait"])?;
        let desired = wanted(stream, before).await?;
        stream.report(refusal(&desired)).await?;
        let refused = end(waiting).await?;
        ensure!(refused.code == Some(1) && refused.err.contains("UNKNOWN_KEY"), "{refused:?}");
        let held = shell.json("owner", &["executor", "get", "web-1"], WEB_1).await?;
        ensure!(held["holds"][0]["version"] == "1.1.0", "{held}");
        shell.done("owner", &["upgrade", "cancel", "web-1"]).await?;
        let cleared = shell.done("owner", &[&["executor", "clear-hold", "web-1", "1.1.0"], form].concat()).await?;
        ensure!(cleared.out.contains(WEB_1), "{cleared:?}");
        let free = shell.json("owner", &["executor", "get", "web-1"], WEB_1).await?;
        ensure!(free["holds"].as_array().is_some_and(Vec::is_empty), "{free}");
    }
    Ok(())
}

/// Watched from two sides to its success.
async fn watch(shell: &Shell, stream: &mut Stream) -> Result {
    let before = generation(shell).await?;
    let requested = shell.json("owner", &["upgrade", "request", "web-1", "1.1.0"], WEB_1).await?;
    let attempt = requested["name"].as_str().context("a name")?;
    let desired = wanted(stream, before).await?;
    let people = shell.start("owner", &["upgrade", "watch", "web-1"])?;
    let programs = shell.start("owner", &[&["upgrade", "watch", attempt], &JSON[..]].concat())?;
    stream.ask_leave(&desired).await?;
    stream.report(success(&desired)).await?;
    let (people, programs) = (end(people).await?, end(programs).await?);
    ensure!(people.code == Some(0) && people.out.contains("succeeded"), "{people:?}");
    ensure!(programs.code == Some(0) && programs.err.is_empty(), "{programs:?}");
    let last = programs.out.lines().last().context("a line")?;
    let last: Value = serde_json::from_str(last)?;
    ensure!(last["name"] == attempt && last["outcome"] == "OUTCOME_SUCCEEDED", "{last}");
    Ok(())
}

/// `--wait`: 0 only when it succeeded, 1 with the last lines of the failing version, 4 when it takes too long.
pub(super) async fn waiting() -> Result {
    let shell = Shell::new()?;
    let (publisher, signer) = (shell.daemon().client("publisher").await?, Signer::new()?);
    release(&publisher, &signer, &Draft::new("1.1.0", 1)).await?;
    let executor = FakeExecutor::by_word(&shell.daemon().join_word("web-1").await?, "1.0.0").await?;
    let mut stream = executor.connect().await?;

    let words = ["upgrade", "request", "web-1", "1.1.0", "--wait", "--request-id", "late", "--wait-timeout", "200ms"];
    let late = shell.ask("owner", &words).await?;
    ensure!(late.code == Some(4) && late.err.contains("the attempt goes on"), "{late:?}");
    let desired = stream.desired().await?;
    let words = ["upgrade", "request", "web-1", "1.1.0", "--wait", "--request-id", "late"];
    let waiting = shell.start("owner", &words)?;
    stream.ask_leave(&desired).await?;
    stream.report(rollback(&desired)).await?;
    let rolled_back = end(waiting).await?;
    ensure!(rolled_back.code == Some(1), "{rolled_back:?}");
    for word in ["rolled_back", "stage start", "CRASH_LOOP", "| no such table", "novacula executor explain web-1"] {
        ensure!(rolled_back.err.contains(word), "{word} is not in {rolled_back:?}");
    }
    let got = shell.people("owner", &["upgrade", "get", "web-1"], "Attempt:", WEB_1).await?;
    ensure!(got.contains("| no such table") && !got.contains('\u{1b}'), "{got}");
    told_of_the_hold(&shell).await?;

    let words = [&["upgrade", "request", "web-1", "1.1.0", "--wait"], &JSON[..]].concat();
    let waiting = shell.start("owner", &words)?;
    let desired = wanted(&mut stream, desired.generation).await?;
    stream.ask_leave(&desired).await?;
    stream.report(success(&desired)).await?;
    let succeeded = end(waiting).await?;
    ensure!(succeeded.code == Some(0) && succeeded.err.is_empty(), "{succeeded:?}");
    for line in succeeded.out.lines() {
        let attempt: Value = serde_json::from_str(line)?;
        ensure!(attempt["executor"] == WEB_1, "{attempt}");
        ensure!(attempt["warnings"][0]["code"] == "HELD_BEFORE", "programs are told, too: {attempt}");
    }
    let got = shell.people("owner", &["upgrade", "get", "web-1"], "Attempt:", WEB_1).await?;
    ensure!(got.contains("told when it was asked for:\n  ! version 1.1.0 is held"), "{got}");
    Ok(())
}

/// 1.1.0 rolled back on web-1: whoever looks or asks is told, and a refused question changes nothing.
async fn told_of_the_hold(shell: &Shell) -> Result {
    let words = ["upgrade", "targets", "web-1"];
    let targets = shell.both("owner", &words, "VERSION DIRECTION CHANNEL DIRECT NOTE", "1.1.0").await?;
    let row = &targets["targets"][0];
    ensure!(row["held"] == true && row["warnings"][0]["code"] == "HELD_BEFORE", "{targets}");
    let table = shell.done("owner", &words).await?.out;
    ensure!(table.contains("yes") && table.contains("it rolled back in stage start (CRASH_LOOP)"), "{table}");
    let explained = shell.done("owner", &["executor", "explain", "web-1"]).await?.out;
    ensure!(explained.contains("version 1.1.0 is held here"), "{explained}");

    let words = ["upgrade", "request", "web-1", "1.1.0", "--validate-only"];
    let would = shell.done("owner", &words).await?;
    let warning = "warning: web-1: version 1.1.0 is held on organizations/acme/executors/web-1: it rolled back";
    ensure!(would.err.contains(warning) && would.err.contains("[HELD_BEFORE]"), "{would:?}");
    ensure!(!would.out.contains("warning"), "data alone is on stdout: {would:?}");
    let would = shell.json("owner", &words, WEB_1).await?;
    ensure!(would["warnings"][0]["metadata"]["error_code"] == "CRASH_LOOP", "{would}");
    Ok(())
}

/// What is desired after generation `before`: the stream still holds what was withdrawn meanwhile.
async fn wanted(stream: &mut Stream, before: u64) -> Result<v1::Desired> {
    loop {
        let desired = stream.desired().await?;
        if desired.generation > before {
            return Ok(desired);
        }
    }
}

/// The number of what is desired of web-1 now.
async fn generation(shell: &Shell) -> Result<u64> {
    let seen = shell.json("owner", &["executor", "get", "web-1"], WEB_1).await?;
    Ok(seen["generation"].as_str().context("a generation")?.parse()?)
}

async fn end(child: Child) -> Result<Answer> {
    let output = tokio::time::timeout(SOON, child.wait_with_output()).await.context("it waits for ever")??;
    Ok(output.into())
}

fn rollback(desired: &v1::Desired) -> v1::Report {
    v1::Report {
        attempt: desired.attempt.clone(),
        outcome: v1::Outcome::RolledBack.into(),
        stage: "start".to_owned(),
        error_code: "CRASH_LOOP".to_owned(),
        message: "it ended three times".to_owned(),
        running_version: "1.0.0".to_owned(),
        rolled_back_to: "1.0.0".to_owned(),
        log_tail: vec!["\u{1b}[2Jno such table".to_owned(), "no such table".to_owned()],
        ..v1::Report::default()
    }
}
