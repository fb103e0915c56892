//! Organizations.

use async_trait::async_trait;
use domain::{Event, OrganizationId};
use rusqlite::{Row, named_params};

use super::SqliteStore;
use super::event;
use super::failure::{Failure, is_duplicate};
use super::row::{RowColumns, all, first, write};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;
use crate::organization::{Organization, OrganizationStore};
use crate::page::Page;

const INSERT: &str = "
INSERT INTO organizations (id, display_name, create_time)
VALUES (:id, :display_name, :create_time)";

const GET: &str = "
SELECT id, display_name, create_time
FROM organizations
WHERE id = :id";

const LIST: &str = "
SELECT id, display_name, create_time
FROM organizations
WHERE id > :after
ORDER BY id
LIMIT :limit";

fn read(row: &Row<'_>) -> Result<Organization, Failure> {
    Ok(mapping::organization(RowColumns::of("organization", row))?)
}

#[async_trait]
impl OrganizationStore for SqliteStore {
    async fn organization_insert(&self, organization: &Organization, events: &[Event]) -> Result<(), Error> {
        let (organization, events) = (organization.clone(), events.to_vec());
        self.write("organization_insert", move |tx| {
            let params = named_params! {
                ":id": organization.id.as_str(),
                ":display_name": organization.display_name,
                ":create_time": organization.create_time.as_micros(),
            };
            write(tx.connection(), INSERT, params).map_err(|error| match is_duplicate(&error) {
                true => Failure::exists("organization", &organization.id),
                false => Failure::Engine(error),
            })?;
            event::insert_in_tx(tx, &events)
        })
        .await
    }

    async fn organization_get(&self, id: &OrganizationId) -> Result<Option<Organization>, Error> {
        let id = id.clone();
        self.read("organization_get", move |connection| {
            first(connection, GET, named_params! { ":id": id.as_str() }, read)
        })
        .await
    }

    async fn organization_list(&self, page: Page<OrganizationId>) -> Result<Vec<Organization>, Error> {
        self.read("organization_list", move |connection| {
            let after = page.after.as_ref().map_or("", OrganizationId::as_str);
            all(connection, LIST, named_params! { ":after": after, ":limit": limit(page.limit) }, read)
        })
        .await
    }
}
