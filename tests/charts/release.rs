//! A release of a chart in a namespace that enforces the `restricted` standard, in a real API server: with its controllers, and
//! without a node, so that its pods are made and wait.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail, ensure};
use harness::daemon::succeeded;
use harness::helm::{self, BOTH, Helm};
use harness::kube::{Cluster, Namespace, Tier};
use harness::parts::{Part, trial, workspace};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::Result;

/// What these trials need.
pub(crate) const PARTS: &[Part] =
    &[Part::Namespaces, Part::Kubeone, Part::Openssl, Part::Curl, Part::Helm3, Part::Helm4];

/// Longest wait for what a controller does.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A trial that either Helm has to pass.
pub(crate) type Case = fn(Helm) -> Result;

/// A chart that was installed under its own name.
pub(crate) struct Release<'c> {
    helm: Helm,
    chart: &'static str,
    namespace: Namespace<'c>,
}

/// Each case with Helm 3 and with Helm 4.
pub(crate) fn with_both(cases: &[(&str, Case)]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for helm in BOTH {
        for &(name, case) in cases {
            trials.push(trial(format!("{name}::{}", major(helm)), PARTS, move || case(helm)));
        }
    }
    trials
}

fn major(helm: Helm) -> &'static str {
    match helm {
        Helm::Three => "helm3",
        Helm::Four => "helm4",
    }
}

/// The cluster of this binary, for its whole time.
pub(crate) fn cluster() -> Result<&'static Cluster> {
    static CLUSTER: OnceLock<std::result::Result<Cluster, String>> = OnceLock::new();
    let started = CLUSTER.get_or_init(|| Cluster::start(Tier::ControlPlane).map_err(|error| format!("{error:?}")));
    started.as_ref().map_err(|error| anyhow!("the cluster: {error}"))
}

/// A namespace in which no pod may do more than `restricted` allows, and where whatever could is warned of.
pub(crate) fn restricted(name: &str) -> Result<Namespace<'static>> {
    let namespace = cluster()?.namespace(name)?;
    let labels =
        json!({"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"});
    let path = format!("/api/v1/namespaces/{}", namespace.name());
    namespace.api().patch(&path, &json!({"metadata": {"labels": labels}}))?;
    Ok(namespace)
}

// === impl Release ===

impl Release<'static> {
    /// Installs a chart with the least that it needs, and what is said beside it.
    pub(crate) fn install(helm: Helm, chart: &'static str, arguments: &[&str]) -> Result<Self> {
        let release = Self { helm, chart, namespace: restricted(&format!("{chart}-{}", major(helm)))? };
        release.install_again(arguments)?;
        Ok(release)
    }
}

impl Release<'_> {
    /// Where it is.
    pub(crate) fn namespace(&self) -> &Namespace<'_> {
        &self.namespace
    }

    /// What Helm prints.
    pub(crate) fn install_again(&self, arguments: &[&str]) -> Result<String> {
        self.with_chart("install", &helm::chart(self.chart), arguments)
    }

    /// What Helm prints.
    pub(crate) fn upgrade(&self, arguments: &[&str]) -> Result<String> {
        self.upgrade_to(&helm::chart(self.chart), arguments)
    }

    /// The same, with another chart.
    pub(crate) fn upgrade_to(&self, chart: &Path, arguments: &[&str]) -> Result<String> {
        self.with_chart("upgrade", chart, arguments)
    }

    fn with_chart(&self, verb: &str, chart: &Path, arguments: &[&str]) -> Result<String> {
        let least = workspace().join("tests/charts").join(self.chart).join("least/values.yaml");
        let least = least.to_str().context("a path of text")?;
        let chart = chart.to_str().context("a path of text")?;
        self.helm(&[&[verb, self.chart, chart, "--values", least], arguments].concat())
    }

    /// Back to a revision.
    pub(crate) fn roll_back(&self, revision: &str, arguments: &[&str]) -> Result<String> {
        self.helm(&[&["rollback", self.chart, revision], arguments].concat())
    }

    /// Removes it.
    pub(crate) fn uninstall(&self) -> Result<String> {
        self.helm(&["uninstall", self.chart, "--wait"])
    }

    /// What Helm prints.
    pub(crate) fn helm(&self, words: &[&str]) -> Result<String> {
        let mut command = self.helm.command()?;
        command.env("KUBECONFIG", self.namespace.cluster().kubeconfig());
        command.args(words).args(["--namespace", self.namespace.name()]);
        succeeded(&command.output()?).with_context(|| format!("{:?} {words:?}", self.helm))
    }

    /// Runs what changes an image that has another owner by now: Helm 3 does it, Helm 4 says who that is and wants to be forced.
    pub(crate) fn against(&self, owner: &str, act: impl Fn(&[&str]) -> Result<String>) -> Result<String> {
        match (self.helm, act(&[])) {
            (Helm::Three, done) => done,
            (Helm::Four, Ok(said)) => bail!("{owner} was not asked: {said}"),
            (Helm::Four, Err(refused)) => {
                let refused = format!("{refused:?}");
                ensure!(refused.contains("conflict") && refused.contains(&format!("\"{owner}\"")), "{refused}");
                ensure!(refused.contains(".image"), "{refused}");
                act(&["--force-conflicts"])
            }
        }
    }

    /// The Deployment.
    pub(crate) fn deployment(&self) -> Result<Value> {
        self.namespace.get(&format!("apps/v1/deployments/{}", self.chart))
    }

    /// Its only container.
    pub(crate) fn container(&self) -> Result<Value> {
        Ok(self.deployment()?["spec"]["template"]["spec"]["containers"][0].clone())
    }

    /// Waits until the pod of what the Deployment says now was made, which it is only if it was admitted.
    pub(crate) fn admitted(&self) -> Result {
        let updated = |deployment: &Value| {
            deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]
                && deployment["status"]["updatedReplicas"] == deployment["spec"]["replicas"]
        };
        let what = format!("apps/v1/deployments/{}", self.chart);
        self.namespace.wait(&what, "its pods", SOON, updated).map(drop)
    }
}
