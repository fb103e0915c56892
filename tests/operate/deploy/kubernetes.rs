//! The control plane's chart. `tests/charts` says that each of its objects is well formed; here it is said that they fit each other,
//! the settings, and what the server really serves.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cluster::{Cluster, Durability};
use harness::helm::{self, Helm};
use harness::parts::{Part, trial, workspace};
use libtest_mimic::Trial;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Written, at, list, number, text};
use crate::Result;

/// Chart, release, and so the name of most objects.
const NAME: &str = "novacula-server";

/// What arguments call the settings.
const SETTINGS: &str = "/etc/novacula/server.toml";

/// Where the secret is mounted.
const SECRET: &str = "/etc/novacula/secret/";

/// Where the Job is told what opens the authority's key.
const KEY: &str = "NOVACULA_AUTHORITY_ENCRYPTION_KEY_FILE";

/// What a drain may take beside its spread: streams, then requests, then the jobs behind them, 5 s each.
const PATIENCE: u64 = 15;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("what_the_chart_renders_fits_together", &[Part::Helm3], consistent),
        trial("the_chart_runs_as_it_is_rendered", &[Part::Helm3, Part::Postgres, Part::Curl], run),
    ]
}

/// What the chart renders with the least of values, and the Job.
fn documents() -> Result<Vec<Value>> {
    let least = workspace().join("tests/charts").join(NAME).join("least/values.yaml");
    let least = least.to_str().context("a path of text")?;
    let arguments = ["--values", least, "--set", "migrate.enabled=true"];
    let rendered = Helm::Three.template(NAME, &helm::chart(NAME), &arguments)?;
    let documents = serde_yaml_ng::Deserializer::from_str(&rendered);
    documents.map(|document| Value::deserialize(document).with_context(|| rendered.clone())).collect()
}

fn find<'v>(documents: &'v [Value], kind: &str, name: &str) -> Result<&'v Value> {
    let wanted = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
    documents.iter().find(wanted).with_context(|| format!("{kind} {name}"))
}

fn consistent() -> Result {
    let documents = documents()?;
    let deployment = find(&documents, "Deployment", "novacula-server")?;
    let labels = at(deployment, "/spec/template/metadata/labels")?;
    let selected = |selector: &Value| {
        selector.as_object().is_some_and(|selector| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
    };
    ensure!(selected(at(deployment, "/spec/selector/matchLabels")?), "the Deployment selects its pods");
    let budget = find(&documents, "PodDisruptionBudget", "novacula-server")?;
    ensure!(selected(at(budget, "/spec/selector/matchLabels")?), "the budget is about the pods");
    for constraint in list(deployment, "/spec/template/spec/topologySpreadConstraints")? {
        ensure!(selected(at(constraint, "/labelSelector/matchLabels")?), "{constraint}");
    }
    let policy = find(&documents, "NetworkPolicy", "novacula-server")?;
    ensure!(selected(at(policy, "/spec/podSelector/matchLabels")?), "the network's rules are about the pods");

    // Ports are named by the container, and its numbers are those of the settings.
    let server = at(deployment, "/spec/template/spec/containers/0")?;
    let settings = text(find(&documents, "ConfigMap", "novacula-server")?, "/data/server.toml")?;
    let mut ports = BTreeSet::new();
    for port in list(server, "/ports")? {
        let listens = format!("_listen = \"0.0.0.0:{}\"", number(port, "/containerPort")?);
        ensure!(settings.contains(&format!("{}{listens}", text(port, "/name")?.trim_end_matches('s'))), "{port}");
        ports.insert(text(port, "/name")?);
    }
    for (service, port) in [("novacula-server-api", "api"), ("novacula-server-executors", "executors")] {
        let service = find(&documents, "Service", service)?;
        ensure!(selected(at(service, "/spec/selector")?), "{service}");
        ensure!(text(service, "/spec/ports/0/targetPort")? == port && ports.contains(port), "{service}");
        ensure!(service.pointer("/spec/sessionAffinity").is_none(), "nobody sticks to a replica");
    }
    for port in list(policy, "/spec/ingress/0/ports")? {
        ensure!(ports.contains(text(port, "/port")?), "{port}");
    }
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        ensure!(text(server, &format!("/{probe}/httpGet/port"))? == "api", "{probe}");
    }

    // A replica less at a time, when a person wants it and when a node goes; and a drain is let come to its end.
    ensure!(at(deployment, "/spec/strategy/rollingUpdate/maxUnavailable")? == 0, "an update adds before it takes");
    ensure!(number(budget, "/spec/maxUnavailable")? + 1 < number(deployment, "/spec/replicas")?, "most of them stay");
    let grace = number(deployment, "/spec/template/spec/terminationGracePeriodSeconds")?;
    let drain = settings.lines().find_map(|line| line.strip_prefix("drain_ms = ")).context("drain_ms")?;
    let before = number(server, "/lifecycle/preStop/sleep/seconds")?;
    let needed = before + drain.parse::<u64>()? / 1000 + PATIENCE;
    ensure!(grace > needed, "{grace} s of grace for {needed}");

    ensure!(list(server, "/args")?[..2] == [json!("--config"), json!(SETTINGS)], "{server}");
    let job = find(&documents, "Job", "novacula-server-migrate")?;
    for owner in [deployment, job] {
        fits(owner, settings, text(server, "/image")?)?;
    }
    // The Job is none of the replicas: no Service leads to it, and the network has a rule of its own for it.
    ensure!(!selected(at(job, "/spec/template/metadata/labels")?), "{job}");
    let policy = find(&documents, "NetworkPolicy", "novacula-server-migrate")?;
    let labels = at(job, "/spec/template/metadata/labels")?;
    ensure!(at(policy, "/spec/podSelector/matchLabels")? == labels, "{policy}");
    Ok(())
}

