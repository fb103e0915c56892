//! The same question to many executors: set-based reads, a decision for each, as few transactions as the store likes, a
//! result for each in the order asked. One refusal stops no other.

use std::collections::{HashMap, HashSet};

use domain::attempt::Input;
use domain::{
    Actor, Attempt, AttemptId, Executor, ExecutorId, ExecutorName, Kind, OrganizationId, Release, RequestId, Timestamp,
    Warning,
};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::commit::Draft;
use crate::app::error::Error;
use crate::app::upgrade::request::{Known, Planned, check_same, check_ttl, count, note};
use crate::app::upgrade::warning::Records;
use crate::app::upgrade::{Ask, Mode, Requested};

/// Most requests of one batch (API.md).
pub const MAX: usize = 1_000;

/// What came of one request.
#[derive(Debug)]
pub struct Outcome {
    /// Of whom it asked.
    pub name: ExecutorName,
    /// The attempt, or why not.
    pub result: Result<Requested, Error>,
}

/// What came of a request; empty until it is written.
type Slot = Option<Result<Requested, Error>>;

/// A decision that is to be written.
struct Waiting {
    index: usize,
    requested: Requested,
    draft: Draft,
}

/// What is known of many executors.
struct Fleet {
    executors: HashMap<ExecutorId, Executor>,
    attempts: HashMap<AttemptId, Attempt>,
    /// What request ids were answered with before.
    before: HashMap<RequestId, Attempt>,
    online: HashSet<domain::ExecutorUid>,
    catalogs: HashMap<Kind, Vec<Release>>,
    /// What was told with the attempts that may be an answer.
    told: HashMap<AttemptId, Vec<Warning>>,
    now: Timestamp,
}

impl App {
    /// Asks up to 1,000 executors of one organization.
    ///
    /// # Errors
    /// Only what spoils the whole batch: too many, or a name outside the organization.
    pub async fn upgrade_request_batch(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        asks: Vec<Ask>,
    ) -> Result<Vec<Outcome>, Error> {
        caller.authorize(Some(organization))?;
        check(organization, &asks)?;
        let (mut results, waiting) = self.plan_all(&asks, organization, &caller.actor()).await?;
        self.write_all(caller, &asks, waiting, &mut results).await?;
        self.note_all(caller, organization, &asks, &mut results).await?;
        self.check_batch_still_offered(&mut results).await?;
        for (ask, result) in asks.iter().zip(&results) {
            if let Some(result) = result {
                count(ask, result);
            }
        }
        let missing = || Err(Error::not_found("the result of this request"));
        let outcome = |(ask, result): (Ask, Slot)| Outcome { name: ask.name, result: result.unwrap_or_else(missing) };
        Ok(asks.into_iter().zip(results).map(outcome).collect())
    }

    /// Decides each. A slot stays empty where there is something to write.
    async fn plan_all(
        &self,
        asks: &[Ask],
        organization: &OrganizationId,
        actor: &Actor,
    ) -> Result<(Vec<Slot>, Vec<Waiting>), Error> {
        let fleet = self.fleet(organization, asks).await?;
        let mut records = Records::with(fleet.attempts.values().cloned()).and_told(fleet.told.clone());
        let (mut results, mut waiting) = (Vec::new(), Vec::new());
        let mut named = HashSet::new();
        for (index, ask) in asks.iter().enumerate() {
            if !named.insert(&ask.name) {
                let rule = format!("{} is named twice in this batch", ask.name);
                results.push(Some(Err(Error::field(format!("requests[{index}].name"), rule))));
                continue;
            }
            results.push(match self.plan_one(ask, &fleet, &mut records, actor.clone()).await {
                Err(error) => Some(Err(error)),
                Ok(Planned::Answered(requested)) => Some(Ok(*requested)),
                Ok(Planned::Write { requested, .. }) if ask.mode == Mode::ValidateOnly => Some(Ok(*requested)),
                Ok(Planned::Write { draft, requested }) => {
                    waiting.push(Waiting { index, requested: *requested, draft: *draft });
                    None
                }
            });
        }
        Ok((results, waiting))
    }

    /// Writes what was decided, all of it together, and fills the slots.
    async fn write_all(
        &self,
        caller: &Caller,
        asks: &[Ask],
        waiting: Vec<Waiting>,
        results: &mut [Slot],
    ) -> Result<(), Error> {
        let (mut commits, mut pending) = (Vec::new(), Vec::new());
        for Waiting { index, requested, draft } in waiting {
            let endings = draft.endings();
            // A draft that begins an attempt always has something to write.
            commits.extend(draft.into_commit());
            pending.push((index, requested, endings));
        }
        let written = self.store.executor_commit_batch(commits).await?;
        for ((index, requested, endings), written) in pending.into_iter().zip(written) {
            let result = match (written, asks.get(index)) {
                (Ok(_), _) => {
                    endings.count();
                    Ok(requested)
                }
                // Someone was first: this one is read and decided again, alone.
                (Err(store::Error::Stale { .. } | store::Error::Exists { .. }), Some(ask)) => {
                    Box::pin(self.upgrade_request_uncounted(caller, ask)).await
                }
                (Err(error), _) => Err(error.into()),
            };
            if let Some(slot) = results.get_mut(index) {
                *slot = Some(result);
            }
        }
        Ok(())
    }

