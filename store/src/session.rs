//! Sessions and liveness. Liveness is leased by replica: a heartbeat costs the store nothing (DESIGN section 8).

use std::time::Duration;

use async_trait::async_trait;
use domain::{Epoch, Event, ExecutorUid, InstanceId, Timestamp};
use uuid::Uuid;

use crate::error::Error;

/// One server process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReplicaId(pub Uuid);

/// Who holds an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    /// Whose.
    pub executor: ExecutorUid,
    /// The greater owns it.
    pub epoch: Epoch,
    /// Which server process.
    pub replica: ReplicaId,
    /// Which executor process.
    pub instance: InstanceId,
    /// When it was opened.
    pub open_time: Timestamp,
    /// When it ended; none: it has not, as far as its replica said.
    pub end_time: Option<Timestamp>,
}

/// A session that is now the newest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOpened {
    /// Its number.
    pub epoch: Epoch,
    /// The session that it took the place of, ended or not.
    pub previous: Option<SessionRow>,
}

/// Whether an executor is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// Whose.
    pub executor: ExecutorUid,
    /// Whether it has an open session on a replica whose lease runs.
    pub connected: bool,
    /// The later of session end and the owner's lease renewal; none: it never had a session.
    pub last_seen: Option<Timestamp>,
}

/// Sessions on disk.
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Renews (or takes) a replica's lease for `lease` from the store's now; until when it runs.
    async fn replica_renew(&self, replica: ReplicaId, lease: Duration) -> Result<Timestamp, Error>;

    /// Ends a replica's lease and all its sessions.
    async fn replica_end(&self, replica: ReplicaId) -> Result<(), Error>;

    /// Claims a job that one replica does at a time; whether `replica` does it. It does until its lease ends: while that runs
    /// nobody else can claim the job, and then anybody.
    async fn replica_claim(&self, replica: ReplicaId, job: &'static str) -> Result<bool, Error>;

    /// Opens sessions, each with the next epoch of its executor, in one transaction. Answers in order. The session it takes
    /// the place of ends with it. [`Error::Missing`] when an executor is unknown or deleted, and otherwise when the replica's
    /// lease does not run; then none is opened.
    async fn session_open_batch(
        &self,
        replica: ReplicaId,
        sessions: &[(ExecutorUid, InstanceId)],
    ) -> Result<Vec<SessionOpened>, Error>;

    /// Ends a session if it still is the newest; whether it was. Its events are written only then.
    async fn session_close(&self, executor: ExecutorUid, epoch: Epoch, events: &[Event]) -> Result<bool, Error>;

    /// Whether executors are there, one query for any number, in any order; those without any session are left out.
    async fn presence_list(&self, executors: &[ExecutorUid]) -> Result<Vec<Presence>, Error>;

    /// The newest session of each of these executors, ended or not, in any order; those that never had one are left out.
    /// One query for any number.
    async fn session_list_newest(&self, executors: &[ExecutorUid]) -> Result<Vec<SessionRow>, Error>;

    /// The newest sessions of one executor since `since`, newest first, at most 16: what duels are judged by.
    async fn session_list_recent(&self, executor: ExecutorUid, since: Timestamp) -> Result<Vec<SessionRow>, Error>;

    /// Forgets ended sessions that are not their executor's newest and ended before `time`; answers how many.
    async fn session_prune(&self, ended_before: Timestamp, limit: usize) -> Result<usize, Error>;
}
