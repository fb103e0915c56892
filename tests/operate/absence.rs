//! A fleet that was off for 60 days, and comes back alone: every certificate on both sides is over, nobody enrols again, and
//! what is late opens its own renewal and nothing else.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use domain::Timestamp;
use executor_sdk::clock;
use harness::daemon::{Daemon, succeeded};
use harness::day::Day;
use harness::parts::Part;
use libtest_mimic::Trial;
use proto::v1;

use crate::agent::{Agent, online};
use crate::{Result, server, trial};

const AWAY: u32 = 60;

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("a_fleet_that_was_off_for_60_days_comes_back_alone", &[Part::Faketime], comes_back)]
}

async fn comes_back() -> Result {
    let then = Day::days_ago(AWAY)?;
    let mut daemon = Daemon::empty(server())?;
    daemon.on_day(Some(then.clone()));
    daemon.bootstrap()?;
    daemon.start()?;
    let mut agents = Vec::new();
    for name in ["web-1", "web-2", "web-3"] {
        // This process lives today, so that it cannot ask: the programs of that day do.
        let word = novacula(&daemon, &then, &["join-token", "create", "--executor", name])?;
        let mut agent = Agent::new(name)?;
        agent.enroll(word.trim(), Some(&then))?;
        agent.start(Some(&then))?;
        agents.push((name, agent));
    }
    for (name, agent) in &agents {
        let look = || novacula(&daemon, &then, &["executor", "get", name, "--output", "json"]);
        let seen = |text: &String| text.contains("\"online\": true") || text.contains("\"online\":true");
        harness::wait::until("an agent to be online", harness::daemon::SOON, look, seen)
            .with_context(|| agent.log())?;
    }
    // Lights out, and sixty days.
    let mut before = Vec::new();
    for (_, agent) in &mut agents {
        agent.kill();
        let credentials = agent.credentials()?;
        ensure!(credentials.validity().is_over(clock::wall()), "{:?}", credentials.validity());
        before.push((credentials.uid, credentials.chain()));
    }
    daemon.kill();
    daemon.on_day(None);

    // The hosts are back first, and find nobody.
    for (_, agent) in &mut agents {
        agent.start(None)?;
    }
    daemon.start()?;
    for ((name, agent), (uid, chain)) in agents.iter().zip(before) {
        let seen = online(&daemon, name).await.with_context(|| agent.log())?;
        let renewed = agent.credentials()?;
        ensure!(renewed.uid == uid && seen.uid == uid.to_string(), "the same executor: {seen:?}");
        ensure!(renewed.chain() != chain && !renewed.validity().is_over(clock::wall()), "with a new certificate");
        ensure!(renewed.validity().not_before > Timestamp::EPOCH);
        ensure!(renewals(&daemon, name).await? == 1, "renewed once: {}", agent.log());
    }
    Ok(())
}

/// How often the executor's certificate was renewed.
async fn renewals(daemon: &Daemon, name: &str) -> Result<usize> {
    let request = v1::ListEventsRequest {
        parent: "organizations/acme".to_owned(),
        target: format!("organizations/acme/executors/{name}"),
        types: vec!["executor.certificate_renewed".to_owned()],
        ..v1::ListEventsRequest::default()
    };
    let owner = daemon.client("owner").await?;
    Ok(owner.events().list_events(request).await?.into_inner().events.len())
}

/// What the command line answers, on that day.
pub(crate) fn novacula(daemon: &Daemon, day: &Day, words: &[&str]) -> Result<String> {
    let mut command = Command::new(Path::new(env!("CARGO_BIN_EXE_fixture-novacula")));
    command.args(["--server", &format!("https://{}", daemon.api_addr()), "--organization", "acme", "--ca"]);
    command.arg(daemon.ca()).arg("--token-file").arg(daemon.tokens().join("owner.token")).args(words);
    command.env("NOVACULA_CONFIG", daemon.folder().join("no-config.toml"));
    day.set(&mut command);
    succeeded(&command.output()?).context("novacula")
}
