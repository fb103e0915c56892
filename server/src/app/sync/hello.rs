//! Hello: who may open a session, what its row learns from it, and what becomes of its open attempt.
//!
//! Hellos that arrive together are admitted together: one read of the rows, one write of the sessions, one write of the
//! decisions, so that a reconnect storm costs writes by the hundred and not by the stream.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use domain::attempt::next::outcome_waiting;
use domain::attempt::{Input, Outcome, OutcomeWaiting};
use domain::audit::EventKind;
use domain::executor::State;
use domain::sync::{AttemptReport, Hello};
use domain::{
    Actor, AttemptId, Epoch, Executor, ExecutorName, ExecutorUid, Generation, InstanceId, Reason, Refusal, Sha256,
    Timestamp,
};
use store::SessionOpened;

use super::duel::{self, Duel};
use super::{Ended, deleted, desired};
use crate::app::App;
use crate::app::commit::{Draft, Patience};
use crate::app::error::Error;

/// How long the later of two instances with one identity is told to stay away: long enough that it costs nothing, short
/// enough that it comes back by itself after a person has decided.
const STAY_AWAY: Duration = Duration::from_secs(10 * 60);

/// Why a session is over that no driver has taken over, for the feed: as `Close::Unavailable` says it.
const TURNED_AWAY: &str = "unavailable";

/// Highest generation above the stored one that a hello is believed: half of what is taken from the wire, so that whoever says
/// it leaves room for all that is ever counted after it.
const TOLD_MAX: Generation = Generation(1 << 52);

/// What became of a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// The session is open.
    Open(Box<Opened>),
    /// It may not.
    Refused(Refusal),
    /// Another instance of this identity is there: come back after this long, if at all.
    StayAway(Duration),
    /// The same, found out when this one had taken the other's place already: the other has to come back.
    Duel {
        /// When to come back, if at all.
        after: Duration,
        /// The session that was taken back.
        epoch: Epoch,
    },
    /// The store could not do it for this one; try again soon.
    Later,
}

/// An open session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub epoch: Epoch,
    /// Whose.
    pub name: ExecutorName,
    /// Outcomes that the hello carried and that are durable now.
    pub acknowledged: Vec<AttemptId>,
    /// Whether this executor is more than one major behind.
    pub out_of_support: bool,
    /// The store's time of it.
    pub time: Timestamp,
}

impl App {
    /// Writes that executors came with these certificates for the first time.
    pub(crate) async fn sync_note_certificates(&self, seen: &[Sha256]) -> Result<(), Error> {
        if seen.is_empty() {
            return Ok(());
        }
        let now = self.now().await?;
        Ok(self.store.certificate_note_used(seen, now).await?)
    }

    /// Admits hellos, each of another executor. Answers in order.
    ///
    /// # Errors
    /// The store was away: nobody was admitted, and sessions that were numbered are over.
    pub(crate) async fn sync_admit(&self, hellos: &[Hello]) -> Result<Vec<Admitted>, Error> {
        let uids: Vec<ExecutorUid> = hellos.iter().map(|hello| hello.uid).collect();
        let executors = self.store.executor_list_by_uid(&uids).await?;
        let executors: HashMap<ExecutorUid, Executor> =
            executors.into_iter().map(|executor| (executor.uid, executor)).collect();
        let mut verdicts = Vec::with_capacity(hellos.len());
        for hello in hellos {
            verdicts.push(self.judge(hello, executors.get(&hello.uid)).await?);
        }
        let admitted = |verdict: &(usize, &Option<Admitted>)| verdict.1.is_none();
        let admitted: Vec<usize> = verdicts.iter().enumerate().filter(admitted).map(|(index, _)| index).collect();
        let sessions: Vec<(ExecutorUid, InstanceId)> =
            admitted.iter().map(|index| (hellos[*index].uid, hellos[*index].instance)).collect();
        let opened = self.open(&sessions).await?;
        let mut said = Vec::with_capacity(opened.len());
        for (index, opened) in admitted.iter().zip(opened) {
            let hello = &hellos[*index];
            if let Some(executor) = executors.get(&hello.uid) {
                said.push(Said { index: *index, hello, executor: executor.clone(), duel: None, opened });
            }
        }
        let numbered: Vec<Ended> = said.iter().map(Said::turned_away).collect();
        match self.take_in(said).await {
            Ok(taken) => {
                for (index, admitted) in taken {
                    verdicts[index] = Some(admitted);
                }
            }
            Err(error) => {
                self.sync_closed(numbered).await;
                return Err(error);
            }
        }
        let answer = |verdict: Option<Admitted>| verdict.unwrap_or(Admitted::Later);
        Ok(verdicts.into_iter().map(answer).collect())
    }

    /// Opens sessions. After a pause longer than its lease this replica first has to be one again.
    async fn open(&self, sessions: &[(ExecutorUid, InstanceId)]) -> Result<Vec<SessionOpened>, Error> {
        if sessions.is_empty() {
            return Ok(Vec::new());
        }
        match self.store.session_open_batch(self.replica, sessions).await {
            Err(store::Error::Missing { noun: "lease", .. }) => {
                self.replica_renew().await?;
                Ok(self.store.session_open_batch(self.replica, sessions).await?)
            }
            opened => Ok(opened?),
        }
    }

