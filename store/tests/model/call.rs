//! Random calls, and how they are made to a store. Most are honest: names, revisions and generations are filled in from
//! what the model knows before the call is made; some are late or wrong.

use std::time::Duration;

use domain::release::Status;
use domain::{Attempt, Epoch, Executor, Generation, InstanceId, Release, Revision};
use novacula_store::conformance::Subject;
use novacula_store::{
    AttemptWrite, EnrolmentCommit, Error, ExecutorCommit, ExecutorFate, NodeChange, NodeRecord, SessionRow, Store,
};
use proptest::prelude::*;
use uuid::Uuid;

use crate::row;

/// Ids that requests may have.
pub(crate) const REQUESTS: u8 = 3;

/// One attempt in a commit.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// A new one.
    New { id: u8, request: Option<u8> },
    /// One that is to be there, at this revision, ended or not.
    Again { id: u8, request: Option<u8>, revision: u64, ended: bool },
}

/// One decision.
#[derive(Clone, Debug)]
pub(crate) struct Decision {
    pub(crate) executor: u8,
    /// Whether name, revisions and generation are to be what the model knows ([`crate::state::Model::resolve`]).
    pub(crate) honest: bool,
    /// Which name it had: names never change, and a wrong one is another executor's.
    pub(crate) name: u8,
    pub(crate) revision: u64,
    pub(crate) generation: u64,
    pub(crate) pending: Option<u8>,
    pub(crate) attempts: Vec<Write>,
    pub(crate) delete: bool,
    pub(crate) time: u64,
    /// The release that it stands on.
    pub(crate) release: Option<u8>,
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Advance {
        seconds: u64,
    },
    Enrol {
        executor: u8,
        name: u8,
        token: u8,
        replaces: Option<u8>,
    },
    Revoke {
        token: u8,
    },
    Yank {
        release: u8,
    },
    Commit(Decision),
    Batch(Vec<Decision>),
    Renew {
        replica: u8,
    },
    End {
        replica: u8,
    },
    Open {
        replica: u8,
        executors: Vec<u8>,
    },
    Close {
        executor: u8,
        epoch: u64,
    },
    Nodes {
        executor: u8,
        full: bool,
        names: Vec<u8>,
        removed: Vec<u8>,
    },
    PruneAttempts {
        older_than: u64,
        limit: usize,
    },
    PruneSessions {
        older_than: u64,
        limit: usize,
    },
    PruneEvents {
        older_than: u64,
        limit: usize,
    },
    /// All of them, or none: they end in the same moment.
    PruneCertificates {
        limit: usize,
    },
    PruneExecutors {
        deleted_before: u64,
        limit: usize,
    },
}

fn write() -> impl Strategy<Value = Write> {
    prop_oneof![
        (0..row::ATTEMPTS, prop::option::of(0..REQUESTS)).prop_map(|(id, request)| Write::New { id, request }),
        (0..row::ATTEMPTS, prop::option::of(0..REQUESTS), 1..4u64, prop::bool::ANY)
            .prop_map(|(id, request, revision, ended)| Write::Again { id, request, revision, ended }),
    ]
}

fn decision() -> impl Strategy<Value = Decision> {
    (
        some_executor(),
        prop::bool::weighted(0.85),
        0..row::NAMES,
        1..5u64,
        0..4u64,
        prop::option::of(0..row::ATTEMPTS),
        prop::collection::vec(write(), 0..3),
        prop::bool::weighted(0.1),
        0..50u64,
        prop::option::weighted(0.2, 0..row::RELEASES),
    )
        .prop_map(|(executor, honest, name, revision, generation, pending, attempts, delete, time, release)| {
            Decision { executor, honest, name, revision, generation, pending, attempts, delete, time, release }
        })
}

/// An executor; those past the last stand for some that is there ([`crate::state::Model::resolve`]).
fn some_executor() -> impl Strategy<Value = u8> + Clone {
    0..4 * row::EXECUTORS
}

