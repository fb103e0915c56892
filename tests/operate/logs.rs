//! What the server logs: JSON, each line with its level and message, a request's with its id, and never a secret.

use std::fs;

use anyhow::{Context as _, ensure};
use harness::catalog::{Draft, release};
use harness::daemon::Daemon;
use harness::fake_executor::FakeExecutor;
use harness::signing::Signer;
use libtest_mimic::Trial;
use proto::v1;
use rustix::process::Signal;
use serde_json::Value;

use crate::{Result, server, trial};

/// How bearer tokens, join tokens and keys begin.
const SECRETS: [&str; 3] = ["nvt_", "nvj1_", "PRIVATE KEY"];

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("every_log_line_is_json_and_none_holds_a_secret", &[], logs)]
}

async fn logs() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    // Whatever it may ever say.
    daemon.set("--log-level", "trace");
    daemon.start()?;
    let mut secrets: Vec<String> = Vec::new();
    for role in ["owner", "publisher", "installation_admin"] {
        secrets.push(fs::read_to_string(daemon.tokens().join(format!("{role}.token")))?.trim().to_owned());
    }
    let word = daemon.join_word("web-1").await?;
    let executor = FakeExecutor::by_word(&word, "1.0.0").await?;
    let stream = executor.connect().await?;
    secrets.push(word.clone());
    secrets.push(made_token(&daemon).await?);
    refusals(&daemon, &word).await?;
    let id = inside(&daemon).await?;
    drop(stream);
    daemon.signal(Signal::TERM)?;
    daemon.ended(harness::daemon::SOON)?;
    let logged = daemon.logged()?;

    let mut lines = Vec::new();
    for line in logged.lines() {
        let value: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        for field in ["timestamp", "level", "message", "target"] {
            ensure!(value[field].as_str().is_some_and(|text| !text.is_empty()), "no {field}: {line}");
        }
        if value["span"]["name"] == "request" {
            ensure!(value["span"]["id"].as_str().is_some_and(|id| !id.is_empty()), "whose request? {line}");
        }
        lines.push(value);
    }
    for message in ["serving", "session opened", "session closed", "stopped"] {
        ensure!(lines.iter().any(|line| line["message"] == message), "{message:?} is not logged:\n{logged}");
    }
    let failed = lines.iter().find(|line| line["message"] == "request failed inside").context(logged.clone())?;
    ensure!(failed["level"] == "ERROR" && failed["span"]["id"] == id.as_str(), "not found by its id {id}: {failed}");
    for secret in SECRETS.iter().copied().chain(secrets.iter().flat_map(|secret| parts(secret))) {
        ensure!(!logged.contains(secret), "{secret:?} is logged");
    }
    Ok(())
}

/// A secret, and what is secret in it.
fn parts(secret: &str) -> impl Iterator<Item = &str> {
    std::iter::once(secret).chain(secret.rsplit('_').next())
}

async fn made_token(daemon: &Daemon) -> Result<String> {
    let request = v1::CreateTokenRequest {
        parent: "organizations/acme".to_owned(),
        role: v1::Role::Member.into(),
        ..v1::CreateTokenRequest::default()
    };
    Ok(daemon.client("owner").await?.organizations().create_token(request).await?.into_inner().secret)
}

/// A token in each wrong place: used up, unknown, in a path, in a name.
async fn refusals(daemon: &Daemon, word: &str) -> Result {
    ensure!(FakeExecutor::by_word(word, "1.0.0").await.is_err(), "a join word is good for one");
    let owner = daemon.client("owner").await?;
    for name in [word, "nvt_unknown_secret", "organizations/acme/executors/nvt_unknown_secret"] {
        let request = v1::GetExecutorRequest { name: name.to_owned() };
        ensure!(owner.executors().get_executor(request).await.is_err());
        daemon.get(&format!("/{name}")).await?;
    }
    let head = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer nvt_wrong_token\r\n\r\n";
    daemon.http(head.as_bytes()).await.map(drop)
}

/// The id of a request that fails inside: where artifacts lay there is nothing any more.
async fn inside(daemon: &Daemon) -> Result<String> {
    let artifacts = daemon.data_dir().join("artifacts");
    fs::remove_dir_all(&artifacts)?;
    fs::write(&artifacts, "no folder")?;
    let publisher = daemon.client("publisher").await?;
    let failed = release(&publisher, &Signer::new()?, &Draft::new("1.1.0", 1)).await.err().context("it was stored")?;
    let id = failed.metadata().get("x-request-id").with_context(|| format!("no id in {failed:?}"))?;
    Ok(id.to_str()?.to_owned())
}
