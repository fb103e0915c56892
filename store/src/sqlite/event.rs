//! Events: appended in the transaction of what they tell about, numbered by the one writer, so that no number becomes
//! visible before a lower one.
//!
//! Lists walk an index in order of number: of the organization, or of the target within it. `kinds` filters the rows of that
//! walk.

use async_trait::async_trait;
use domain::audit::EventKind;
use domain::{Event, OrganizationId, Timestamp};
use rusqlite::{Connection, Row, named_params};
use tokio::sync::watch;

use super::SqliteStore;
use super::failure::Failure;
use super::row::{RowColumns, all, first, write};
use super::write_tx::WriteTx;
use crate::column::{actor_text, details, json, limit};
use crate::error::Error;
use crate::event::{EventQuery, EventRow, EventStore};
use crate::mapping;

const INSERT: &str = "
INSERT INTO events (kind, actor, target, organization, time, details)
VALUES (:kind, :actor, :target, :organization, :time, :details)
RETURNING sequence";

const NEWEST: &str = "
SELECT coalesce(max(seq), 0)
FROM sqlite_sequence
WHERE name = 'events'";

macro_rules! columns {
    () => {
        "SELECT sequence, kind, actor, target, organization, time, details"
    };
}

macro_rules! of_kinds {
    () => {
        "
AND (:kinds IS NULL OR EXISTS (
    SELECT 1
    FROM json_each(:kinds) AS wanted
    WHERE wanted.value = kind
    OR (
        substr(wanted.value, -2) = '.*'
        AND substr(kind, 1, length(wanted.value) - 1) = substr(wanted.value, 1, length(wanted.value) - 1)
    )
))"
    };
}

const LIST: &str = concat!(
    columns!(),
    "
FROM events INDEXED BY events_by_organization
WHERE organization IS :organization
AND sequence > :after",
    of_kinds!(),
    "
ORDER BY sequence
LIMIT :limit"
);

const LIST_NEWEST_FIRST: &str = concat!(
    columns!(),
    "
FROM events INDEXED BY events_by_organization
WHERE organization IS :organization
AND sequence < :after",
    of_kinds!(),
    "
ORDER BY sequence DESC
LIMIT :limit"
);

const LIST_OF_TARGET: &str = concat!(
    columns!(),
    "
FROM events INDEXED BY events_by_target
WHERE target = :target
AND organization IS :organization
AND sequence > :after",
    of_kinds!(),
    "
ORDER BY sequence
LIMIT :limit"
);

const LIST_OF_TARGET_NEWEST_FIRST: &str = concat!(
    columns!(),
    "
FROM events INDEXED BY events_by_target
WHERE target = :target
AND organization IS :organization
AND sequence < :after",
    of_kinds!(),
    "
ORDER BY sequence DESC
LIMIT :limit"
);

// Of a feed that never held anything there is no number yet.
const BEGIN_NUMBERS: &str = "
INSERT INTO sqlite_sequence (name, seq)
SELECT 'events', 0
WHERE NOT EXISTS (
    SELECT 1
    FROM sqlite_sequence
    WHERE name = 'events'
)";

const SKIP: &str = "
UPDATE sqlite_sequence
SET seq = seq + :numbers
WHERE name = 'events'";

const PRUNE: &str = "
DELETE FROM events
WHERE sequence IN (
    SELECT sequence
    FROM events
    WHERE time < :older_than
    ORDER BY time
    LIMIT :limit
)";

fn read(row: &Row<'_>) -> Result<EventRow, Failure> {
    Ok(mapping::event(RowColumns::of("event", row))?)
}

/// Writes events with what they tell about.
pub(super) fn insert_in_tx(tx: &WriteTx<'_>, events: &[Event]) -> Result<(), Failure> {
    for event in events {
        let params = named_params! {
            ":kind": event.kind.as_str(),
            ":actor": actor_text(&event.actor),
            ":target": event.target,
            ":organization": event.organization.as_ref().map(|organization| organization.as_str()),
            ":time": event.time.as_micros(),
            ":details": json(&details(event)),
        };
        let sequence = first(tx.connection(), INSERT, params, |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or_default();
        tx.event_head(u64::try_from(sequence).unwrap_or_default());
    }
    Ok(())
}

/// The newest number ever given.
pub(super) fn newest(connection: &Connection) -> Result<u64, Failure> {
    let newest = first(connection, NEWEST, [], |row| Ok(row.get::<_, i64>(0)?))?.unwrap_or_default();
    Ok(u64::try_from(newest).unwrap_or_default())
}

fn list(connection: &Connection, query: &EventQuery) -> Result<Vec<EventRow>, Failure> {
    // Numbers past 63 bits were never given: after them there is nothing, before them is everything.
    let after = query.after.map(|after| i64::try_from(after).unwrap_or(i64::MAX));
    let after = after.unwrap_or(if query.newest_first { i64::MAX } else { 0 });
    let kinds = (!query.kinds.is_empty()).then(|| json(&query.kinds));
    let organization = query.organization.as_ref().map(|organization| organization.as_str());
    let limit = limit(query.limit);
    match &query.target {
        None => {
            let sql = if query.newest_first { LIST_NEWEST_FIRST } else { LIST };
            let params =
                named_params! { ":organization": organization, ":after": after, ":kinds": kinds, ":limit": limit };
            all(connection, sql, params, read)
        }
        Some(target) => {
            let sql = if query.newest_first { LIST_OF_TARGET_NEWEST_FIRST } else { LIST_OF_TARGET };
            let params = named_params! {
                ":organization": organization,
                ":target": target,
                ":after": after,
                ":kinds": kinds,
                ":limit": limit,
            };
            all(connection, sql, params, read)
        }
    }
}

#[async_trait]
impl EventStore for SqliteStore {
    async fn event_append(&self, events: &[Event]) -> Result<(), Error> {
        let events = events.to_vec();
        self.write("event_append", move |tx| insert_in_tx(tx, &events)).await
    }

    async fn event_list(&self, query: &EventQuery) -> Result<Vec<EventRow>, Error> {
        let query = query.clone();
        self.read("event_list", move |connection| list(connection, &query)).await
    }

    async fn event_list_first(
        &self,
        organization: &OrganizationId,
        kind: EventKind,
        targets: &[String],
    ) -> Result<Vec<EventRow>, Error> {
        let about = |target: &String| EventQuery {
            organization: Some(organization.clone()),
            target: Some(target.clone()),
            kinds: vec![kind.as_str().to_owned()],
            limit: 1,
            ..EventQuery::default()
        };
        let queries: Vec<EventQuery> = targets.iter().map(about).collect();
        self.read("event_list_first", move |connection| {
            let found = queries.iter().map(|query| list(connection, query)).collect::<Result<Vec<_>, _>>()?;
            Ok(found.into_iter().flatten().collect())
        })
        .await
    }

    fn event_head(&self) -> watch::Receiver<u64> {
        self.inner.feeds.event_head()
    }

    async fn event_skip(&self, numbers: u32) -> Result<(), Error> {
        self.write("event_skip", move |tx| {
            write(tx.connection(), BEGIN_NUMBERS, [])?;
            write(tx.connection(), SKIP, named_params! { ":numbers": numbers })?;
            Ok(())
        })
        .await
    }

    async fn event_prune(&self, older_than: Timestamp, at_most: usize) -> Result<usize, Error> {
        self.write("event_prune", move |tx| {
            let params = named_params! { ":older_than": older_than.as_micros(), ":limit": limit(at_most) };
            Ok(write(tx.connection(), PRUNE, params)?)
        })
        .await
    }
}
