//! Signing in from a browser: whoever shows a bearer token, or is vouched for by the identity provider, gets a token that only that
//! browser has. So no long-lived token is ever in a cookie, and signing out ends nothing else.
//!
//! ```text
//! made: ends after IDLE        used with less than half of IDLE left: ends IDLE from now, never after SESSION
//! ended by: its end, signing out, signing out everywhere, the end of the token that was shown
//! ```

use std::time::Duration;

use domain::audit::EventKind;
use domain::sign_in::{Identity, SignIn};
use domain::{Actor, BearerToken, Role, Timestamp, TokenId};
use store::{Page, TokenRecord};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::token::{NewToken, token_event};

/// How long a session lasts that nobody uses. A page that is open and live uses it.
pub const IDLE: Duration = Duration::from_secs(60 * 60);

/// How long a session lasts at most: a shift.
pub const SESSION: Duration = Duration::from_secs(12 * 60 * 60);

/// Sessions that are looked at together when all of an origin end.
const TOGETHER: usize = 100;

impl App {
    /// A session for the bearer of another token, with the same role; none when that one is a session itself.
    ///
    /// # Errors
    /// The store.
    pub async fn sign_in_by_token(&self, caller: &Caller) -> Result<Option<BearerToken>, Error> {
        let shown = self.store.token_get(&caller.token).await?;
        let Some(shown) = shown.filter(|shown| shown.signed_in_by.is_none()) else { return Ok(None) };
        let by = SignIn::Token(shown.id);
        self.session(by, shown.role, shown.display_name).await.map(Some)
    }

    /// A session for somebody whom the identity provider vouches for.
    ///
    /// # Errors
    /// `NOT_FOUND` when the role's organization does not exist; the store.
    pub async fn sign_in_by_identity(
        &self,
        identity: Identity,
        role: Role,
        display_name: String,
    ) -> Result<BearerToken, Error> {
        if let Some(organization) = role.organization() {
            self.organization_read(organization).await?;
        }
        self.session(SignIn::Identity(identity), role, display_name).await
    }

    /// Moves the end of a session that is in use. What is no session is left as it is.
    ///
    /// # Errors
    /// The store.
    pub async fn session_renew(&self, id: &TokenId) -> Result<(), Error> {
        let (now, record) = (self.now().await?, self.store.token_get(id).await?);
        if let Some(end) = record.and_then(|record| renewed_end(&record, now)) {
            match self.store.token_extend(id, end).await {
                // Signed out in this moment.
                Err(store::Error::Missing { .. }) => {}
                done => drop(done?),
            }
        }
        Ok(())
    }

    /// Ends one session. Doing it twice changes nothing.
    ///
    /// # Errors
    /// The store.
    pub async fn sign_out(&self, id: &TokenId) -> Result<(), Error> {
        match self.store.token_get(id).await? {
            Some(record) if record.signed_in_by.is_some() => self.end_session(&record, id).await,
            _ => Ok(()),
        }
    }

    /// Ends every session of the same origin, this one with them.
    ///
    /// # Errors
    /// The store; some may have ended.
    pub async fn sign_out_everywhere(&self, id: &TokenId) -> Result<(), Error> {
        let record = self.store.token_get(id).await?;
        let Some(by) = record.and_then(|record| record.signed_in_by) else { return Ok(()) };
        // What ended is not listed again.
        loop {
            let sessions = self.store.token_list_signed_in(&by, Page { after: None, limit: TOGETHER }).await?;
            for session in &sessions {
                self.end_session(session, id).await?;
            }
            if sessions.len() < TOGETHER {
                return Ok(());
            }
        }
    }

    async fn session(&self, by: SignIn, role: Role, display_name: String) -> Result<BearerToken, Error> {
        let actor = match &by {
            SignIn::Token(shown) => Actor::Token(shown.clone()),
            SignIn::Identity(_) => Actor::System("sign-in"),
        };
        let now = self.now().await?;
        let new = NewToken { role, display_name, ttl: Some(IDLE), signed_in_by: Some(by), request_id: None };
        self.token_make(new, actor, now).await.map(|(_, token)| token)
    }

    async fn end_session(&self, session: &TokenRecord, by: &TokenId) -> Result<(), Error> {
        let now = self.now().await?;
        let event = token_event(EventKind::TokenRevoked, session, Actor::Token(by.clone()), now);
        self.store.token_revoke(&session.id, now, &[event]).await?;
        Ok(())
    }
}

/// Where the end of a session moves that is used now; none: it stays.
fn renewed_end(record: &TokenRecord, now: Timestamp) -> Option<Timestamp> {
    let counts = record.signed_in_by.is_some() && record.revoke_time.is_none() && now < record.expire_time;
    let end = now.plus(IDLE).min(record.create_time.plus(SESSION));
    (counts && record.expire_time < now.plus(IDLE / 2) && record.expire_time < end).then_some(end)
}

#[cfg(test)]
mod tests {
    use domain::Sha256;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hours: f64) -> Timestamp {
        Timestamp::from_micros(0).plus(HOUR.mul_f64(hours))
    }

    fn session(end: f64) -> TokenRecord {
        let id = TokenId::new("s").expect("a label");
        TokenRecord {
            signed_in_by: Some(SignIn::Token(id.clone())),
            id,
            secret_sha256: Sha256::new([0; 32]),
            role: Role::Publisher,
            display_name: String::new(),
            create_time: at(0.0),
            expire_time: at(end),
            revoke_time: None,
        }
    }

    #[test]
    fn a_session_in_use_goes_on_and_never_beyond_a_shift() {
        for (end, now, moved) in
            [(1.0, 0.2, None), (1.0, 0.75, Some(1.75)), (1.0, 1.0, None), (11.75, 11.5, Some(12.0)), (12.0, 11.9, None)]
        {
            assert_eq!(renewed_end(&session(end), at(now)), moved.map(at), "{end} at {now}");
        }
    }

    #[test]
    fn what_is_no_session_or_is_over_stays() {
        let token = TokenRecord { signed_in_by: None, ..session(1.0) };
        let revoked = TokenRecord { revoke_time: Some(at(0.1)), ..session(1.0) };
        assert_eq!((renewed_end(&token, at(0.75)), renewed_end(&revoked, at(0.75))), (None, None));
    }
}
