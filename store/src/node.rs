//! Nodes: the machines that executors report.

use async_trait::async_trait;
use domain::{ExecutorUid, Timestamp};

use crate::error::Error;
use crate::page::Page;

/// Most nodes kept of one executor: twice what Kubernetes supports in a cluster.
pub const NODES_MAX: usize = 10_000;

/// A machine's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    /// Its own name, at most 253 bytes (RFC 1123).
    pub name: String,
    /// `linux/amd64`.
    pub platform: String,
    /// Kernel release.
    pub kernel_version: String,
    /// Operating system.
    pub os_image: String,
    /// Kubelet version; empty for agents.
    pub kubelet_version: String,
    /// Whether it takes work.
    pub ready: bool,
    /// When it was last reported.
    pub report_time: Timestamp,
}

/// What an executor says about its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeChange {
    /// These are all.
    Full(Vec<NodeRecord>),
    /// These are new or changed, those are gone.
    Delta {
        /// New or changed.
        present: Vec<NodeRecord>,
        /// Gone.
        removed: Vec<String>,
    },
}

/// Nodes on disk.
#[async_trait]
pub trait NodeStore: Send + Sync {
    /// Writes what an executor reported. Repeating it changes nothing. Of an executor's nodes the first [`NODES_MAX`] by name
    /// are kept; answers how many were left out.
    async fn node_apply(&self, executor: ExecutorUid, change: &NodeChange) -> Result<usize, Error>;

    /// A page, in order of name.
    async fn node_list(&self, executor: ExecutorUid, page: Page<String>) -> Result<Vec<NodeRecord>, Error>;
}
