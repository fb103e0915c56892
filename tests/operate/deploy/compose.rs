//! The compose file, read by the library that docker reads it with, and run as far as it goes without containers: its own
//! preparation, its own arguments, its own settings.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use cluster::{Cluster, Durability};
use harness::daemon::succeeded;
use harness::parts::{Part, trial, workspace};
use libtest_mimic::Trial;
use serde_json::Value;
use tempfile::TempDir;

use super::{Written, at, list, text};
use crate::Result;

/// Where it is.
const FOLDER: &str = "deploy/compose";

/// Where containers find secrets.
const SECRETS: &str = "/run/secrets/";

pub(super) fn trials() -> Vec<Trial> {
    let parts = &[Part::ComposeGo, Part::Postgres, Part::Openssl, Part::Haproxy, Part::Curl];
    vec![trial("the_compose_file_is_whole_and_runs_as_it_is_written", parts, run)]
}

/// The file as docker understands it: judged by its schema, anchors and short forms resolved.
fn project() -> Result<Value> {
    let mut read = Command::new(Part::ComposeGo.find()?);
    read.args(["-format", "json", "compose.yaml"]).current_dir(workspace().join(FOLDER));
    Ok(serde_json::from_str(&succeeded(&read.output()?)?)?)
}

/// What `prepare` makes.
fn prepared() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("novacula-compose-").tempdir()?;
    let mut prepare = Command::new(workspace().join(FOLDER).join("prepare"));
    succeeded(&prepare.arg("control.example").arg(folder.path()).output()?)?;
    Ok(folder)
}

fn run() -> Result {
    let (project, secrets) = (project()?, prepared()?);
    let server = at(&project, "/services/server-1")?;
    for replica in ["server-2", "server-3"] {
        ensure!(at(&project, "/services")?.get(replica) == Some(server), "{replica} is as the first");
    }
    whole(&project, secrets.path())?;
    balanced(secrets.path())?;

    let cluster = Cluster::start(Durability::Off)?;
    let settings = fs::read_to_string(secrets.path().join("server.toml"))?;
    let url = settings.lines().find_map(|line| line.strip_prefix("database_url = ")).context("database_url")?;
    let password = fs::read_to_string(secrets.path().join("database-password"))?;
    ensure!(url.contains(&format!(":{password}@database/novacula?sslmode=verify-full")), "it knows the password");
    let here = format!("{}/", secrets.path().to_str().context("a path of text")?);
    let folder = TempDir::new()?;
    let changes = [(url, format!("\"{}\"", cluster.tls_url())), (SECRETS, here)];
    let changes: Vec<(&str, &str)> = changes.iter().map(|(from, to)| (*from, to.as_str())).collect();
    let written = Written::new(folder.path(), "/run/secrets/server.toml", &settings, &changes)?;
    written.carry_out(at(&project, "/services/migrate/command")?)?;
    let made = written.carry_out(at(&project, "/services/bootstrap/command")?)?;
    ensure!(made.contains("organizations/acme") && made.contains("owner"), "{made}");
    let running = written.start(at(server, "/command")?)?;
    written.answers("/readyz")?;
    running.end()?;
    Ok(())
}

/// Every secret is made by `prepare`, every service's are there, and our image is the one that `cargo image` names.
fn whole(project: &Value, secrets: &Path) -> Result {
    for (name, secret) in at(project, "/secrets")?.as_object().context("secrets")? {
        let file = Path::new(text(secret, "/file")?);
        ensure!(file.parent().is_some_and(|folder| folder.ends_with("deploy/compose/secrets")), "{secret}");
        ensure!(file.file_name().is_some_and(|file| secrets.join(file).is_file()), "`prepare` makes {name}");
    }
    for (name, service) in at(project, "/services")?.as_object().context("services")? {
        for secret in list(service, "/secrets")? {
            ensure!(at(project, "/secrets")?.get(text(secret, "/source")?).is_some(), "{name}: {secret}");
        }
        let image = text(service, "/image")?;
        let ours = concat!("novacula-server:", env!("CARGO_PKG_VERSION"));
        ensure!(!image.starts_with("novacula") || image == ours, "{name}: {image}");
    }
    let mut verify = Command::new(Part::Openssl.find()?);
    verify.args(["verify", "-verify_hostname", "database", "-CAfile"]);
    succeeded(&verify.arg(secrets.join("database-ca.pem")).arg(secrets.join("database.pem")).output()?)?;
    Ok(())
}

/// The balancer takes the configuration that `prepare` makes.
fn balanced(secrets: &Path) -> Result {
    let configuration = fs::read_to_string(secrets.join("haproxy.cfg"))?;
    let authority = secrets.join("authority.pem");
    let here = configuration.replace("/etc/haproxy/authority.pem", authority.to_str().context("a path of text")?);
    let folder = TempDir::new()?;
    let file = folder.path().join("haproxy.cfg");
    fs::write(&file, here)?;
    succeeded(&Command::new(Part::Haproxy.find()?).arg("-c").arg("-f").arg(file).output()?).map(drop)
}
