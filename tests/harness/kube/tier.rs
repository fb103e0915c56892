//! How much of a cluster there is, and what its programs are called.

/// How much of a cluster is real.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// etcd, API server, controllers and scheduler.
    ControlPlane,
    /// And a node, whose pods run.
    Node,
    /// And a second one. A node that is lost is noticed, as it is not on the others' busy machine.
    Nodes,
}

/// One of a cluster's programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// Deployments, ReplicaSets and the rest.
    ControllerManager,
    /// Binds pods to nodes.
    Scheduler,
}

// === impl Tier ===

impl Tier {
    pub(super) fn n_nodes(self) -> u8 {
        match self {
            Self::ControlPlane => 0,
            Self::Node => 1,
            Self::Nodes => 2,
        }
    }
}

// === impl Program ===

impl Program {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
        }
    }
}
