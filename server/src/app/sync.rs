//! What executors ask of the control plane, and what is desired of them. Called by [`crate::session`]; the streams themselves
//! are its affair.
//!
//! ```text
//! hello ──> admit: sessions in batches, rows, duels          change feed ──> desired: f(row, attempt, store's now)
//! heartbeat ──> acknowledged     progress ──> progressed     ready_to_swap ──> leave     report ──> reported
//! ```
//!
//! Every word about an attempt goes through [`domain::attempt::next()`] and is written as one compare-and-set
//! ([`super::commit`]); what an executor is answered, it is answered after that write is durable. When the store is away
//! there is no answer, and no answer means no swap.

pub mod desired;

pub mod duel;

pub(crate) mod ending;

pub mod hello;

pub(crate) mod unknown;

use domain::attempt::restore::{self, Recollection};
use domain::attempt::{Input, Outcome};
use domain::executor::State;
use domain::release::Status;
use domain::sync::{AttemptReport, Inventory, Node, Progress};
use domain::{
    Actor, Attempt, AttemptId, Epoch, Executor, ExecutorUid, Generation, Reason, Refusal, ReleaseId, Timestamp,
};
use store::{Change, ChangeNumber, NODES_MAX, NodeChange, NodeRecord};
use tokio::sync::broadcast;

use crate::app::App;
use crate::app::commit::{Answer, Draft, Patience};
use crate::app::error::Error;

use unknown::{UNKNOWN_MAX, Verdict};

pub(crate) use ending::Ended;

pub use desired::Wanted;
pub use hello::{Admitted, Opened};

/// The answer to the question for leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// The executor may swap.
    Proceed,
    /// The attempt is no longer wanted.
    Withdrawn(Reason),
    /// It asked under another generation than the attempt's: it has to see what is desired now, and ask again.
    SeeDesired,
}

// === impl App ===

impl App {
    /// The executor has seen `generation`.
    pub(crate) async fn sync_acknowledged(&self, uid: ExecutorUid, generation: Generation) -> Result<(), Error> {
        let mut patience = Patience::new();
        loop {
            let executor = self.executor_by_uid(uid).await?;
            let Some(pending) = executor.pending else {
                return Ok(());
            };
            let Some(attempt) = self.store.attempt_get(pending).await? else {
                return Ok(());
            };
            let mut draft = self.draft(executor, Actor::Executor(uid)).await?;
            let input = Input::Acknowledged { generation };
            self.decide(&mut draft, &attempt, &input).await?;
            match self.write(draft).await {
                Err(error) if patience.again(&error).await => {}
                written => return Ok(written.map(|_| ())?),
            }
        }
    }

    /// The executor says how far it is. Answers with a reason when the attempt is no longer wanted.
    pub(crate) async fn sync_progressed(&self, uid: ExecutorUid, progress: &Progress) -> Result<Option<Reason>, Error> {
        let input = Input::Progress {
            phase: progress.phase,
            bytes_done: progress.bytes_done,
            bytes_total: progress.bytes_total,
            waiting: progress.waiting.clone(),
        };
        let answers = self.sync_word(uid, progress.attempt, &[input]).await?;
        Ok(answers.map_or(Some(Reason::NotFound), |answers| withdrawn(&answers)))
    }

    /// The executor asks for leave: the one point that decides (rule 8). What has ended the attempt in the meantime, or
    /// should have, wins here.
    pub(crate) async fn sync_leave(
        &self,
        uid: ExecutorUid,
        attempt: AttemptId,
        generation: Generation,
    ) -> Result<Leave, Error> {
        let mut patience = Patience::new();
        loop {
            let (executor, attempt) = match self.executor_and_attempt(uid, attempt).await? {
                (_, None) => return Ok(Leave::Withdrawn(Reason::NotFound)),
                (executor, Some(attempt)) => (executor, attempt),
            };
            if executor.duplicated_since.is_some() {
                return Ok(Leave::Withdrawn(Reason::DuplicateIdentity));
            }
            let mut inputs = Vec::new();
            if executor.state == State::Deactivated {
                inputs.push(Input::Deactivate);
            }
            // A yank ends attempts one by one; it wins from its own commit on.
            if !self.is_published(&attempt.release).await? {
                inputs.push(Input::Yank);
            }
            inputs.push(Input::ReadyToSwap { generation });
            let mut draft = self.draft(executor, Actor::Executor(uid)).await?;
            let answers = self.decide_all(&mut draft, &attempt, &inputs).await?;
            // Also when that commit comes between the reading above and the write below. Leave that was given stays given.
            if answers.contains(&Answer::Proceed) && !attempt.has_leave() {
                draft.stand_on(attempt.release.clone());
            }
            match self.write(draft).await {
                Err(error) if patience.again(&error).await => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(leave(&answers)),
            }
        }
    }