    /// Who is not admitted, before a session is opened that would displace another.
    async fn judge(&self, hello: &Hello, executor: Option<&Executor>) -> Result<Option<Admitted>, Error> {
        let Some(executor) = executor else {
            return Ok(Some(Admitted::Refused(deleted(hello.uid))));
        };
        if executor.state == State::Deactivated {
            return Ok(Some(Admitted::Refused(desired::deactivated(executor))));
        }
        if hello.generation > executor.generation.max(TOLD_MAX) {
            let message =
                format!("hello.generation: {} is more than {TOLD_MAX}, which nothing counts to", hello.generation);
            let refusal = Refusal::new(Reason::ProtocolViolation, message).with("field", "hello.generation");
            return Ok(Some(Admitted::Refused(refusal)));
        }
        if let Some(kind) = executor.kind.filter(|kind| *kind != hello.kind) {
            let message = format!(
                "{} is an {kind} and says that it is an {}; a kind never changes: enroll under another name",
                executor.name, hello.kind
            );
            let refusal = Refusal::new(Reason::KindMismatch, message).with("kind", kind).with("said_kind", hello.kind);
            return Ok(Some(Admitted::Refused(refusal)));
        }
        if let Some(since) = executor.duplicated_since {
            let since = since.minus(duel::WINDOW);
            let sessions = self.store.session_list_recent(executor.uid, since).await?;
            let presence = self.store.presence_list(&[executor.uid]).await?;
            let connected = presence.first().is_some_and(|presence| presence.connected);
            let held_by_other = |session: &store::SessionRow| session.instance != hello.instance;
            if connected && sessions.first().is_some_and(held_by_other) {
                return Ok(Some(Admitted::StayAway(STAY_AWAY)));
            }
        }
        Ok(None)
    }

    /// Whether this session makes a duel of what was there.
    async fn duel(&self, hello: &Hello, opened: &SessionOpened) -> Result<Option<Duel>, Error> {
        let displaced = opened
            .previous
            .as_ref()
            .filter(|previous| previous.end_time.is_none() && previous.instance != hello.instance);
        if displaced.is_none() {
            return Ok(None);
        }
        let since = self.now().await?.minus(duel::WINDOW);
        let sessions = self.store.session_list_recent(hello.uid, since).await?;
        Ok(duel::judge(&sessions))
    }

    /// Writes what the hellos change: all together, and again one by one where somebody else was first.
    async fn take_in(&self, mut said: Vec<Said<'_>>) -> Result<Vec<(usize, Admitted)>, Error> {
        for one in &mut said {
            one.duel = self.duel(one.hello, &one.opened).await?;
        }
        let mut commits = Vec::with_capacity(said.len());
        let mut endings = Vec::with_capacity(said.len());
        for one in &said {
            let draft = self.hello_draft(one, one.executor.clone()).await?;
            endings.push(draft.endings());
            // It always has an event.
            commits.extend(draft.into_commit());
        }
        let written = if commits.is_empty() { Vec::new() } else { self.store.executor_commit_batch(commits).await? };
        let mut admitted = Vec::with_capacity(said.len());
        for ((one, endings), written) in said.into_iter().zip(endings).zip(written) {
            if written.is_ok() {
                endings.count();
            }
            let result = match written {
                Err(store::Error::Stale { .. }) => self.hello_again(&one).await,
                written => written.map(|_| ()).map_err(Error::from),
            };
            admitted.push((one.index, self.admitted(&one, result).await?));
        }
        Ok(admitted)
    }

    async fn admitted(&self, said: &Said<'_>, written: Result<(), Error>) -> Result<Admitted, Error> {
        let uid = said.hello.uid;
        match written {
            Ok(()) => {}
            Err(Error::Store(store::Error::Missing { .. })) => {
                return Ok(Admitted::Refused(deleted(uid)));
            }
            Err(error) => {
                tracing::warn!(executor = %said.executor.name, error = crate::observe::chain(&error), "hello could not be written");
                self.sync_closed(vec![said.turned_away()]).await;
                return Ok(Admitted::Later);
            }
        }
        if let Some(duel) = said.duel
            && duel.later == said.hello.instance
        {
            // Ended at once, so that the earlier one is let in again.
            let epoch = said.opened.epoch;
            self.store.session_close(uid, epoch, &[]).await?;
            let after = STAY_AWAY;
            return Ok(Admitted::Duel { after, epoch });
        }
        let unsent = &said.hello.unsent_outcomes;
        Ok(Admitted::Open(Box::new(Opened {
            epoch: said.opened.epoch,
            name: said.executor.name.clone(),
            acknowledged: unsent.iter().filter(|report| is_whole(report)).map(|report| report.attempt).collect(),
            out_of_support: said.hello.version.is_out_of_support(&self.settings.server_version),
            time: self.now().await?,
        })))
    }

