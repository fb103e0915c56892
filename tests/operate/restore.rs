//! The page on backups, command by command: the store, a file or a database, goes back an hour under a fleet that lives on, and
//! ends in the truth.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use cluster::{Cluster, Durability};
use harness::catalog::{Draft, release};
use harness::client::reason;
use harness::daemon::{Daemon, SOON, succeeded};
use harness::fake_executor::{FakeExecutor, Stream, success};
use harness::page::commands;
use harness::parts::{Part, workspace};
use harness::signing::Signer;
use libtest_mimic::Trial;
use proto::v1;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::time::timeout;
use tonic::Status;

use crate::agent::{Agent, executor, online};
use crate::replicas::fleet;
use crate::{Result, server, trial};

const PAGE: &str = "docs/operate/backup.md";
const PARENT: &str = "organizations/acme";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_store_restored_under_a_living_fleet_ends_in_the_truth", &[Part::Sqlite3], || restored(Kept::InAFile)),
        trial("a_database_restored_under_a_living_fleet_ends_in_the_truth", &[Part::Postgres, Part::Openssl], || {
            restored(Kept::InPostgres)
        }),
    ]
}

/// Where the installation keeps what it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    InAFile,
    InPostgres,
}

/// What a daemon needs beside itself, for as long as it is there.
struct Beside {
    cluster: Cluster,
    _authority: TempDir,
}

// === impl Kept ===

impl Kept {
    /// The sections of the page.
    const fn sections(self) -> (&'static str, &'static str) {
        match self {
            Self::InAFile => ("Back up", "Restore"),
            Self::InPostgres => ("Back up PostgreSQL", "Restore PostgreSQL"),
        }
    }

    /// The line that makes every API token void.
    const fn revoke_line(self) -> &'static str {
        match self {
            Self::InAFile => "novacula-server after-restore --data-dir /var/lib/novacula-server --revoke-tokens",
            Self::InPostgres => "novacula-server after-restore --revoke-tokens",
        }
    }

    async fn bootstrapped(self) -> Result<(Daemon, Option<Beside>)> {
        if self == Self::InAFile {
            return Ok((Daemon::bootstrapped(server())?, None));
        }
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(Durability::On)).await??;
        let (authority, files) = fleet::authority()?;
        let mut daemon = Daemon::empty(server())?;
        fleet::join(&mut daemon, &cluster.tls_url(), &files)?;
        daemon.bootstrap()?;
        Ok((daemon, Some(Beside { cluster, _authority: authority })))
    }
}

/// Does what a line of the page says, with this daemon in place of the service.
async fn carry_out(daemon: &mut Daemon, beside: Option<&Beside>, line: &str) -> Result<String> {
    match line {
        "systemctl stop novacula-server" => {
            daemon.signal(Signal::TERM)?;
            let status = daemon.ended(SOON)?;
            ensure!(status.success(), "{status}: {}", daemon.last_words());
            return Ok(String::new());
        }
        "systemctl start novacula-server" => {
            daemon.start()?;
            return Ok(String::new());
        }
        _ => {}
    }
    let text = |path: &std::path::Path| path.to_str().map(str::to_owned).context("a path of text");
    let line = line
        .replace("/var/lib/novacula-server", &text(&daemon.data_dir())?)
        .replace("/backup/", &format!("{}/", text(&daemon.folder().join("backup"))?));
    let mut bash = Command::new("bash");
    let output = match (line.strip_prefix("novacula-server "), beside) {
        // Its settings are in the service's environment, as the page on replicas has them.
        (Some(rest), Some(_)) => daemon.command().args(rest.split(' ')).output()?,
        (Some(rest), None) => bash.args(["-euo", "pipefail", "-c", &format!("{} {rest}", text(server())?)]).output()?,
        (None, Some(beside)) => {
            bash.env("NOVACULA_DATABASE_URL", beside.cluster.tls_url());
            bash.args(["-euo", "pipefail", "-c", &line]).output()?
        }
        (None, None) => bash.args(["-euo", "pipefail", "-c", &line]).output()?,
    };
    succeeded(&output).with_context(|| line.clone())
}

async fn ask(daemon: &Daemon, name: &str, target: &str) -> Result<v1::Attempt> {
    let request = v1::RequestUpgradeRequest {
        name: name.to_owned(),
        target_version: target.to_owned(),
        ..v1::RequestUpgradeRequest::default()
    };
    Ok(daemon.client("owner").await?.upgrades().request_upgrade(request).await?.into_inner())
}

async fn attempt(daemon: &Daemon, name: &str) -> Result<v1::Attempt> {
    let request = v1::GetAttemptRequest { name: name.to_owned() };
    Ok(daemon.client("owner").await?.upgrades().get_attempt(request).await?.into_inner())
}

