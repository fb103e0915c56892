//! Signing in from a browser: a bearer token is exchanged for a short one that only that browser has, so that the person's own
//! token is never in a cookie, and signing out ends nothing else.

use std::time::Duration;

use domain::{Actor, BearerToken, TokenId};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::token::NewToken;

/// How long a browser stays signed in: a shift.
pub const SESSION: Duration = Duration::from_secs(12 * 60 * 60);

impl App {
    /// A session's token for the bearer of another one, with the same role.
    ///
    /// # Errors
    /// The store.
    pub async fn sign_in(&self, caller: &Caller) -> Result<BearerToken, Error> {
        let now = self.now().await?;
        let new = NewToken {
            role: caller.role.clone(),
            display_name: format!("browser, by {}", caller.token),
            ttl: Some(SESSION),
        };
        let (_, token) = self.token_make(new, Actor::Token(caller.token.clone()), now).await?;
        Ok(token)
    }

    /// Ends a session.
    ///
    /// # Errors
    /// The store.
    pub async fn sign_out(&self, session: &TokenId) -> Result<(), Error> {
        let now = self.now().await?;
        let Some(record) = self.store.token_get(session).await? else { return Ok(()) };
        if record.revoke_time.is_none() {
            let actor = Actor::Token(session.clone());
            let event = crate::app::token::token_event(domain::audit::EventKind::TokenRevoked, &record, actor, now);
            self.store.token_revoke(session, now, &[event]).await?;
        }
        Ok(())
    }
}
