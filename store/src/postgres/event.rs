//! Events: appended in the transaction of what they tell about, by `tell`, which numbers them in the order that commits
//! become visible.
//!
//! Lists walk an index in order of number: of the organization, or of the target. `kinds` filters the rows of that walk.

use std::sync::Arc;

use async_trait::async_trait;
use domain::audit::EventKind;
use domain::{Event, OrganizationId, Timestamp};
use tokio::sync::watch;
use tokio_postgres::Row;

use super::connection::{Connection, Source, Tx};
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use super::{PostgresStore, transact};
use crate::column::limit;
use crate::error::Error;
use crate::event::{EventQuery, EventRow, EventStore};
use crate::mapping::{self, Columns as _};

const NEWEST: &str = "
SELECT coalesce(max(sequence), 0) AS sequence
FROM novacula.events";

macro_rules! list {
    ($of:literal, $order:literal) => {
        concat!(
            "
SELECT sequence, kind, actor, target, organization, time, details
FROM novacula.events
WHERE ",
            $of,
            "
AND EXISTS (
    SELECT 1
    FROM unnest(:kinds) AS wanted
    WHERE wanted IN ('', kind)
    OR (right(wanted, 2) = '.*' AND starts_with(kind, left(wanted, -1)))
)
AND sequence ",
            $order,
            "
LIMIT :limit"
        )
    };
}

// No organization is called by the empty name; the installation's own events are of none.
const LIST: &str = list!(
    "coalesce(organization, '') = :organization",
    "> :after
ORDER BY sequence"
);

const LIST_NEWEST_FIRST: &str = list!(
    "coalesce(organization, '') = :organization",
    "< :after
ORDER BY sequence DESC"
);

const LIST_OF_TARGET: &str = list!(
    "target = :target
AND coalesce(organization, '') = :organization",
    "> :after
ORDER BY sequence"
);

const LIST_OF_TARGET_NEWEST_FIRST: &str = list!(
    "target = :target
AND coalesce(organization, '') = :organization",
    "< :after
ORDER BY sequence DESC"
);

const LIST_FIRST: &str = "
SELECT found.*
FROM unnest(:targets) AS asked (target)
CROSS JOIN LATERAL (
    SELECT sequence, kind, actor, target, organization, time, details
    FROM novacula.events
    WHERE events.target = asked.target
    AND coalesce(organization, '') = :organization
    AND kind = :kind
    ORDER BY sequence
    LIMIT 1
) AS found";

const SKIP: &str = "
SELECT setval('novacula.event_numbers', nextval('novacula.event_numbers') + :numbers) AS sequence";

const PRUNE: &str = "
DELETE FROM novacula.events
WHERE sequence IN (
    SELECT sequence
    FROM novacula.events
    WHERE time < :older_than
    ORDER BY time, sequence
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)";

fn read(row: &Row) -> Result<EventRow, Error> {
    mapping::event(RowColumns::of("event", row))
}

/// The newest event that is visible.
pub(super) async fn newest(source: &Arc<Source>) -> Result<u64, Failure> {
    let connection = Connection::take(source).await?;
    let newest = connection.first(NEWEST, &[], |row| RowColumns::of("event", row).number("sequence")).await?;
    Ok(newest.unwrap_or_default())
}

async fn append(tx: &mut Tx, events: &[Event]) -> Result<(), Failure> {
    tx.tell(events);
    Ok(())
}

#[async_trait]
impl EventStore for PostgresStore {
    async fn event_append(&self, events: &[Event]) -> Result<(), Error> {
        transact!(self, "event_append", |tx| append(tx, events)).map(|_| ())
    }

    async fn event_list(&self, query: &EventQuery) -> Result<Vec<EventRow>, Error> {
        // Numbers past 63 bits were never given: after them there is nothing, before them is everything.
        let after = query.after.map(|after| i64::try_from(after).unwrap_or(i64::MAX));
        let after = after.unwrap_or(if query.newest_first { i64::MAX } else { 0 });
        // The empty word is every kind's.
        let kinds = if query.kinds.is_empty() { vec![String::new()] } else { query.kinds.clone() };
        let organization = query.organization.as_ref().map_or("", |organization| organization.as_str());
        let mut params = Vec::from(params! {
            "organization": organization,
            "after": after,
            "kinds": kinds,
            "limit": limit(query.limit),
        });
        let sql = match (&query.target, query.newest_first) {
            (None, false) => LIST,
            (None, true) => LIST_NEWEST_FIRST,
            (Some(_), false) => LIST_OF_TARGET,
            (Some(_), true) => LIST_OF_TARGET_NEWEST_FIRST,
        };
        params.extend(query.target.as_deref().map(|target| ("target", target.into())));
        self.all("event_list", sql, &params, read).await
    }

    async fn event_list_first(
        &self,
        organization: &OrganizationId,
        kind: EventKind,
        targets: &[String],
    ) -> Result<Vec<EventRow>, Error> {
        let params = params! {
            "organization": organization.as_str(),
            "kind": kind.as_str(),
            "targets": targets.to_vec(),
        };
        self.all("event_list_first", LIST_FIRST, &params, read).await
    }

    fn event_head(&self) -> watch::Receiver<u64> {
        self.inner.feeds.event_head()
    }

    async fn event_skip(&self, numbers: u32) -> Result<(), Error> {
        self.first("event_skip", SKIP, &params! { "numbers": i64::from(numbers) }, |_| Ok(())).await.map(|_| ())
    }

    async fn event_prune(&self, older_than: Timestamp, at_most: usize) -> Result<usize, Error> {
        let params = params! { "older_than": older_than, "limit": limit(at_most) };
        self.prune("event_prune", PRUNE, &params).await
    }
}
