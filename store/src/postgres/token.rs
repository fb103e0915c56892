//! Bearer tokens.

use async_trait::async_trait;
use domain::sign_in::SignIn;
use domain::{Event, OrganizationId, Timestamp, TokenId};
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
use crate::token::{TokenRecord, TokenStore, TokenWithOrigin};

const INSERT: &str = "
INSERT INTO novacula.tokens (id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by)
VALUES (:id, :secret_sha256, :role, :organization, :display_name, :create_time, :expire_time, :revoke_time, :signed_in_by)
ON CONFLICT DO NOTHING";

const GET: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM novacula.tokens
WHERE id = :id";

// A session of a token says so as `token:<id>`.
const GET_WITH_ORIGIN: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM novacula.tokens
WHERE id IN (:id, (SELECT substr(signed_in_by, 7) FROM novacula.tokens WHERE id = :id AND substr(signed_in_by, 1, 5) = 'token'))";

const LIST_BY_ID: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM novacula.tokens
WHERE id = ANY (:ids)";

// No organization is called by the empty name.
const LIST: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM novacula.tokens
WHERE coalesce(organization, '') = :organization
AND id > :after
ORDER BY id
LIMIT :limit";

const REVOKE: &str = "
UPDATE novacula.tokens
SET revoke_time = :time
WHERE id = :id
AND revoke_time IS NULL";

const EXTEND: &str = "
UPDATE novacula.tokens
SET expire_time = :expire_time
WHERE id = :id
AND revoke_time IS NULL
AND signed_in_by IS NOT NULL
AND expire_time < :expire_time";

const LIST_SIGNED_IN: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM novacula.tokens
WHERE signed_in_by = :signed_in_by
AND revoke_time IS NULL
AND id > :after
ORDER BY id
LIMIT :limit";

const PRUNE: &str = "
DELETE FROM novacula.tokens
WHERE id IN (
    SELECT id
    FROM novacula.tokens
    WHERE expire_time < :expired_before
    ORDER BY expire_time, id
    LIMIT :limit
    FOR UPDATE SKIP LOCKED
)";

fn read(row: &Row) -> Result<TokenRecord, Error> {
    mapping::token(RowColumns::of("token", row))
}

async fn insert(tx: &mut Tx, token: &TokenRecord, events: &[Event]) -> Result<(), Failure> {
    let organization = token.role.organization().map(OrganizationId::as_str);
    let signed_in_by = token.signed_in_by.as_ref().map(ToString::to_string);
    let params = params! {
        "id": token.id.as_str(),
        "secret_sha256": token.secret_sha256,
        "role": token.role.as_str(),
        "organization": organization,
        "display_name": token.display_name.as_str(),
        "create_time": token.create_time,
        "expire_time": token.expire_time,
        "revoke_time": token.revoke_time,
        "signed_in_by": signed_in_by,
    };
    match tx.connection().write(INSERT, &params).await {
        Ok(0) => return Err(Failure::exists("token", &token.id)),
        Ok(_) => {}
        Err(failure) if failure.is_dangling() => {
            return Err(Failure::missing("organization", organization.unwrap_or_default()));
        }
        Err(failure) => return Err(failure),
    }
    tx.tell(events);
    Ok(())
}

async fn revoke(tx: &mut Tx, id: &TokenId, time: Timestamp, events: &[Event]) -> Result<TokenRecord, Failure> {
    // The second revocation changes nothing, so it tells nothing.
    if tx.connection().write(REVOKE, &params! { "id": id.as_str(), "time": time }).await? > 0 {
        tx.tell(events);
    }
    let token = tx.connection().first(GET, &params! { "id": id.as_str() }, read).await?;
    token.ok_or_else(|| Failure::missing("token", id))
}

async fn extend(tx: &mut Tx, id: &TokenId, expire_time: Timestamp) -> Result<TokenRecord, Failure> {
    tx.connection().write(EXTEND, &params! { "id": id.as_str(), "expire_time": expire_time }).await?;
    let token = tx.connection().first(GET, &params! { "id": id.as_str() }, read).await?;
    let token = token.filter(|token| token.revoke_time.is_none() && token.signed_in_by.is_some());
    token.ok_or_else(|| Failure::missing("session", id))
}

#[async_trait]
impl TokenStore for PostgresStore {
    async fn token_insert(&self, token: &TokenRecord, events: &[Event]) -> Result<(), Error> {
        transact!(self, "token_insert", |tx| insert(tx, token, events)).map(|_| ())
    }

    async fn token_get(&self, id: &TokenId) -> Result<Option<TokenRecord>, Error> {
        self.first("token_get", GET, &params! { "id": id.as_str() }, read).await
    }

    async fn token_get_with_origin(&self, id: &TokenId) -> Result<Option<TokenWithOrigin>, Error> {
        let params = params! { "id": id.as_str() };
        let rows = self.all("token_get_with_origin", GET_WITH_ORIGIN, &params, read).await?;
        Ok(TokenWithOrigin::of(id, rows))
    }

    async fn token_list_by_id(&self, ids: &[TokenId]) -> Result<Vec<TokenRecord>, Error> {
        let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
        self.all("token_list_by_id", LIST_BY_ID, &params! { "ids": ids }, read).await
    }

    async fn token_list(
        &self,
        organization: Option<&OrganizationId>,
        page: Page<TokenId>,
    ) -> Result<Vec<TokenRecord>, Error> {
        let params = params! {
            "organization": organization.map_or("", OrganizationId::as_str),
            "after": page.after.as_ref().map_or("", TokenId::as_str),
            "limit": limit(page.limit),
        };
        self.all("token_list", LIST, &params, read).await
    }

    async fn token_revoke(&self, id: &TokenId, time: Timestamp, events: &[Event]) -> Result<TokenRecord, Error> {
        transact!(self, "token_revoke", |tx| revoke(tx, id, time, events)).map(|(token, _)| token)
    }

    async fn token_extend(&self, id: &TokenId, expire_time: Timestamp) -> Result<TokenRecord, Error> {
        transact!(self, "token_extend", |tx| extend(tx, id, expire_time)).map(|(token, _)| token)
    }

    async fn token_list_signed_in(&self, by: &SignIn, page: Page<TokenId>) -> Result<Vec<TokenRecord>, Error> {
        let by = by.to_string();
        let params = params! {
            "signed_in_by": by.as_str(),
            "after": page.after.as_ref().map_or("", TokenId::as_str),
            "limit": limit(page.limit),
        };
        self.all("token_list_signed_in", LIST_SIGNED_IN, &params, read).await
    }
    async fn token_prune(&self, expired_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        let params = params! { "expired_before": expired_before, "limit": limit(at_most) };
        self.prune("token_prune", PRUNE, &params).await
    }
}
