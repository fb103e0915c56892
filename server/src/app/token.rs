//! Bearer tokens: an owner manages its organization's, an installation admin all. A secret is shown once, in the answer that
//! made it; only its SHA-256 is kept.

use std::time::Duration;

use domain::audit::EventKind;
use domain::secret::{BearerToken, Secret};
use domain::sign_in::SignIn;
use domain::{Actor, Event, OrganizationId, Role, Timestamp, TokenId};
use store::{Page, TokenRecord};
use uuid::Uuid;

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::once;
use crate::app::organization::display_name;
use crate::app::page::{Listed, PageRequest};
use crate::tls::authority::sha256;

/// How long a token lives when nobody says: 90 days (organization_service.proto).
pub const DEFAULT_TTL: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Longest life: 366 days, so that a yearly renewal never runs into a leap day.
pub const MAX_TTL: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Shortest life: below it a token is over before it was carried anywhere.
const MIN_TTL: Duration = Duration::from_secs(60);

/// Rows of a page when none are asked for.
const PAGE: usize = 100;

/// A token to make.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// What its bearer may do, and where.
    pub role: Role,
    /// For people.
    pub display_name: String,
    /// How long it lives; none: [`DEFAULT_TTL`].
    pub ttl: Option<Duration>,
    /// What a browser's session stems from; none: it is no session.
    pub signed_in_by: Option<SignIn>,
    /// The same one again makes no second token.
    pub request_id: Option<Uuid>,
}

/// Which token, as its resource name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenName {
    /// Of which organization; none: the installation's.
    pub organization: Option<OrganizationId>,
    /// Its id.
    pub id: TokenId,
}

/// A time to live that was asked for, judged.
pub(crate) fn ttl(asked: Option<Duration>, default: Duration, max: Duration) -> Result<Duration, Error> {
    let ttl = asked.unwrap_or(default);
    if (MIN_TTL..=max).contains(&ttl) {
        return Ok(ttl);
    }
    let rule = format!("{} s is not from {} s to {} s", ttl.as_secs_f64(), MIN_TTL.as_secs(), max.as_secs());
    Err(Error::field("ttl", rule))
}

/// A token's resource name.
pub(crate) fn token_name(record: &TokenRecord) -> String {
    match record.role.organization() {
        Some(organization) => format!("organizations/{organization}/tokens/{}", record.id),
        None => format!("tokens/{}", record.id),
    }
}

impl App {
    /// Makes a token. Its role lies where the caller manages tokens, and so is never above the caller's own.
    ///
    /// # Errors
    /// `NOT_FOUND` when the organization does not exist; `REQUEST_ID_REUSED` when this was asked before; bad fields.
    pub async fn token_create(&self, caller: &Caller, new: NewToken) -> Result<(TokenRecord, BearerToken), Error> {
        caller.authorize(new.role.organization())?;
        if let Some(organization) = new.role.organization() {
            self.organization_read(organization).await?;
        }
        let now = self.now().await?;
        let scope = format!("tokens {}", new.role.organization().map_or("", OrganizationId::as_str));
        let id = self.id_once(caller, &scope, new.request_id, now)?;
        self.token_write(new, id, caller.actor(), now).await
    }

    /// Tokens of an organization, or of the installation, newest first.
    ///
    /// # Errors
    /// Bad page fields.
    pub async fn token_list(
        &self,
        caller: &Caller,
        organization: Option<&OrganizationId>,
        page: &PageRequest,
    ) -> Result<Listed<TokenRecord>, Error> {
        caller.authorize(organization)?;
        let scope = format!("tokens of {}", organization.map_or("", OrganizationId::as_str));
        let cut = page.judge::<TokenId>(scope, PAGE)?;
        let page = Page { after: cut.after.clone(), limit: cut.one_more() };
        let rows = self.store.token_list(organization, page).await?;
        Ok(cut.page(rows, |row| row.id.clone()))
    }

    /// Revokes a token, at once and for good. Doing it twice changes nothing.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn token_revoke(&self, caller: &Caller, name: &TokenName) -> Result<TokenRecord, Error> {
        caller.authorize(name.organization.as_ref())?;
        let found = self.store.token_get(&name.id).await?;
        let record = found
            .filter(|record| record.role.organization() == name.organization.as_ref())
            .ok_or_else(|| Error::not_found(format!("token {}", name.id)))?;
        if record.revoke_time.is_some() {
            return Ok(record);
        }
        let now = self.now().await?;
        let event = token_event(EventKind::TokenRevoked, &record, caller.actor(), now);
        Ok(self.store.token_revoke(&name.id, now, &[event]).await?)
    }

    /// The caller's own token.
    ///
    /// # Errors
    /// `NOT_FOUND` when it was pruned this moment.
    pub async fn token_whoami(&self, caller: &Caller) -> Result<TokenRecord, Error> {
        caller.authorize(None)?;
        let found = self.store.token_get(&caller.token).await?;
        found.ok_or_else(|| Error::not_found(format!("token {}", caller.token)))
    }

    pub(crate) async fn token_make(
        &self,
        new: NewToken,
        actor: Actor,
        now: Timestamp,
    ) -> Result<(TokenRecord, BearerToken), Error> {
        self.token_write(new, self.new_public_id(now), actor, now).await
    }

    async fn token_write(
        &self,
        new: NewToken,
        id: String,
        actor: Actor,
        now: Timestamp,
    ) -> Result<(TokenRecord, BearerToken), Error> {
        let ttl = ttl(new.ttl, DEFAULT_TTL, MAX_TTL)?;
        let display_name = display_name("display_name", &new.display_name, "")?;
        let id = TokenId::new(&id)
            .map_err(|source| Error::Internal { operation: "make a token's id", source: source.into() })?;
        let secret = Secret::new(self.random_32());
        let record = TokenRecord {
            id: id.clone(),
            secret_sha256: sha256(secret.as_bytes()),
            role: new.role,
            display_name,
            create_time: now,
            expire_time: now.plus(ttl),
            revoke_time: None,
            signed_in_by: new.signed_in_by,
        };
        let event = token_event(EventKind::TokenCreated, &record, actor, now);
        let written = self.store.token_insert(&record, &[event]).await;
        written.map_err(|error| once::asked_before(error, new.request_id, &token_name(&record)))?;
        Ok((record, BearerToken { token: id, secret }))
    }
}

pub(crate) fn token_event(kind: EventKind, record: &TokenRecord, actor: Actor, now: Timestamp) -> Event {
    let mut details = vec![("role", record.role.as_str().to_owned()), ("display_name", record.display_name.clone())];
    details.extend(record.signed_in_by.as_ref().map(|by| ("signed_in_by", by.to_string())));
    Event {
        kind,
        actor,
        target: token_name(record),
        organization: record.role.organization().cloned(),
        time: now,
        details,
    }
}
