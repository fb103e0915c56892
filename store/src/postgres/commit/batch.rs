//! Many decisions in a handful of statements, however many they are.
//!
//! ```text
//! lock the executors, read what each decision stands on → judge each in memory → write those that stand, set by set
//! ```
//!
//! Under the locks nothing that was read can change, but for a request id that another transaction claims at this moment. That,
//! and a row that the database refuses, is a surprise: the sets are undone, and each decision is written alone, which says
//! whose fault it was.

use std::collections::{HashMap, HashSet};

use domain::{AttemptId, ExecutorUid, OrganizationId, ReleaseId, RequestId, Revision};

use super::commit_each_in_tx;
use crate::error::Error;
use crate::executor::{AttemptWrite, ExecutorCommit, ExecutorFate};
use crate::postgres::connection::{ChangeIndex, Connection, Tx};
use crate::postgres::failure::Failure;
use crate::postgres::{attempt, executor, release, request};

/// What came of each decision, in the order of the batch.
type Each = Vec<Result<ChangeIndex, Error>>;

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
    if is_plain(commits) {
        let part = tx.begin_part().await?;
        match write_sets(tx, commits).await {
            Ok(Some(each)) => {
                tx.end_part(part, &Ok::<(), ()>(())).await?;
                return Ok(each);
            }
            Ok(None) => {}
            Err(failure) if failure.is_refusal() => {}
            Err(failure) => return Err(failure),
        }
        tx.end_part(part, &Err::<(), ()>(())).await?;
    }
    commit_each_in_tx(tx, commits).await
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

/// None: something was not as it was read.
async fn write_sets(tx: &mut Tx, commits: &[ExecutorCommit]) -> Result<Option<Each>, Failure> {
    let mut standing = Standing::read(tx.connection(), commits).await?;
    let judged: Vec<Result<&ExecutorCommit, Error>> =
        commits.iter().map(|commit| standing.judge(commit).map(|()| commit)).collect();
    let accepted: Vec<&ExecutorCommit> = judged.iter().filter_map(|judged| judged.as_ref().ok()).copied().collect();
    if !write_accepted(tx.connection(), &accepted).await? {
        return Ok(None);
    }
    let each = judged.into_iter().map(|judged| {
        judged.map(|commit| {
            tx.tell(&commit.events);
            tx.change(commit.executor.uid, commit.executor.generation)
        })
    });
    Ok(Some(each.collect()))
}

/// Whether every row was written.
async fn write_accepted(connection: &Connection, accepted: &[&ExecutorCommit]) -> Result<bool, Failure> {
    let executors: Vec<_> = accepted.iter().map(|commit| &commit.executor).collect();
    let (new, old): (Vec<&AttemptWrite>, Vec<&AttemptWrite>) = attempts(accepted).partition(|write| is_new(write));
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

fn attempts<'c>(commits: &'c [&ExecutorCommit]) -> impl Iterator<Item = &'c AttemptWrite> {
    commits.iter().flat_map(|commit| &commit.attempts)
}

fn is_new(write: &AttemptWrite) -> bool {
    write.attempt.revision == Revision(0)
}

// === impl Standing ===

impl Standing {
    /// Locks the executors and the releases, in the order that every decision takes them in.
    async fn read(connection: &Connection, commits: &[ExecutorCommit]) -> Result<Self, Failure> {
        let executors = executor::lock_all(connection, commits.iter().map(|commit| commit.executor.uid)).await?;
        let releases: HashSet<&ReleaseId> =
            commits.iter().filter_map(|commit| commit.while_published.as_ref()).collect();
        let published = release::published(connection, releases).await?;
        let commits: Vec<&ExecutorCommit> = commits.iter().collect();
        let old = attempts(&commits).filter(|write| !is_new(write));
        let old = old.map(|write| write.attempt.id.as_uuid()).collect();
        let standing = attempt::standing(connection, old).await?;
        let mut asked: HashMap<&OrganizationId, Vec<&RequestId>> = HashMap::new();
        for AttemptWrite { attempt, .. } in attempts(&commits).filter(|write| is_new(write)) {
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

    /// What `commit` is refused for, in the words that it would be refused with alone. An accepted one takes its request ids.
    fn judge(&mut self, commit: &ExecutorCommit) -> Result<(), Error> {
        let uid = commit.executor.uid;
        match self.executors.get(&uid) {
            None => return Err(Error::missing("executor", uid)),
            Some(revision) if *revision != commit.executor.revision => return Err(Error::stale("executor", uid)),
            Some(_) => {}
        }
        if let Some(release) = &commit.while_published
            && !self.published.contains(release)
        {
            return Err(Error::stale("release", release));
        }
        commit.attempts.iter().try_for_each(|write| self.judge_attempt(uid, write))?;
        self.taken.extend(commit.attempts.iter().filter(|write| is_new(write)).filter_map(key));
        Ok(())
    }

    fn judge_attempt(&self, executor: ExecutorUid, write: &AttemptWrite) -> Result<(), Error> {
        let attempt = &write.attempt;
        if attempt.executor != executor {
            return Err(Error::corrupt("attempt", attempt.id, "it is another executor's"));
        }
        if is_new(write) {
            let taken = key(write).filter(|key| self.taken.contains(key));
            return taken.map_or(Ok(()), |(_, request_id)| Err(Error::exists("request", request_id.as_str())));
        }
        match self.attempts.get(&attempt.id) {
            None => Err(Error::missing("attempt", attempt.id)),
            Some(there) if *there != (executor, attempt.revision) => Err(Error::stale("attempt", attempt.id)),
            Some(_) => Ok(()),
        }
    }
}

/// The request that made an attempt.
fn key(write: &AttemptWrite) -> Option<(OrganizationId, RequestId)> {
    let attempt = &write.attempt;
    Some((attempt.executor_name.organization.clone(), attempt.request_id.clone()?))
}
