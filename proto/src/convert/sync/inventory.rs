//! Inventories and nodes, both ways.

use domain::sync::{Inventory, Node};

use crate::convert::{Error, text};
use crate::v1;

/// Longest name of a machine, in bytes (RFC 1123).
const NODE_NAME_MAX_BYTES: usize = 253;

impl From<Inventory> for v1::Inventory {
    fn from(inventory: Inventory) -> Self {
        let nodes = |nodes: Vec<Node>| nodes.into_iter().map(v1::Node::from).collect();
        match inventory {
            Inventory::Full(all) => Self { full: true, nodes: nodes(all), removed_node_names: Vec::new() },
            Inventory::Delta { present, removed } => {
                Self { full: false, nodes: nodes(present), removed_node_names: removed }
            }
        }
    }
}

impl TryFrom<v1::Inventory> for Inventory {
    type Error = Error;

    fn try_from(wire: v1::Inventory) -> Result<Self, Error> {
        let one = |node: v1::Node| Node::try_from(node).map_err(|error| error.within("nodes"));
        let present = wire.nodes.into_iter().map(one).collect::<Result<_, _>>()?;
        if wire.full {
            return Ok(Self::Full(present));
        }
        let name = |name: &String| node_name("removed_node_names", name);
        Ok(Self::Delta { present, removed: wire.removed_node_names.iter().map(name).collect::<Result<_, _>>()? })
    }
}

impl From<Node> for v1::Node {
    /// Without `executor` and `report_time`: those are the control plane's to say.
    fn from(node: Node) -> Self {
        Self {
            node_name: node.name,
            executor: String::new(),
            platform: node.platform,
            kernel_version: node.kernel_version,
            os_image: node.os_image,
            kubelet_version: node.kubelet_version,
            ready: node.ready,
            report_time: None,
        }
    }
}

impl TryFrom<v1::Node> for Node {
    type Error = Error;

    fn try_from(wire: v1::Node) -> Result<Self, Error> {
        let note = |value: &str| text::line(value, text::NOTE_MAX_BYTES);
        Ok(Self {
            name: node_name("node_name", &wire.node_name)?,
            platform: note(&wire.platform),
            kernel_version: note(&wire.kernel_version),
            os_image: note(&wire.os_image),
            kubelet_version: note(&wire.kubelet_version),
            ready: wire.ready,
        })
    }
}

/// Hosts have names that no RFC allows; they are kept as they are, but for what a terminal would obey.
fn node_name(field: &'static str, name: &str) -> Result<String, Error> {
    if name.is_empty() { Err(Error::missing(field)) } else { Ok(text::line(name, NODE_NAME_MAX_BYTES)) }
}
