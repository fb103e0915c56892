//! The executor's host in the model: a disk, a journal, and a process with the product's machine in it. The process may die
//! between any two durable steps; another starts in its place. (A host that is off for a while is one that does nothing
//! for a while, which any process may.)

use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Stage};
use domain::sync::{AttemptReport, Request};
use domain::{AttemptId, Generation, Version};
use novacula_executor_sdk::machine::{Action, Applied, Cause, Done, Facts, Failure, Input, Live, Machine, Open, Swap};

use crate::{UNIT, version};

/// What survives the process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Host {
    /// The binary that a start would run.
    pub(crate) live: Version,
    pub(crate) journal: Journal,
    pub(crate) process: Process,
    /// Every swap ever made.
    pub(crate) swaps: Vec<AttemptId>,
    /// Every outcome ever journalled: the truth.
    pub(crate) truths: Vec<(AttemptId, Outcome)>,
    /// What ran before was lost: it cannot be brought back, now or later.
    lost: bool,
    forgets: Forgets,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Journal {
    pub(crate) generation: Generation,
    pub(crate) open: Option<Entry>,
    pub(crate) unsent: Vec<AttemptReport>,
    pub(crate) remembered: Vec<AttemptReport>,
}

/// An attempt that has leave and no end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) attempt: AttemptId,
    generation: Generation,
    from: Version,
    target: Version,
    swap: Swap,
    rollback: Option<Cause>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) number: u8,
    pub(crate) machine: Machine,
    /// Whether it believes that its stream is up.
    pub(crate) linked: bool,
    /// What it is doing.
    pub(crate) job: Option<Action>,
    /// What passed preflight last: what a swap leads to.
    plan: Option<Version>,
}

/// How a job goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Luck {
    Good,
    /// It comes to nothing.
    Bad,
    /// The process dies after this many of its durable steps.
    DiesAfter(u8),
}

/// What a model may break, to show that the checker sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Forgets {
    Nothing,
    /// A process that starts does not know which attempts are open or finished.
    Attempts,
    /// To take back the decision for a rollback that then could not be made.
    TakingBack,
}

impl Host {
    pub(crate) fn new(forgets: Forgets) -> Self {
        let facts = Facts {
            running: version(1),
            generation: Generation(0),
            open: None,
            unsent: Vec::new(),
            remembered: Vec::new(),
            finished: Vec::new(),
        };
        Self {
            live: version(1),
            journal: Journal::default(),
            process: Process::new(Machine::start(facts, clock(0)).0, 0),
            swaps: Vec::new(),
            truths: Vec::new(),
            lost: false,
            forgets,
        }
    }

    /// The process ends, and one of the live binary starts.
    pub(crate) fn restart(&mut self, now: u8) {
        let blind = self.forgets == Forgets::Attempts;
        let open = self.journal.open.as_ref().map(|entry| Open {
            attempt: entry.attempt,
            generation: entry.generation,
            from_version: entry.from.clone(),
            target_version: entry.target.clone(),
            live: match &self.live {
                live if *live == entry.target => Live::New,
                live if *live == entry.from => Live::Old,
                _ => Live::Other,
            },
            swap: entry.swap,
            rollback: entry.rollback.clone(),
            changed_by: None,
        });
        let finished = self.truths.iter().map(|(attempt, _)| *attempt).collect();
        let facts = Facts {
            running: self.live.clone(),
            generation: self.journal.generation,
            open: open.filter(|_| !blind),
            unsent: self.journal.unsent.clone(),
            remembered: self.journal.remembered.clone(),
            finished: if blind { Vec::new() } else { finished },
        };
        let (machine, actions) = Machine::start(facts, clock(now));
        self.process = Process::new(machine, self.process.number + 1);
        // Nothing can be said before there is a stream.
        self.carry_out(actions, now, &mut Vec::new());
    }

