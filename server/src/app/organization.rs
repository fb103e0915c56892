//! Organizations: making them, and looking at them.

use domain::audit::EventKind;
use domain::{Event, OrganizationId, Role};
use store::{Organization, Page};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::page::{Listed, PageRequest};

/// Rows of a page when none are asked for (organization_service.proto).
const PAGE: usize = 100;

/// Longest display name, in bytes: a line on a screen.
const DISPLAY_NAME_MAX: usize = 256;

/// `organizations/acme`.
pub(crate) fn resource_name(organization: &OrganizationId) -> String {
    format!("organizations/{organization}")
}

/// A name for people: printable, bounded; empty becomes `default`.
pub(crate) fn display_name(field: &'static str, value: &str, default: &str) -> Result<String, Error> {
    if value.len() > DISPLAY_NAME_MAX || value.chars().any(char::is_control) {
        let rule = format!("is not at most {DISPLAY_NAME_MAX} bytes of printable text");
        return Err(Error::field(field, rule));
    }
    let shown = if value.is_empty() { default } else { value };
    Ok(shown.to_owned())
}

impl App {
    /// Makes an organization.
    ///
    /// # Errors
    /// `ALREADY_EXISTS` when the id is taken.
    pub async fn organization_create(
        &self,
        caller: &Caller,
        id: &OrganizationId,
        display: &str,
    ) -> Result<Organization, Error> {
        caller.authorize(None)?;
        let now = self.now().await?;
        let organization = Organization {
            id: id.clone(),
            display_name: display_name("display_name", display, id.as_str())?,
            create_time: now,
        };
        let event = Event {
            kind: EventKind::OrganizationCreated,
            actor: caller.actor(),
            target: resource_name(id),
            organization: None,
            time: now,
            details: vec![("display_name", organization.display_name.clone())],
        };
        self.store.organization_insert(&organization, &[event]).await?;
        Ok(organization)
    }

    /// One organization.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn organization_get(&self, caller: &Caller, id: &OrganizationId) -> Result<Organization, Error> {
        caller.authorize(Some(id))?;
        self.organization_read(id).await
    }

    /// Those that the caller's role reaches: all, for an installation admin.
    ///
    /// # Errors
    /// Bad page fields.
    pub async fn organization_list(&self, caller: &Caller, page: &PageRequest) -> Result<Listed<Organization>, Error> {
        caller.authorize(None)?;
        let cut = page.judge::<OrganizationId>("organizations", PAGE)?;
        let rows = match &caller.role {
            Role::InstallationAdmin => {
                let page = Page { after: cut.after.clone(), limit: cut.one_more() };
                self.store.organization_list(page).await?
            }
            Role::Owner(own) | Role::Admin(own) | Role::Member(own) => {
                let own = self.store.organization_get(own).await?;
                let behind = |row: &Organization| cut.after.as_ref().is_none_or(|after| row.id > *after);
                own.into_iter().filter(behind).collect()
            }
            Role::Publisher => Vec::new(),
        };
        Ok(cut.page(rows, |row| row.id.clone()))
    }

    pub(crate) async fn organization_read(&self, id: &OrganizationId) -> Result<Organization, Error> {
        let found = self.store.organization_get(id).await?;
        found.ok_or_else(|| Error::not_found(resource_name(id)))
    }
}
