//! Nodes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use domain::ExecutorUid;
use tokio_postgres::Row;

use super::connection::{Connection, Tx};
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use super::{PostgresStore, transact};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;
use crate::node::{NODES_MAX, NodeChange, NodeRecord, NodeStore};
use crate::page::Page;

const PUT: &str = "
INSERT INTO novacula.nodes (executor, name, platform, kernel_version, os_image, kubelet_version, ready, report_time)
SELECT :executor, present.name, present.platform, present.kernel_version, present.os_image, present.kubelet_version,
    present.ready, present.report_time
FROM unnest(:names, :platforms, :kernel_versions, :os_images, :kubelet_versions, :readies, :report_times)
    AS present (name, platform, kernel_version, os_image, kubelet_version, ready, report_time)
ON CONFLICT (executor, name) DO UPDATE
SET platform = excluded.platform,
    kernel_version = excluded.kernel_version,
    os_image = excluded.os_image,
    kubelet_version = excluded.kubelet_version,
    ready = excluded.ready,
    report_time = excluded.report_time";

const REMOVE: &str = "
DELETE FROM novacula.nodes
WHERE executor = :executor
AND name = ANY (:names)";

const REMOVE_OTHERS: &str = "
DELETE FROM novacula.nodes
WHERE executor = :executor
AND name <> ALL (:names)";

const REMOVE_BEYOND: &str = "
DELETE FROM novacula.nodes
WHERE executor = :executor
AND name IN (
    SELECT name
    FROM novacula.nodes
    WHERE executor = :executor
    ORDER BY name
    OFFSET :most
)";

const LIST: &str = "
SELECT name, platform, kernel_version, os_image, kubelet_version, ready, report_time
FROM novacula.nodes
WHERE executor = :executor
AND name > :after
ORDER BY name
LIMIT :limit";

fn read(row: &Row) -> Result<NodeRecord, Error> {
    mapping::node(RowColumns::of("node", row))
}

async fn put(connection: &Connection, executor: ExecutorUid, nodes: &[NodeRecord]) -> Result<(), Failure> {
    // Of two words about one node the later counts, and one statement may write a row only once.
    let nodes: BTreeMap<&str, &NodeRecord> = nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let text = |of: fn(&NodeRecord) -> &String| nodes.values().map(|node| of(node).clone()).collect::<Vec<_>>();
    let params = params! {
        "executor": executor.as_uuid(),
        "names": text(|node| &node.name),
        "platforms": text(|node| &node.platform),
        "kernel_versions": text(|node| &node.kernel_version),
        "os_images": text(|node| &node.os_image),
        "kubelet_versions": text(|node| &node.kubelet_version),
        "readies": nodes.values().map(|node| node.ready).collect::<Vec<_>>(),
        "report_times": nodes.values().map(|node| node.report_time).collect::<Vec<_>>(),
    };
    connection.write(PUT, &params).await.map(|_| ())
}

/// How many nodes are beyond what is kept, and went.
async fn apply(tx: &Tx, executor: ExecutorUid, change: &NodeChange) -> Result<usize, Failure> {
    let connection = tx.connection();
    // Two reports of one executor take turns.
    if super::executor::lock_all(connection, [executor]).await?.is_empty() {
        return Err(Failure::missing("executor", executor));
    }
    let (present, removal, names) = match change {
        NodeChange::Full(nodes) => (nodes, REMOVE_OTHERS, nodes.iter().map(|node| node.name.clone()).collect()),
        NodeChange::Delta { present, removed } => (present, REMOVE, removed.clone()),
    };
    let names: Vec<String> = names;
    connection.write(removal, &params! { "executor": executor.as_uuid(), "names": names }).await?;
    put(connection, executor, present).await?;
    let beyond = params! { "executor": executor.as_uuid(), "most": limit(NODES_MAX) };
    let n_beyond = connection.write(REMOVE_BEYOND, &beyond).await?;
    Ok(usize::try_from(n_beyond).unwrap_or(usize::MAX))
}

/// Forgets the nodes of an executor that goes away.
pub(super) async fn remove_all(connection: &Connection, executor: ExecutorUid) -> Result<(), Failure> {
    let nobody: Vec<String> = Vec::new();
    let params = params! { "executor": executor.as_uuid(), "names": nobody };
    connection.write(REMOVE_OTHERS, &params).await.map(|_| ())
}

#[async_trait]
impl NodeStore for PostgresStore {
    async fn node_apply(&self, executor: ExecutorUid, change: &NodeChange) -> Result<usize, Error> {
        transact!(self, "node_apply", |tx| apply(tx, executor, change)).map(|(n_beyond, _)| n_beyond)
    }

    async fn node_list(&self, executor: ExecutorUid, page: Page<String>) -> Result<Vec<NodeRecord>, Error> {
        let params = params! {
            "executor": executor.as_uuid(),
            "after": page.after.as_deref().unwrap_or(""),
            "limit": limit(page.limit),
        };
        self.all("node_list", LIST, &params, read).await
    }
}