    async fn hello_again(&self, said: &Said<'_>) -> Result<(), Error> {
        let mut patience = Patience::new();
        loop {
            let executor = self.executor_by_uid(said.hello.uid).await?;
            let draft = self.hello_draft(said, executor).await?;
            match self.write(draft).await {
                Err(error) if patience.again(&error).await => {}
                written => return Ok(written.map(|_| ())?),
            }
        }
    }

    /// What a hello makes of the row and of the open attempt. Outcomes come first: they are the executor's own word, and
    /// better than any conclusion from what runs.
    async fn hello_draft(&self, said: &Said<'_>, executor: Executor) -> Result<Draft, Error> {
        let hello = said.hello;
        let stored = executor.generation;
        let open = executor.open_attempt;
        let pending = executor.pending;
        let mut draft = self.draft(executor, Actor::Executor(hello.uid)).await?;
        emit_session(&mut draft, said);
        introduce(&mut draft, hello);
        let mut taken = BTreeSet::new();
        for report in &hello.unsent_outcomes {
            if taken.insert(report.attempt) && is_whole(report) {
                self.take_report(&mut draft, report).await?;
            }
        }
        if let Some(open) = open
            && let Some(attempt) = self.store.attempt_get(open).await?
        {
            let in_hello = if taken.contains(&open) { OutcomeWaiting::Yes } else { OutcomeWaiting::No };
            let told = hello.generation;
            let waiting = outcome_waiting(&attempt, &hello.version, told, stored, in_hello);
            let input = Input::Hello {
                version: hello.version.clone(),
                open_attempt: hello.open_attempt,
                has_unsent_outcome: waiting,
            };
            self.decide(&mut draft, &attempt, &input).await?;
        }
        if hello.generation > stored {
            let attempt = match pending {
                Some(pending) => self.store.attempt_get(pending).await?,
                None => None,
            };
            tracing::warn!(executor = %draft.executor().name, told = %hello.generation, %stored, "the executor has seen a newer generation than is stored; going on above it");
            draft.catch_up(attempt.as_ref(), hello.generation);
        }
        Ok(draft)
    }
}

/// Whether an outcome in a hello is all there is to say. A hello has no room for log tails, and an attempt ends once by report: a
/// rollback without its tail is an announcement, and ends the attempt when the report follows.
fn is_whole(outcome: &AttemptReport) -> bool {
    outcome.report.outcome != Outcome::RolledBack || !outcome.report.log_tail.is_empty()
}

/// A hello whose session is open.
struct Said<'a> {
    index: usize,
    hello: &'a Hello,
    executor: Executor,
    opened: SessionOpened,
    duel: Option<Duel>,
}

// === impl Said ===

impl Said<'_> {
    /// Its session, when the hello does not come in after all.
    fn turned_away(&self) -> Ended {
        let name = self.executor.name.clone();
        Ended { uid: self.hello.uid, name, epoch: self.opened.epoch, why: TURNED_AWAY }
    }
}

fn emit_session(draft: &mut Draft, said: &Said<'_>) {
    let displaced = said.opened.previous.as_ref().filter(|previous| previous.end_time.is_none());
    let kind = match displaced {
        Some(_) => EventKind::ExecutorReconnected,
        None => EventKind::ExecutorConnected,
    };
    let details = vec![
        ("epoch", said.opened.epoch.to_string()),
        ("instance", said.hello.instance.to_string()),
        ("version", said.hello.version.to_string()),
    ];
    draft.emit(kind, details);
    if let Some(duel) = said.duel
        && draft.executor().duplicated_since.is_none()
    {
        draft.executor_mut().duplicated_since = Some(draft.now());
        let details = vec![("earlier_instance", duel.earlier.to_string()), ("later_instance", duel.later.to_string())];
        draft.emit(EventKind::ExecutorDuplicated, details);
    }
}

/// What an executor says of itself goes into its row.
fn introduce(draft: &mut Draft, hello: &Hello) {
    let before = draft.executor().version.clone();
    if let Some(before) = before.filter(|before| *before != hello.version) {
        let details = vec![("from_version", before.to_string()), ("to_version", hello.version.to_string())];
        draft.emit(EventKind::ExecutorVersionChanged, details);
    }
    if let Some(channel) = hello.channel
        && channel != draft.executor().channel
    {
        let from = draft.executor().channel.to_string();
        let details = vec![("channel", channel.to_string()), ("from_channel", from)];
        draft.emit(EventKind::ExecutorUpdated, details);
        draft.executor_mut().channel = channel;
    }
    let executor = draft.executor_mut();
    executor.kind = executor.kind.or(Some(hello.kind));
    executor.version = Some(hello.version.clone());
    executor.platform.clone_from(&hello.platform);
    executor.channel_ceiling = hello.channel_ceiling;
    executor.pinned.clone_from(&hello.pinned);
    executor.release_key_ids.clone_from(&hello.release_key_ids);
    executor.floor = executor.floor.take().max(hello.floor.clone());
}
