//! The operator's own Deployment, read: which image it wants, who set it, whether a bad version could be undone, and who else
//! thinks that the image is theirs. Pure.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;

use crate::cluster::{Error, FIELD_MANAGER};
use crate::record::{self, Record};

/// Set by people: their GitOps tool leaves the image alone (docs/operate/gitops.md).
pub const GITOPS: &str = "novacula.dev/gitops";

/// The value of [`GITOPS`] that says so.
pub const GITOPS_IGNORED: &str = "ignored";

/// What is read of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// The image that its template names now.
    pub image: String,
    /// Who set that image, by `metadata.managedFields`.
    pub image_set_by: Vec<Setter>,
    /// For a change that must not overwrite another one.
    pub resource_version: String,
    /// What its pods are found by, as a label selector.
    pub selector: String,
    /// The attempt that is open.
    pub record: Option<Record>,
    /// Why it is not known whether one is: somebody wrote what this version cannot read.
    pub unreadable: Option<String>,
    /// Our other annotations.
    pub notes: BTreeMap<String, String>,
    /// Why a bad version could not be undone, each with field and value.
    pub hazards: Vec<String>,
    /// Why the image is not ours to change.
    pub managed: Option<String>,
    /// It makes no new pods.
    pub paused: bool,
    /// What its controller says of progress.
    pub progressing: Option<Condition>,
    /// What its controller says of pods that it cannot make.
    pub replica_failure: Option<Condition>,
}

/// Who set a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setter {
    /// A program's name, as it gave it.
    pub manager: String,
    /// When it last changed any of its fields.
    pub at: Option<Timestamp>,
}

/// A condition that holds, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether.
    pub holds: bool,
    /// A word for programs.
    pub reason: String,
    /// Words for people.
    pub message: String,
}

impl Own {
    /// Reads it.
    ///
    /// # Errors
    /// It lacks what every Deployment of ours has.
    pub fn read(deployment: &Deployment, container: &str) -> Result<Self, Error> {
        let name = deployment.metadata.name.clone().unwrap_or_default();
        let own = the_container(deployment, container)
            .ok_or_else(|| Error::unusable(format!("deployment {name} has no container {container:?}")))?;
        let image = own.image.clone().unwrap_or_default();
        let annotations = deployment.metadata.annotations.clone().unwrap_or_default();
        let (record, unreadable) = match annotations.get(record::ANNOTATION).map(|text| Record::parse(text)) {
            Some(Ok(record)) => (Some(record), None),
            Some(Err(why)) => (None, Some(why_unreadable(deployment, &why))),
            None => (None, None),
        };
        let notes = record::NOTES.iter().filter_map(|key| annotations.get_key_value(*key));
        Ok(Self {
            image_set_by: image_set_by(deployment, container),
            resource_version: deployment.metadata.resource_version.clone().unwrap_or_default(),
            selector: selector(deployment),
            record,
            notes: notes.map(|(key, value)| (key.clone(), value.clone())).collect(),
            hazards: hazards(deployment, own),
            managed: unreadable.clone().or_else(|| managed(deployment, container)),
            unreadable,
            paused: deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or(false),
            progressing: condition(deployment, "Progressing"),
            replica_failure: condition(deployment, "ReplicaFailure"),
            image,
        })
    }

    /// Who set the image, and when, in words: others than this operator, where there are any.
    #[must_use]
    pub fn set_by(&self) -> Vec<String> {
        let is_ours = |setter: &&Setter| setter.manager == FIELD_MANAGER;
        let (ours, others): (Vec<_>, Vec<_>) = self.image_set_by.iter().partition(is_ours);
        let all = if others.is_empty() { ours } else { others };
        all.into_iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Setter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at {
            Some(at) => write!(f, "{} ({at})", self.manager),
            None => f.write_str(&self.manager),
        }
    }
}

/// Whoever wrote it may still need it, so it stays until a person has looked. The line comes first: a control plane may show only
/// the beginning.
fn why_unreadable(deployment: &Deployment, why: &str) -> String {
    let metadata = &deployment.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    let key = record::ANNOTATION;
    format!(
        "an attempt is written here that this version cannot read; see to the image, then: kubectl -n {namespace} annotate deployment {name} {key}- ({why})"
    )
}

fn the_container<'a>(deployment: &'a Deployment, name: &str) -> Option<&'a Container> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.iter().find(|container| container.name == name)
}

