//! Organizations: the tenants.

use async_trait::async_trait;
use domain::{Event, OrganizationId, Timestamp};

use crate::error::Error;
use crate::page::Page;

/// A tenant's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Organization {
    /// Its id.
    pub id: OrganizationId,
    /// For people.
    pub display_name: String,
    /// When it was made.
    pub create_time: Timestamp,
}

/// Organizations on disk.
#[async_trait]
pub trait OrganizationStore: Send + Sync {
    /// Writes a new organization and its events. [`Error::Exists`] when the id is taken.
    async fn organization_insert(&self, organization: &Organization, events: &[Event]) -> Result<(), Error>;

    /// One organization.
    async fn organization_get(&self, id: &OrganizationId) -> Result<Option<Organization>, Error>;

    /// A page, in order of id.
    async fn organization_list(&self, page: Page<OrganizationId>) -> Result<Vec<Organization>, Error>;
}
