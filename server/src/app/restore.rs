//! After a restored backup: what the backup still wanted is not what people want now.
//!
//! - Pending upgrades are cancelled: executors may have moved on, and a person asks again.
//! - Join tokens are revoked: one that was used up after the backup would be good again.
//! - API tokens are listed, or all revoked: one that was revoked after the backup counts again, which only a person can know.
//! - Executors are listed: a deactivation, deletion or replacement after the backup is undone by it, which only a person can know.
//! - Numbers of events go on far above the backup's: a watch that goes on where it was would otherwise wait until as many were
//!   written as were lost, and miss them all.
//!
//! - The moment is written: executors that renewed their certificate in the lost hour are known by it when they come.
//!
//! Generations need nothing: hello carries what each executor has seen, and the server goes on above it (rule 6).

use domain::attempt::next::Input;
use domain::audit::EventKind;
use domain::executor::State;
use domain::{Actor, Executor, ExecutorId, ExecutorName, ExecutorUid, JoinTokenId, OrganizationId, Timestamp, TokenId};
use store::{ExecutorQuery, Page};

use crate::app::App;
use crate::app::commit::{Answer, Patience};
use crate::app::error::Error;
use crate::app::token::{token_event, token_name};

/// Rows read at a time.
const PAGE: usize = 500;

/// How far above the backup's the numbers of events go on: more than any hour, or month, has.
const NUMBERS_LEFT_OUT: u32 = u32::MAX;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Executors whose pending upgrade was ended.
    pub pending_ended: usize,
    /// Join tokens that could have been used.
    pub join_tokens_voided: usize,
    /// API tokens that count, or did until now.
    pub api_tokens: Vec<LiveToken>,
    /// Everybody in the backup.
    pub executors: Vec<Identity>,
}

/// What becomes of API tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiTokens {
    /// They go on to count: a person compares them.
    Keep,
    /// All are revoked; the console makes new ones ([`App::bootstrap`]).
    Revoke,
}

/// An API token of the backup that is neither expired nor revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveToken {
    /// `organizations/…/tokens/…`, or `tokens/…` of the installation.
    pub name: String,
    /// `owner`.
    pub role: &'static str,
    /// For people.
    pub display_name: String,
    /// When it was made.
    pub create_time: Timestamp,
}

/// An identity to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its name.
    pub name: ExecutorName,
    /// Its uid.
    pub uid: ExecutorUid,
    /// `active` or `deactivated`.
    pub state: &'static str,
}

impl App {
    /// Makes a restored backup safe to run. Repeating it does no harm.
    ///
    /// # Errors
    /// The store's; what was done before stays done.
    pub async fn after_restore(&self, api_tokens: ApiTokens) -> Result<Restored, Error> {
        let mut done = Restored::default();
        // First: what is written below is to be seen, too.
        self.store.event_skip(NUMBERS_LEFT_OUT).await?;
        let now = self.now().await?;
        self.store.restore_note(now).await?;
        self.restore_api_tokens(None, api_tokens, &mut done).await?;
        let mut after: Option<OrganizationId> = None;
        loop {
            let page = Page { after: after.take(), limit: PAGE };
            let organizations = self.store.organization_list(page).await?;
            for organization in &organizations {
                self.restore_api_tokens(Some(&organization.id), api_tokens, &mut done).await?;
                self.restore_join_tokens(&organization.id, &mut done).await?;
                self.restore_executors(&organization.id, &mut done).await?;
            }
            match organizations.last() {
                Some(last) if organizations.len() == PAGE => after = Some(last.id.clone()),
                _ => return Ok(done),
            }
        }
    }

    async fn restore_api_tokens(
        &self,
        organization: Option<&OrganizationId>,
        wanted: ApiTokens,
        done: &mut Restored,
    ) -> Result<(), Error> {
        let mut after: Option<TokenId> = None;
        loop {
            let page = Page { after: after.take(), limit: PAGE };
            let tokens = self.store.token_list(organization, page).await?;
            let now = self.now().await?;
            for token in tokens.iter().filter(|token| token.revoke_time.is_none() && token.expire_time > now) {
                if wanted == ApiTokens::Revoke {
                    let event = token_event(EventKind::TokenRevoked, token, Actor::Console, now);
                    self.store.token_revoke(&token.id, now, &[event]).await?;
                }
                done.api_tokens.push(LiveToken {
                    name: token_name(token),
                    role: token.role.as_str(),
                    display_name: token.display_name.clone(),
                    create_time: token.create_time,
                });
            }
            match tokens.last() {
                Some(last) if tokens.len() == PAGE => after = Some(last.id.clone()),
                _ => return Ok(()),
            }
        }
    }

    async fn restore_join_tokens(&self, organization: &OrganizationId, done: &mut Restored) -> Result<(), Error> {
        let mut after: Option<JoinTokenId> = None;
        loop {
            let page = Page { after: after.take(), limit: PAGE };
            let tokens = self.store.join_token_list(organization, page).await?;
            for token in tokens.iter().filter(|token| token.revoke_time.is_none()) {
                let now = self.now().await?;
                let event = domain::Event {
                    kind: EventKind::JoinTokenRevoked,
                    actor: Actor::Console,
                    target: format!("organizations/{organization}/joinTokens/{}", token.id),
                    organization: Some(organization.clone()),
                    time: now,
                    details: vec![("cause", "after-restore".to_owned())],
                };
                self.store.join_token_revoke(&token.id, now, &[event]).await?;
                done.join_tokens_voided += 1;
            }
            match tokens.last() {
                Some(last) if tokens.len() == PAGE => after = Some(last.id.clone()),
                _ => return Ok(()),
            }
        }
    }

    async fn restore_executors(&self, organization: &OrganizationId, done: &mut Restored) -> Result<(), Error> {
        let query = ExecutorQuery { organization: Some(organization.clone()), ..ExecutorQuery::default() };
        let mut after: Option<ExecutorId> = None;
        loop {
            let page = Page { after: after.take(), limit: PAGE };
            let executors = self.store.executor_list(&query, page).await?;
            let last = executors.last().map(|last| last.name.executor.clone());
            let full = executors.len() == PAGE;
            for executor in executors {
                let state = match executor.state {
                    State::Active => "active",
                    State::Deactivated => "deactivated",
                };
                done.executors.push(Identity { name: executor.name.clone(), uid: executor.uid, state });
                if executor.pending.is_some() {
                    done.pending_ended += usize::from(self.restore_pending(executor).await?);
                }
            }
            if !full {
                return Ok(());
            }
            after = last;
        }
    }

    /// Whether it was ended: one that was given leave goes on, and its executor's report ends it.
    async fn restore_pending(&self, mut executor: Executor) -> Result<bool, Error> {
        let mut patience = Patience::new();
        loop {
            let Some(id) = executor.pending else {
                return Ok(false);
            };
            let Some(attempt) = self.store.attempt_get(id).await? else {
                return Ok(false);
            };
            let uid = executor.uid;
            let mut draft = self.draft(executor, Actor::Console).await?;
            let answers = self.decide(&mut draft, &attempt, &Input::Cancel).await?;
            if answers.iter().any(|answer| matches!(answer, Answer::Refuse(_))) {
                return Ok(false);
            }
            match self.write(draft).await {
                Err(error) if patience.again(&error).await => {}
                written => {
                    written?;
                    return Ok(true);
                }
            }
            match self.store.executor_list_by_uid(&[uid]).await?.pop() {
                Some(again) => executor = again,
                None => return Ok(false),
            }
        }
    }
}