/// It comes back with 1.1.0, having seen `generation`.
async fn upgraded(executor: &FakeExecutor, generation: u64) -> Result<Stream> {
    let hello = v1::Hello { version: "1.1.0".to_owned(), generation, ..executor.hello() };
    executor.connect_with(hello).await
}

async fn restored(kept: Kept) -> Result {
    let (mut daemon, beside) = kept.bootstrapped().await?;
    let (back_up, restore) = kept.sections();
    daemon.set("--drain-ms", "200");
    daemon.start()?;
    let (publisher, signer) = (daemon.client("publisher").await?, Signer::new()?);
    for (sequence, version) in (1..).zip(["1.1.0", "1.2.0"]) {
        release(&publisher, &signer, &Draft::new(version, sequence)).await?;
    }
    // A real agent; one that upgrades after the backup; one that is deactivated after it.
    let mut agent = Agent::new("web-1")?;
    agent.enroll(&daemon.join_word("web-1").await?, None)?;
    agent.start(None)?;
    online(&daemon, "web-1").await.with_context(|| agent.log())?;
    let mover = FakeExecutor::by_word(&daemon.join_word("web-2").await?, "1.0.0").await?;
    let mut stream = mover.connect().await?;
    let thief = FakeExecutor::by_word(&daemon.join_word("web-4").await?, "1.0.0").await?;
    drop(thief.connect().await?);
    let mut renewer = FakeExecutor::by_word(&daemon.join_word("web-5").await?, "1.0.0").await?;
    drop(renewer.connect().await?);
    let requested = ask(&daemon, mover.name(), "1.1.0").await?;
    let desired = stream.desired().await?;
    let unused = daemon.join_word("web-3").await?;

    let leaked = token(&daemon).await?;

    fs::create_dir(daemon.folder().join("backup"))?;
    for line in commands(PAGE, back_up)? {
        carry_out(&mut daemon, beside.as_ref(), &line).await?;
    }

    // The hour after it.
    stream.ask_leave(&desired).await?;
    drop(stream);
    let mut stream = upgraded(&mover, desired.generation).await?;
    stream.report(success(&desired)).await?;
    ensure!(attempt(&daemon, &requested.name).await?.outcome() == v1::Outcome::Succeeded);
    let later = ask(&daemon, mover.name(), "1.2.0").await?;
    let newest = stream.desired().await?.generation;
    ensure!(newest > desired.generation, "{newest}");
    let newcomer = FakeExecutor::by_word(&unused, "1.0.0").await?;
    renewer.renew().await?;
    drop(newcomer.connect().await?);
    let deactivate = v1::DeactivateExecutorRequest { name: thief.name().to_owned() };
    daemon.client("owner").await?.executors().deactivate_executor(deactivate).await?;
    drop(stream);
    revoke(&daemon, &leaked).await?;
    let watched = feed_end(&daemon).await?;

    let mut told = String::new();
    for line in commands(PAGE, restore)? {
        told.push_str(&carry_out(&mut daemon, beside.as_ref(), &line).await?);
    }
    ensure!(told.contains("pending upgrades ended  1"), "{told}");
    // The four that were used, whose use the backup knows, and the one whose use it does not.
    ensure!(told.contains("join tokens voided      5"), "{told}");
    for name in ["web-1", "web-2", "web-4", "web-5"] {
        ensure!(told.contains(&format!("organizations/acme/executors/{name}")), "{name} is not listed: {told}");
    }

    // bootstrap's three, and the one whose revocation the backup does not know.
    ensure!(told.contains("API tokens that count   4"), "{told}");
    ensure!(told.contains(&format!("{}  member  made 20", leaked.name)) && told.contains("  leaked\n"), "{told}");

    truth(&daemon, &mover, newest, &desired, &requested).await?;
    let gone = attempt(&daemon, &later.name).await.err().context("a request of the lost hour is known")?;
    ensure!(gone.downcast::<Status>().is_ok_and(|status| status.code() == tonic::Code::NotFound));
    watch_goes_on(&daemon, watched).await?;
    // The real agent came back by itself.
    online(&daemon, "web-1").await.with_context(|| agent.log())?;
    // Who renewed in the lost hour is known by it.
    renewer.connect().await?.heartbeat().await?;
    // Who enrolled in the lost hour enrols again, with a word of this one.
    let refused = newcomer.connect().await.err().context("an identity of the lost hour was let in")?;
    ensure!(why(refused)? == "CERTIFICATE_INVALID");
    let refused = FakeExecutor::by_word(&unused, "1.0.0").await.err().context("a used word came back to life")?;
    ensure!(format!("{refused:#}").contains("revoked"), "{refused:#}");
    FakeExecutor::by_word(&daemon.join_word("web-3").await?, "1.0.0").await?.connect().await?;
    // And the deactivation is repeated by a person, as the page says.
    thief.connect().await?;
    let deactivate = v1::DeactivateExecutorRequest { name: thief.name().to_owned() };
    daemon.client("owner").await?.executors().deactivate_executor(deactivate).await?;
    let refused = thief.connect().await.err().context("it was let in after all")?;
    ensure!(why(refused)? == "EXECUTOR_DEACTIVATED");
    no_token_counts(&mut daemon, beside.as_ref(), kept.revoke_line(), &leaked).await
}

