//! The control plane of the model: the decisions are the product's, the storage is a value.

use std::time::Duration;

use domain::attempt::effect::{self, Beginning};
use domain::attempt::restore::{self, Recollection};
use domain::attempt::{self, Action, Attempt, Decision, Input, Next, OutcomeWaiting, Policy, request};
use domain::release::{Location, Status};
use domain::sync::{AttemptReport, Request, Response};
use domain::{
    Actor, AgentUpgradeSpec, Artifact, AttemptId, Channel, Desired, Executor, ExecutorUid, Kind, Reason, Release,
    ReleaseId, Revision, Sha256, Spec, Timestamp, Version, Want,
};
use novacula_executor_sdk::machine::Introduction;

use crate::{UNIT, version};

/// Deadlines in units of the model's time.
pub(crate) const POLICY: Policy = Policy {
    progress_deadline: UNIT.saturating_mul(2),
    leave_deadline: UNIT.saturating_mul(2),
    confirm_deadline: UNIT.saturating_mul(3),
};

/// Time to be picked up.
const TTL: Duration = UNIT.saturating_mul(2);

/// The row, its attempts, and the session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) executor: Executor,
    pub(crate) attempts: Vec<Attempt>,
    /// The process whose stream is open, as the control plane believes.
    pub(crate) session: Option<u8>,
}

/// What a word led to, besides the rows.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) responses: Vec<Response>,
    /// A reported end was changed.
    pub(crate) rewrote_a_report: bool,
}

impl Server {
    /// An executor 1.0.0 that runs, and nothing asked.
    pub(crate) fn new() -> Self {
        let uid = ExecutorUid::new(uuid::Uuid::from_u128(1));
        let name = "organizations/o/executors/e".parse().expect("a name");
        let executor = Executor {
            kind: Some(Kind::Agent),
            version: Some(version(1)),
            platform: Some("linux/amd64".parse().expect("a platform")),
            ..Executor::new(uid, name, Timestamp::EPOCH)
        };
        Self { executor, attempts: Vec::new(), session: None }
    }

    pub(crate) fn open(&self) -> Option<&Attempt> {
        let open = self.executor.open_attempt?;
        self.attempts.iter().find(|attempt| attempt.id == open)
    }

    /// A person asks for a version, with replace. Says whether it was taken.
    pub(crate) fn ask(&mut self, target: Version, now: u8, said: &mut Said) -> bool {
        if let Some(open) = self.open().map(|open| open.id) {
            self.say(open, &Input::Tick, now, said);
        }
        let question = attempt::Request {
            target_version: target.clone(),
            expected_version: None,
            ttl: TTL,
            replace: attempt::request::Replace::Yes,
            request_id: None,
        };
        let catalog = [1, 2, 3].map(release);
        let situation =
            attempt::Situation { executor: &self.executor, open: self.open(), online: true, catalog: &catalog };
        match request(&question, situation) {
            Ok(Decision::Begin { from_version, instead_of, clears_hold }) => {
                if let Some(old) = instead_of {
                    self.say(old, &Input::Replace, now, said);
                }
                let beginning = Beginning {
                    id: AttemptId::new(uuid::Uuid::from_u128(self.attempts.len() as u128 + 1)),
                    release: ReleaseId { kind: Kind::Agent, version: target },
                    from_version,
                    clears_hold,
                    bytes_total: 1,
                    ttl: TTL,
                    requested_by: Actor::Console,
                    request_id: None,
                };
                let (executor, attempt) = effect::begin(&self.executor, beginning, at(now));
                self.executor = executor;
                self.attempts.push(attempt);
                self.push(now, said);
                true
            }
            Ok(Decision::RollBack(open)) => {
                self.say(open, &Input::RollBack, now, said);
                true
            }
            Ok(Decision::Same(_)) | Err(_) => false,
        }
    }

    /// A stream opens. Outcomes first, then what the executor has seen, then the hello itself, then what is desired.
    pub(crate) fn hello(&mut self, process: u8, running: &Version, who: Introduction, now: u8, said: &mut Said) {
        self.session = None;
        for outcome in &who.unsent_outcomes {
            self.report(outcome, now, said);
        }
        let stored = self.executor.generation;
        let pending = self.executor.pending.and_then(|id| self.attempts.iter().find(|attempt| attempt.id == id));
        if let Some((executor, attempt)) = effect::catch_up(&self.executor, pending, who.generation) {
            self.executor = executor;
            if let Some(attempt) = attempt {
                self.put(attempt);
            }
        }
        let told = |id| who.unsent_outcomes.iter().any(|outcome| outcome.attempt == id);
        if let Some(open) = self.open().map(|open| open.id) {
            let attempt = self.open().expect("it is open");
            let in_hello = if told(open) { OutcomeWaiting::Yes } else { OutcomeWaiting::No };
            let has_unsent_outcome = attempt::outcome_waiting(attempt, running, who.generation, stored, in_hello);
            let hello = Input::Hello { version: running.clone(), open_attempt: who.open_attempt, has_unsent_outcome };
            self.say(open, &hello, now, said);
        }
        self.executor.version = Some(running.clone());
        self.session = Some(process);
        self.push(now, said);
    }

