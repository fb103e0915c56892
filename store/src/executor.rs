//! Executors and their attempts: one aggregate, written together under the executor's revision.

use std::collections::HashMap;

use async_trait::async_trait;
use domain::executor::State;
use domain::{
    Attempt, AttemptId, Channel, Event, Executor, ExecutorId, ExecutorName, ExecutorUid, Kind, OrganizationId,
    ReleaseId, RequestId, Revision, Timestamp, Version,
};

use crate::change::ChangeNumber;
use crate::error::Error;
use crate::page::Page;

/// An attempt to write with its executor.
#[derive(Clone, Debug)]
pub struct AttemptWrite {
    /// As it is to be. `revision` is the one that was read; a new attempt has revision 0. Of what, by which request, never
    /// changes: another executor or request id than was read is [`Error::Stale`].
    pub attempt: Attempt,
    /// When [`domain::attempt::Input::Tick`] would next change it; none: never.
    pub deadline: Option<Timestamp>,
}

impl AttemptWrite {
    /// Whether it was never written.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.attempt.revision == Revision(0)
    }
}

/// What becomes of the executor's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExecutorFate {
    /// It stays.
    Keep,
    /// It is deleted: its name is free, its certificates are revoked, its attempts stay.
    Delete,
}

/// Everything that one decision about an executor writes.
#[derive(Clone, Debug)]
pub struct ExecutorCommit {
    /// As it is to be. `revision` is the one that was read.
    pub executor: Executor,
    /// Its attempts that change.
    pub attempts: Vec<AttemptWrite>,
    /// For the feed.
    pub events: Vec<Event>,
    /// What becomes of the row.
    pub fate: ExecutorFate,
    /// Only while this release is published: a yank that was committed first wins.
    pub while_published: Option<ReleaseId>,
}

/// A commit that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub change: ChangeNumber,
}

/// Which executors. All that is set must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutorQuery {
    /// Of this organization.
    pub organization: Option<OrganizationId>,
    /// Running this version.
    pub version: Option<String>,
    /// Whose name contains this.
    pub name_contains: Option<String>,
    /// With these labels.
    pub labels: Vec<(String, String)>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In this channel.
    pub channel: Option<Channel>,
    /// In this state.
    pub state: Option<State>,
    /// Pinned, or not.
    pub pinned: Option<bool>,
    /// With a hold, or with none.
    pub held: Option<bool>,
}

/// How many executors of one kind run one version in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorCount {
    /// Of this kind; none: they never synced.
    pub kind: Option<Kind>,
    /// Running this.
    pub version: Option<Version>,
    /// In this channel.
    pub channel: Channel,
    /// So many.
    pub executors: u64,
}

/// Executors on disk.
#[async_trait]
pub trait ExecutorStore: Send + Sync {
    /// One executor, by name.
    async fn executor_get(&self, name: &ExecutorName) -> Result<Option<Executor>, Error>;

    /// Executors by uid, in any order; unknown and deleted ones are left out. One query for any number.
    async fn executor_list_by_uid(&self, uids: &[ExecutorUid]) -> Result<Vec<Executor>, Error>;

    /// Executors of one organization by name, in any order; unknown ones are left out. One query for any number.
    async fn executor_list_by_name(
        &self,
        organization: &OrganizationId,
        names: &[ExecutorId],
    ) -> Result<Vec<Executor>, Error>;

    /// A page, in order of name. Without an organization names repeat, and the key is a name: such a page holds all
    /// executors of its last name, and may be longer by as many.
    async fn executor_list(&self, query: &ExecutorQuery, page: Page<ExecutorId>) -> Result<Vec<Executor>, Error>;

    /// An organization's executors by kind, version and channel, in no order: a walk of one index, never of the rows.
    async fn executor_count(&self, organization: &OrganizationId) -> Result<Vec<ExecutorCount>, Error>;

    /// Writes one decision. [`Error::Stale`] when the executor or one of the attempts was written since, or the release that it
    /// stands on is not published any more; [`Error::Missing`] when it was deleted,
    /// [`Error::Exists`] when another attempt of the organization has the same request id.
    async fn executor_commit(&self, commit: ExecutorCommit) -> Result<Committed, Error>;

    /// Writes many decisions about different executors in as few transactions as the backend likes, each on its own: one result each, in order.
    async fn executor_commit_batch(&self, commits: Vec<ExecutorCommit>)
    -> Result<Vec<Result<Committed, Error>>, Error>;

    /// Forgets executors that were deleted before `time`, at most `limit`, with their sessions and nodes; answers how many. One that
    /// an attempt or a certificate means stays as long as that.
    async fn executor_prune(&self, deleted_before: Timestamp, limit: usize) -> Result<usize, Error>;
}

/// Attempts on disk. They are written by [`ExecutorStore::executor_commit`].
#[async_trait]
pub trait AttemptStore: Send + Sync {
    /// One attempt.
    async fn attempt_get(&self, id: AttemptId) -> Result<Option<Attempt>, Error>;

    /// Attempts by id, in any order; unknown ones are left out. One query for any number.
    async fn attempt_list_by_id(&self, ids: &[AttemptId]) -> Result<Vec<Attempt>, Error>;

    /// The attempts that earlier requests of these ids made in the organization, or were answered with
    /// ([`Self::attempt_note_requests`]). One query for any number.
    async fn attempt_list_by_request(
        &self,
        organization: &OrganizationId,
        request_ids: &[RequestId],
    ) -> Result<HashMap<RequestId, Attempt>, Error>;

    /// Notes that requests of these ids were answered with attempts that others had made, in one transaction; an answer for
    /// each, in order. Repeating it changes nothing; [`Error::Exists`] when the id belongs to another attempt of the organization,
    /// [`Error::Missing`] when the organization has no such attempt. An id is forgotten with its attempt.
    async fn attempt_note_requests(
        &self,
        organization: &OrganizationId,
        notes: &[(AttemptId, RequestId)],
    ) -> Result<Vec<Result<(), Error>>, Error>;

    /// A page of one executor's attempts, newest first.
    async fn attempt_list(&self, executor: ExecutorUid, page: Page<AttemptId>) -> Result<Vec<Attempt>, Error>;

    /// A page of an organization's attempts, newest first.
    async fn attempt_list_by_organization(
        &self,
        organization: &OrganizationId,
        page: Page<AttemptId>,
    ) -> Result<Vec<Attempt>, Error>;

    /// A page of attempts without an outcome that lead to this release, in order of id: of one organization; none: of all.
    async fn attempt_list_open_by_release(
        &self,
        release: &ReleaseId,
        organization: Option<&OrganizationId>,
        page: Page<AttemptId>,
    ) -> Result<Vec<Attempt>, Error>;

    /// Attempts whose deadline is at or before `now`, soonest first: O(due).
    async fn attempt_list_due(&self, now: Timestamp, limit: usize) -> Result<Vec<Attempt>, Error>;

    /// How many executors have a pending upgrade.
    async fn attempt_count_pending(&self) -> Result<u64, Error>;

    /// Forgets ended attempts older than `time`, at most `limit`; answers how many.
    async fn attempt_prune(&self, older_than: Timestamp, limit: usize) -> Result<usize, Error>;
}
