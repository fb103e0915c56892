//! Replicas of the control plane over one PostgreSQL, as processes, for the trials of this suite.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context as _;
use cluster::{Cluster, Durability};
use harness::catalog::{Draft, release};
use harness::daemon::Daemon;
use harness::fake_executor::{FakeExecutor, Stream, success};
use harness::page::commands;
use harness::signing::Signer;
use proto::v1;
use tempfile::TempDir;
use tonic::Status;

use crate::{Result, server};

/// Where it is said how an authority is made.
const PAGE: &str = "docs/operate/authority.md";

/// Replicas, and what they share.
pub(crate) struct Replicas {
    pub(crate) daemons: Vec<Daemon>,
    pub(crate) cluster: Cluster,
    _shared: TempDir,
}

/// Settings of one more replica.
pub(crate) fn join(daemon: &mut Daemon, url: &str, authority: &(PathBuf, PathBuf)) -> Result {
    let text = |path: &PathBuf| path.to_str().map(str::to_owned).context("a path of text");
    daemon.set("--database-url", url);
    daemon.set("--authority-certificate", &text(&authority.0)?);
    daemon.set("--authority-key", &text(&authority.1)?);
    daemon.trust(authority.0.clone());
    Ok(())
}

/// An authority, made as the page says.
pub(crate) fn authority() -> Result<(TempDir, (PathBuf, PathBuf))> {
    let shared = tempfile::Builder::new().prefix("novacula-authority-").tempdir()?;
    let files = (shared.path().join("authority.pem"), shared.path().join("authority.key"));
    for line in commands(PAGE, "From elsewhere")? {
        let line = line.replace("/etc/novacula", shared.path().to_str().context("a path of text")?);
        let made = Command::new("bash").args(["-euo", "pipefail", "-c", &line]).output()?;
        harness::daemon::succeeded(&made).with_context(|| line.clone())?;
    }
    Ok((shared, files))
}

impl Replicas {
    /// So many, which drain in no time.
    pub(crate) async fn start(n: usize) -> Result<Self> {
        Self::start_with(n, &[("--drain-ms", "200")]).await
    }

    /// So many, with these settings.
    pub(crate) async fn start_with(n: usize, settings: &[(&str, &str)]) -> Result<Self> {
        Self::start_by(n, settings, |_, cluster| cluster.tls_url()).await
    }

    /// So many, each by a way of its own to the database.
    pub(crate) async fn start_by(
        n: usize,
        settings: &[(&str, &str)],
        way: impl Fn(usize, &Cluster) -> String,
    ) -> Result<Self> {
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(Durability::On)).await??;
        let urls: Vec<String> = (0..n).map(|at| way(at, &cluster)).collect();
        Self::start_over(cluster, &urls, |_, daemon| {
            settings.iter().for_each(|(flag, value)| daemon.set(flag, value));
            Ok(())
        })
        .await
    }

    /// One for each way to the cluster, after `prepare` had its way with it.
    pub(crate) async fn start_over(
        cluster: Cluster,
        urls: &[String],
        prepare: impl Fn(usize, &mut Daemon) -> Result,
    ) -> Result<Self> {
        let (shared, files) = authority()?;
        Self::begin(cluster, urls.len(), shared, |at, daemon| {
            join(daemon, &urls[at], &files)?;
            prepare(at, daemon)
        })
        .await
    }

    /// So many, whose authority is in the database; its encryption key is in the file that comes with them.
    pub(crate) async fn start_sealed(n: usize, settings: &[(&str, &str)]) -> Result<(Self, PathBuf)> {
        let cluster = tokio::task::spawn_blocking(|| Cluster::start(Durability::On)).await??;
        let shared = tempfile::Builder::new().prefix("novacula-sealing-").tempdir()?;
        let key = shared.path().join("encryption.key");
        fs::write(&key, "0123456789abcdef".repeat(4))?;
        let (url, path) = (cluster.tls_url(), key.to_str().context("a path of text")?.to_owned());
        let replicas = Self::begin(cluster, n, shared, |_, daemon| {
            daemon.set("--database-url", &url);
            daemon.set("--authority-encryption-key-file", &path);
            settings.iter().for_each(|(flag, value)| daemon.set(flag, value));
            Ok(())
        });
        Ok((replicas.await?, key))
    }

    async fn begin(
        cluster: Cluster,
        n: usize,
        shared: TempDir,
        prepare: impl Fn(usize, &mut Daemon) -> Result,
    ) -> Result<Self> {
        let mut daemons: Vec<Daemon> = Vec::new();
        for at in 0..n {
            let mut daemon = Daemon::empty(server())?;
            prepare(at, &mut daemon)?;
            match daemons.first() {
                None => daemon.bootstrap()?,
                // One installation: its tokens count at each of them.
                Some(first) => copy(&first.tokens(), &daemon.tokens())?,
            }
            daemon.start().with_context(|| format!("replica {at}"))?;
            daemons.push(daemon);
        }
        let (publisher, signer) = (daemons[0].client("publisher").await?, Signer::new()?);
        for (sequence, version) in (1..).zip(["1.1.0", "1.2.0"]) {
            release(&publisher, &signer, &Draft::new(version, sequence)).await?;
        }
        Ok(Self { daemons, cluster, _shared: shared })
    }

    pub(crate) async fn enrol(&self, at: usize, id: &str) -> Result<FakeExecutor> {
        FakeExecutor::by_word(&self.daemons[at].join_word(id).await?, "1.0.0").await
    }

    /// Its stream to this replica.
    pub(crate) async fn connect(&self, executor: &mut FakeExecutor, at: usize) -> Result<Stream> {
        executor.turn_to(self.daemons[at].executor_addr())?;
        executor.connect().await
    }

    pub(crate) async fn ask(&self, at: usize, name: &str, target: &str) -> std::result::Result<v1::Attempt, Status> {
        let request = v1::RequestUpgradeRequest {
            name: name.to_owned(),
            target_version: target.to_owned(),
            ..v1::RequestUpgradeRequest::default()
        };
        let owner = self.daemons[at].client("owner").await.map_err(|error| Status::internal(format!("{error:#}")))?;
        Ok(owner.upgrades().request_upgrade(request).await?.into_inner())
    }

    pub(crate) async fn attempt(&self, at: usize, name: &str) -> Result<v1::Attempt> {
        let request = v1::GetAttemptRequest { name: name.to_owned() };
        Ok(self.daemons[at].client("owner").await?.upgrades().get_attempt(request).await?.into_inner())
    }

    pub(crate) async fn executor(&self, at: usize, executor: &FakeExecutor) -> Result<v1::Executor> {
        let request = v1::GetExecutorRequest { name: executor.name().to_owned() };
        Ok(self.daemons[at].client("owner").await?.executors().get_executor(request).await?.into_inner())
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// It comes back with 1.1.0 and says that all went well.
pub(crate) async fn upgraded(executor: &FakeExecutor, desired: &v1::Desired) -> Result<Stream> {
    let hello = v1::Hello { version: "1.1.0".to_owned(), generation: desired.generation, ..executor.hello() };
    let mut stream = executor.connect_with(hello).await?;
    stream.report(success(desired)).await?;
    Ok(stream)
}
