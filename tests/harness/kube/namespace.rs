//! A namespace for one trial, with what trials do in it.

use std::{
    io::Write as _,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Api, Cluster};
use crate::{daemon::succeeded, wait};

/// Longest wait for what controllers make in a new namespace.
const SOON: Duration = Duration::from_secs(30);

/// A namespace; removed, with all that is in it, when dropped.
#[derive(Debug)]
pub struct Namespace<'c> {
    cluster: &'c Cluster,
    name: String,
}

// === impl Namespace ===

impl<'c> Namespace<'c> {
    pub(super) fn make(cluster: &'c Cluster, name: &str) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        cluster.api().create("/api/v1/namespaces", &json!({ "metadata": { "name": name } }))?;
        let namespace = Self { cluster, name };
        for made in ["v1/serviceaccounts/default", "v1/configmaps/kube-root-ca.crt"] {
            namespace.wait(made, "what pods of a namespace need", SOON, |_| true)?;
        }
        Ok(namespace)
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    #[must_use]
    pub fn cluster(&self) -> &'c Cluster {
        self.cluster
    }

    /// The API.
    #[must_use]
    pub fn api(&self) -> &'c Api {
        self.cluster.api()
    }

    /// The path of `v1/pods`, `apps/v1/deployments/bot`, or what else is in a namespace.
    #[must_use]
    pub fn path(&self, what: &str) -> String {
        let (root, version, rest) = match what.strip_prefix("v1/") {
            Some(rest) => ("api", "v1", rest),
            None => {
                let end = what.match_indices('/').nth(1).map_or(what.len(), |(end, _)| end);
                ("apis", &what[..end], what[end..].trim_start_matches('/'))
            }
        };
        format!("/{root}/{version}/namespaces/{}/{rest}", self.name)
    }

    /// Lets in no pod that does not keep to the restricted standard.
    ///
    /// # Errors
    /// The API does not answer.
    pub fn restrict(&self) -> Result<()> {
        let labels = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
        self.api().patch(&format!("/api/v1/namespaces/{}", self.name), &labels).map(drop)
    }

    /// An object or a list.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, what: &str) -> Result<Value> {
        self.api().get(&self.path(what))
    }

    /// Changes fields of an object.
    ///
    /// # Errors
    /// It is refused.
    pub fn patch(&self, what: &str, fields: &Value) -> Result<Value> {
        self.api().patch(&self.path(what), fields)
    }

    /// What kubectl prints, asked about this namespace.
    ///
    /// # Errors
    /// What it says otherwise.
    pub fn kubectl(&self, words: &[&str]) -> Result<String> {
        self.cluster.kubectl(&[&["--namespace", &self.name], words].concat())
    }

    /// Applies documents in YAML or JSON, as a person does.
    ///
    /// # Errors
    /// They are refused.
    pub fn apply(&self, documents: &str) -> Result<()> {
        let mut command = self.cluster.command()?;
        command.args(["--namespace", &self.name, "apply", "--filename", "-"]);
        let mut kubectl = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        kubectl.stdin.take().context("kubectl has an input")?.write_all(documents.as_bytes())?;
        succeeded(&kubectl.wait_with_output()?).map(drop).context("kubectl apply")
    }

    /// Waits until an object or a list is as it is wanted. It need not exist yet, and the API server may be away.
    ///
    /// # Errors
    /// It does not come to be so; with what is known about the namespace.
    pub fn wait(&self, what: &str, why: &str, limit: Duration, wanted: impl Fn(&Value) -> bool) -> Result<Value> {
        let path = self.path(what);
        let look = || Ok(self.api().find(&path));
        let seen = wait::until(why, limit, look, |seen| seen.as_ref().is_some_and(&wanted));
        seen.map(Option::unwrap_or_default).with_context(|| format!("{what}; {}", self.story()))
    }

    /// Waits until a Deployment has rolled out what it says now.
    ///
    /// # Errors
    /// It does not.
    pub fn rolled_out(&self, deployment: &str, limit: Duration) -> Result<Value> {
        self.wait(&format!("apps/v1/deployments/{deployment}"), "the rollout", limit, rolled_out)
    }

    /// The pods that have a label, as `app=bot`.
    ///
    /// # Errors
    /// The API does not answer.
    pub fn pods(&self, label: &str) -> Result<Vec<Value>> {
        let list = self.get(&format!("v1/pods?labelSelector={}", label.replace('=', "%3D")))?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until a container of a pod with this label waits for this reason (`ImagePullBackOff`, …), and returns the pod.
    ///
    /// # Errors
    /// None does.
    pub fn waits_for(&self, label: &str, reason: &str, limit: Duration) -> Result<Value> {
        let what = format!("v1/pods?labelSelector={}", label.replace('=', "%3D"));
        let found = |list: &Value| {
            let pods = list["items"].as_array().into_iter().flatten();
            pods.into_iter().find(|pod| waiting_reasons(pod).contains(&reason)).cloned()
        };
        let list = self.wait(&what, reason, limit, |list| found(list).is_some())?;
        found(&list).context("the pod that was seen")
    }

    /// What happened here, for whoever reads a failure: pods, their containers' states, and warnings.
    #[must_use]
    pub fn story(&self) -> String {
        let mut story = vec![format!("namespace {}", self.name)];
        let list = |what: &str| {
            let list = self.api().find(&self.path(what)).unwrap_or_default();
            list["items"].as_array().cloned().unwrap_or_default()
        };
        for pod in list("v1/pods") {
            let statuses = &pod["status"]["containerStatuses"];
            story.push(format!("pod {}: {} {statuses}", pod["metadata"]["name"], pod["status"]["phase"]));
        }
        for event in list("v1/events").into_iter().filter(|event| event["type"] == "Warning") {
            story.push(format!("{} {}: {}", event["involvedObject"]["name"], event["reason"], event["message"]));
        }
        story.join("\n")
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        // Its pods end while others go on.
        let _ = self.api().delete(&format!("/api/v1/namespaces/{}", self.name));
    }
}

/// Whether a Deployment has rolled out what it says, and nothing of before is left.
#[must_use]
pub fn rolled_out(deployment: &Value) -> bool {
    let status = &deployment["status"];
    let wanted = &deployment["spec"]["replicas"];
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && [&status["replicas"], &status["updatedReplicas"], &status["availableReplicas"]]
            .iter()
            .all(|count| *count == wanted)
}

/// Why a pod's containers wait, those that do.
#[must_use]
pub fn waiting_reasons(pod: &Value) -> Vec<&str> {
    let statuses = pod["status"]["containerStatuses"].as_array();
    statuses.into_iter().flatten().filter_map(|status| status["state"]["waiting"]["reason"].as_str()).collect()
}
