//! The change feed: pushed after each commit, here and (by NOTIFY, `listen`) in every other process; healed by number.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::broadcast;

use super::PostgresStore;
use super::connection::{Connection, Source};
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use crate::change::{Change, ChangeFeed, ChangeNumber};
use crate::column::limit;
use crate::error::Error;
use crate::mapping::{self, Columns as _};

const HEAD: &str = "
SELECT coalesce(max(number), 0) AS number
FROM novacula.changes";

const LIST_SINCE: &str = "
SELECT executors.uid, changes.number AS change_number, executors.generation
FROM novacula.changes
JOIN novacula.executors ON executors.uid = changes.executor
WHERE changes.number > :number
ORDER BY changes.number
LIMIT :limit";

/// The newest change that is visible.
pub(super) async fn head(source: &Arc<Source>) -> Result<ChangeNumber, Failure> {
    let connection = Connection::take(source).await?;
    let head = connection.first(HEAD, &[], |row| RowColumns::of("change", row).number("number")).await?;
    Ok(ChangeNumber(head.unwrap_or_default()))
}

/// Executors changed after `number`, each once, oldest first.
pub(super) async fn list_since(
    source: &Arc<Source>,
    number: ChangeNumber,
    at_most: usize,
) -> Result<Vec<Change>, Failure> {
    // A number past 63 bits was never given: nothing is after it.
    let number = i64::try_from(number.0).unwrap_or(i64::MAX);
    let params = params! { "number": number, "limit": limit(at_most) };
    let connection = Connection::take(source).await?;
    connection.all(LIST_SINCE, &params, |row| mapping::change(RowColumns::of("executor", row))).await
}

#[async_trait]
impl ChangeFeed for PostgresStore {
    fn change_subscribe(&self) -> broadcast::Receiver<Change> {
        self.inner.feeds.changes()
    }

    async fn change_head(&self) -> Result<ChangeNumber, Error> {
        let begin = std::time::Instant::now();
        self.observed("change_head", begin, head(self.source()).await)
    }

    async fn change_list_since(&self, number: ChangeNumber, at_most: usize) -> Result<Vec<Change>, Error> {
        let begin = std::time::Instant::now();
        self.observed("change_list_since", begin, list_since(self.source(), number, at_most).await)
    }
}
