//! One decision about one executor, from reading to the write: the row, the attempts that change, and the feed rows that tell
//! about it become one [`ExecutorCommit`].
//!
//! Every use case that touches an executor goes this way, so that the rules of the aggregate (generation, pending, open
//! attempt, holds, floor, deadlines) are carried out in one place, and no change is without its row in the feed:
//!
//! ```text
//! let mut patience = Patience::new();
//! loop {
//!     let executor = …read…;                       // and its attempt
//!     let mut draft = app.draft(executor, actor).await?;
//!     let answers = app.decide(&mut draft, attempt, &Input::Cancel).await?;
//!     match app.write(draft).await {
//!         Err(error) if patience.again(&error).await => {}      // stale: read again, decide again
//!         written => { written?; …answer… }
//!     }
//! }
//! ```

mod feed;

use std::time::Duration;

use domain::attempt::Policy;
use domain::attempt::effect::{self, Beginning};
use domain::attempt::next::{Action, Input, Next, next, next_deadline};
use domain::audit::EventKind;
use domain::{Actor, Attempt, Event, Executor, Generation, Hold, Reason, ReleaseId, Timestamp, Version, Warning};
use store::{AttemptWrite, Committed, ExecutorCommit, ExecutorFate};

use crate::app::App;
use crate::app::error::Error;
use crate::app::upgrade::warning;

use feed::{about, details};

pub use feed::Endings;
pub(crate) use feed::cleared;

/// How often a decision is made again when others write first. Each try reads afresh, so that many losses in a row mean that
/// the row is being fought over, not that luck is bad.
const TRIES: u32 = 16;

/// What a decision has to tell once it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To the executor: proceed.
    Proceed,
    /// To the executor: withdrawn.
    Withdraw(Reason),
    /// To the executor: its report is durable.
    Acknowledge,
    /// To the person who asked.
    Refuse(Reason),
}

/// A decision in the making: what was read, and what is to be written of it.
#[derive(Clone, Debug)]
pub struct Draft {
    before: Executor,
    executor: Executor,
    attempts: Vec<Attempt>,
    events: Vec<Event>,
    fate: ExecutorFate,
    while_published: Option<ReleaseId>,
    actor: Actor,
    policy: Policy,
    now: Timestamp,
}

/// How often a use case may lose against another writer.
#[derive(Debug)]
pub struct Patience {
    left: u32,
}

// === impl Draft ===

impl Draft {
    /// Begins with what was read. `now` is the store's.
    #[must_use]
    pub fn new(executor: Executor, actor: Actor, policy: Policy, now: Timestamp) -> Self {
        Self {
            before: executor.clone(),
            executor,
            attempts: Vec::new(),
            events: Vec::new(),
            fate: ExecutorFate::Keep,
            while_published: None,
            actor,
            policy,
            now,
        }
    }

    /// The executor as it is to be.
    #[must_use]
    pub const fn executor(&self) -> &Executor {
        &self.executor
    }

    /// The same, to change what no attempt decides: labels, channel, state, what a hello says.
    pub const fn executor_mut(&mut self) -> &mut Executor {
        &mut self.executor
    }

