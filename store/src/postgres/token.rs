//! Bearer tokens.

use async_trait::async_trait;
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
use crate::token::{TokenRecord, TokenStore};

const INSERT: &str = "
INSERT INTO novacula.tokens (id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time)
VALUES (:id, :secret_sha256, :role, :organization, :display_name, :create_time, :expire_time, :revoke_time)
ON CONFLICT DO NOTHING";

const GET: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time
FROM novacula.tokens
WHERE id = :id";

// No organization is called by the empty name.
const LIST: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time
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

fn read(row: &Row) -> Result<TokenRecord, Error> {
    mapping::token(RowColumns::of("token", row))
}

async fn insert(tx: &mut Tx, token: &TokenRecord, events: &[Event]) -> Result<(), Failure> {
    let organization = token.role.organization().map(OrganizationId::as_str);
    let params = params! {
        "id": token.id.as_str(),
        "secret_sha256": token.secret_sha256,
        "role": token.role.as_str(),
        "organization": organization,
        "display_name": token.display_name.as_str(),
        "create_time": token.create_time,
        "expire_time": token.expire_time,
        "revoke_time": token.revoke_time,
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

#[async_trait]
impl TokenStore for PostgresStore {
    async fn token_insert(&self, token: &TokenRecord, events: &[Event]) -> Result<(), Error> {
        transact!(self, "token_insert", |tx| insert(tx, token, events)).map(|_| ())
    }

    async fn token_get(&self, id: &TokenId) -> Result<Option<TokenRecord>, Error> {
        self.first("token_get", GET, &params! { "id": id.as_str() }, read).await
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
}