    /// What a stream says.
    pub(crate) fn hear(&mut self, request: &Request, now: u8, said: &mut Said) {
        let (id, word) = match request {
            Request::Heartbeat { generation } => {
                let Some(pending) = self.executor.pending else { return };
                (pending, Input::Acknowledged { generation: *generation })
            }
            Request::Progress(progress) => {
                let (phase, bytes_done, bytes_total) = (progress.phase, progress.bytes_done, progress.bytes_total);
                let waiting = progress.waiting.clone();
                (progress.attempt, Input::Progress { phase, bytes_done, bytes_total, waiting })
            }
            Request::ReadyToSwap { attempt, generation } => (*attempt, Input::ReadyToSwap { generation: *generation }),
            Request::Report(report) => return self.report(report, now, said),
            Request::Hello(_) | Request::Inventory(_) => return,
        };
        let answers = said.responses.len();
        if self.attempts.iter().any(|attempt| attempt.id == id) {
            self.say(id, &word, now, said);
            // Asked under another generation: what is desired now is the answer.
            if matches!(word, Input::ReadyToSwap { .. }) && said.responses.len() == answers {
                self.push(now, said);
            }
        } else {
            // Forgotten by a database that was restored.
            said.responses.push(Response::Withdrawn { attempt: id, reason: Reason::NotFound.to_string() });
        }
    }

    fn report(&mut self, report: &AttemptReport, now: u8, said: &mut Said) {
        if self.attempts.iter().any(|attempt| attempt.id == report.attempt) {
            self.say(report.attempt, &Input::Reported(report.report.clone()), now, said);
            return;
        }
        let recollection = Recollection {
            attempt: report.attempt,
            target_version: report.target_version.clone(),
            from_version: report.from_version.clone(),
        };
        let next = restore::from_report(&self.executor, Kind::Agent, recollection, &report.report, at(now));
        self.carry_out(next, now, said);
    }

    /// Lets the product decide, and carries out what it says.
    pub(crate) fn say(&mut self, id: AttemptId, input: &Input, now: u8, said: &mut Said) {
        let Some(attempt) = self.attempts.iter().find(|attempt| attempt.id == id) else {
            return;
        };
        let next = attempt::next(attempt, input, &POLICY, at(now));
        self.carry_out(next, now, said);
    }

    fn carry_out(&mut self, next: Next, now: u8, said: &mut Said) {
        let (id, generation) = (next.attempt.id, next.attempt.generation);
        for action in &next.actions {
            match action {
                Action::Proceed => said.responses.push(Response::Proceed { attempt: id, generation }),
                Action::Withdraw(reason) => {
                    said.responses.push(Response::Withdrawn { attempt: id, reason: reason.to_string() });
                }
                Action::Acknowledge => said.responses.push(Response::ReportAck { attempt: id }),
                _ => {}
            }
        }
        let before = self.executor.generation;
        let (executor, attempt) = effect::apply(&self.executor, next, None, at(now));
        self.executor = executor;
        said.rewrote_a_report |= self.put(attempt);
        if self.executor.generation != before {
            self.push(now, said);
        }
    }

    /// Writes a row. Says whether an end that had been reported was changed.
    fn put(&mut self, attempt: Attempt) -> bool {
        let reported = |attempt: &Attempt| {
            let ending = attempt.ending.as_ref()?;
            (ending.source == attempt::OutcomeSource::Reported).then_some(ending.outcome)
        };
        match self.attempts.iter_mut().find(|known| known.id == attempt.id) {
            Some(known) => {
                let changed = reported(known).is_some_and(|was| reported(&attempt) != Some(was));
                *known = attempt;
                changed
            }
            None => {
                self.attempts.push(attempt);
                self.attempts.sort_by_key(|attempt| attempt.id);
                false
            }
        }
    }

    /// Says what is desired, if a stream is open.
    fn push(&self, now: u8, said: &mut Said) {
        if self.session.is_some() {
            said.responses.push(Response::Desired(self.desired(now)));
        }
    }

    fn desired(&self, now: u8) -> Desired {
        let pending = self.executor.pending.and_then(|id| self.attempts.iter().find(|attempt| attempt.id == id));
        let want = match pending {
            None => Want::Nothing,
            Some(attempt) if attempt.rollback_requested => Want::RollBack { attempt: attempt.id },
            Some(attempt) => Want::Upgrade {
                attempt: attempt.id,
                spec: spec(attempt.target_version()),
                remaining_ttl: attempt::remaining_ttl(attempt, &POLICY, at(now)),
            },
        };
        Desired { generation: self.executor.generation, want }
    }
}

fn at(now: u8) -> Timestamp {
    Timestamp::EPOCH.plus(UNIT.saturating_mul(now.into()))
}

fn spec(target: &Version) -> Spec {
    Spec::Agent(AgentUpgradeSpec {
        download_uri: String::new(),
        size_bytes: 1,
        sha256: Sha256::new([0; 32]),
        minisign_signatures: Vec::new(),
        target_version: target.clone(),
    })
}

fn release(n: u8) -> Release {
    Release {
        id: ReleaseId { kind: Kind::Agent, version: version(n) },
        revision: Revision::default(),
        channel: Channel::Stable,
        status: Status::Published,
        notes: String::new(),
        floor: None,
        sequence: None,
        artifacts: vec![Artifact::Agent {
            platform: "linux/amd64".parse().expect("a platform"),
            file: String::new(),
            size: 1,
            sha256: Sha256::new([0; 32]),
            location: Location::Stored,
            signatures: Vec::new(),
        }],
        create_time: Timestamp::EPOCH,
        publish_time: None,
        yank_reason: None,
    }
}
