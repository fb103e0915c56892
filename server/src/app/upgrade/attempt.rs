//! Attempts: looking at them, cancelling one, and telling one what the control plane knows.

use domain::attempt::Input;
use domain::{Actor, Attempt, AttemptId, AttemptName, ExecutorId, ExecutorUid, OrganizationId, ReleaseId};
use store::Page;

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::commit::{Answer, Patience};
use crate::app::error::Error;
use crate::app::page::{Listed, PageRequest};
use crate::app::upgrade::Requested;
use crate::app::upgrade::request::check_answers;

/// Rows of a page when none are asked for (upgrade_service.proto).
const PAGE: usize = 50;

/// Whose attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempts {
    /// In which organization.
    pub organization: OrganizationId,
    /// Of this executor; none: of all.
    pub executor: Option<ExecutorId>,
    /// Only those without an outcome that lead to this release, oldest first.
    pub open_to: Option<ReleaseId>,
}

impl App {
    /// One attempt, with what was told when it was asked for.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn attempt_get(&self, caller: &Caller, name: &AttemptName) -> Result<Requested, Error> {
        caller.authorize(Some(&name.executor.organization))?;
        let attempt = self.attempt_read(name).await?;
        let warnings = self.told(&attempt).await?;
        Ok(Requested { attempt, warnings })
    }

    /// A page of attempts, newest first; of open ones to a release, oldest first. A deleted executor's are in its organization's list.
    ///
    /// # Errors
    /// `NOT_FOUND` when the executor does not exist; bad page fields.
    pub async fn attempt_list(
        &self,
        caller: &Caller,
        of: &Attempts,
        page: &PageRequest,
    ) -> Result<Listed<Attempt>, Error> {
        caller.authorize(Some(&of.organization))?;
        let cut = page.judge::<AttemptId>(format!("attempts {of:?}"), PAGE)?;
        let page = Page { after: cut.after, limit: cut.one_more() };
        let organization = &of.organization;
        let rows = match (&of.executor, &of.open_to) {
            (None, None) => self.store.attempt_list_by_organization(organization, page).await?,
            (None, Some(release)) => self.store.attempt_list_open_by_release(release, Some(organization), page).await?,
            (Some(_), Some(_)) => {
                let rule = "is asked of a whole organization only: write - for the executor";
                return Err(Error::field("open_to_release", rule));
            }
            (Some(executor), None) => {
                let name = domain::ExecutorName { organization: of.organization.clone(), executor: executor.clone() };
                let executor = self.executor_read(&name).await?;
                self.store.attempt_list(executor.uid, page).await?
            }
        };
        Ok(cut.page(rows, |row| row.id))
    }

    /// Cancels an attempt that has no leave yet.
    ///
    /// # Errors
    /// `ATTEMPT_APPLYING` after leave, `ATTEMPT_ENDED` when it ended otherwise, `NOT_FOUND`.
    pub async fn upgrade_cancel(&self, caller: &Caller, name: &AttemptName) -> Result<Attempt, Error> {
        caller.authorize(Some(&name.executor.organization))?;
        let attempt = self.attempt_read(name).await?;
        let told = self.attempt_tell(attempt.executor, attempt.id, &Input::Cancel, caller.actor()).await?;
        let (attempt, answers) = told.ok_or_else(|| Error::not_found(name))?;
        check_answers(&answers, &attempt)?;
        Ok(attempt)
    }

    /// Decides `input` about one attempt and writes it. None: its executor or the attempt is gone.
    pub(crate) async fn attempt_tell(
        &self,
        executor: ExecutorUid,
        attempt: AttemptId,
        input: &Input,
        actor: Actor,
    ) -> Result<Option<(Attempt, Vec<Answer>)>, Error> {
        let mut patience = Patience::new();
        loop {
            let found = self.store.executor_list_by_uid(&[executor]).await?.pop();
            let (Some(executor), Some(before)) = (found, self.store.attempt_get(attempt).await?) else {
                return Ok(None);
            };
            let mut draft = self.draft(executor, actor.clone()).await?;
            let answers = self.decide(&mut draft, &before, input).await?;
            let after = draft.attempt(attempt).cloned().unwrap_or(before);
            match self.write(draft).await {
                Err(error) if patience.again(&error).await => {}
                written => {
                    written?;
                    return Ok(Some((after, answers)));
                }
            }
        }
    }

    pub(crate) async fn attempt_read(&self, name: &AttemptName) -> Result<Attempt, Error> {
        let found = self.store.attempt_get(name.attempt).await?;
        found.filter(|attempt| attempt.executor_name == name.executor).ok_or_else(|| Error::not_found(name))
    }
}
