//! Who the bearer of a token is. Looked up for each request, so that a revocation counts at once.

use domain::audit::EventKind;
use domain::role::Demand;
use domain::sign_in::SignIn;
use domain::{BearerToken, Event, Sha256, Timestamp};
use store::{TokenRecord, TokenWithOrigin};
use subtle::ConstantTimeEq as _;

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::tls::authority::sha256;

/// Whether a token counts now, and what it stems from where it is a session of a token.
pub(crate) fn counts(found: &TokenWithOrigin, now: Timestamp) -> bool {
    let alone = |record: &TokenRecord| record.revoke_time.is_none() && now < record.expire_time;
    let stems = match &found.token.signed_in_by {
        Some(SignIn::Token(_)) => found.origin.as_ref().is_some_and(alone),
        Some(SignIn::Identity(_)) | None => true,
    };
    alone(&found.token) && stems
}

impl App {
    /// The caller behind a bearer token; none when it is unknown, expired or revoked: which of them is nobody's business.
    ///
    /// # Errors
    /// The store.
    pub async fn bearer(&self, token: &BearerToken, demand: Demand) -> Result<Option<Caller>, Error> {
        let presented = sha256(token.secret.as_bytes());
        let found = self.store.token_get_with_origin(&token.token).await?;
        // Compared all the same when there is no such token.
        let stored = found.as_ref().map_or(Sha256::new([0; 32]), |found| found.token.secret_sha256);
        let same = bool::from(presented.as_bytes().ct_eq(stored.as_bytes()));
        let Some(found) = found.filter(|_| same) else {
            return Ok(None);
        };
        if !counts(&found, self.now().await?) {
            return Ok(None);
        }
        let TokenRecord { id, role, .. } = found.token;
        Ok(Some(Caller { token: id, role, demand }))
    }

    /// Writes into the audit log that a caller was refused for want of a role. Whoever calls bounds how often.
    ///
    /// # Errors
    /// The store.
    pub async fn access_denied(&self, caller: &Caller, rpc: &'static str) -> Result<(), Error> {
        let event = Event {
            kind: EventKind::AccessDenied,
            actor: caller.actor(),
            target: rpc.to_owned(),
            organization: caller.role.organization().cloned(),
            time: self.now().await?,
            details: vec![("role", caller.role.as_str().to_owned())],
        };
        Ok(self.store.event_append(&[event]).await?)
    }

    /// Whether the store answers: readiness.
    ///
    /// # Errors
    /// The store does not.
    pub async fn ready(&self) -> Result<(), Error> {
        self.now().await?;
        self.store.change_head().await?;
        Ok(())
    }
}
