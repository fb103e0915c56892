//! The first organization and the first tokens, made at the server's console: there is nobody yet who could ask for them.

use domain::audit::EventKind;
use domain::secret::BearerToken;
use domain::{Actor, Event, OrganizationId, Role};
use store::Organization;

use crate::app::App;
use crate::app::error::Error;
use crate::app::organization::resource_name;
use crate::app::token::NewToken;

/// What was made. Each secret is shown once.
#[derive(Debug)]
pub struct Bootstrapped {
    /// Whether the organization is new; it may be there already, and gets another owner token then.
    pub organization: Made,
    /// Owner of the organization, installation admin, publisher.
    pub tokens: Vec<(Role, BearerToken)>,
}

/// Whether something is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was made.
    Now,
    /// It was there.
    Before,
}

impl App {
    /// Makes the organization, unless it is there, and a token for each role that a new installation needs. Whoever can run
    /// this owns the data directory, so that there is nothing left to protect by asking who it is.
    ///
    /// # Errors
    /// The store's.
    pub async fn bootstrap(&self, id: &OrganizationId) -> Result<Bootstrapped, Error> {
        let now = self.now().await?;
        let event = Event {
            kind: EventKind::OrganizationCreated,
            actor: Actor::Console,
            target: resource_name(id),
            organization: None,
            time: now,
            details: Vec::new(),
        };
        let organization = Organization { id: id.clone(), display_name: id.to_string(), create_time: now };
        let inserted = self.store.organization_insert(&organization, &[event]).await;
        let organization = match inserted {
            Ok(()) => Made::Now,
            Err(store::Error::Exists { .. }) => Made::Before,
            Err(error) => return Err(error.into()),
        };
        let roles = [Role::Owner(id.clone()), Role::InstallationAdmin, Role::Publisher];
        let mut tokens = Vec::new();
        for role in roles {
            let new = NewToken {
                role: role.clone(),
                display_name: "bootstrap".to_owned(),
                ttl: None,
                signed_in_by: None,
                request_id: None,
            };
            let (_, token) = self.token_make(new, Actor::Console, now).await?;
            tokens.push((role, token));
        }
        Ok(Bootstrapped { organization, tokens })
    }
}
