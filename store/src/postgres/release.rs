//! Releases.

use std::collections::HashSet;

use async_trait::async_trait;
use domain::release::Status;
use domain::{Event, Kind, Release, ReleaseId};
use tokio_postgres::Row;

use super::connection::{Connection, Tx};
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::{Json, params};
use super::{PostgresStore, transact};
use crate::column::{ArtifactShape, integer, status_parse};
use crate::error::Error;
use crate::mapping::{self, Columns as _};
use crate::release::ReleaseStore;

const INSERT: &str = "
INSERT INTO novacula.releases (
    id, kind, revision, channel, status, notes, floor, sequence, artifacts, create_time, publish_time, yank_reason
)
VALUES (
    :id, :kind, :revision, :channel, :status, :notes, :floor, :sequence, :artifacts, :create_time, :publish_time, :yank_reason
)
ON CONFLICT DO NOTHING";

const GET: &str = "
SELECT id, revision, channel, status, notes, floor, sequence, artifacts, create_time, publish_time, yank_reason
FROM novacula.releases
WHERE id = :id";

const LIST: &str = "
SELECT id, revision, channel, status, notes, floor, sequence, artifacts, create_time, publish_time, yank_reason
FROM novacula.releases
WHERE kind = :kind";

// A yank waits for this transaction, and so finds what was asked in it; this one sees a yank that came first.
const STATUS: &str = "
SELECT id, status
FROM novacula.releases
WHERE id = ANY (:ids)
ORDER BY id
FOR SHARE";

const UPDATE: &str = "
UPDATE novacula.releases
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

fn read(row: &Row) -> Result<Release, Error> {
    mapping::release(RowColumns::of("release", row))
}

async fn get(connection: &Connection, id: &ReleaseId) -> Result<Option<Release>, Failure> {
    connection.first(GET, &params! { "id": id.to_string() }, read).await
}

/// Which of the releases are there and published, and stay so until this transaction ends.
pub(super) async fn published<'r>(
    connection: &Connection,
    ids: impl IntoIterator<Item = &'r ReleaseId>,
) -> Result<HashSet<ReleaseId>, Failure> {
    let ids: Vec<String> = ids.into_iter().map(ToString::to_string).collect();
    if ids.is_empty() {
        return Ok(HashSet::new());
    }
    let read = |row: &Row| {
        let mut columns = RowColumns::of("release", row);
        Ok((columns.text("id")?, columns.word("status", status_parse)?))
    };
    let found = connection.all(STATUS, &params! { "ids": ids }, read).await?;
    Ok(found.into_iter().filter(|(_, status)| *status == Status::Published).map(|(id, _)| id).collect())
}

/// Runs `sql` with all columns of a release under its next revision; how many rows it wrote.
async fn put(connection: &Connection, sql: &'static str, release: &Release) -> Result<u64, Failure> {
    let id = release.id.to_string();
    let sequence = release.sequence.map(|sequence| integer("release", &id, "sequence", sequence)).transpose()?;
    let artifacts: Vec<ArtifactShape> = release.artifacts.iter().map(ArtifactShape::from).collect();
    let params = params! {
        "id": id.as_str(),
        "kind": release.id.kind.as_str(),
        "revision": integer("release", &id, "revision", release.revision.next().0)?,
        "channel": release.channel.as_str(),
        "status": release.status.as_str(),
        "notes": release.notes.as_str(),
        "floor": release.floor.as_ref().map(ToString::to_string),
        "sequence": sequence,
        "artifacts": Json::of(&artifacts),
        "create_time": release.create_time,
        "publish_time": release.publish_time,
        "yank_reason": release.yank_reason.as_deref(),
    };
    connection.write(sql, &params).await
}

async fn insert(tx: &mut Tx, release: &Release, events: &[Event]) -> Result<(), Failure> {
    if put(tx.connection(), INSERT, release).await? == 0 {
        return Err(Failure::exists("release", &release.id));
    }
    tx.tell(events);
    Ok(())
}

async fn update(tx: &mut Tx, release: &Release, events: &[Event]) -> Result<(), Failure> {
    if put(tx.connection(), UPDATE, release).await? == 0 {
        return Err(match get(tx.connection(), &release.id).await? {
            Some(_) => Failure::stale("release", &release.id),
            None => Failure::missing("release", &release.id),
        });
    }
    tx.tell(events);
    Ok(())
}

#[async_trait]
impl ReleaseStore for PostgresStore {
    async fn release_insert(&self, release: &Release, events: &[Event]) -> Result<(), Error> {
        transact!(self, "release_insert", |tx| insert(tx, release, events)).map(|_| ())
    }

    async fn release_get(&self, id: &ReleaseId) -> Result<Option<Release>, Error> {
        self.first("release_get", GET, &params! { "id": id.to_string() }, read).await
    }

    async fn release_list(&self, kind: Kind) -> Result<Vec<Release>, Error> {
        self.all("release_list", LIST, &params! { "kind": kind.as_str() }, read).await
    }

    async fn release_commit(&self, release: &Release, events: &[Event]) -> Result<(), Error> {
        transact!(self, "release_commit", |tx| update(tx, release, events)).map(|_| ())
    }
}
