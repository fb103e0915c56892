//! Join tokens. Using one is part of the enrolment.

use async_trait::async_trait;
use domain::{Event, ExecutorId, ExecutorName, JoinTokenId, OrganizationId, Timestamp};
use tokio_postgres::Row;

use super::connection::Tx;
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use super::{PostgresStore, transact};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;
use crate::page::Page;
use crate::token::{JoinTokenRecord, JoinTokenStore};

const INSERT: &str = "
INSERT INTO novacula.join_tokens (
    id, organization, secret_sha256, executor, replace, max_uses, uses, create_time, expire_time, revoke_time
)
VALUES (
    :id, :organization, :secret_sha256, :executor, :replace, :max_uses, :uses, :create_time, :expire_time, :revoke_time
)
ON CONFLICT DO NOTHING";

const GET: &str = "
SELECT id, organization, secret_sha256, executor, replace, max_uses, uses, create_time, expire_time, revoke_time
FROM novacula.join_tokens
WHERE id = :id";

const LIST: &str = "
SELECT id, organization, secret_sha256, executor, replace, max_uses, uses, create_time, expire_time, revoke_time
FROM novacula.join_tokens
WHERE organization = :organization
AND id > :after
ORDER BY id
LIMIT :limit";

const REVOKE: &str = "
UPDATE novacula.join_tokens
SET revoke_time = :time
WHERE id = :id
AND revoke_time IS NULL";

const USE: &str = "
UPDATE novacula.join_tokens
SET uses = uses + 1
WHERE id = :id
AND organization = :organization
AND (executor IS NULL OR executor = :executor)
AND uses < max_uses
AND expire_time > :time
AND revoke_time IS NULL";

const PRUNE: &str = "
DELETE FROM novacula.join_tokens
WHERE id IN (
    SELECT id
    FROM novacula.join_tokens
    WHERE expire_time < :expired_before
    AND NOT EXISTS (
        SELECT 1
        FROM novacula.certificates
        WHERE certificates.join_token = join_tokens.id
    )
    ORDER BY expire_time, id
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)";

fn read(row: &Row) -> Result<JoinTokenRecord, Error> {
    mapping::join_token(RowColumns::of("join token", row))
}

pub(super) async fn insert(tx: &mut Tx, token: &JoinTokenRecord, events: &[Event]) -> Result<(), Failure> {
    let params = params! {
        "id": token.id.as_str(),
        "organization": token.organization.as_str(),
        "secret_sha256": token.secret_sha256,
        "executor": token.executor.as_ref().map(ExecutorId::as_str),
        "replace": token.replace,
        "max_uses": i64::from(token.max_uses),
        "uses": i64::from(token.uses),
        "create_time": token.create_time,
        "expire_time": token.expire_time,
        "revoke_time": token.revoke_time,
    };
    match tx.connection().write(INSERT, &params).await {
        Ok(0) => return Err(Failure::exists("join token", &token.id)),
        Ok(_) => {}
        Err(failure) if failure.is_dangling() => return Err(Failure::missing("organization", &token.organization)),
        Err(failure) => return Err(failure),
    }
    tx.tell(events);
    Ok(())
}

async fn revoke(tx: &mut Tx, id: &JoinTokenId, time: Timestamp, events: &[Event]) -> Result<JoinTokenRecord, Failure> {
    // The second revocation changes nothing, so it tells nothing.
    if tx.connection().write(REVOKE, &params! { "id": id.as_str(), "time": time }).await? > 0 {
        tx.tell(events);
    }
    let token = tx.connection().first(GET, &params! { "id": id.as_str() }, read).await?;
    token.ok_or_else(|| Failure::missing("join token", id))
}

/// Counts one use of a token that may still enrol `name` at `time`. Its row is locked until the enrolment commits.
pub(super) async fn use_in_tx(tx: &Tx, id: &JoinTokenId, name: &ExecutorName, time: Timestamp) -> Result<(), Failure> {
    let params = params! {
        "id": id.as_str(),
        "organization": name.organization.as_str(),
        "executor": name.executor.as_str(),
        "time": time,
    };
    match tx.connection().write(USE, &params).await? {
        0 => Err(Failure::stale("join token", id)),
        _ => Ok(()),
    }
}

#[async_trait]
impl JoinTokenStore for PostgresStore {
    async fn join_token_insert(&self, token: &JoinTokenRecord, events: &[Event]) -> Result<(), Error> {
        transact!(self, "join_token_insert", |tx| insert(tx, token, events)).map(|_| ())
    }

    async fn join_token_get(&self, id: &JoinTokenId) -> Result<Option<JoinTokenRecord>, Error> {
        self.first("join_token_get", GET, &params! { "id": id.as_str() }, read).await
    }

    async fn join_token_list(
        &self,
        organization: &OrganizationId,
        page: Page<JoinTokenId>,
    ) -> Result<Vec<JoinTokenRecord>, Error> {
        let params = params! {
            "organization": organization.as_str(),
            "after": page.after.as_ref().map_or("", JoinTokenId::as_str),
            "limit": limit(page.limit),
        };
        self.all("join_token_list", LIST, &params, read).await
    }

    async fn join_token_revoke(
        &self,
        id: &JoinTokenId,
        time: Timestamp,
        events: &[Event],
    ) -> Result<JoinTokenRecord, Error> {
        transact!(self, "join_token_revoke", |tx| revoke(tx, id, time, events)).map(|(token, _)| token)
    }
    async fn join_token_prune(&self, expired_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        let params = params! { "expired_before": expired_before, "limit": limit(at_most) };
        self.prune("join_token_prune", PRUNE, &params).await
    }
}
