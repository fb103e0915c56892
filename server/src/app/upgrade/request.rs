//! Asking one executor to move to a version (rules 1 to 5).
//!
//! ```text
//! request id seen before? → its attempt          read executor, open attempt, presence, catalog
//! plan (domain decides)   → answered, or a draft → write → stale: read and decide again
//! ```
//!
//! Beside the answer goes what speaks against the version without forbidding it (`warning`). It is written with the request,
//! so that a repetition is told the same.

use std::slice;

use domain::attempt::effect::Beginning;
use domain::attempt::request::MAX_TTL;
use domain::attempt::{Decision, Input, Request, Situation, request};
use domain::release::{Release, Status};
use domain::{Actor, Attempt, AttemptId, Executor, Reason, Refusal, RequestId, Timestamp, Warning};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::commit::{Answer, Draft, Patience};
use crate::app::error::Error;
use crate::app::spec::bytes_total;
use crate::app::upgrade::pinned::with_image;
use crate::app::upgrade::warning::{Reach, Records};
use crate::app::upgrade::{Ask, Mode, Requested};
use crate::observe::metrics::{self, Metric};

/// What was read for one request.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) executor: Executor,
    pub(super) open: Option<Attempt>,
    pub(super) online: bool,
}

/// What a request comes to.
#[derive(Debug)]
pub(super) enum Planned {
    /// There is nothing to write.
    Answered(Box<Requested>),
    /// This is to be written.
    Write { draft: Box<Draft>, requested: Box<Requested> },
}

impl App {
    /// Asks one executor to move to a version. Written and pushed in one motion: the commit wakes its session.
    ///
    /// # Errors
    /// The rule that refuses it, with its values.
    pub async fn upgrade_request(&self, caller: &Caller, ask: &Ask) -> Result<Requested, Error> {
        let result = self.upgrade_request_uncounted(caller, ask).await;
        count(ask, &result);
        result
    }