/// Where a watch that has seen everything goes on.
async fn feed_end(daemon: &Daemon) -> Result<u64> {
    let request =
        v1::ListEventsRequest { parent: PARENT.to_owned(), newest_first: true, ..v1::ListEventsRequest::default() };
    Ok(daemon.client("owner").await?.events().list_events(request).await?.into_inner().watch_after_sequence)
}

/// Whoever watched in the lost hour hears what was done since, first of all what `after-restore` did.
async fn watch_goes_on(daemon: &Daemon, after_sequence: u64) -> Result {
    ensure!(after_sequence > 0, "the hour was not empty");
    let request =
        v1::WatchEventsRequest { parent: PARENT.to_owned(), after_sequence, ..v1::WatchEventsRequest::default() };
    let mut events = daemon.client("owner").await?.events().watch_events(request).await?.into_inner();
    let first = timeout(SOON, events.message()).await.context("nothing is told")??;
    let first = first.and_then(|said| said.event).context("an event")?;
    ensure!(first.actor == "console", "{first:?}");
    Ok(())
}

/// A token that is about to be lost.
async fn token(daemon: &Daemon) -> Result<v1::Token> {
    let request = v1::CreateTokenRequest {
        parent: "organizations/acme".to_owned(),
        role: v1::Role::Member.into(),
        display_name: "leaked".to_owned(),
        ..v1::CreateTokenRequest::default()
    };
    let made = daemon.client("owner").await?.organizations().create_token(request).await?.into_inner();
    made.token.context("no token")
}

async fn revoke(daemon: &Daemon, token: &v1::Token) -> Result {
    let request = v1::RevokeTokenRequest { name: token.name.clone() };
    daemon.client("owner").await?.organizations().revoke_token(request).await?;
    Ok(())
}

/// When in doubt: every token goes, and bootstrap makes new ones.
async fn no_token_counts(daemon: &mut Daemon, beside: Option<&Beside>, line: &str, leaked: &v1::Token) -> Result {
    let page = fs::read_to_string(workspace().join(PAGE))?;
    ensure!(page.contains(&format!("`{line}`")), "the page says another line");
    carry_out(daemon, beside, "systemctl stop novacula-server").await?;
    let told = carry_out(daemon, beside, line).await?;
    ensure!(told.contains("API tokens revoked      4") && told.contains(&leaked.name), "{told}");
    let told = carry_out(daemon, beside, line).await?;
    ensure!(told.contains("API tokens revoked      0"), "{told}");
    daemon.start()?;
    let refused = executor(daemon, "web-1").await.err().context("a revoked token counts")?;
    ensure!(refused.downcast::<Status>().is_ok_and(|status| status.code() == tonic::Code::Unauthenticated));
    carry_out(daemon, beside, "systemctl stop novacula-server").await?;
    daemon.bootstrap()?;
    daemon.start()?;
    executor(daemon, "web-1").await?;
    Ok(())
}

/// Whoever moved on is believed, and asked under numbers that it has not seen.
async fn truth(
    daemon: &Daemon,
    mover: &FakeExecutor,
    newest: u64,
    desired: &v1::Desired,
    requested: &v1::Attempt,
) -> Result {
    let mut stream = upgraded(mover, newest).await?;
    stream.report(success(desired)).await?;
    let seen = executor(daemon, "web-2").await?;
    ensure!(seen.version == "1.1.0" && seen.pending_upgrade.is_none(), "{seen:?}");
    let outcome = attempt(daemon, &requested.name).await?;
    ensure!(
        outcome.outcome() == v1::Outcome::Succeeded,
        "what was cancelled for the restore is corrected: {outcome:?}"
    );
    ask(daemon, mover.name(), "1.2.0").await?;
    let again = stream.desired().await?;
    ensure!(again.generation > newest, "{} is not above {newest}", again.generation);
    Ok(())
}

fn why(error: anyhow::Error) -> Result<String> {
    match error.downcast::<Status>() {
        Ok(status) => Ok(reason(&status)),
        Err(error) => bail!("no status: {error:#}"),
    }
}
