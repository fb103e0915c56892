//! The cluster's nodes: watched, kept as what is reported of them, and handed to the SDK, which tells the control plane what is
//! different.
//!
//! ```text
//! list and watch ─ take ─→ nodes by name ─→ watch channel (sorted; none until the first list is complete)
//! ```
//!
//! Only what is reported is kept: a node's own object names every image on it. A kubelet's sign of life changes nothing here. While
//! the API is away, or says that a watch is too old (410), the last list stays; then it is listed anew.

use std::collections::BTreeMap;
use std::pin::pin;

use domain::sync::Node;
use futures_util::TryStreamExt as _;
use k8s_openapi::api::core::v1 as core;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::watch;

/// Nodes of one page of a list: what clients of Kubernetes ask for.
const PAGE: u32 = 500;

/// Nodes by name, and the list that is just being read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nodes {
    known: Option<BTreeMap<String, Node>>,
    coming: BTreeMap<String, Node>,
}

/// Why nodes are not seen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The cluster's roles do not allow it.
    #[error(
        "the cluster does not allow this operator to {verb} nodes (core, cluster-wide); bind its ServiceAccount to a ClusterRole with get, list, watch on nodes: {message}"
    )]
    Forbidden {
        /// `list` or `watch`.
        verb: &'static str,
        /// What the API said.
        message: String,
    },
    /// Any other: it passes, or somebody mends it.
    #[error("nodes cannot be watched: {0}")]
    Other(String),
}

/// Watches until the receivers are gone, or for ever: whoever owns the task ends it.
pub async fn follow(client: Client, news: watch::Sender<Option<Vec<Node>>>) {
    let settings = watcher::Config::default().page_size(PAGE);
    let mut events = pin!(watcher(Api::<core::Node>::all(client), settings).default_backoff());
    let (mut nodes, mut told) = (Nodes::default(), None);
    loop {
        let event = tokio::select! {
            () = news.closed() => return,
            event = events.try_next() => event,
        };
        match event {
            Ok(Some(event)) => {
                // Asked again with a pause that grows; said once, until something else is the matter.
                told = None;
                if nodes.take(event) {
                    news.send_replace(nodes.sorted());
                }
            }
            Ok(None) => return,
            Err(error) => {
                let problem = Problem::from(&error);
                if told.as_ref() != Some(&problem) {
                    tracing::warn!(error = %problem, "nodes are not reported");
                    told = Some(problem);
                }
            }
        }
    }
}

// === impl Nodes ===

impl Nodes {
    /// What a watch says; whether that changes what is known.
    pub fn take(&mut self, event: Event<core::Node>) -> bool {
        match event {
            Event::Init => {
                self.coming.clear();
                false
            }
            Event::InitApply(node) => {
                self.coming.extend(seen(&node).map(|node| (node.name.clone(), node)));
                false
            }
            Event::InitDone => {
                let fresh = Some(std::mem::take(&mut self.coming));
                let changed = self.known != fresh;
                self.known = fresh;
                changed
            }
            Event::Apply(node) => seen(&node).is_some_and(|node| {
                let known = self.known.get_or_insert_default();
                known.get(&node.name) != Some(&node) && {
                    known.insert(node.name.clone(), node);
                    true
                }
            }),
            Event::Delete(node) => {
                let name = node.metadata.name.unwrap_or_default();
                self.known.as_mut().is_some_and(|known| known.remove(&name).is_some())
            }
        }
    }

    /// All of them by name; none while the first list is not complete.
    #[must_use]
    pub fn sorted(&self) -> Option<Vec<Node>> {
        self.known.as_ref().map(|known| known.values().cloned().collect())
    }
}

/// What is reported of a node. One that is cordoned takes no work, whatever its kubelet says.
fn seen(node: &core::Node) -> Option<Node> {
    let name = node.metadata.name.clone()?;
    let status = node.status.clone().unwrap_or_default();
    let info = status.node_info.unwrap_or_default();
    let is_ready = status.conditions.unwrap_or_default().iter().any(|one| one.type_ == "Ready" && one.status == "True");
    let is_cordoned = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    let platform = match (info.operating_system.as_str(), info.architecture.as_str()) {
        // Its kubelet has not said yet.
        ("", _) | (_, "") => String::new(),
        (os, arch) => format!("{os}/{arch}"),
    };
    Some(Node {
        name,
        platform,
        kernel_version: info.kernel_version,
        os_image: info.os_image,
        kubelet_version: info.kubelet_version,
        ready: is_ready && !is_cordoned,
    })
}

impl From<&watcher::Error> for Problem {
    fn from(error: &watcher::Error) -> Self {
        let (verb, status) = match error {
            watcher::Error::InitialListFailed(kube::Error::Api(status)) => ("list", status),
            watcher::Error::WatchStartFailed(kube::Error::Api(status))
            | watcher::Error::WatchFailed(kube::Error::Api(status))
            | watcher::Error::WatchError(status) => ("watch", status),
            other => return Self::Other(executor_sdk::report::chain(other)),
        };
        if status.code == 403 {
            return Self::Forbidden { verb, message: status.message.clone() };
        }
        Self::Other(format!("{} ({} {})", status.message, status.code, status.reason))
    }
}

#[cfg(test)]
mod tests;