/// A pod finds all that it mounts and names, and runs the same image as the others.
fn fits(owner: &Value, settings: &str, image: &str) -> Result {
    let pod = at(owner, "/spec/template/spec")?;
    let container = at(pod, "/containers/0")?;
    ensure!(text(container, "/image")? == image, "{container}");
    let volumes: BTreeSet<&str> =
        list(pod, "/volumes")?.iter().map(|volume| text(volume, "/name")).collect::<Result<_>>()?;
    for mount in list(container, "/volumeMounts")? {
        ensure!(volumes.contains(text(mount, "/name")?), "{mount}");
    }
    // The URL may name files: they lie beside the key.
    let secret = list(pod, "/volumes")?.iter().find(|volume| volume["name"] == "secret").context("the secret")?;
    let taken = text(container, "/env/0/valueFrom/secretKeyRef/name")?;
    ensure!(text(secret, "/secret/secretName")? == taken, "{secret}");
    ensure!(settings.contains(&format!("{SECRET}encryption.key")), "{settings}");
    ensure!(at(pod, "/automountServiceAccountToken")? == false, "{pod}");
    Ok(())
}

/// Migrates, serves, answers its probes, takes a bootstrap beside it, and ends in time.
fn run() -> Result {
    let documents = documents()?;
    let (job, deployment) =
        (find(&documents, "Job", "novacula-server-migrate")?, find(&documents, "Deployment", "novacula-server")?);
    let settings = text(find(&documents, "ConfigMap", "novacula-server")?, "/data/server.toml")?;
    let cluster = Cluster::start(Durability::Off)?;
    let shared = TempDir::new()?;
    fs::write(shared.path().join("encryption.key"), "0123456789abcdef".repeat(4))?;
    let secret = format!("{}/", shared.path().to_str().context("a path of text")?);
    let mut written = Written::new(shared.path(), SETTINGS, settings, &[(SECRET, &secret)])?;
    let container = at(deployment, "/spec/template/spec/containers/0")?;
    ensure!(text(container, "/env/0/name")? == "NOVACULA_DATABASE_URL");
    written.environment.push(("NOVACULA_DATABASE_URL", cluster.tls_url()));
    // The Job has no settings' file: all it knows is in its environment. It writes where its volume is.
    written.environment.push(("NOVACULA_DATA_DIR", shared.path().join("data").display().to_string()));
    let key = list(job, "/spec/template/spec/containers/0/env")?.iter().find(|variable| variable["name"] == KEY);
    let key = text(key.context(KEY)?, "/value")?.replace(SECRET, &secret);
    written.environment.push((KEY, key));

    written.carry_out(at(job, "/spec/template/spec/containers/0/args")?)?;
    let running = written.start(at(container, "/args")?)?;
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        ensure!(text(container, &format!("/{probe}/httpGet/scheme"))? == "HTTPS");
        written.answers(text(container, &format!("/{probe}/httpGet/path"))?)?;
    }
    let not_the_api = written.status(written.executors, "/readyz")?;
    ensure!(not_the_api != "200", "executors are not asked for certificates by a probe: {not_the_api}");
    let made = written.carry_out(&json!(["--config", SETTINGS, "bootstrap", "--organization", "acme"]))?;
    ensure!(made.contains("organizations/acme") && made.contains("owner"), "{made}");
    let took = running.end()?;
    let grace = number(deployment, "/spec/template/spec/terminationGracePeriodSeconds")?;
    ensure!(took < Duration::from_secs(grace), "{took:?}");
    Ok(())
}
