//! The first line of every use case: may the caller? A refusal leaves a row in the feed.

use domain::audit::EventKind;
use domain::{Event, OrganizationId};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::observe;

impl App {
    /// Lets the caller through, or writes `access.denied` and refuses.
    ///
    /// The row goes to the organization that was asked only when the token belongs to it; otherwise to the installation's
    /// feed, so that strangers write nothing into a tenant's log.
    pub(crate) async fn authorize(
        &self,
        caller: &Caller,
        organization: Option<&OrganizationId>,
    ) -> Result<(), Error> {
        let Err(refusal) = caller.authorize(organization) else {
            return Ok(());
        };
        let own = organization.filter(|asked| caller.role.organization() == Some(asked));
        let event = Event {
            kind: EventKind::AccessDenied,
            actor: caller.actor(),
            target: organization.map_or_else(|| "installation".to_owned(), resource_name),
            organization: own.cloned(),
            time: self.now().await?,
            details: refusal.values.clone(),
        };
        // The refusal stands whether or not it could be written down.
        if let Err(error) = self.store.event_append(&[event]).await {
            tracing::warn!(error = observe::chain(&error), "write access.denied");
        }
        Err(refusal.into())
    }
}

/// `organizations/acme`.
pub(crate) fn resource_name(organization: &OrganizationId) -> String {
    format!("organizations/{organization}")
}