/// Any call.
pub(crate) fn any_call() -> impl Strategy<Value = Call> {
    let executor = some_executor();
    prop_oneof![
        4 => (1..20u64).prop_map(|seconds| Call::Advance { seconds }),
        2 => (executor.clone(), 0..row::NAMES, 0..row::TOKENS, prop::option::weighted(0.3, executor.clone()))
            .prop_map(|(executor, name, token, replaces)| Call::Enrol { executor, name, token, replaces }),
        1 => Just(Call::Revoke { token: 0 }),
        1 => Just(Call::Yank { release: 0 }),
        12 => decision().prop_map(Call::Commit),
        3 => prop::collection::vec(decision(), 0..4).prop_map(Call::Batch),
        2 => (0..row::REPLICAS).prop_map(|replica| Call::Renew { replica }),
        1 => (0..row::REPLICAS).prop_map(|replica| Call::End { replica }),
        7 => (0..row::REPLICAS, prop::collection::vec(executor.clone(), 0..4))
            .prop_map(|(replica, executors)| Call::Open { replica, executors }),
        6 => (executor.clone(), 0..4u64).prop_map(|(executor, epoch)| Call::Close { executor, epoch }),
        2 => (executor, prop::bool::ANY, prop::collection::vec(0..3u8, 0..3), prop::collection::vec(0..3u8, 0..2))
            .prop_map(|(executor, full, names, removed)| Call::Nodes { executor, full, names, removed }),
        1 => (0..60u64, prop::sample::select(vec![0, 100])).prop_map(|(older_than, limit)| Call::PruneAttempts { older_than, limit }),
        1 => (0..60u64, 0..3usize).prop_map(|(older_than, limit)| Call::PruneSessions { older_than, limit }),
        1 => (0..60u64, 0..3usize).prop_map(|(older_than, limit)| Call::PruneEvents { older_than, limit }),
        1 => prop::sample::select(vec![0, 100]).prop_map(|limit| Call::PruneCertificates { limit }),
        2 => (0..60u64, prop::sample::select(vec![0, 100, 100]))
            .prop_map(|(deleted_before, limit)| Call::PruneExecutors { deleted_before, limit }),
    ]
}

impl Write {
    /// The row that is written, of this executor.
    pub(crate) fn row(&self, decision: &Decision) -> AttemptWrite {
        let new = |id, request| row::attempt(id, decision.executor, row::name(decision.name), request);
        match *self {
            Self::New { id, request } => AttemptWrite { attempt: new(id, request), deadline: Some(row::at(30)) },
            Self::Again { id, request, revision, ended } => {
                let attempt = Attempt { revision: Revision(revision), ..new(id, request) };
                if !ended {
                    return AttemptWrite { attempt, deadline: Some(row::at(40)) };
                }
                let end_time = Some(row::at(decision.time));
                let ending = Some(row::ending(decision.time));
                AttemptWrite { attempt: Attempt { ending, end_time, ..attempt }, deadline: None }
            }
        }
    }
}

impl Decision {
    /// The executor as it is to be.
    pub(crate) fn row(&self) -> Executor {
        Executor {
            revision: Revision(self.revision),
            generation: Generation(self.generation),
            pending: self.pending.map(row::attempt_id),
            ..row::executor(self.executor, row::name(self.name))
        }
    }

    /// What it tells the feed.
    pub(crate) fn event(&self) -> domain::Event {
        row::event(format!("commit-{}", self.executor), self.time)
    }

    fn commit(&self) -> ExecutorCommit {
        ExecutorCommit {
            executor: self.row(),
            attempts: self.attempts.iter().map(|write| write.row(self)).collect(),
            events: vec![self.event()],
            fate: if self.delete { ExecutorFate::Delete } else { ExecutorFate::Keep },
            while_published: self.release.map(row::release),
        }
    }
}

/// What a node is called.
pub(crate) fn node(name: u8) -> NodeRecord {
    NodeRecord {
        name: format!("node-{name}"),
        platform: String::new(),
        kernel_version: String::new(),
        os_image: String::new(),
        kubelet_version: String::new(),
        ready: true,
        report_time: row::at(0),
    }
}

/// How a refusal reads: without the key, which a model need not spell alike.
fn said<T>(result: Result<T, Error>, tell: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => tell(value),
        Err(Error::Stale { noun, .. }) => format!("stale {noun}"),
        Err(Error::Exists { noun, .. }) => format!("exists {noun}"),
        Err(Error::Missing { noun, .. }) => format!("missing {noun}"),
        Err(Error::Corrupt { noun, .. }) => format!("corrupt {noun}"),
        Err(error @ Error::Unavailable { .. }) => format!("{error:?}"),
    }
}

