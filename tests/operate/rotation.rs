//! The page on the authority: it is in the database, its key encrypted, and it is rotated while streams are open.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::daemon::{Daemon, SOON};
use harness::fake_executor::{FakeExecutor, Stream};
use harness::parts::Part;
use libtest_mimic::Trial;
use proto::v1;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::agent::{Agent, online};
use crate::replicas::closed;
use crate::replicas::fleet::Replicas;
use crate::{Result, server, trial};

/// Two leases pass before a newer authority signs, and then the fleet renews.
const ROTATED: Duration = Duration::from_secs(120);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("an_authority_is_rotated_while_streams_are_open", &[Part::Postgres], rotated),
        trial("an_authority_goes_from_files_into_the_store_and_only_its_key_opens_it", &[], taken_in),
    ]
}

/// What a command of this replica's host says, and whether it was done.
fn said(daemon: &Daemon, words: &[&str]) -> Result<(bool, String)> {
    let output = daemon.command().args(words).output()?;
    let text = [output.stdout, output.stderr].concat();
    Ok((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

fn done(daemon: &Daemon, words: &[&str]) -> Result<String> {
    let (success, text) = said(daemon, words)?;
    ensure!(success, "{words:?}: {text}");
    Ok(text)
}

fn refused(daemon: &Daemon, words: &[&str], sentence: &str) -> Result {
    let (success, text) = said(daemon, words)?;
    ensure!(!success && text.contains(sentence), "{words:?} says {text:?}, not {sentence:?}");
    Ok(())
}

/// Part and executors of each authority, by number.
fn listed(daemon: &Daemon) -> Result<Vec<(String, u64)>> {
    let document: Value = serde_json::from_str(&done(daemon, &["authority", "list", "--output", "json"])?)?;
    let rows = document["authorities"].as_array().context("a list")?;
    let row = |row: &Value| Some((row["part"].as_str()?.to_owned(), row["executors"].as_u64()?));
    rows.iter().map(|found| row(found).with_context(|| found.to_string())).collect()
}

async fn until(daemon: &Daemon, wanted: &[(&str, u64)]) -> Result {
    let wanted: Vec<_> = wanted.iter().map(|(part, n)| ((*part).to_owned(), *n)).collect();
    let end = Instant::now() + ROTATED;
    loop {
        let seen = listed(daemon)?;
        if seen == wanted {
            return Ok(());
        }
        ensure!(Instant::now() < end, "{seen:?} is not {wanted:?}\n{}", daemon.last_words());
        sleep(Duration::from_millis(500)).await;
    }
}

/// How many authorities a host trusts.
fn trusted(agent: &Agent) -> Result<usize> {
    Ok(agent.credentials()?.trust().len())
}

async fn disconnected(daemon: &Daemon) -> Result<Vec<String>> {
    let request = v1::ListEventsRequest {
        parent: "organizations/acme".to_owned(),
        types: vec!["executor.disconnected".to_owned()],
        ..v1::ListEventsRequest::default()
    };
    let events = daemon.client("owner").await?.events().list_events(request).await?.into_inner().events;
    Ok(events.into_iter().map(|event| event.target).collect())
}

/// Goes on saying that it is there, until it is told that it is not.
async fn beats(mut stream: Stream) -> Result<String> {
    let end = Instant::now() + ROTATED;
    while Instant::now() < end {
        if stream.heartbeat().await.is_err() {
            return closed(&mut stream).await;
        }
        sleep(Duration::from_secs(1)).await;
    }
    Ok("it was never closed".to_owned())
}

async fn rotated() -> Result {
    let (replicas, _key) =
        Replicas::start_sealed(3, &[("--drain-ms", "200"), ("--authority-spread-ms", "4000")]).await?;
    let daemons = &replicas.daemons;
    let mut agents = Vec::new();
    for (daemon, name) in daemons.iter().zip(["web-1", "web-2", "web-3"]) {
        let mut agent = Agent::new(name)?;
        agent.enroll(&daemon.join_word(name).await?, None)?;
        agent.start(None)?;
        agents.push(agent);
    }
    for (daemon, name) in daemons.iter().zip(["web-1", "web-2", "web-3"]) {
        online(daemon, name).await?;
    }
    // One that cannot renew, with a stream of its own.
    let mut straggler = replicas.enrol(0, "old-1").await?;
    let mut stream = straggler.connect().await?;
    stream.heartbeat().await?;
    let straggling = tokio::spawn(beats(stream));
    until(&daemons[0], &[("signs", 4)]).await?;

    refused(&daemons[1], &["authority", "retire", "1"], "the only one that signs")?;
    let word = daemons[1].join_word("web-4").await?;
    done(&daemons[1], &["authority", "rotate"])?;
    refused(&daemons[2], &["authority", "rotate"], "does not sign yet")?;
    refused(&daemons[1], &["authority", "retire", "1"], "the only one that signs")?;
    until(&daemons[2], &[("signs servers", 1), ("signs executors", 3)]).await?;
    for agent in &agents {
        ensure!(trusted(agent)? == 2, "{}", agent.log());
    }
    // A word from before is good, and what the newer signs is let in everywhere.
    let mut newcomer = FakeExecutor::by_word(&word, "1.0.0").await?;
    for at in 0..3 {
        replicas.connect(&mut newcomer, at).await?.heartbeat().await?;
    }
    refused(&daemons[0], &["authority", "retire", "1"], "organizations/acme/executors/old-1")?;
    let gone = disconnected(&daemons[0]).await?;
    ensure!(
        !gone.iter().any(|name| name.contains("/web-1") || name.contains("/web-2") || name.contains("/web-3")),
        "{gone:?}"
    );

    done(&daemons[0], &["authority", "retire", "1", "--force"])?;
    ensure!(straggling.await?? == "CERTIFICATE_INVALID", "what the retired one signed counts no more");
    for at in 0..3 {
        // Each replica reads it with the next renewal of its lease.
        let end = Instant::now() + SOON;
        while replicas.connect(&mut straggler, at).await.is_ok() {
            ensure!(Instant::now() < end, "replica {at} lets it in");
        }
    }
    // Who has to enroll again is counted until then.
    until(&daemons[1], &[("retired", 1), ("signs", 4)]).await?;
    let end = Instant::now() + ROTATED;
    while !agents.iter().map(trusted).collect::<Result<Vec<_>>>()?.iter().all(|n| *n == 1) {
        ensure!(Instant::now() < end, "the retired one is not forgotten: {}", agents[0].log());
        sleep(Duration::from_millis(500)).await;
    }
    for (daemon, name) in daemons.iter().zip(["web-1", "web-2", "web-3"]) {
        ensure!(online(daemon, name).await?.online);
        ensure!(fs::read_to_string(daemon.ca())?.matches("BEGIN CERTIFICATE").count() == 1);
    }
    let keys = replicas
        .cluster
        .sql("SELECT number, split_part(sealed_key, ' ', 1) FROM novacula.authorities ORDER BY number")?;
    ensure!(keys.contains("novacula-sealed/1") && keys.matches("novacula-sealed").count() == 1, "{keys}");
    Ok(())
}

fn path(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).context("a path of text")
}

async fn taken_in() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.set("--drain-ms", "0");
    daemon.start()?;
    let executor = FakeExecutor::by_word(&daemon.join_word("web-1").await?, "1.0.0").await?;
    refused(&daemon, &["authority", "rotate"], "data directory")?;
    daemon.kill();
    refused(&daemon, &["authority", "rotate"], "--authority-encryption-key-file")?;

    let key = daemon.folder().join("encryption.key");
    fs::write(&key, "not a key")?;
    daemon.set("--authority-encryption-key-file", &path(&key)?);
    refused(&daemon, &["check-config"], "64 hexadecimal digits")?;
    fs::write(&key, "a".repeat(64))?;
    ensure!(done(&daemon, &["authority", "list"])?.contains("signs"));
    // From here on it is in the store: the file may go.
    fs::remove_file(daemon.data_dir().join("authority.pem"))?;
    fs::write(&key, format!("{}\n{}\n", "b".repeat(64), "a".repeat(64)))?;
    ensure!(done(&daemon, &["authority", "reseal"])?.contains("anew  1"));
    ensure!(done(&daemon, &["authority", "reseal"])?.contains("anew  0"));
    fs::write(&key, "a".repeat(64))?;
    refused(&daemon, &["authority", "list"], "was sealed with the encryption key")?;
    fs::write(&key, "b".repeat(64))?;
    daemon.start()?;
    executor.connect().await?.heartbeat().await?;
    ensure!(!daemon.data_dir().join("authority.pem").exists(), "no other one was made");
    Ok(())
}
