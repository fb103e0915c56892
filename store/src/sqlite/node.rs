//! Nodes.

use async_trait::async_trait;
use domain::ExecutorUid;
use rusqlite::{Connection, Row, named_params};

use super::failure::Failure;
use super::row::{RowColumns, all, keys, write};
use super::{SqliteStore, executor};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;
use crate::node::{NODES_MAX, NodeChange, NodeRecord, NodeStore};
use crate::page::Page;

const PUT: &str = "
INSERT INTO nodes (executor, name, platform, kernel_version, os_image, kubelet_version, ready, report_time)
VALUES (:executor, :name, :platform, :kernel_version, :os_image, :kubelet_version, :ready, :report_time)
ON CONFLICT (executor, name) DO UPDATE
SET platform = excluded.platform,
    kernel_version = excluded.kernel_version,
    os_image = excluded.os_image,
    kubelet_version = excluded.kubelet_version,
    ready = excluded.ready,
    report_time = excluded.report_time";

const REMOVE: &str = "
DELETE FROM nodes
WHERE executor = :executor
AND name IN (SELECT value FROM json_each(:names))";

const REMOVE_OTHERS: &str = "
DELETE FROM nodes
WHERE executor = :executor
AND name NOT IN (SELECT value FROM json_each(:names))";

const REMOVE_BEYOND: &str = "
DELETE FROM nodes
WHERE executor = :executor
AND name IN (
    SELECT name
    FROM nodes
    WHERE executor = :executor
    ORDER BY name
    LIMIT -1 OFFSET :most
)";

const LIST: &str = "
SELECT name, platform, kernel_version, os_image, kubelet_version, ready, report_time
FROM nodes
WHERE executor = :executor
AND name > :after
ORDER BY name
LIMIT :limit";

fn read(row: &Row<'_>) -> Result<NodeRecord, Failure> {
    Ok(mapping::node(RowColumns::of("node", row))?)
}

fn put(connection: &Connection, executor: &str, node: &NodeRecord) -> Result<(), Failure> {
    let params = named_params! {
        ":executor": executor,
        ":name": node.name,
        ":platform": node.platform,
        ":kernel_version": node.kernel_version,
        ":os_image": node.os_image,
        ":kubelet_version": node.kubelet_version,
        ":ready": node.ready,
        ":report_time": node.report_time.as_micros(),
    };
    write(connection, PUT, params)?;
    Ok(())
}

/// How many nodes are beyond what is kept, and went.
fn apply(connection: &Connection, executor: &str, change: &NodeChange) -> Result<usize, Failure> {
    let (present, removal, names) = match change {
        NodeChange::Full(nodes) => {
            let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            (nodes, REMOVE_OTHERS, keys(&names))
        }
        NodeChange::Delta { present, removed } => (present, REMOVE, keys(removed)),
    };
    write(connection, removal, named_params! { ":executor": executor, ":names": names })?;
    present.iter().try_for_each(|node| put(connection, executor, node))?;
    let beyond = named_params! { ":executor": executor, ":most": limit(NODES_MAX) };
    Ok(write(connection, REMOVE_BEYOND, beyond)?)
}

/// Forgets the nodes of an executor that goes away.
pub(super) fn remove_all(connection: &Connection, executor: ExecutorUid) -> Result<(), Failure> {
    apply(connection, &executor.to_string(), &NodeChange::Full(Vec::new())).map(|_| ())
}

#[async_trait]
impl NodeStore for SqliteStore {
    async fn node_apply(&self, executor: ExecutorUid, change: &NodeChange) -> Result<usize, Error> {
        let change = change.clone();
        self.write("node_apply", move |tx| {
            executor::require(tx.connection(), executor)?;
            apply(tx.connection(), &executor.to_string(), &change)
        })
        .await
    }

    async fn node_list(&self, executor: ExecutorUid, page: Page<String>) -> Result<Vec<NodeRecord>, Error> {
        self.read("node_list", move |connection| {
            let params = named_params! {
                ":executor": executor.to_string(),
                ":after": page.after.as_deref().unwrap_or(""),
                ":limit": limit(page.limit),
            };
            all(connection, LIST, params, read)
        })
        .await
    }
}