    /// The time of this decision, by the store's clock.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// An attempt as this draft would write it; none when the draft does not change it.
    #[must_use]
    pub fn attempt(&self, id: domain::AttemptId) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.id == id)
    }

    /// The executor's row goes with this write.
    pub const fn delete(&mut self) {
        self.fate = ExecutorFate::Delete;
    }

    /// This write counts only while the release is published: otherwise it is stale, and decided again.
    pub fn stand_on(&mut self, release: ReleaseId) {
        self.while_published = Some(release);
    }

    /// A row for the feed about the executor.
    pub fn emit(&mut self, kind: EventKind, details: Vec<(&'static str, String)>) {
        self.emit_about(kind, self.executor.name.to_string(), details);
    }

    /// Begins an attempt: it is desired from here on, under a new generation. What whoever asked is told is in its row of the feed.
    pub fn begin(&mut self, beginning: Beginning, told: &[Warning]) -> Attempt {
        let holds = self.executor.holds.clone();
        let (executor, attempt) = effect::begin(&self.executor, beginning, self.now);
        self.executor = executor;
        self.emit_holds(&holds, &attempt);
        let mut details = vec![
            ("from_version", attempt.from_version.to_string()),
            ("target_version", attempt.target_version().to_string()),
            ("generation", attempt.generation.to_string()),
        ];
        if !told.is_empty() {
            details.push((warning::TOLD, warning::encode(told)));
        }
        self.emit_about(EventKind::AttemptRequested, attempt.name().to_string(), details);
        self.put(attempt.clone());
        attempt
    }

    /// Decides `input` about `attempt`. An attempt that this draft has changed already goes on from there.
    /// [`App::decide`] is the same with the floor looked up.
    #[must_use]
    pub fn next(&self, attempt: &Attempt, input: &Input) -> Next {
        let newest = self.attempt(attempt.id).unwrap_or(attempt);
        next(newest, input, &self.policy, self.now)
    }

    /// Carries a decision over to the executor's row, the attempt and the feed. `before` is the attempt as it was read; none: it
    /// has no row yet. `floor` is what its release's manifest says, needed when [`needs_floor`].
    pub fn apply(&mut self, before: Option<&Attempt>, next: Next, floor: Option<&Version>) -> Vec<Answer> {
        let actions = next.actions.clone();
        let holds = self.executor.holds.clone();
        let (executor, attempt) = effect::apply(&self.executor, next, floor, self.now);
        self.executor = executor;
        let mut answers = Vec::new();
        for action in actions {
            match action {
                Action::Emit(kind) => {
                    self.emit_about(kind, about(kind, &attempt), details(kind, &attempt, &self.executor));
                }
                Action::Proceed => answers.push(Answer::Proceed),
                Action::Withdraw(reason) => answers.push(Answer::Withdraw(reason)),
                Action::Acknowledge => answers.push(Answer::Acknowledge),
                Action::Refuse(reason) => answers.push(Answer::Refuse(reason)),
                Action::ClearPending
                | Action::DesireAgain
                | Action::Close
                | Action::SetHold { .. }
                | Action::ClearHold
                | Action::RaiseFloor => {}
            }
        }
        self.emit_holds(&holds, &attempt);
        let known = self.attempt(attempt.id).or(before);
        if known != Some(&attempt) {
            self.put(attempt);
        }
        answers
    }

    /// Goes on above what the executor has seen (rule 6). `pending` is the attempt behind the pending upgrade.
    pub fn catch_up(&mut self, pending: Option<&Attempt>, told: Generation) {
        let pending = pending.map(|attempt| self.attempt(attempt.id).unwrap_or(attempt));
        let Some((executor, attempt)) = effect::catch_up(&self.executor, pending, told) else {
            return;
        };
        self.executor = executor;
        if let Some(attempt) = attempt {
            self.put(attempt);
        }
    }

    /// What is to be written; none when nothing changes.
    #[must_use]
    pub fn into_commit(self) -> Option<ExecutorCommit> {
        let unchanged = self.executor == self.before
            && self.attempts.is_empty()
            && self.events.is_empty()
            && self.fate == ExecutorFate::Keep;
        if unchanged {
            return None;
        }
        let policy = self.policy;
        let write = |attempt: Attempt| {
            let deadline = next_deadline(&attempt, &policy);
            AttemptWrite { attempt, deadline }
        };
        Some(ExecutorCommit {
            executor: self.executor,
            attempts: self.attempts.into_iter().map(write).collect(),
            events: self.events,
            fate: self.fate,
            while_published: self.while_published,
        })
    }

    /// What ends by this draft, to be counted once it is durable.
    #[must_use]
    pub fn endings(&self) -> Endings {
        let ended = |id: &str| {
            let is_end = |event: &&Event| event.kind == EventKind::AttemptEnded;
            self.events.iter().filter(is_end).any(|event| event.target == id)
        };
        let endings = self.attempts.iter().filter_map(|attempt| {
            let ending = attempt.ending.as_ref()?;
            let kind = attempt.release.kind.as_str();
            ended(&attempt.name().to_string()).then_some((kind, ending.outcome.as_str()))
        });
        Endings(endings.collect())
    }

    fn put(&mut self, attempt: Attempt) {
        match self.attempts.iter_mut().find(|own| own.id == attempt.id) {
            Some(own) => *own = attempt,
            None => self.attempts.push(attempt),
        }
    }

    fn emit_about(&mut self, kind: EventKind, target: String, details: Vec<(&'static str, String)>) {
        self.events.push(Event {
            kind,
            actor: self.actor.clone(),
            target,
            organization: Some(self.executor.name.organization.clone()),
            time: self.now,
            details,
        });
    }

    /// Holds that came or went on account of `attempt`.
    fn emit_holds(&mut self, before: &[Hold], attempt: &Attempt) {
        let version = attempt.target_version();
        let old = before.iter().find(|hold| hold.version == *version);
        let new = self.executor.hold_on(version).cloned();
        let name = attempt.name().to_string();
        let mut details = vec![("version", version.to_string()), ("attempt", name)];
        match (old, new) {
            (Some(old), None) => {
                details.extend(cleared(&self.executor.name, old));
                self.emit(EventKind::HoldCleared, details);
            }
            (old, Some(new)) if old != Some(&new) => {
                details.push(("cause", new.cause));
                self.emit(EventKind::HoldSet, details);
            }
            (_, _) => {}
        }
    }
}

/// Whether carrying out a decision needs the floor of the attempt's release.
#[must_use]
pub fn needs_floor(next: &Next) -> bool {
    next.actions.contains(&Action::RaiseFloor)
}

// === impl App ===

impl App {
    /// Begins a decision about an executor that was just read.
    pub(crate) async fn draft(&self, executor: Executor, actor: Actor) -> Result<Draft, Error> {
        let now = self.now().await?;
        Ok(Draft::new(executor, actor, self.settings.policy, now))
    }

    /// Decides `input` about `attempt` and carries it over to the draft.
    pub(crate) async fn decide(
        &self,
        draft: &mut Draft,
        attempt: &Attempt,
        input: &Input,
    ) -> Result<Vec<Answer>, Error> {
        let next = draft.next(attempt, input);
        self.carry_out(draft, Some(attempt), next).await
    }

    /// Carries a decision that was made elsewhere over to the draft, the floor looked up where it is needed.
    pub(crate) async fn carry_out(
        &self,
        draft: &mut Draft,
        before: Option<&Attempt>,
        next: Next,
    ) -> Result<Vec<Answer>, Error> {
        let release = match needs_floor(&next) {
            true => self.store.release_get(&next.attempt.release).await?,
            false => None,
        };
        let floor = release.and_then(|release| release.floor);
        Ok(draft.apply(before, next, floor.as_ref()))
    }

    /// Writes a draft. None: there was nothing to write.
    pub(crate) async fn write(&self, draft: Draft) -> Result<Option<Committed>, store::Error> {
        let endings = draft.endings();
        let Some(commit) = draft.into_commit() else {
            return Ok(None);
        };
        let committed = self.store.executor_commit(commit).await?;
        endings.count();
        Ok(Some(committed))
    }
}

// === impl Patience ===

impl Patience {
    /// Unused.
    #[must_use]
    pub const fn new() -> Self {
        Self { left: TRIES }
    }

    /// Whether to read and decide again after `error`: only when another writer was first, and not for ever. Waits a little
    /// once the row turns out to be fought over.
    pub async fn again(&mut self, error: &store::Error) -> bool {
        if !matches!(error, store::Error::Stale { .. }) || self.left == 0 {
            return false;
        }
        self.left -= 1;
        if self.left < TRIES / 2 {
            tokio::time::sleep(Duration::from_millis(rand::random_range(1..10))).await;
        }
        true
    }
}

impl Default for Patience {
    fn default() -> Self {
        Self::new()
    }
}
