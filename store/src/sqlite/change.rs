//! The change feed: pushed by the writer after each commit, healed by number. Each executor's row carries the number of its
//! newest commit, so that catching up costs what changed and not what exists.

use async_trait::async_trait;
use rusqlite::{Row, named_params};
use tokio::sync::broadcast;

use super::SqliteStore;
use super::failure::Failure;
use super::row::{RowColumns, all, first};
use crate::change::{Change, ChangeFeed, ChangeNumber};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;
use crate::mapping::Columns as _;

const HEAD: &str = "
SELECT value
FROM counters
WHERE name = 'change'";

const LIST_SINCE: &str = "
SELECT uid, change_number, generation
FROM executors
WHERE change_number > :number
ORDER BY change_number
LIMIT :limit";

fn read(row: &Row<'_>) -> Result<Change, Failure> {
    Ok(mapping::change(RowColumns::of("executor", row))?)
}

#[async_trait]
impl ChangeFeed for SqliteStore {
    fn change_subscribe(&self) -> broadcast::Receiver<Change> {
        self.inner.feeds.changes()
    }

    async fn change_head(&self) -> Result<ChangeNumber, Error> {
        self.read("change_head", |connection| {
            let head = first(connection, HEAD, [], |row| Ok(RowColumns::of("counter", row).number("value")?))?;
            Ok(ChangeNumber(head.unwrap_or_default()))
        })
        .await
    }

    async fn change_list_since(&self, number: ChangeNumber, at_most: usize) -> Result<Vec<Change>, Error> {
        // A number past 63 bits was never given: nothing is after it.
        let number = i64::try_from(number.0).unwrap_or(i64::MAX);
        self.read("change_list_since", move |connection| {
            let params = named_params! { ":number": number, ":limit": limit(at_most) };
            all(connection, LIST_SINCE, params, read)
        })
        .await
    }
}
