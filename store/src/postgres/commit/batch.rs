//! Many decisions in a handful of statements, however many they are.
//!
//! ```text
//! lock the executors, read what each decision stands on → judge each in memory → write those that stand, set by set
//!   → write those that do not alone, to hear why
//! ```
//!
//! Under the locks nothing that was read can change, but for a request id that another transaction claims at this moment. That,
//! and a row that the database refuses, is a surprise: the sets are undone, and each decision is written alone, which says
//! whose fault it was. Refusals are heard, not guessed: of several reasons the one counts that a decision alone would hear.

use std::collections::{HashMap, HashSet};

use domain::{AttemptId, ExecutorUid, OrganizationId, ReleaseId, RequestId, Revision};

use super::{commit_alone, commit_each_in_tx};
use crate::error::Error;
use crate::executor::{AttemptWrite, ExecutorCommit, ExecutorFate};
use crate::postgres::connection::{ChangeIndex, Connection, Tx};
use crate::postgres::failure::Failure;
use crate::postgres::{attempt, executor, release, request};

/// What came of each decision, in the order of the batch.
type Each = Vec<Result<ChangeIndex, Error>>;

/// Whether a decision can be written.
enum Judged {
    Stands,
    /// Its executor was written since, or is gone: what alone would be looked at first, and what is common.
    Overtaken(Error),
    /// Something else that it names is not as it says.
    Fails,
}

/// What the decisions of a batch stand on.
struct Standing {
    executors: HashMap<ExecutorUid, Revision>,
    published: HashSet<ReleaseId>,
    attempts: HashMap<AttemptId, (ExecutorUid, Revision)>,
    /// Request ids that are not free.
    taken: HashSet<(OrganizationId, RequestId)>,
}

/// Writes many decisions; one that is refused undoes only itself.
pub(in crate::postgres) async fn commit_batch_in_tx(tx: &mut Tx, commits: &[ExecutorCommit]) -> Result<Each, Failure> {
    if !is_plain(commits) {
        return commit_each_in_tx(tx, commits).await;
    }
    let part = tx.begin_part().await?;
    let judged = match write_sets(tx.connection(), commits).await {
        Ok(judged) => judged,
        Err(failure) if failure.is_refusal() => None,
        Err(failure) => return Err(failure),
    };
    tx.end_part(part, &judged.as_ref().ok_or(())).await?;
    match judged {
        Some(judged) => answer(tx, commits, judged).await,
        None => commit_each_in_tx(tx, commits).await,
    }
}

/// Whether no row is written twice, and none is deleted.
fn is_plain(commits: &[ExecutorCommit]) -> bool {
    let (mut executors, mut attempts) = (HashSet::new(), HashSet::new());
    commits.iter().all(|commit| {
        commit.fate == ExecutorFate::Keep
            && executors.insert(commit.executor.uid)
            && commit.attempts.iter().all(|write| attempts.insert(write.attempt.id))
    })
}

/// Judges all, and writes those that stand. None: something was not as it was read.
async fn write_sets(connection: &Connection, commits: &[ExecutorCommit]) -> Result<Option<Vec<Judged>>, Failure> {
    let mut standing = Standing::read(connection, commits).await?;
    let judged: Vec<Judged> = commits.iter().map(|commit| standing.judge(commit)).collect();
    let stands = commits.iter().zip(&judged).filter(|(_, judged)| matches!(judged, Judged::Stands));
    let stands: Vec<&ExecutorCommit> = stands.map(|(commit, _)| commit).collect();
    Ok(write_accepted(connection, &stands).await?.then_some(judged))
}

/// Tells what was written, and hears why the rest cannot be.
async fn answer(tx: &mut Tx, commits: &[ExecutorCommit], judged: Vec<Judged>) -> Result<Each, Failure> {
    let mut each = Vec::with_capacity(commits.len());
    for (commit, judged) in commits.iter().zip(judged) {
        each.push(match judged {
            Judged::Stands => {
                tx.tell(&commit.events);
                Ok(tx.change(commit.executor.uid, commit.executor.generation))
            }
            Judged::Overtaken(error) => Err(error),
            Judged::Fails => commit_alone(tx, commit).await?,
        });
    }
    Ok(each)
}