    /// Something comes in to the machine.
    pub(crate) fn tell(&mut self, input: Input, now: u8, said: &mut Vec<Request>) {
        match &input {
            Input::Connected { .. } => self.process.linked = true,
            Input::Disconnected => self.process.linked = false,
            _ => {}
        }
        let actions = self.process.machine.handle(input, clock(now));
        self.carry_out(actions, now, said);
    }

    fn carry_out(&mut self, actions: Vec<Action>, now: u8, said: &mut Vec<Request>) {
        for action in actions {
            match action {
                // The acknowledgement of what is desired: the next word makes a lost one good, so it is always lost here.
                Action::Say(request) if matches!(*request, Request::Heartbeat { .. }) => {}
                Action::Say(request) if self.process.linked => said.push(*request),
                Action::Say(_) => {}
                Action::NoteGeneration(generation) => {
                    self.journal.generation = self.journal.generation.max(generation);
                }
                Action::Abort { .. } => {
                    self.process.job.take_if(|job| matches!(job, Action::Download { .. }));
                }
                Action::Forget { attempt } => self.journal.unsent.retain(|report| report.attempt != attempt),
                // An agent's place is taken by its next process; nobody is left to watch.
                Action::Watch { .. } => {}
                Action::Exit => return self.restart(now),
                // Steps that leave nothing behind, next to a download that takes its time: done at once.
                Action::Preflight { job, spec, .. } => {
                    self.process.plan = Some(spec.target_version().clone());
                    self.tell(Input::Job { job, done: Done::Fit { bytes_total: 1 } }, now, said);
                }
                Action::Verify { job, .. } => self.tell(Input::Job { job, done: Done::Verified }, now, said),
                Action::Download { .. }
                | Action::Swap { .. }
                | Action::Confirm { .. }
                | Action::RollBack { .. }
                | Action::Finish { .. } => {
                    assert!(self.process.job.is_none(), "one job at a time");
                    self.process.job = Some(action);
                }
            }
        }
    }