fn selector(deployment: &Deployment) -> String {
    let labels = deployment.spec.as_ref().and_then(|spec| spec.selector.match_labels.clone()).unwrap_or_default();
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

/// What its controller says of the Deployment as it is now, not of how it was before the last change.
fn condition(deployment: &Deployment, kind: &str) -> Option<Condition> {
    let status = deployment.status.as_ref()?;
    if status.observed_generation < deployment.metadata.generation {
        return None;
    }
    let conditions = status.conditions.as_ref()?;
    let found = conditions.iter().find(|condition| condition.type_ == kind)?;
    Some(Condition {
        holds: found.status == "True",
        reason: found.reason.clone().unwrap_or_default(),
        message: found.message.clone().unwrap_or_default(),
    })
}

/// What makes a bad version take the good one's place before anybody can see that it is bad.
fn hazards(deployment: &Deployment, container: &Container) -> Vec<String> {
    let mut found = Vec::new();
    let Some(spec) = &deployment.spec else {
        return vec!["spec is empty".to_owned()];
    };
    let strategy = spec.strategy.as_ref();
    if strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate") {
        found.push("spec.strategy.type is Recreate, which ends the old pod first; set RollingUpdate".to_owned());
    }
    let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
    let replicas = spec.replicas.unwrap_or(1);
    let unavailable = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
    if unavailable.is_some_and(|most| is_some_pod(most, replicas)) {
        found.push("spec.strategy.rollingUpdate.maxUnavailable lets the old pod end first; set 0".to_owned());
    }
    if spec.min_ready_seconds.unwrap_or(0) < 1 {
        let why = "spec.minReadySeconds is 0: a version that crashes at once would count as rolled out; set the probation, 120";
        found.push(why.to_owned());
    }
    if container.readiness_probe.is_none() {
        let why = "the container has no readinessProbe: a version that never connects would count as rolled out; set the chart's";
        found.push(why.to_owned());
    }
    if spec.paused.unwrap_or(false) {
        found.push("spec.paused is true; resume it".to_owned());
    }
    if replicas < 1 {
        found.push("spec.replicas is 0; set 1".to_owned());
    }
    found
}

/// Whether so many of `replicas` pods, rounded down as the controller does, are at least one.
fn is_some_pod(most: &IntOrString, replicas: i32) -> bool {
    match most {
        IntOrString::Int(pods) => *pods > 0,
        IntOrString::String(percent) => {
            let percent: i64 = percent.trim_end_matches('%').parse().unwrap_or(100);
            percent.saturating_mul(i64::from(replicas)) / 100 > 0
        }
    }
}

/// The managers of `spec.template.spec.containers[name].image`.
fn image_set_by(deployment: &Deployment, container: &str) -> Vec<Setter> {
    let path =
        ["f:spec", "f:template", "f:spec", "f:containers", &format!("k:{{\"name\":\"{container}\"}}"), "f:image"];
    let fields = deployment.metadata.managed_fields.iter().flatten();
    let owns = |entry: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        let root = entry.fields_v1.as_ref().map(|fields| &fields.0);
        root.and_then(|root| path.iter().try_fold(root, |value, key| value.get(key))).is_some()
    };
    let setter = |entry: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        Some(Setter { manager: entry.manager.clone()?, at: entry.time.as_ref().map(|time| time.0) })
    };
    fields.filter(owns).filter_map(setter).collect()
}

/// Tools that set a Deployment to what a repository says, again and again.
fn managed(deployment: &Deployment, container: &str) -> Option<String> {
    let annotations = deployment.metadata.annotations.as_ref();
    if annotations.and_then(|all| all.get(GITOPS)).is_some_and(|value| value == GITOPS_IGNORED) {
        return None;
    }
    let labels = deployment.metadata.labels.as_ref();
    let has = |key: &str| {
        annotations.is_some_and(|all| all.contains_key(key)) || labels.is_some_and(|all| all.contains_key(key))
    };
    let by_manager = image_set_by(deployment, container).into_iter().find_map(|setter| tool_of(&setter.manager));
    let by_mark = MARKS.iter().find(|(key, _)| has(key)).map(|(_, tool)| *tool);
    let tool = by_manager.or(by_mark)?;
    let field = format!("spec.template.spec.containers[name={container}].image");
    Some(format!(
        "{tool} sets this Deployment to what its repository says, and would undo an upgrade: change {field} there, or let {tool} ignore that field and annotate the Deployment with {GITOPS}={GITOPS_IGNORED}"
    ))
}

const MARKS: &[(&str, &str)] = &[
    ("argocd.argoproj.io/tracking-id", "Argo CD"),
    ("argocd.argoproj.io/instance", "Argo CD"),
    ("kustomize.toolkit.fluxcd.io/name", "Flux"),
    ("helm.toolkit.fluxcd.io/name", "Flux"),
];

fn tool_of(manager: &str) -> Option<&'static str> {
    match manager {
        "argocd-controller" | "argocd-application-controller" => Some("Argo CD"),
        "kustomize-controller" | "helm-controller" => Some("Flux"),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
