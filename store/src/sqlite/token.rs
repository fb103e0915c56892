//! Bearer tokens.

use async_trait::async_trait;
use domain::sign_in::SignIn;
use domain::{Event, OrganizationId, Timestamp, TokenId};
use rusqlite::{Connection, Row, named_params};

use super::SqliteStore;
use super::event;
use super::failure::{Failure, is_dangling, is_duplicate};
use super::row::{RowColumns, all, first, keys, micros, write};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;
use crate::page::Page;
use crate::token::{TokenRecord, TokenStore, TokenWithOrigin};

const INSERT: &str = "
INSERT INTO tokens (id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by)
VALUES (:id, :secret_sha256, :role, :organization, :display_name, :create_time, :expire_time, :revoke_time, :signed_in_by)";

const GET: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM tokens
WHERE id = :id";

// A session of a token says so as `token:<id>`.
const GET_WITH_ORIGIN: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM tokens
WHERE id IN (:id, (SELECT substr(signed_in_by, 7) FROM tokens WHERE id = :id AND substr(signed_in_by, 1, 5) = 'token'))";

const LIST_BY_ID: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM tokens
WHERE id IN (SELECT value FROM json_each(:ids))";

const LIST: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM tokens
WHERE organization IS :organization
AND id > :after
ORDER BY id
LIMIT :limit";

const REVOKE: &str = "
UPDATE tokens
SET revoke_time = :time
WHERE id = :id
AND revoke_time IS NULL";

const EXTEND: &str = "
UPDATE tokens
SET expire_time = :expire_time
WHERE id = :id
AND revoke_time IS NULL
AND signed_in_by IS NOT NULL
AND expire_time < :expire_time";

const LIST_SIGNED_IN: &str = "
SELECT id, secret_sha256, role, organization, display_name, create_time, expire_time, revoke_time, signed_in_by
FROM tokens
WHERE signed_in_by = :signed_in_by
AND revoke_time IS NULL
AND id > :after
ORDER BY id
LIMIT :limit";

const PRUNE: &str = "
DELETE FROM tokens
WHERE id IN (
    SELECT id
    FROM tokens
    WHERE expire_time < :expired_before
    ORDER BY expire_time
    LIMIT :limit
)";

fn read(row: &Row<'_>) -> Result<TokenRecord, Failure> {
    Ok(mapping::token(RowColumns::of("token", row))?)
}

fn get(connection: &Connection, id: &TokenId) -> Result<Option<TokenRecord>, Failure> {
    first(connection, GET, named_params! { ":id": id.as_str() }, read)
}

fn insert(connection: &Connection, token: &TokenRecord) -> Result<(), Failure> {
    let organization = token.role.organization().map(OrganizationId::as_str);
    let params = named_params! {
        ":id": token.id.as_str(),
        ":secret_sha256": token.secret_sha256.to_string(),
        ":role": token.role.as_str(),
        ":organization": organization,
        ":display_name": token.display_name,
        ":create_time": token.create_time.as_micros(),
        ":expire_time": token.expire_time.as_micros(),
        ":revoke_time": micros(token.revoke_time),
        ":signed_in_by": token.signed_in_by.as_ref().map(ToString::to_string),
    };
    match write(connection, INSERT, params) {
        Ok(_) => Ok(()),
        Err(error) if is_duplicate(&error) => Err(Failure::exists("token", &token.id)),
        Err(error) if is_dangling(&error) => Err(Failure::missing("organization", organization.unwrap_or_default())),
        Err(error) => Err(Failure::Engine(error)),
    }
}

#[async_trait]
impl TokenStore for SqliteStore {
    async fn token_insert(&self, token: &TokenRecord, events: &[Event]) -> Result<(), Error> {
        let (token, events) = (token.clone(), events.to_vec());
        self.write("token_insert", move |tx| {
            insert(tx.connection(), &token)?;
            event::insert_in_tx(tx, &events)
        })
        .await
    }

    async fn token_get(&self, id: &TokenId) -> Result<Option<TokenRecord>, Error> {
        let id = id.clone();
        self.read("token_get", move |connection| get(connection, &id)).await
    }

    async fn token_get_with_origin(&self, id: &TokenId) -> Result<Option<TokenWithOrigin>, Error> {
        let id = id.clone();
        self.read("token_get_with_origin", move |connection| {
            let rows = all(connection, GET_WITH_ORIGIN, named_params! { ":id": id.as_str() }, read)?;
            Ok(TokenWithOrigin::of(&id, rows))
        })
        .await
    }

    async fn token_list_by_id(&self, ids: &[TokenId]) -> Result<Vec<TokenRecord>, Error> {
        let ids = keys(ids);
        self.read("token_list_by_id", move |connection| {
            all(connection, LIST_BY_ID, named_params! { ":ids": ids }, read)
        })
        .await
    }

    async fn token_list(
        &self,
        organization: Option<&OrganizationId>,
        page: Page<TokenId>,
    ) -> Result<Vec<TokenRecord>, Error> {
        let organization = organization.cloned();
        self.read("token_list", move |connection| {
            let params = named_params! {
                ":organization": organization.as_ref().map(OrganizationId::as_str),
                ":after": page.after.as_ref().map_or("", TokenId::as_str),
                ":limit": limit(page.limit),
            };
            all(connection, LIST, params, read)
        })
        .await
    }

    async fn token_revoke(&self, id: &TokenId, time: Timestamp, events: &[Event]) -> Result<TokenRecord, Error> {
        let (id, events) = (id.clone(), events.to_vec());
        self.write("token_revoke", move |tx| {
            let params = named_params! { ":id": id.as_str(), ":time": time.as_micros() };
            // The second revocation changes nothing, so it tells nothing.
            if write(tx.connection(), REVOKE, params)? > 0 {
                event::insert_in_tx(tx, &events)?;
            }
            get(tx.connection(), &id)?.ok_or_else(|| Failure::missing("token", &id))
        })
        .await
    }

    async fn token_extend(&self, id: &TokenId, expire_time: Timestamp) -> Result<TokenRecord, Error> {
        let id = id.clone();
        self.write("token_extend", move |tx| {
            let params = named_params! { ":id": id.as_str(), ":expire_time": expire_time.as_micros() };
            write(tx.connection(), EXTEND, params)?;
            let token = get(tx.connection(), &id)?.filter(|token| token.revoke_time.is_none());
            token.filter(|token| token.signed_in_by.is_some()).ok_or_else(|| Failure::missing("session", &id))
        })
        .await
    }

    async fn token_list_signed_in(&self, by: &SignIn, page: Page<TokenId>) -> Result<Vec<TokenRecord>, Error> {
        let by = by.to_string();
        self.read("token_list_signed_in", move |connection| {
            let params = named_params! {
                ":signed_in_by": by,
                ":after": page.after.as_ref().map_or("", TokenId::as_str),
                ":limit": limit(page.limit),
            };
            all(connection, LIST_SIGNED_IN, params, read)
        })
        .await
    }
    async fn token_prune(&self, expired_before: Timestamp, at_most: usize) -> Result<usize, Error> {
        self.write("token_prune", move |tx| {
            let params = named_params! { ":expired_before": expired_before.as_micros(), ":limit": limit(at_most) };
            Ok(write(tx.connection(), PRUNE, params)?)
        })
        .await
    }
}
