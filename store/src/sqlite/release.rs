//! Releases.

use async_trait::async_trait;
use domain::release::Status;
use domain::{Event, Kind, Release, ReleaseId};
use rusqlite::{Connection, Row, named_params};

use super::SqliteStore;
use super::event;
use super::failure::{Failure, is_duplicate};
use super::row::{RowColumns, all, first, micros, write};
use crate::column::{ArtifactShape, integer, json, status_parse};
use crate::error::Error;
use crate::mapping;
use crate::mapping::Columns as _;
use crate::release::ReleaseStore;

const INSERT: &str = "
INSERT INTO releases (
    id, kind, revision, channel, status, notes, floor, sequence, artifacts, create_time, publish_time, yank_reason
)
VALUES (
    :id, :kind, :revision, :channel, :status, :notes, :floor, :sequence, :artifacts, :create_time, :publish_time, :yank_reason
)";

const GET: &str = "
SELECT id, revision, channel, status, notes, floor, sequence, artifacts, create_time, publish_time, yank_reason
FROM releases
WHERE id = :id";

const LIST: &str = "
SELECT id, revision, channel, status, notes, floor, sequence, artifacts, create_time, publish_time, yank_reason
FROM releases
WHERE kind = :kind";

const STATUS: &str = "
SELECT status
FROM releases
WHERE id = :id";

const UPDATE: &str = "
UPDATE releases
SET revision = :revision,
    channel = :channel,
    status = :status,
    notes = :notes,
    floor = :floor,
    sequence = :sequence,
    artifacts = :artifacts,
    create_time = :create_time,
    publish_time = :publish_time,
    yank_reason = :yank_reason
WHERE id = :id
AND kind = :kind
AND revision = :revision - 1";

fn read(row: &Row<'_>) -> Result<Release, Failure> {
    Ok(mapping::release(RowColumns::of("release", row))?)
}

fn get(connection: &Connection, id: &ReleaseId) -> Result<Option<Release>, Failure> {
    first(connection, GET, named_params! { ":id": id.to_string() }, read)
}

/// Whether the release is there and published, as this transaction sees it.
pub(super) fn is_published(connection: &Connection, id: &ReleaseId) -> Result<bool, Failure> {
    let status = first(connection, STATUS, named_params! { ":id": id.to_string() }, |row| {
        Ok(RowColumns::of("release", row).word("status", status_parse)?)
    })?;
    Ok(status == Some(Status::Published))
}

/// Runs `sql` with all columns of a release under its next revision.
fn put(connection: &Connection, sql: &str, release: &Release) -> Result<usize, Failure> {
    let id = release.id.to_string();
    let sequence = release.sequence.map(|sequence| integer("release", &id, "sequence", sequence)).transpose()?;
    let artifacts: Vec<ArtifactShape> = release.artifacts.iter().map(ArtifactShape::from).collect();
    let params = named_params! {
        ":id": id,
        ":kind": release.id.kind.as_str(),
        ":revision": integer("release", &id, "revision", release.revision.next().0)?,
        ":channel": release.channel.as_str(),
        ":status": release.status.as_str(),
        ":notes": release.notes,
        ":floor": release.floor.as_ref().map(ToString::to_string),
        ":sequence": sequence,
        ":artifacts": json(&artifacts),
        ":create_time": release.create_time.as_micros(),
        ":publish_time": micros(release.publish_time),
        ":yank_reason": release.yank_reason,
    };
    write(connection, sql, params).map_err(|error| match is_duplicate(&error) {
        true => Failure::exists("release", id),
        false => Failure::Engine(error),
    })
}

#[async_trait]
impl ReleaseStore for SqliteStore {
    async fn release_insert(&self, release: &Release, events: &[Event]) -> Result<(), Error> {
        let (release, events) = (release.clone(), events.to_vec());
        self.write("release_insert", move |tx| {
            put(tx.connection(), INSERT, &release)?;
            event::insert_in_tx(tx, &events)
        })
        .await
    }

    async fn release_get(&self, id: &ReleaseId) -> Result<Option<Release>, Error> {
        let id = id.clone();
        self.read("release_get", move |connection| get(connection, &id)).await
    }

    async fn release_list(&self, kind: Kind) -> Result<Vec<Release>, Error> {
        self.read("release_list", move |connection| {
            all(connection, LIST, named_params! { ":kind": kind.as_str() }, read)
        })
        .await
    }

    async fn release_commit(&self, release: &Release, events: &[Event]) -> Result<(), Error> {
        let (release, events) = (release.clone(), events.to_vec());
        self.write("release_commit", move |tx| {
            if put(tx.connection(), UPDATE, &release)? == 0 {
                return Err(match get(tx.connection(), &release.id)? {
                    Some(_) => Failure::stale("release", &release.id),
                    None => Failure::missing("release", &release.id),
                });
            }
            event::insert_in_tx(tx, &events)
        })
        .await
    }
}