    /// The executor reports an end. Once this answers, the report is durable and may be acknowledged; also when the
    /// attempt is not known any more (a restored database) or was known better already.
    pub(crate) async fn sync_reported(&self, uid: ExecutorUid, report: &AttemptReport) -> Result<(), Error> {
        let mut patience = Patience::new();
        loop {
            let executor = self.executor_by_uid(uid).await?;
            let mut draft = self.draft(executor, Actor::Executor(uid)).await?;
            self.take_report(&mut draft, report).await?;
            match self.write(draft).await {
                Err(error) if patience.again(&error).await => {}
                written => return Ok(written.map(|_| ())?),
            }
        }
    }

    /// The executor says which machines it sees.
    pub(crate) async fn sync_inventory(&self, uid: ExecutorUid, inventory: Inventory) -> Result<(), Error> {
        let now = self.now().await?;
        let change = match inventory {
            Inventory::Full(nodes) => NodeChange::Full(records(nodes, now)),
            Inventory::Delta { present, removed } => {
                let present = records(present, now);
                NodeChange::Delta { present, removed }
            }
        };
        let left_out = self.store.node_apply(uid, &change).await?;
        if left_out > 0 {
            tracing::warn!(executor = %uid, left_out, kept = NODES_MAX, "an executor reports more nodes than are kept of one");
        }
        Ok(())
    }

    /// Wake-ups after commits, from now on.
    pub(crate) fn sync_changes(&self) -> broadcast::Receiver<Change> {
        self.store.change_subscribe()
    }

    /// The number of each executor's newest session, wherever it is.
    pub(crate) async fn sync_epochs(&self, uids: &[ExecutorUid]) -> Result<Vec<(ExecutorUid, Epoch)>, Error> {
        let newest = self.store.session_list_newest(uids).await?;
        Ok(newest.into_iter().map(|session| (session.executor, session.epoch)).collect())
    }

    /// The newest change.
    pub(crate) async fn sync_change_head(&self) -> Result<ChangeNumber, Error> {
        Ok(self.store.change_head().await?)
    }

    /// What changed after `number`, oldest first.
    pub(crate) async fn sync_changes_since(&self, number: ChangeNumber, limit: usize) -> Result<Vec<Change>, Error> {
        Ok(self.store.change_list_since(number, limit).await?)
    }

    /// Decides inputs about one attempt of the executor and writes them. None: there is no such attempt of it.
    async fn sync_word(
        &self,
        uid: ExecutorUid,
        attempt: AttemptId,
        inputs: &[Input],
    ) -> Result<Option<Vec<Answer>>, Error> {
        let mut patience = Patience::new();
        loop {
            let (executor, attempt) = match self.executor_and_attempt(uid, attempt).await? {
                (_, None) => return Ok(None),
                (executor, Some(attempt)) => (executor, attempt),
            };
            let mut draft = self.draft(executor, Actor::Executor(uid)).await?;
            let answers = self.decide_all(&mut draft, &attempt, inputs).await?;
            match self.write(draft).await {
                Err(error) if patience.again(&error).await => {}
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(Some(answers)),
            }
        }
    }

    async fn decide_all(&self, draft: &mut Draft, attempt: &Attempt, inputs: &[Input]) -> Result<Vec<Answer>, Error> {
        let mut answers = Vec::new();
        for input in inputs {
            answers.extend(self.decide(draft, attempt, input).await?);
        }
        Ok(answers)
    }

    /// Takes a report into a draft: of a known attempt as its end, of an unknown one as all there is to know.
    async fn take_report(&self, draft: &mut Draft, said: &AttemptReport) -> Result<(), Error> {
        let known = match draft.attempt(said.attempt).cloned() {
            Some(attempt) => Some(attempt),
            None => self.store.attempt_get(said.attempt).await?,
        };
        let executor = draft.executor();
        match known {
            Some(attempt) if attempt.executor == executor.uid => {
                let mut inputs = Vec::new();
                // From the yank on artifacts are refused too: a download that broke off by it did not fail by itself.
                if self.lost_its_release(&attempt, said).await? {
                    inputs.push(Input::Yank);
                }
                inputs.push(Input::Reported(said.report.clone()));
                self.decide_all(draft, &attempt, &inputs).await?;
            }
            Some(attempt) => {
                // Acknowledged all the same, or it would be repeated for ever.
                tracing::warn!(executor = %executor.name, attempt = %attempt.name(), "report about another executor's attempt is dropped");
            }
            None => {
                self.take_unknown(draft, said).await?;
            }
        }
        Ok(())
    }

