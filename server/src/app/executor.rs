//! Executors, for people and programs: looking at them, and what the control plane says about them.

pub mod change;

pub mod filter;

pub mod node;

use std::collections::{BTreeSet, HashMap};

use domain::release::Release;
use domain::{Attempt, AttemptId, Executor, ExecutorId, ExecutorName, Kind, OrganizationId, ReleaseId, Spec};
use store::{ExecutorCount, Page};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::page::{Listed, PageRequest};
use crate::app::presence::Presence;
use crate::app::spec::spec;

pub use change::Update;
pub use filter::Filter;

/// Rows of a page when none are asked for (executor_service.proto).
const PAGE: usize = 100;

/// Rows read at a time where a filter leaves rows out.
const WALK: usize = 1_000;

/// Most walks for one page. A filter that matches next to nothing ends its page early, with a token to go on by (AIP-158),
/// instead of reading a whole organization for one request.
const WALKS_MAX: usize = 10;

/// An executor with what stands around its row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The row.
    pub executor: Executor,
    /// Whether it is there.
    pub presence: Presence,
    /// The attempt behind the pending upgrade, with its spec when there still is one.
    pub pending: Option<(Attempt, Option<Spec>)>,
}

impl App {
    /// One executor.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn executor_get(&self, caller: &Caller, name: &ExecutorName) -> Result<View, Error> {
        caller.authorize(Some(&name.organization))?;
        let executor = self.executor_read(name).await?;
        self.executor_view(executor).await
    }

    /// A page of an organization's executors, by name.
    ///
    /// # Errors
    /// Bad page or filter fields.
    pub async fn executor_list(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        filter: &Filter,
        page: &PageRequest,
    ) -> Result<Listed<View>, Error> {
        caller.authorize(Some(organization))?;
        let cut = page.judge::<ExecutorId>(format!("executors of {organization} {filter:?}"), PAGE)?;
        let mut after = cut.after.clone();
        let mut found: Vec<View> = Vec::new();
        for _ in 0..WALKS_MAX {
            let limit = if filter.is_told_by_rows() { cut.one_more() } else { WALK };
            let (rows, last) = self.executor_walk(organization, filter, after.take(), limit).await?;
            found.extend(rows);
            after = last;
            if found.len() > cut.limit || after.is_none() {
                break;
            }
        }
        let mut listed = cut.page(found, |view| view.executor.name.executor.clone());
        if let Some(seen) = after.filter(|_| listed.next_page_token.is_empty()) {
            listed.next_page_token = cut.token(seen);
        }
        Ok(listed)
    }

    /// How many of an organization's executors run what: newest version first, then by kind and channel.
    ///
    /// # Errors
    /// The store.
    pub async fn executor_count(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
    ) -> Result<Vec<ExecutorCount>, Error> {
        caller.authorize(Some(organization))?;
        let mut counts = self.store.executor_count(organization).await?;
        counts.sort_by(|a, b| {
            let word = |count: &ExecutorCount| (count.kind.map(Kind::as_str), count.channel.as_str());
            b.version.cmp(&a.version).then_with(|| word(a).cmp(&word(b)))
        });
        Ok(counts)
    }

    /// Matching executors among the next `limit` rows, and the last key seen; none: there are no more.
    pub(crate) async fn executor_walk(
        &self,
        organization: &OrganizationId,
        filter: &Filter,
        after: Option<ExecutorId>,
        limit: usize,
    ) -> Result<(Vec<View>, Option<ExecutorId>), Error> {
        let query = filter.query(organization);
        let rows = self.store.executor_list(&query, Page { after, limit }).await?;
        let last = rows.last().filter(|_| rows.len() >= limit);
        let last = last.map(|row| row.name.executor.clone());
        let views = self.executor_views(rows).await?;
        let matching = views.into_iter().filter(|view| filter.matches(view));
        Ok((matching.collect(), last))
    }

    /// The row.
    pub(crate) async fn executor_read(&self, name: &ExecutorName) -> Result<Executor, Error> {
        let found = self.store.executor_get(name).await?;
        found.ok_or_else(|| Error::not_found(name))
    }

    /// The newest attempt of an executor that has no outcome.
    pub(crate) async fn open_attempt(&self, executor: &Executor) -> Result<Option<Attempt>, Error> {
        match executor.open_attempt.or(executor.pending) {
            Some(id) => Ok(self.store.attempt_get(id).await?),
            None => Ok(None),
        }
    }

    /// One executor with what stands around it.
    pub(crate) async fn executor_view(&self, executor: Executor) -> Result<View, Error> {
        let mut views = self.executor_views(vec![executor]).await?;
        views.pop().ok_or_else(|| Error::not_found("the executor"))
    }

    /// Executors with what stands around them: three queries for any number, and one for each release that is pending.
    pub(crate) async fn executor_views(&self, executors: Vec<Executor>) -> Result<Vec<View>, Error> {
        let now = self.now().await?;
        let uids: Vec<_> = executors.iter().map(|executor| executor.uid).collect();
        let presences = self.presences(&uids, now).await?;
        let attempts = self.pending_attempts(&executors).await?;
        let releases = self.releases_of(attempts.values()).await?;
        let view = |executor: Executor| {
            let attempt = executor.pending.and_then(|id| attempts.get(&id)).cloned();
            let pending = attempt.map(|attempt| {
                let release = releases.get(&attempt.release);
                let spec = release.and_then(|release| spec(release, &executor));
                (attempt, spec)
            });
            View { presence: presences.get(&executor.uid).copied().unwrap_or_default(), executor, pending }
        };
        Ok(executors.into_iter().map(view).collect())
    }

    async fn pending_attempts(&self, executors: &[Executor]) -> Result<HashMap<AttemptId, Attempt>, Error> {
        let ids: Vec<AttemptId> = executors.iter().filter_map(|executor| executor.pending).collect();
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let attempts = self.store.attempt_list_by_id(&ids).await?;
        Ok(attempts.into_iter().map(|attempt| (attempt.id, attempt)).collect())
    }

    async fn releases_of(
        &self,
        attempts: impl Iterator<Item = &Attempt>,
    ) -> Result<HashMap<ReleaseId, Release>, Error> {
        let ids: BTreeSet<&ReleaseId> = attempts.map(|attempt| &attempt.release).collect();
        let mut releases = HashMap::new();
        for id in ids {
            if let Some(release) = self.store.release_get(id).await? {
                releases.insert(id.clone(), release);
            }
        }
        Ok(releases)
    }
}
