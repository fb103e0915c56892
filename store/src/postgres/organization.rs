//! Organizations.

use async_trait::async_trait;
use domain::{Event, OrganizationId};
use tokio_postgres::Row;

use super::connection::Tx;
use super::failure::Failure;
use super::row::RowColumns;
use super::statement::params;
use super::{PostgresStore, transact};
use crate::column::limit;
use crate::error::Error;
use crate::mapping;
use crate::organization::{Organization, OrganizationStore};
use crate::page::Page;

const INSERT: &str = "
INSERT INTO novacula.organizations (id, display_name, create_time)
VALUES (:id, :display_name, :create_time)
ON CONFLICT DO NOTHING";

const GET: &str = "
SELECT id, display_name, create_time
FROM novacula.organizations
WHERE id = :id";

const LIST: &str = "
SELECT id, display_name, create_time
FROM novacula.organizations
WHERE id > :after
ORDER BY id
LIMIT :limit";

fn read(row: &Row) -> Result<Organization, Error> {
    mapping::organization(RowColumns::of("organization", row))
}

async fn insert(tx: &mut Tx, organization: &Organization, events: &[Event]) -> Result<(), Failure> {
    let params = params! {
        "id": organization.id.as_str(),
        "display_name": organization.display_name.as_str(),
        "create_time": organization.create_time,
    };
    if tx.connection().write(INSERT, &params).await? == 0 {
        return Err(Failure::exists("organization", &organization.id));
    }
    tx.tell(events);
    Ok(())
}

#[async_trait]
impl OrganizationStore for PostgresStore {
    async fn organization_insert(&self, organization: &Organization, events: &[Event]) -> Result<(), Error> {
        transact!(self, "organization_insert", |tx| insert(tx, organization, events)).map(|_| ())
    }

    async fn organization_get(&self, id: &OrganizationId) -> Result<Option<Organization>, Error> {
        self.first("organization_get", GET, &params! { "id": id.as_str() }, read).await
    }

    async fn organization_list(&self, page: Page<OrganizationId>) -> Result<Vec<Organization>, Error> {
        let after = page.after.as_ref().map_or("", OrganizationId::as_str);
        self.all("organization_list", LIST, &params! { "after": after, "limit": limit(page.limit) }, read).await
    }
}
