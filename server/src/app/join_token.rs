//! Join tokens: secrets with an expiry and a number of uses, exchanged with a CSR for an executor certificate.

use std::time::Duration;

use domain::audit::EventKind;
use domain::join::JoinSecret;
use domain::secret::Secret;
use domain::{Event, ExecutorId, JoinTokenId, OrganizationId, Timestamp};
use store::{JoinTokenRecord, Page};
use uuid::Uuid;

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::once;
use crate::app::page::{Listed, PageRequest};
use crate::app::token;
use crate::tls::authority::sha256;

/// How long a join token lives when nobody says: 1 h. Also the longest life of one that may take over a name (DESIGN
/// section 6): whoever holds it can put another host in an executor's place.
pub const DEFAULT_TTL: Duration = Duration::from_secs(60 * 60);

/// Longest life: 7 days, a rack's worth of installing.
pub const MAX_TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Most uses: the largest fleet that one batch installs.
pub const MAX_USES: u32 = 10_000;

/// Rows of a page when none are asked for.
const PAGE: usize = 100;

/// Whether a join token may take its name from an enrolled executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakeOver {
    /// It may; then it is single use, at most 1 h, and names the executor.
    Yes,
    /// A name that is taken is refused.
    No,
}

/// A join token to make.
#[derive(Clone, Debug)]
pub struct NewJoinToken {
    /// Where it lets executors join.
    pub organization: OrganizationId,
    /// The only name it enrols; none: any new name.
    pub executor: Option<ExecutorId>,
    /// Whether it may take that name over.
    pub take_over: TakeOver,
    /// How long it lives; none: [`DEFAULT_TTL`].
    pub ttl: Option<Duration>,
    /// How often it may be used; none: once.
    pub max_uses: Option<u32>,
    /// The same one again makes no second join token.
    pub request_id: Option<Uuid>,
}

/// A join token's resource name.
pub(crate) fn join_token_name(record: &JoinTokenRecord) -> String {
    format!("organizations/{}/joinTokens/{}", record.organization, record.id)
}

// === impl NewJoinToken ===

impl NewJoinToken {
    /// Uses and life, judged.
    fn judge(&self) -> Result<(u32, Duration), Error> {
        let uses = self.max_uses.unwrap_or(1);
        if !(1..=MAX_USES).contains(&uses) {
            let rule = format!("{uses} is not from 1 to {MAX_USES}");
            return Err(Error::field("max_uses", rule));
        }
        let longest = match self.take_over {
            TakeOver::No => MAX_TTL,
            TakeOver::Yes if self.executor.is_none() => {
                return Err(Error::field(
                    "executor_id",
                    "is required with replace: name the executor that is taken over",
                ));
            }
            TakeOver::Yes if uses != 1 => {
                return Err(Error::field("max_uses", "is 1 with replace: one host takes over one name"));
            }
            TakeOver::Yes => DEFAULT_TTL,
        };
        Ok((uses, token::ttl(self.ttl, DEFAULT_TTL, longest)?))
    }
}

impl App {
    /// Makes a join token. The word that hosts are given is in this answer only.
    ///
    /// # Errors
    /// `NOT_FOUND` when the organization does not exist; `REQUEST_ID_REUSED` when this was asked before; bad fields; `UNAVAILABLE` while no executor endpoint is known.
    pub async fn join_token_create(
        &self,
        caller: &Caller,
        new: NewJoinToken,
    ) -> Result<(JoinTokenRecord, JoinSecret), Error> {
        caller.authorize(Some(&new.organization))?;
        let (max_uses, ttl) = new.judge()?;
        self.organization_read(&new.organization).await?;
        let endpoint = self.settings.executor_endpoint.clone().ok_or_else(|| Error::Internal {
            operation: "make a join token: executor_endpoint is not set",
            source: "no endpoint".into(),
        })?;
        let now = self.now().await?;
        let scope = format!("join tokens {}", new.organization);
        let id = JoinTokenId::new(&self.id_once(caller, &scope, new.request_id, now)?)
            .map_err(|source| Error::Internal { operation: "make a join token's id", source: source.into() })?;
        let secret = Secret::new(self.random_32());
        let record = JoinTokenRecord {
            id: id.clone(),
            organization: new.organization,
            secret_sha256: sha256(secret.as_bytes()),
            executor: new.executor,
            replace: new.take_over == TakeOver::Yes,
            max_uses,
            uses: 0,
            create_time: now,
            expire_time: now.plus(ttl),
            revoke_time: None,
        };
        let event = join_token_event(EventKind::JoinTokenCreated, &record, caller, now);
        let written = self.store.join_token_insert(&record, &[event]).await;
        written.map_err(|error| once::asked_before(error, new.request_id, &join_token_name(&record)))?;
        let secret = JoinSecret { token: id, authority: self.authority().public_key_sha256(), secret, endpoint };
        Ok((record, secret))
    }

    /// Join tokens of an organization, newest first.
    ///
    /// # Errors
    /// Bad page fields.
    pub async fn join_token_list(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        page: &PageRequest,
    ) -> Result<Listed<JoinTokenRecord>, Error> {
        caller.authorize(Some(organization))?;
        let cut = page.judge::<JoinTokenId>(format!("join tokens of {organization}"), PAGE)?;
        let page = Page { after: cut.after.clone(), limit: cut.one_more() };
        let rows = self.store.join_token_list(organization, page).await?;
        Ok(cut.page(rows, |row| row.id.clone()))
    }

    /// Revokes a join token. Doing it twice changes nothing.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn join_token_revoke(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        id: &JoinTokenId,
    ) -> Result<JoinTokenRecord, Error> {
        caller.authorize(Some(organization))?;
        let found = self.store.join_token_get(id).await?;
        let record = found
            .filter(|record| record.organization == *organization)
            .ok_or_else(|| Error::not_found(format!("organizations/{organization}/joinTokens/{id}")))?;
        if record.revoke_time.is_some() {
            return Ok(record);
        }
        let now = self.now().await?;
        let event = join_token_event(EventKind::JoinTokenRevoked, &record, caller, now);
        Ok(self.store.join_token_revoke(id, now, &[event]).await?)
    }
}

fn join_token_event(kind: EventKind, record: &JoinTokenRecord, caller: &Caller, now: Timestamp) -> Event {
    let mut details = vec![("max_uses", record.max_uses.to_string()), ("replace", record.replace.to_string())];
    if let Some(executor) = &record.executor {
        details.push(("executor_id", executor.to_string()));
    }
    Event {
        kind,
        actor: caller.actor(),
        target: join_token_name(record),
        organization: Some(record.organization.clone()),
        time: now,
        details,
    }
}