fn done<T>(_: T) -> String {
    "done".to_owned()
}

fn enrolment(executor: u8, name: u8, token: u8, replaces: Option<u8>) -> EnrolmentCommit {
    EnrolmentCommit {
        vouched: None,
        join_token: row::token(token),
        executor: row::executor(executor, row::name(name)),
        replaces: replaces.map(row::uid),
        replaced_attempts: Vec::new(),
        certificate: row::certificate(executor, token),
        events: vec![row::event(format!("enrol-{executor}"), 0)],
        time: row::at(5),
    }
}

async fn open(store: &dyn Store, replica: u8, executors: &[u8]) -> String {
    let instance = |n: &u8| (row::uid(*n), InstanceId::new(Uuid::from_u128(u128::from(*n))));
    let sessions: Vec<_> = executors.iter().map(instance).collect();
    said(store.session_open_batch(row::replica(replica), &sessions).await, |opened| {
        let told = |previous: &SessionRow| (previous.epoch.0, previous.end_time.is_some());
        let opened = opened.iter().map(|opened| (opened.epoch.0, opened.previous.as_ref().map(told)));
        format!("{:?}", opened.collect::<Vec<_>>())
    })
}

impl Call {
    /// Makes the call.
    pub(crate) async fn run(&self, store: &dyn Store, subject: &dyn Subject) -> String {
        match self {
            Self::Advance { seconds } => {
                subject.advance(Duration::from_secs(*seconds)).await;
                "done".to_owned()
            }
            Self::Enrol { executor, name, token, replaces } => {
                let commit = enrolment(*executor, *name, *token, *replaces);
                said(store.enrolment_commit(commit).await, done)
            }
            Self::Revoke { token } => said(store.join_token_revoke(&row::token(*token), row::at(1), &[]).await, done),
            Self::Yank { release } => {
                let held = store.release_get(&row::release(*release)).await.expect("a read").expect("it is there");
                let yanked = Release { status: Status::Yanked, ..held };
                said(store.release_commit(&yanked, &[]).await, done)
            }
            Self::Commit(decision) => said(store.executor_commit(decision.commit()).await, done),
            Self::Batch(decisions) => {
                let commits = decisions.iter().map(Decision::commit).collect();
                said(store.executor_commit_batch(commits).await, |results| {
                    results.into_iter().map(|result| said(result, done)).collect::<Vec<_>>().join(", ")
                })
            }
            Self::Renew { replica } => {
                said(store.replica_renew(row::replica(*replica), Duration::from_secs(row::LEASE)).await, done)
            }
            Self::End { replica } => said(store.replica_end(row::replica(*replica)).await, done),
            Self::Open { replica, executors } => open(store, *replica, executors).await,
            Self::Close { executor, epoch } => {
                let told = [row::event(format!("close-{executor}"), 0)];
                said(store.session_close(row::uid(*executor), Epoch(*epoch), &told).await, |closed| closed.to_string())
            }
            Self::Nodes { executor, full, names, removed } => {
                let present = names.iter().copied().map(node).collect();
                let removed = removed.iter().map(|name| node(*name).name).collect();
                let change = if *full { NodeChange::Full(present) } else { NodeChange::Delta { present, removed } };
                said(store.node_apply(row::uid(*executor), &change).await, done)
            }
            Self::PruneAttempts { older_than, limit } => {
                said(store.attempt_prune(row::at(*older_than), *limit).await, |n| n.to_string())
            }
            Self::PruneSessions { older_than, limit } => {
                said(store.session_prune(row::at(*older_than), *limit).await, |n| n.to_string())
            }
            Self::PruneEvents { older_than, limit } => {
                said(store.event_prune(row::at(*older_than), *limit).await, |n| n.to_string())
            }
            Self::PruneCertificates { limit } => {
                said(store.certificate_prune(row::at(20_000), *limit).await, |n| n.to_string())
            }
            Self::PruneExecutors { deleted_before, limit } => {
                said(store.executor_prune(row::at(*deleted_before), *limit).await, |n| n.to_string())
            }
        }
    }
}