    pub(super) async fn upgrade_request_uncounted(&self, caller: &Caller, ask: &Ask) -> Result<Requested, Error> {
        caller.authorize(Some(&ask.name.organization))?;
        check_ttl(ask)?;
        let mut patience = Patience::new();
        loop {
            if let Some(requested) = self.requested_before(ask).await? {
                return Ok(requested);
            }
            let known = self.known(ask).await?;
            let catalog = self.catalog(known.executor.kind).await?;
            let now = self.now().await?;
            let planned = self.plan(ask, known, &catalog, &mut Records::default(), caller.actor(), now).await?;
            let (draft, requested) = match planned {
                Planned::Answered(requested) => match self.note_request(ask, &requested.attempt).await {
                    Err(Error::Store(store::Error::Exists { .. })) if patience.again(&stale()).await => continue,
                    noted => return noted.map(|()| *requested),
                },
                Planned::Write { requested, .. } if ask.mode == Mode::ValidateOnly => {
                    return Ok(*requested);
                }
                Planned::Write { draft, requested } => (*draft, *requested),
            };
            match self.write(draft).await {
                Err(error) if patience.again(&error).await => {}
                // The same request id, by another call of this moment: it is found on the next round.
                Err(store::Error::Exists { .. }) if ask.request_id.is_some() && patience.again(&stale()).await => {}
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    self.check_still_offered(&requested.attempt).await?;
                    self.note_request(ask, &requested.attempt).await?;
                    return Ok(requested);
                }
            }
        }
    }

    /// Remembers the request's id with the attempt that answers it, whoever made that: repeated after the attempt has ended, the
    /// request is answered with it again, and begins nothing.
    pub(super) async fn note_request(&self, ask: &Ask, attempt: &Attempt) -> Result<(), Error> {
        let Some(note) = note(ask, attempt) else { return Ok(()) };
        let noted = self.store.attempt_note_requests(&ask.name.organization, &[note]).await?;
        Ok(noted.into_iter().collect::<Result<(), _>>()?)
    }

    /// The attempt that an earlier request of the same id made, or was answered with, and what was told then.
    pub(super) async fn requested_before(&self, ask: &Ask) -> Result<Option<Requested>, Error> {
        let Some(request_id) = &ask.request_id else {
            return Ok(None);
        };
        let found = self.store.attempt_list_by_request(&ask.name.organization, slice::from_ref(request_id)).await?;
        let Some(attempt) = found.into_values().next() else {
            return Ok(None);
        };
        check_same(ask, &attempt)?;
        Ok(Some(Requested { warnings: self.told(&attempt).await?, attempt }))
    }

    async fn known(&self, ask: &Ask) -> Result<Known, Error> {
        let executor = self.executor_read(&ask.name).await?;
        let open = self.open_attempt(&executor).await?;
        let now = self.now().await?;
        let online = self.presence(executor.uid, now).await?.online;
        Ok(Known { executor, open, online })
    }

    /// Decides one request against what was read. Writes nothing.
    pub(super) async fn plan(
        &self,
        ask: &Ask,
        known: Known,
        catalog: &[Release],
        records: &mut Records,
        actor: Actor,
        now: Timestamp,
    ) -> Result<Planned, Error> {
        let Known { executor, open, online } = known;
        let mut draft = Draft::new(executor, actor.clone(), self.settings.policy, now);
        // Deadlines first: a pending upgrade whose time is over does not answer for a new one.
        if let Some(attempt) = &open {
            self.decide(&mut draft, attempt, &Input::Tick).await?;
        }
        let open = open.map(|attempt| draft.attempt(attempt.id).cloned().unwrap_or(attempt));
        let question = Request {
            target_version: ask.target_version.clone(),
            expected_version: ask.expected_version.clone(),
            ttl: ask.ttl.unwrap_or(self.settings.pending_upgrade_ttl),
            replace: ask.replace,
            request_id: ask.request_id.clone(),
        };
        let situation = Situation { executor: draft.executor(), open: open.as_ref(), online, catalog };
        let decision = request(&question, situation)
            .map_err(|refusal| with_image(refusal, situation.executor, catalog, &ask.target_version))?;
        match (decision, open) {
            (Decision::Begin { from_version, instead_of, clears_hold }, open) => {
                if let Some(attempt) = open.filter(|attempt| instead_of == Some(attempt.id)) {
                    let answers = self.decide(&mut draft, &attempt, &Input::Replace).await?;
                    check_answers(&answers, &attempt)?;
                }
                let release = catalog
                    .iter()
                    .find(|release| {
                        Some(release.id.kind) == draft.executor().kind && release.id.version == ask.target_version
                    })
                    .ok_or_else(|| Error::not_found(format!("release {}", ask.target_version)))?;
                // Before asking clears the hold.
                let warnings = self.warnings(draft.executor(), &release.id, Reach::All, records, now).await?;
                let beginning = Beginning {
                    id: self.new_attempt_id(now),
                    release: release.id.clone(),
                    from_version,
                    clears_hold,
                    bytes_total: bytes_total(release, draft.executor()),
                    ttl: question.ttl,
                    requested_by: actor,
                    request_id: question.request_id,
                };
                let attempt = draft.begin(beginning, &warnings);
                Ok(write(draft, attempt, warnings))
            }
            (Decision::Same(_), Some(attempt)) => {
                let warnings = self.told_again(&attempt, draft.executor(), records, now).await?;
                Ok(answered(attempt, warnings))
            }
            (Decision::RollBack(_), Some(attempt)) => {
                let answers = self.decide(&mut draft, &attempt, &Input::RollBack).await?;
                check_answers(&answers, &attempt)?;
                let after = draft.attempt(attempt.id).cloned();
                let back = Vec::new();
                Ok(match after {
                    Some(after) => write(draft, after, back),
                    None => answered(attempt, back),
                })
            }
            (Decision::Same(id) | Decision::RollBack(id), None) => Err(Error::not_found(format!("attempt {id}"))),
        }
    }

    /// A release may be yanked between the catalog's reading and the write, and the yank's own sweep may have run before the
    /// write: so whoever writes looks once more.
    pub(super) async fn check_still_offered(&self, attempt: &Attempt) -> Result<(), Error> {
        let release = self.store.release_get(&attempt.release).await?;
        let Some(release) = release.filter(|release| release.status == Status::Yanked) else {
            return Ok(());
        };
        self.attempt_tell(attempt.executor, attempt.id, &Input::Yank, Actor::System("yank")).await?;
        let why = release.yank_reason.as_deref().unwrap_or("no reason given");
        let message = format!("release {} was yanked this moment ({why})", release.id);
        Err(Refusal::new(Reason::ReleaseYanked, message).into())
    }
}

