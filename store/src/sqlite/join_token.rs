//! Join tokens. Using one is part of the enrolment.

use async_trait::async_trait;
use domain::{Event, ExecutorName, JoinTokenId, OrganizationId, Timestamp};
use rusqlite::{Connection, Row, named_params};

use super::SqliteStore;
use super::event;
use super::failure::{Failure, is_dangling, is_duplicate};
use super::row::{RowColumns, all, first, micros, write};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;
use crate::page::Page;
use crate::token::{JoinTokenRecord, JoinTokenStore};

const INSERT: &str = "
INSERT INTO join_tokens (id, organization, secret_sha256, executor, replace, max_uses, uses, create_time, expire_time, revoke_time)
VALUES (:id, :organization, :secret_sha256, :executor, :replace, :max_uses, :uses, :create_time, :expire_time, :revoke_time)";

const GET: &str = "
SELECT id, organization, secret_sha256, executor, replace, max_uses, uses, create_time, expire_time, revoke_time
FROM join_tokens
WHERE id = :id";

const LIST: &str = "
SELECT id, organization, secret_sha256, executor, replace, max_uses, uses, create_time, expire_time, revoke_time
FROM join_tokens
WHERE organization = :organization
AND id > :after
ORDER BY id
LIMIT :limit";

const REVOKE: &str = "
UPDATE join_tokens
SET revoke_time = :time
WHERE id = :id
AND revoke_time IS NULL";

const USE: &str = "
UPDATE join_tokens
SET uses = uses + 1
WHERE id = :id
AND organization = :organization
AND (executor IS NULL OR executor = :executor)
AND uses < max_uses
AND expire_time > :time
AND revoke_time IS NULL";

const PRUNE: &str = "
DELETE FROM join_tokens
WHERE id IN (
    SELECT id
    FROM join_tokens
    WHERE expire_time < :expired_before
    AND NOT EXISTS (
        SELECT 1
        FROM certificates
        WHERE certificates.join_token = join_tokens.id
    )
    ORDER BY expire_time
    LIMIT :limit
)";

fn read(row: &Row<'_>) -> Result<JoinTokenRecord, Failure> {
    Ok(mapping::join_token(RowColumns::of("join token", row))?)
}

fn get(connection: &Connection, id: &JoinTokenId) -> Result<Option<JoinTokenRecord>, Failure> {
    first(connection, GET, named_params! { ":id": id.as_str() }, read)
}

pub(super) fn insert(connection: &Connection, token: &JoinTokenRecord) -> Result<(), Failure> {
    let params = named_params! {
        ":id": token.id.as_str(),
        ":organization": token.organization.as_str(),
        ":secret_sha256": token.secret_sha256.to_string(),
        ":executor": token.executor.as_ref().map(domain::ExecutorId::as_str),
        ":replace": token.replace,
        ":max_uses": token.max_uses,
        ":uses": token.uses,
        ":create_time": token.create_time.as_micros(),
        ":expire_time": token.expire_time.as_micros(),
        ":revoke_time": micros(token.revoke_time),
    };
    match write(connection, INSERT, params) {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(Failure::exists("join token", &token.id)),
        Err(error) if is_dangling(&error) => Err(Failure::missing("organization", &token.organization)),
        Err(error) => Err(Failure::Engine(error)),
    }
}

/// Counts one use of a token that may still enrol `name` at `time`.
pub(super) fn use_in_tx(
    connection: &Connection,
    id: &JoinTokenId,
    name: &ExecutorName,
    time: Timestamp,
) -> Result<(), Failure> {
    let params = named_params! {
        ":id": id.as_str(),
        ":organization": name.organization.as_str(),
        ":executor": name.executor.as_str(),
        ":time": time.as_micros(),
    };
    if write(connection, USE, params)? == 0 { Err(Failure::stale("join token", id)) } else { Ok(()) }
}

#[async_trait]
impl JoinTokenStore for SqliteStore {
    async fn join_token_insert(&self, token: &JoinTokenRecord, events: &[Event]) -> Result<(), Error> {
        let (token, events) = (token.clone(), events.to_vec());
        self.write("join_token_insert", move |tx| {
            insert(tx.connection(), &token)?;
            event::insert_in_tx(tx, &events)
        })
        .await
    }

    async fn join_token_get(&self, id: &JoinTokenId) -> Result<Option<JoinTokenRecord>, Error> {
        let id = id.clone();
        self.read("join_token_get", move |connection| get(connection, &id)).await
    }

    async fn join_token_list(
        &self,
        organization: &OrganizationId,
        page: Page<JoinTokenId>,
    ) -> Result<Vec<JoinTokenRecord>, Error> {
        let organization = organization.clone();
        self.read("join_token_list", move |connection| {
            let params = named_params! {
                ":organization": organization.as_str(),
                ":after": page.after.as_ref().map_or("", JoinTokenId::as_str),
                ":limit": limit(page.limit),
            };
            all(connection, LIST, params, read)
        })
        .await
    }

    async fn join_token_revoke(
        &self,
        id: &JoinTokenId,
        time: Timestamp,
        events: &[Event],
    ) -> Result<JoinTokenRecord, Error> {
        let (id, events) = (id.clone(), events.to_vec());
        self.write("join_token_revoke", move |tx| {
            let params = named_params! { ":id": id.as_str(), ":time": time.as_micros() };
            // The second revocation changes nothing, so it tells nothing.
            if write(tx.connection(), REVOKE, params)? > 0 {
                event::insert_in_tx(tx, &events)?;
            }
            get(tx.connection(), &id)?.ok_or_else(|| Failure::missing("join token", &id))
        })
        .await
    }
    async fn join_token_prune(&self, expired_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        self.write("join_token_prune", move |tx| {
            let params = named_params! { ":expired_before": expired_before.as_micros(), ":limit": limit(at_most) };
            Ok(write(tx.connection(), PRUNE, params)?)
        })
        .await
    }
}
