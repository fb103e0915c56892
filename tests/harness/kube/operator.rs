//! The operator in a namespace, installed by its chart as people do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use image::manifest::Image;

use super::{Cluster, Namespace};
use crate::parts::{Part, workspace};

/// What the chart calls what it makes.
pub const NAME: &str = "novacula-operator";

/// How an operator is installed.
#[derive(Clone, Debug)]
pub struct Installation<'a> {
    /// Spent at its first start.
    pub join_token: &'a str,
    /// What it begins as; the registry has it, as `operator`.
    pub first: &'a Image,
    /// The control plane's.
    pub probation: Duration,
    /// How long a node may take to start a pod.
    pub start_seconds: u32,
    /// Further words for Helm.
    pub values: &'a [&'a str],
}

impl Installation<'_> {
    /// Installs it. Returns before it runs.
    ///
    /// # Errors
    /// What kubectl or Helm says.
    pub fn install(&self, namespace: &Namespace<'_>) -> Result<()> {
        let token = format!("--from-literal=token={}", self.join_token.trim());
        namespace.kubectl(&["create", "secret", "generic", "join-token", &token])?;
        let settings = self.settings(namespace.cluster());
        let set = settings.iter().flat_map(|setting| ["--set", setting.as_str()]);
        let words: Vec<&str> = std::iter::once("install").chain(set).chain(self.values.iter().copied()).collect();
        helm(namespace, &words).map(drop)
    }

    fn settings(&self, cluster: &Cluster) -> Vec<String> {
        let registry = cluster.registry();
        vec![
            format!("image.repository={}", registry.reference("operator")),
            format!("image.digest={}", self.first.digest().as_str()),
            "joinToken.existingSecret=join-token".to_owned(),
            format!("registry.plainHttp={{{}}}", registry.address()),
            format!("rollout.probationSeconds={}", self.probation.as_secs()),
            format!("rollout.startSeconds={}", self.start_seconds),
            "logs.format=text".to_owned(),
        ]
    }
}

/// What Helm prints about the operator's release in a namespace: a verb, and words.
///
/// # Errors
/// What it says otherwise.
pub fn helm(namespace: &Namespace<'_>, words: &[&str]) -> Result<String> {
    let chart = workspace().join("deploy/helm/novacula-operator");
    let chart = chart.to_str().context("a path of text")?;
    let (verb, values) = words.split_first().context("a verb")?;
    let words = [&[*verb, NAME, chart, "--namespace", namespace.name()][..], values].concat();
    namespace.cluster().helm(Part::Helm3, &words)
}