    /// What may become of the job in hand.
    pub(crate) fn lucks(&self) -> &'static [Luck] {
        match &self.process.job {
            Some(Action::Swap { .. }) => &[Luck::Good, Luck::Bad, Luck::DiesAfter(1), Luck::DiesAfter(2)],
            // However often it is tried again, and it is each time that it is desired again: so each try is a fault of its own.
            Some(Action::RollBack { .. }) if self.lost => &[Luck::Bad, Luck::DiesAfter(1)],
            Some(Action::RollBack { .. }) => &[Luck::Good, Luck::Bad, Luck::DiesAfter(1)],
            Some(Action::Download { .. } | Action::Confirm { .. }) => &[Luck::Good, Luck::Bad],
            Some(_) => &[Luck::Good],
            None => &[],
        }
    }

    /// The job in hand comes to its end.
    pub(crate) fn work(&mut self, luck: Luck, now: u8, said: &mut Vec<Request>) {
        let Some(job) = self.process.job.take() else {
            return;
        };
        // A fair run has no bad luck of its own, but this.
        let lost = self.lost && luck == Luck::Good && matches!(job, Action::RollBack { .. });
        let luck = if lost { Luck::Bad } else { luck };
        let (job, done) = match job {
            Action::Download { job, .. } => {
                (job, ended(luck, Done::Downloaded, Outcome::Refused, ErrorCode::DigestMismatch))
            }
            Action::Swap { job, attempt, generation } => {
                if luck != Luck::Bad {
                    self.swap(attempt, generation, luck);
                }
                (job, ended(luck, Done::Swapped(Applied::Restart), Outcome::Failed, ErrorCode::ReadOnly))
            }
            Action::RollBack { job, cause, .. } => {
                self.lost |= luck == Luck::Bad;
                self.decide(*cause);
                match luck {
                    Luck::Good => self.bring_back(),
                    Luck::Bad => self.take_back(),
                    Luck::DiesAfter(_) => {}
                }
                (job, ended(luck, Done::RolledBack(Applied::Restart), Outcome::Failed, ErrorCode::PreviousUnusable))
            }
            Action::Confirm { job, report } => {
                // Under the lock that a rollback takes too.
                let stands = self.journal.open.as_ref().is_some_and(|open| {
                    open.attempt == report.attempt && open.rollback.is_none() && open.target == self.live
                });
                if stands && luck == Luck::Good {
                    return self.journal_end(*report, now, said);
                }
                (job, ended(Luck::Bad, Done::Verified, Outcome::Failed, ErrorCode::Journal))
            }
            Action::Finish { report, .. } => return self.journal_end(*report, now, said),
            _ => return,
        };
        match luck {
            Luck::DiesAfter(_) => self.restart(now),
            Luck::Good | Luck::Bad => self.tell(Input::Job { job, done }, now, said),
        }
    }

    /// Journal the intent; rename; journal that it was made.
    fn swap(&mut self, attempt: AttemptId, generation: Generation, luck: Luck) {
        let target = self.process.plan.clone().expect("a swap follows its preflight");
        let (from, swap) = (self.live.clone(), Swap::Intended);
        let mut entry = Entry { attempt, generation, from, target, swap, rollback: None };
        if luck != Luck::DiesAfter(1) {
            self.live = entry.target.clone();
            self.swaps.push(attempt);
            if luck != Luck::DiesAfter(2) {
                entry.swap = Swap::Made;
            }
        }
        self.journal.open = Some(entry);
    }

    /// Journal the cause: before anything is brought back.
    fn decide(&mut self, cause: Cause) {
        if let Some(entry) = &mut self.journal.open {
            entry.rollback.get_or_insert(cause);
        }
    }

    /// Nothing could be brought back: what runs, stays.
    fn take_back(&mut self) {
        if self.forgets != Forgets::TakingBack
            && let Some(entry) = &mut self.journal.open
        {
            entry.rollback = None;
        }
    }

    /// Rename back.
    fn bring_back(&mut self) {
        if let Some(entry) = &self.journal.open {
            self.live = entry.from.clone();
        }
    }

    /// One write: the attempt is closed, finished, and its outcome is to be sent.
    fn journal_end(&mut self, report: AttemptReport, now: u8, said: &mut Vec<Request>) {
        let attempt = report.attempt;
        self.journal.open.take_if(|open| open.attempt == attempt);
        self.truths.push((attempt, report.report.outcome));
        self.journal.unsent.push(report.clone());
        self.journal.remembered.push(report.clone());
        self.tell(Input::Finished(Box::new(report)), now, said);
    }

    /// The layers that need no new code put the old version back, with the cause in the journal.
    pub(crate) fn rescue(&mut self, now: u8) {
        let (stage, code) = (Stage::Start, ErrorCode::CrashLoop);
        self.decide(Cause { stage, code, message: String::new() });
        self.bring_back();
        self.restart(now);
    }

    /// A person puts the old version back, and tells nobody.
    pub(crate) fn restore_by_hand(&mut self, now: u8) {
        self.bring_back();
        self.restart(now);
    }

    /// Whether the target of an open attempt is live, and what ran before is there to go back to.
    pub(crate) fn may_go_back(&self) -> bool {
        !self.lost && self.journal.open.as_ref().is_some_and(|open| open.target == self.live)
    }
}

impl Process {
    fn new(machine: Machine, number: u8) -> Self {
        Self { number, machine, linked: false, job: None, plan: None }
    }
}

fn ended(luck: Luck, good: Done, outcome: Outcome, code: ErrorCode) -> Done {
    match luck {
        Luck::Bad => Done::Failed(Failure { outcome, stage: Stage::Verify, code, message: String::new() }),
        Luck::Good | Luck::DiesAfter(_) => good,
    }
}

pub(crate) fn clock(now: u8) -> Duration {
    UNIT.saturating_mul(now.into())
}