/// Whether every row was written.
async fn write_accepted(connection: &Connection, accepted: &[&ExecutorCommit]) -> Result<bool, Failure> {
    let executors: Vec<_> = accepted.iter().map(|commit| &commit.executor).collect();
    let (new, old): (Vec<&AttemptWrite>, Vec<&AttemptWrite>) =
        attempts(accepted.iter().copied()).partition(|write| write.is_new());
    let claims: Vec<_> = new
        .iter()
        .filter_map(|AttemptWrite { attempt, .. }| {
            Some((&attempt.executor_name.organization, attempt.request_id.as_ref()?, attempt.id))
        })
        .collect();
    Ok(executor::put(connection, executor::UPDATE, &executors).await? == executors.len()
        && attempt::put(connection, attempt::UPDATE, &old).await? == old.len()
        && attempt::put(connection, attempt::INSERT, &new).await? == new.len()
        && request::claim(connection, &claims).await? == claims.len())
}

fn attempts<'c>(commits: impl IntoIterator<Item = &'c ExecutorCommit>) -> impl Iterator<Item = &'c AttemptWrite> {
    commits.into_iter().flat_map(|commit| &commit.attempts)
}

// === impl Standing ===

impl Standing {
    /// Locks the executors and the releases, in the order that every decision takes them in.
    async fn read(connection: &Connection, commits: &[ExecutorCommit]) -> Result<Self, Failure> {
        let executors = executor::lock_all(connection, commits.iter().map(|commit| commit.executor.uid)).await?;
        let releases: HashSet<&ReleaseId> =
            commits.iter().filter_map(|commit| commit.while_published.as_ref()).collect();
        let published = release::published(connection, releases).await?;
        let old = attempts(commits).filter(|write| !write.is_new());
        let old = old.map(|write| write.attempt.id.as_uuid()).collect();
        let standing = attempt::standing(connection, old).await?;
        let mut asked: HashMap<&OrganizationId, Vec<&RequestId>> = HashMap::new();
        for AttemptWrite { attempt, .. } in attempts(commits).filter(|write| write.is_new()) {
            if let Some(request_id) = &attempt.request_id {
                asked.entry(&attempt.executor_name.organization).or_default().push(request_id);
            }
        }
        let mut taken = HashSet::new();
        for (organization, request_ids) in asked {
            let found = request::find(connection, organization, &request_ids).await?;
            taken.extend(found.into_keys().map(|request_id| (organization.clone(), request_id)));
        }
        Ok(Self { executors, published, attempts: standing, taken })
    }

    /// One that stands takes its request ids.
    fn judge(&mut self, commit: &ExecutorCommit) -> Judged {
        let uid = commit.executor.uid;
        match self.executors.get(&uid) {
            None => return Judged::Overtaken(Error::missing("executor", uid)),
            Some(revision) if *revision != commit.executor.revision => {
                return Judged::Overtaken(Error::stale("executor", uid));
            }
            Some(_) => {}
        }
        let is_offered = commit.while_published.as_ref().is_none_or(|release| self.published.contains(release));
        if !is_offered || !commit.attempts.iter().all(|write| self.holds(uid, write)) {
            return Judged::Fails;
        }
        self.taken.extend(commit.attempts.iter().filter(|write| write.is_new()).filter_map(key));
        Judged::Stands
    }

    fn holds(&self, executor: ExecutorUid, write: &AttemptWrite) -> bool {
        let attempt = &write.attempt;
        let is_there = || self.attempts.get(&attempt.id) == Some(&(executor, attempt.revision));
        let is_free = || key(write).is_none_or(|key| !self.taken.contains(&key));
        attempt.executor == executor && if write.is_new() { is_free() } else { is_there() }
    }
}

/// The request that made an attempt.
fn key(write: &AttemptWrite) -> Option<(OrganizationId, RequestId)> {
    let attempt = &write.attempt;
    Some((attempt.executor_name.organization.clone(), attempt.request_id.clone()?))
}
