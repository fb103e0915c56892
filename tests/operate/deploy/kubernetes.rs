//! The manifests. A schema says that each is well formed; here it is said that they fit each other, the settings, and what the
//! server really serves. `deploy/dev/kubernetes-check` asks a real API server, by hand.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use cluster::{Cluster, Durability};
use harness::daemon::succeeded;
use harness::parts::{Part, trial, workspace};
use libtest_mimic::Trial;
use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Written, at, list, number, text};
use crate::Result;

/// Where they are.
const FOLDER: &str = "deploy/kubernetes";

/// Whose schemas they are judged by: the oldest version that knows all that they say without a gate, and the newest.
const VERSIONS: [&str; 2] = ["1.34.0", "1.37.0"];

/// What arguments call the settings.
const SETTINGS: &str = "/etc/novacula/server.toml";

/// Where the secret is mounted.
const SECRET: &str = "/etc/novacula/secret/";

/// What a drain may take beside its spread: streams, then requests, then the jobs behind them, 5 s each.
const PATIENCE: u64 = 15;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        trial("the_manifests_are_what_kubernetes_accepts", &[Part::KubernetesValidate], accepted),
        trial("the_manifests_fit_each_other", &[], consistent),
        trial("the_manifests_run_as_they_are_written", &[Part::Postgres, Part::Curl], run),
    ]
}

/// All documents of the folder, those in folders of their own too.
fn documents() -> Result<Vec<Value>> {
    let (mut documents, mut folders) = (Vec::new(), vec![workspace().join(FOLDER)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path)?;
            for document in serde_yaml_ng::Deserializer::from_str(&text) {
                documents.push(Value::deserialize(document).with_context(|| path.display().to_string())?);
            }
        }
    }
    Ok(documents)
}

fn find<'v>(documents: &'v [Value], kind: &str, name: &str) -> Result<&'v Value> {
    let wanted = |document: &&Value| document["kind"] == kind && document["metadata"]["name"] == name;
    documents.iter().find(wanted).with_context(|| format!("{kind} {name}"))
}

fn accepted() -> Result {
    for version in VERSIONS {
        let mut validate = Command::new(Part::KubernetesValidate.find()?);
        validate.args(["--strict", "-k", version]);
        for folder in ["", "jobs", "examples"] {
            for entry in fs::read_dir(workspace().join(FOLDER).join(folder))? {
                let path = entry?.path();
                if path.is_file() {
                    validate.arg(path);
                }
            }
        }
        succeeded(&validate.output()?).with_context(|| version.to_owned())?;
    }
    Ok(())
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
    let whose = list(policy, "/spec/podSelector/matchExpressions/0/values")?;

    // Ports are named by the container, and its numbers are those of the settings.
    let server = at(deployment, "/spec/template/spec/containers/0")?;
    let settings = text(find(&documents, "ConfigMap", "novacula-server")?, "/data/server.toml")?;
    let mut ports = BTreeSet::new();
    for port in list(server, "/ports")? {
        let listens = format!("_listen = \"0.0.0.0:{}\"", number(port, "/containerPort")?);
        ensure!(settings.contains(&format!("{}{listens}", text(port, "/name")?.trim_end_matches('s'))), "{port}");
        ports.insert(text(port, "/name")?);
    }
    for (service, port) in [("novacula-api", "api"), ("novacula-executors", "executors")] {
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

    for owner in [deployment, find(&documents, "Job", "novacula-migrate")?] {
        fits(&documents, owner, settings, text(server, "/image")?)?;
        let name = at(owner, "/spec/template/metadata/labels/app.kubernetes.io~1name")?;
        ensure!(whose.contains(name), "the network's rules are about {name}, too");
    }
    Ok(())
}

/// A pod finds all that it mounts and names, runs the same image as the others, and may do no more than it has to.
fn fits(documents: &[Value], owner: &Value, settings: &str, image: &str) -> Result {
    let pod = at(owner, "/spec/template/spec")?;
    let container = at(pod, "/containers/0")?;
    ensure!(text(container, "/image")? == image, "{container}");
    let volumes: BTreeSet<&str> =
        list(pod, "/volumes")?.iter().map(|volume| text(volume, "/name")).collect::<Result<_>>()?;
    for mount in list(container, "/volumeMounts")? {
        ensure!(volumes.contains(text(mount, "/name")?), "{mount}");
    }
    ensure!(list(container, "/args")?[..2] == [json!("--config"), json!(SETTINGS)], "{container}");

    // Every file of the secret that is named is a key of it.
    let secret = at(find(documents, "Secret", "novacula-server")?, "/stringData")?;
    let url = text(container, "/env/0/valueFrom/secretKeyRef/key").and_then(|key| text(secret, &format!("/{key}")))?;
    let named: Vec<&str> = settings.split(SECRET).skip(1).chain(url.split(SECRET).skip(1)).collect();
    ensure!(named.len() == 2, "{named:?}");
    for rest in named {
        let key = rest.split(['"', '&', '\n']).next().unwrap_or_default();
        ensure!(secret.get(key).is_some(), "the secret's example has {key}");
    }

    let restricted = [
        (pod, "/securityContext/runAsNonRoot", json!(true)),
        (pod, "/securityContext/seccompProfile/type", json!("RuntimeDefault")),
        (pod, "/automountServiceAccountToken", json!(false)),
        (container, "/securityContext/readOnlyRootFilesystem", json!(true)),
        (container, "/securityContext/allowPrivilegeEscalation", json!(false)),
        (container, "/securityContext/capabilities/drop", json!(["ALL"])),
    ];
    for (place, what, wanted) in restricted {
        ensure!(*at(place, what)? == wanted, "{what}");
    }
    ensure!(container.pointer("/resources/limits/memory").is_some(), "its memory is bounded");
    Ok(())
}

/// Migrates, serves, answers its probes, takes a bootstrap beside it, and ends in time.
fn run() -> Result {
    let documents = documents()?;
    let (job, deployment) =
        (find(&documents, "Job", "novacula-migrate")?, find(&documents, "Deployment", "novacula-server")?);
    let settings = text(find(&documents, "ConfigMap", "novacula-server")?, "/data/server.toml")?;
    let cluster = Cluster::start(Durability::Off)?;
    let shared = TempDir::new()?;
    fs::write(shared.path().join("encryption.key"), "0123456789abcdef".repeat(4))?;
    let secret = format!("{}/", shared.path().to_str().context("a path of text")?);
    let mut written = Written::new(shared.path(), SETTINGS, settings, &[(SECRET, &secret)])?;
    let container = at(deployment, "/spec/template/spec/containers/0")?;
    ensure!(text(container, "/env/0/name")? == "NOVACULA_DATABASE_URL");
    written.environment.push(("NOVACULA_DATABASE_URL", cluster.tls_url()));

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