/// Which request id has to be remembered as answered with the attempt, beside the one that made it.
pub(super) fn note(ask: &Ask, attempt: &Attempt) -> Option<(AttemptId, RequestId)> {
    let id = ask.request_id.as_ref()?;
    let is_new = ask.mode == Mode::Write && attempt.request_id.as_ref() != Some(id);
    is_new.then(|| (attempt.id, id.clone()))
}

/// A request id says one thing only: what it was answered with is what is asked for now.
pub(super) fn check_same(ask: &Ask, attempt: &Attempt) -> Result<(), Refusal> {
    if attempt.executor_name == ask.name && answers(attempt, ask) {
        return Ok(());
    }
    let message = format!(
        "request id {:?} was used for {} to {}; use a new id for another request",
        ask.request_id.as_ref().map_or("", RequestId::as_str),
        attempt.executor_name,
        attempt.target_version()
    );
    Err(Refusal::new(Reason::RequestIdReused, message).with("attempt", attempt.name()))
}

/// Whether the attempt is what was asked for: its target, or the way back from it.
fn answers(attempt: &Attempt, ask: &Ask) -> bool {
    let is_way_back = attempt.rollback_requested && attempt.from_version == ask.target_version;
    *attempt.target_version() == ask.target_version || is_way_back
}

/// The same rule as the domain's, with the field's name in the answer.
pub(super) fn check_ttl(ask: &Ask) -> Result<(), Error> {
    match ask.ttl {
        Some(ttl) if ttl.is_zero() || ttl > MAX_TTL => {
            let rule = format!("{} s is not more than 0 s and at most {} s", ttl.as_secs_f64(), MAX_TTL.as_secs());
            Err(Error::field("ttl", rule))
        }
        Some(_) | None => Ok(()),
    }
}

/// Counts a request by what came of it. One that was only validated is none.
pub(super) fn count(ask: &Ask, result: &Result<Requested, Error>) {
    let result = match result {
        Ok(_) if ask.mode == Mode::ValidateOnly => return,
        Ok(_) => "accepted",
        Err(Error::Refused(_)) => "refused",
        Err(Error::Invalid(_)) => "invalid",
        Err(Error::Store(_) | Error::Internal { .. }) => "failed",
    };
    metrics::count(Metric::UpgradeRequests, &[("result", result)]);
}

/// What a decision refuses to the person who asked.
pub(super) fn check_answers(answers: &[Answer], attempt: &Attempt) -> Result<(), Refusal> {
    let refused = answers.iter().find_map(|answer| match answer {
        Answer::Refuse(reason) => Some(*reason),
        Answer::Proceed | Answer::Withdraw(_) | Answer::Acknowledge => None,
    });
    let Some(reason) = refused else { return Ok(()) };
    let (target, from) = (attempt.target_version(), &attempt.from_version);
    let message = match reason {
        Reason::AttemptApplying => format!(
            "the executor has leave to apply {target} and cannot be stopped any more; the one request it takes now is {from}, the version it came from"
        ),
        Reason::AttemptEnded => format!("the attempt to move to {target} has its outcome already"),
        other => format!("the attempt to move to {target} does not allow it: {}", other.as_str()),
    };
    let refusal = Refusal::new(reason, message).with("attempt", attempt.name());
    Err(refusal.with("target_version", target).with("from_version", from))
}

fn write(draft: Draft, attempt: Attempt, warnings: Vec<Warning>) -> Planned {
    Planned::Write { draft: Box::new(draft), requested: Box::new(Requested { attempt, warnings }) }
}

fn answered(attempt: Attempt, warnings: Vec<Warning>) -> Planned {
    Planned::Answered(Box::new(Requested { attempt, warnings }))
}

fn stale() -> store::Error {
    store::Error::Stale { noun: "attempt", key: String::new() }
}
