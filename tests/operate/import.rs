//! The page on replicas, its section on coming from the embedded store: an installation goes over to PostgreSQL under a fleet
//! that is told nothing of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, bail, ensure};
use cluster::{Cluster, Durability};
use harness::catalog::{Draft, release};
use harness::daemon::{Daemon, SOON, succeeded};
use harness::fake_executor::{FakeExecutor, success};
use harness::page::commands;
use harness::parts::Part;
use harness::signing::Signer;
use libtest_mimic::Trial;
use proto::v1;
use rustix::process::Signal;

use crate::{Result, server, trial};

const PAGE: &str = "docs/operate/replicas.md";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("an_embedded_installation_goes_on_over_postgres", &[Part::Postgres], carried_over)]
}

/// A service that comes from an embedded store, where its settings are, and where it goes.
struct Mover {
    daemon: Daemon,
    cluster: Cluster,
}

impl Mover {
    fn text(path: &Path) -> Result<String> {
        path.to_str().map(str::to_owned).context("a path of text")
    }

    /// In place of `/etc/novacula`, with the settings that the page has on each replica.
    fn settings(&self) -> Result<String> {
        let folder = self.daemon.folder().join("etc");
        fs::create_dir_all(&folder)?;
        let folder = Self::text(&folder)?;
        let settings = format!(
            "NOVACULA_DATABASE_URL=\"{}\"\nNOVACULA_AUTHORITY_ENCRYPTION_KEY_FILE={folder}/encryption.key\n",
            self.cluster.tls_url()
        );
        fs::write(format!("{folder}/encryption.key"), "0123456789abcdef".repeat(4))?;
        fs::write(format!("{folder}/server.env"), settings)?;
        Ok(folder)
    }

    /// Does what a line of the page says, with this daemon in place of the service.
    fn carry_out(&mut self, line: &str) -> Result<Output> {
        let folder = self.settings()?;
        match line {
            "systemctl stop novacula-server" => {
                self.daemon.signal(Signal::TERM)?;
                let status = self.daemon.ended(SOON)?;
                ensure!(status.success(), "{status}: {}", self.daemon.last_words());
                return Ok(Command::new("true").output()?);
            }
            "systemctl start novacula-server" => {
                self.daemon.set("--database-url", &self.cluster.tls_url());
                self.daemon.set("--authority-encryption-key-file", &format!("{folder}/encryption.key"));
                // It is in the database now.
                fs::remove_file(self.daemon.data_dir().join("authority.pem"))?;
                self.daemon.start()?;
                return Ok(Command::new("true").output()?);
            }
            _ => {}
        }
        let line = line
            .replace("/var/lib/novacula-server", &Self::text(&self.daemon.data_dir())?)
            .replace("/etc/novacula", &folder)
            .replace("novacula-server import", &format!("{} import", Self::text(server())?));
        Ok(Command::new("bash").args(["-euo", "pipefail", "-c", &line]).output()?)
    }

    /// An import that is refused; what it said.
    fn refused(&mut self, line: &str) -> Result<String> {
        let output = self.carry_out(line)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
        ensure!(!said.contains(cluster::PASSWORD), "{said}");
        Ok(said)
    }
}

async fn ask(daemon: &Daemon, name: &str) -> Result<v1::Attempt> {
    let request = v1::RequestUpgradeRequest {
        name: name.to_owned(),
        target_version: "1.1.0".to_owned(),
        ..v1::RequestUpgradeRequest::default()
    };
    Ok(daemon.client("owner").await?.upgrades().request_upgrade(request).await?.into_inner())
}

async fn executor(daemon: &Daemon, executor: &FakeExecutor) -> Result<v1::Executor> {
    let request = v1::GetExecutorRequest { name: executor.name().to_owned() };
    Ok(daemon.client("owner").await?.executors().get_executor(request).await?.into_inner())
}

async fn carried_over() -> Result {
    let cluster = tokio::task::spawn_blocking(|| Cluster::start(Durability::Off)).await??;
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.set("--drain-ms", "200");
    daemon.start()?;
    let mut mover = Mover { daemon, cluster };
    release(&mover.daemon.client("publisher").await?, &Signer::new()?, &Draft::new("1.1.0", 1)).await?;
    let used = mover.daemon.join_word("web-1").await?;
    let unused = mover.daemon.join_word("web-2").await?;
    let fake = FakeExecutor::by_word(&used, "1.0.0").await?;
    let mut stream = fake.connect().await?;
    let attempt = ask(&mover.daemon, fake.name()).await?;
    let desired = stream.desired().await?;

    let lines = commands(PAGE, "From the embedded store to PostgreSQL")?;
    let import = lines.iter().find(|line| line.contains("novacula-server import")).context("the page imports")?.clone();
    too_early(&mut mover, &import)?;
    drop(stream);
    let mut told = String::new();
    for line in &lines {
        let output = mover.carry_out(line)?;
        told.push_str(&succeeded(&output).with_context(|| line.clone())?);
    }
    for word in ["attempts      1\n", "join_tokens   2\n", "Every row was read back", "authority.pem", "artifacts"] {
        ensure!(told.contains(word), "{word} is not in {told}");
    }

    // The tokens are the old ones: they count.
    let seen = executor(&mover.daemon, &fake).await?;
    ensure!(seen.pending_upgrade.is_some(), "{seen:?}");
    let mut stream = fake.connect().await?;
    let again = stream.desired().await?;
    ensure!(again.generation >= desired.generation, "{} is below {}", again.generation, desired.generation);
    stream.ask_leave(&again).await?;
    drop(stream);
    let hello = v1::Hello { version: "1.1.0".to_owned(), generation: again.generation, ..fake.hello() };
    let mut stream = fake.connect_with(hello).await?;
    stream.report(success(&again)).await?;
    let request = v1::GetAttemptRequest { name: attempt.name };
    let ended = mover.daemon.client("owner").await?.upgrades().get_attempt(request).await?.into_inner();
    ensure!(ended.outcome() == v1::Outcome::Succeeded, "{ended:?}");
    if FakeExecutor::by_word(&used, "1.0.0").await.is_ok() {
        bail!("a used word came back to life");
    }
    FakeExecutor::by_word(&unused, "1.0.0").await?.connect().await?;

    let said = mover.refused(&import)?;
    ensure!(said.contains("is not empty") && said.contains("executors 2"), "{said}");
    Ok(())
}

/// While the server runs, without a database, and with an authority that the fleet does not know.
fn too_early(mover: &mut Mover, import: &str) -> Result {
    let other = Daemon::bootstrapped(server())?;
    let folder = mover.settings()?;
    let foreign = other.data_dir().join("authority.pem");
    fs::copy(&foreign, format!("{folder}/foreign.pem"))?;
    let with_another = format!("--authority-certificate {folder}/foreign.pem --authority-key {folder}/foreign.pem");
    let said = mover.refused(&format!("{import} {with_another}"))?;
    ensure!(said.contains("every executor would be turned away"), "{said}");
    let said = mover.refused(import)?;
    ensure!(said.contains("in use by process") && said.contains("stop it first"), "{said}");
    let output = other.command().args(["import", "--from-sqlite"]).arg(other.data_dir()).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(78) && said.contains("database_url"), "{}: {said}", output.status);
    Ok(())
}