    /// Remembers the request ids that were answered with attempts of other requests, all together.
    async fn note_all(
        &self,
        caller: &Caller,
        organization: &OrganizationId,
        asks: &[Ask],
        results: &mut [Slot],
    ) -> Result<(), Error> {
        let answered = asks.iter().zip(results.iter()).enumerate();
        let notes = answered.filter_map(|(index, (ask, slot))| match slot {
            Some(Ok(requested)) => Some((index, note(ask, &requested.attempt)?)),
            Some(Err(_)) | None => None,
        });
        let (indices, notes): (Vec<usize>, Vec<_>) = notes.unzip();
        if notes.is_empty() {
            return Ok(());
        }
        let noted = self.store.attempt_note_requests(organization, &notes).await?;
        for (index, noted) in indices.into_iter().zip(noted) {
            let (Some(ask), Some(slot)) = (asks.get(index), results.get_mut(index)) else { continue };
            match noted {
                Ok(()) => {}
                // The same request id, by another call of this moment: its answer is read.
                Err(store::Error::Exists { .. }) => {
                    *slot = Some(Box::pin(self.upgrade_request_uncounted(caller, ask)).await);
                }
                Err(error) => *slot = Some(Err(error.into())),
            }
        }
        Ok(())
    }

    async fn plan_one(&self, ask: &Ask, fleet: &Fleet, records: &mut Records, actor: Actor) -> Result<Planned, Error> {
        check_ttl(ask)?;
        if let Some(attempt) = ask.request_id.as_ref().and_then(|id| fleet.before.get(id)) {
            check_same(ask, attempt)?;
            let warnings = records.told(attempt.id).cloned().unwrap_or_default();
            return Ok(Planned::Answered(Box::new(Requested { attempt: attempt.clone(), warnings })));
        }
        let executor = fleet.executors.get(&ask.name.executor);
        let executor = executor.ok_or_else(|| Error::not_found(&ask.name))?.clone();
        let open = executor.open_attempt.or(executor.pending);
        let known = Known {
            open: open.and_then(|id| fleet.attempts.get(&id)).cloned(),
            online: fleet.online.contains(&executor.uid),
            executor,
        };
        let none = Vec::new();
        let catalog = known.executor.kind.and_then(|kind| fleet.catalogs.get(&kind));
        self.plan(ask, known, catalog.unwrap_or(&none), records, actor, fleet.now).await
    }

    /// As many queries for a thousand as for one; what speaks against a release is two more for each release.
    async fn fleet(&self, organization: &OrganizationId, asks: &[Ask]) -> Result<Fleet, Error> {
        let request_ids: Vec<RequestId> = asks.iter().filter_map(|ask| ask.request_id.clone()).collect();
        let before = match request_ids.is_empty() {
            true => HashMap::new(),
            false => self.store.attempt_list_by_request(organization, &request_ids).await?,
        };
        let names: Vec<ExecutorId> = asks.iter().map(|ask| ask.name.executor.clone()).collect();
        let executors = self.store.executor_list_by_name(organization, &names).await?;
        let uids: Vec<_> = executors.iter().map(|executor| executor.uid).collect();
        let open = executors.iter().filter_map(|executor| executor.open_attempt.or(executor.pending));
        let open: HashSet<AttemptId> = open.collect();
        let asked: HashMap<_, _> = asks.iter().map(|ask| (&ask.name.executor, &ask.target_version)).collect();
        let hold = |executor: &Executor| Some(executor.hold_on(asked.get(&executor.name.executor)?)?.attempt);
        let ids: Vec<AttemptId> = open.iter().copied().chain(executors.iter().filter_map(hold)).collect();
        let attempts = self.store.attempt_list_by_id(&ids).await?;
        let answers = attempts.iter().filter(|attempt| open.contains(&attempt.id)).chain(before.values());
        let told = self.told_all(organization, answers).await?;
        let now = self.now().await?;
        let presences = self.presences(&uids, now).await?;
        let mut catalogs = HashMap::new();
        let kinds: HashSet<_> = executors.iter().filter_map(|executor| executor.kind).collect();
        for kind in kinds {
            catalogs.insert(kind, self.store.release_list(kind).await?);
        }
        let online = presences.iter().filter(|(_, presence)| presence.online);
        Ok(Fleet {
            online: online.map(|(uid, _)| *uid).collect(),
            executors: executors.into_iter().map(|one| (one.name.executor.clone(), one)).collect(),
            attempts: attempts.into_iter().map(|attempt| (attempt.id, attempt)).collect(),
            before,
            catalogs,
            told,
            now,
        })
    }

    /// As for one request, with one look at each release.
    async fn check_batch_still_offered(&self, results: &mut [Slot]) -> Result<(), Error> {
        let mut yanked = HashMap::new();
        for result in results {
            let Some(Ok(Requested { attempt, .. })) = result else { continue };
            if !yanked.contains_key(&attempt.release) {
                let release = self.store.release_get(&attempt.release).await?;
                let gone = release.is_some_and(|release| release.status == domain::release::Status::Yanked);
                yanked.insert(attempt.release.clone(), gone);
            }
            if yanked.get(&attempt.release) == Some(&true) && !attempt.is_ended() {
                let told = self.attempt_tell(attempt.executor, attempt.id, &Input::Yank, Actor::System("yank")).await?;
                if let Some((after, _)) = told {
                    *attempt = after;
                }
            }
        }
        Ok(())
    }
}

fn check(organization: &OrganizationId, asks: &[Ask]) -> Result<(), Error> {
    if asks.len() > MAX {
        let rule = format!("has {} entries; at most {MAX} are taken at once", asks.len());
        return Err(Error::field("requests", rule));
    }
    let foreign = asks.iter().position(|ask| ask.name.organization != *organization);
    match foreign {
        None => Ok(()),
        Some(index) => {
            let rule = format!("does not lie in organizations/{organization}, the parent of this batch");
            Err(Error::field(format!("requests[{index}].name"), rule))
        }
    }
}