    /// Whether the release of an attempt without leave is published no more. What has changed the binary all the same is told as
    /// it is.
    async fn lost_its_release(&self, attempt: &Attempt, said: &AttemptReport) -> Result<bool, Error> {
        let changed_the_binary = matches!(said.report.outcome, Outcome::Succeeded | Outcome::RolledBack);
        if attempt.is_ended() || attempt.has_leave() || changed_the_binary {
            return Ok(false);
        }
        Ok(!self.is_published(&attempt.release).await?)
    }

    async fn is_published(&self, release: &ReleaseId) -> Result<bool, Error> {
        let release = self.store.release_get(release).await?;
        Ok(release.is_some_and(|release| release.status == Status::Published))
    }

    async fn take_unknown(&self, draft: &mut Draft, said: &AttemptReport) -> Result<(), Error> {
        let executor = draft.executor();
        let Some(kind) = executor.kind else {
            tracing::warn!(executor = %executor.name, attempt = %said.attempt, "report of an executor without a kind is dropped");
            return Ok(());
        };
        match self.unknown_reports.judge(executor.uid, said.attempt, draft.now()) {
            Verdict::TakeIn => {}
            Verdict::Drop => return Ok(()),
            Verdict::DropFirst => {
                tracing::warn!(executor = %executor.name, attempt = %said.attempt, taken = UNKNOWN_MAX, "an executor reports more attempts that the store does not know than are taken in a day; the rest are acknowledged and dropped");
                return Ok(());
            }
        }
        let recollection = Recollection {
            attempt: said.attempt,
            target_version: said.target_version.clone(),
            from_version: said.from_version.clone(),
        };
        let next = restore::from_report(executor, kind, recollection, &said.report, draft.now());
        tracing::info!(executor = %executor.name, attempt = %said.attempt, outcome = Outcome::as_str(said.report.outcome), "report about an attempt that the store does not know is taken in");
        self.carry_out(draft, None, next).await?;
        Ok(())
    }

    async fn executor_and_attempt(
        &self,
        uid: ExecutorUid,
        attempt: AttemptId,
    ) -> Result<(Executor, Option<Attempt>), Error> {
        let executor = self.executor_by_uid(uid).await?;
        let attempt = self.store.attempt_get(attempt).await?;
        Ok((executor, attempt.filter(|attempt| attempt.executor == uid)))
    }

    async fn executor_by_uid(&self, uid: ExecutorUid) -> Result<Executor, Error> {
        let found = self.store.executor_list_by_uid(&[uid]).await?.pop();
        Ok(found.ok_or_else(|| deleted(uid))?)
    }
}

/// What an executor that is gone is told.
fn deleted(uid: ExecutorUid) -> Refusal {
    let message = "this executor was deleted; enroll again with a new join token to come back";
    Refusal::new(Reason::ExecutorDeleted, message).with("uid", uid)
}

fn withdrawn(answers: &[Answer]) -> Option<Reason> {
    answers.iter().find_map(|answer| match answer {
        Answer::Withdraw(reason) => Some(*reason),
        Answer::Proceed | Answer::Acknowledge | Answer::Refuse(_) => None,
    })
}

fn leave(answers: &[Answer]) -> Leave {
    // A withdrawal that stands beside a proceed would be a mistake of the rules; no swap is the safe reading.
    match withdrawn(answers) {
        Some(reason) => Leave::Withdrawn(reason),
        None if answers.contains(&Answer::Proceed) => Leave::Proceed,
        None => Leave::SeeDesired,
    }
}

fn records(nodes: Vec<Node>, now: Timestamp) -> Vec<NodeRecord> {
    let record = |node: Node| NodeRecord {
        name: node.name,
        platform: node.platform,
        kernel_version: node.kernel_version,
        os_image: node.os_image,
        kubelet_version: node.kubelet_version,
        ready: node.ready,
        report_time: now,
    };
    nodes.into_iter().map(record).collect()
}
