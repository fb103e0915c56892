//! The few calls that this operator makes to the cluster's API, each with a deadline and with an error that names what it did.

mod again;
mod error;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Pod, Secret};
use kube::api::{Api, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::{Client, Config};
use serde_json::Value;
use tokio::time::timeout;

use crate::deployment::Own;
use crate::rollout::Run;

pub use again::Again;
pub use error::{Error, Trouble};

/// Who sets the fields that are ours, in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "novacula-operator";

/// Longest that one call may take. The API server's own limit is a minute; whoever waits here has a Lease to keep.
const DEADLINE: Duration = Duration::from_secs(8);

/// Most lines of a container's log that are asked for.
const LOG_LINES: i64 = 500;

/// Most bytes of a container's log that are asked for: what a report may carry.
const LOG_BYTES: i64 = 64 * 1024;

/// What belongs to this operator, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Of everything else.
    pub namespace: String,
    /// The Deployment that this operator is.
    pub deployment: String,
    /// Its container.
    pub container: String,
    /// What it keeps.
    pub secret: String,
    /// Who speaks.
    pub lease: String,
    /// This pod.
    pub pod: String,
}

/// The cluster's API, as this operator sees it. Cheap to clone.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    names: Names,
}

impl Cluster {
    /// By the pod's ServiceAccount, or outside a pod by the kubeconfig.
    ///
    /// # Errors
    /// There is neither, or it makes no client.
    pub async fn connect(names: Names) -> Result<Self, Error> {
        let config = Config::infer().await.map_err(|error| Error::configuration(&error))?;
        let client = Client::try_from(config).map_err(|error| Error::configuration(&error))?;
        Ok(Self { client, names })
    }

    /// A client made elsewhere.
    #[must_use]
    pub const fn new(client: Client, names: Names) -> Self {
        Self { client, names }
    }

    /// What belongs to this operator.
    #[must_use]
    pub const fn names(&self) -> &Names {
        &self.names
    }

    /// For watches.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// Deployments of the namespace.
    #[must_use]
    pub fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client(), &self.names.namespace)
    }

    /// Pods of the namespace.
    #[must_use]
    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client(), &self.names.namespace)
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client(), &self.names.namespace)
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client(), &self.names.namespace)
    }

    /// This operator's Deployment, read.
    ///
    /// # Errors
    /// [`Error`]; also when it is not as a Deployment of ours is.
    pub async fn own(&self) -> Result<Own, Error> {
        let name = &self.names.deployment;
        let deployment = self.call("get", "deployments", name, self.deployments().get(name)).await?;
        Own::read(&deployment, &self.names.container)
    }

    /// Applies our fields of the Deployment, in force, if nobody changed it since `resource_version`.
    ///
    /// # Errors
    /// [`Trouble::Conflict`] when somebody did; any other [`Error`].
    pub async fn apply_deployment(&self, fields: &Value, mode: Mode) -> Result<Deployment, Error> {
        let mut parameters = PatchParams::apply(FIELD_MANAGER).force();
        parameters.dry_run = mode == Mode::DryRun;
        let name = &self.names.deployment;
        let api = self.deployments();
        self.call("patch", "deployments", name, api.patch(name, &parameters, &Patch::Apply(fields))).await
    }

    /// The Secret that is ours.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn secret(&self) -> Result<Secret, Error> {
        self.secret_named(&self.names.secret).await
    }

    /// A Secret of the namespace.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn secret_named(&self, name: &str) -> Result<Secret, Error> {
        self.call("get", "secrets", name, self.secrets().get(name)).await
    }

    /// Sets and removes (null) keys of our Secret, if nobody changed it since the resource version that `patch` names.
    ///
    /// # Errors
    /// [`Trouble::Conflict`] when somebody did; any other [`Error`].
    pub async fn patch_secret(&self, patch: &Value) -> Result<Secret, Error> {
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let name = &self.names.secret;
        let api = self.secrets();
        self.call("patch", "secrets", name, api.patch(name, &parameters, &Patch::Merge(patch))).await
    }

    /// Our Lease.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn lease(&self) -> Result<Lease, Error> {
        let name = &self.names.lease;
        self.call("get", "leases", name, self.leases().get(name)).await
    }

    /// Writes our Lease, if nobody changed it since it was read.
    ///
    /// # Errors
    /// [`Trouble::Conflict`] when somebody did; any other [`Error`].
    pub async fn replace_lease(&self, lease: &Lease) -> Result<Lease, Error> {
        let name = &self.names.lease;
        let api = self.leases();
        self.call("update", "leases", name, api.replace(name, &PostParams::default(), lease)).await
    }

    /// A pod.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pod(&self, name: &str) -> Result<Pod, Error> {
        self.call("get", "pods", name, self.pods().get(name)).await
    }

    /// Pods with these labels.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn pods_with(&self, labels: &str) -> Result<Vec<Pod>, Error> {
        let (api, parameters) = (self.pods(), ListParams::default().labels(labels));
        self.call("list", "pods", "", api.list(&parameters)).await.map(|list| list.items)
    }

    /// What the cluster last warned of about a pod, oldest first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn warnings(&self, pod: &str) -> Result<Vec<Event>, Error> {
        let api: Api<Event> = Api::namespaced(self.client(), &self.names.namespace);
        let parameters = ListParams::default().fields(&format!("involvedObject.name={pod},type=Warning"));
        self.call("list", "events", "", api.list(&parameters)).await.map(|list| list.items)
    }

    /// The last lines of a container's log, oldest first; of its last run or the one before.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn log(&self, pod: &str, container: &str, run: Run) -> Result<Vec<String>, Error> {
        let parameters = LogParams {
            container: Some(container.to_owned()),
            previous: run == Run::Previous,
            tail_lines: Some(LOG_LINES),
            limit_bytes: Some(LOG_BYTES),
            ..LogParams::default()
        };
        let text = self.call("get", "pods/log", pod, self.pods().logs(pod, &parameters)).await?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        resource: &'static str,
        name: &str,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, Error> {
        let asked = error::Asked { verb, resource, name: name.to_owned(), namespace: self.names.namespace.clone() };
        match timeout(DEADLINE, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Error::of(asked, &error)),
            Err(_) => Err(Error::late(asked, DEADLINE)),
        }
    }
}

/// Whether a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    Real,
    /// Everything but: rights, admission and quota are asked.
    DryRun,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({}/{})", self.names.namespace, self.names.deployment)
    }
}
