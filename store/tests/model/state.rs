//! The model: maps, and the traits' words.

mod prune;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domain::{Attempt, Executor, Generation, Revision, Timestamp};
use novacula_store::Presence;

use crate::call::{Call, Decision, REQUESTS, Write, node};
use crate::row;
use crate::snapshot::{Snapshot, deadline};

type Said = Result<String, String>;

#[derive(Clone)]
struct Session {
    replica: u8,
    open_time: Timestamp,
    end_time: Option<Timestamp>,
}

/// Everything there is.
#[derive(Clone)]
pub(crate) struct Model {
    now: Timestamp,
    uses: BTreeMap<u8, u32>,
    revoked: BTreeSet<u8>,
    yanked: BTreeSet<u8>,
    live: BTreeMap<u8, Executor>,
    deleted: BTreeMap<u8, Executor>,
    delete_times: BTreeMap<u8, Timestamp>,
    /// Executors by their newest change, oldest first.
    changes: Vec<u8>,
    attempts: BTreeMap<u8, Attempt>,
    requests: BTreeMap<u8, u8>,
    certificates: BTreeMap<u8, bool>,
    leases: BTreeMap<u8, (Timestamp, Timestamp)>,
    /// By executor, by epoch.
    sessions: BTreeMap<u8, BTreeMap<u64, Session>>,
    nodes: BTreeMap<u8, BTreeSet<String>>,
    events: Vec<(String, Timestamp)>,
}

fn refuse<T>(text: &str) -> Result<T, String> {
    Err(text.to_owned())
}

fn done() -> Said {
    Ok("done".to_owned())
}

impl Model {
    pub(crate) fn new() -> Self {
        let now = row::at(0);
        let lease = (now, now.plus(Duration::from_secs(row::LEASE)));
        Self {
            now,
            uses: (0..row::TOKENS).map(|n| (n, 0)).collect(),
            revoked: BTreeSet::new(),
            yanked: BTreeSet::new(),
            live: BTreeMap::new(),
            deleted: BTreeMap::new(),
            delete_times: BTreeMap::new(),
            changes: Vec::new(),
            attempts: BTreeMap::new(),
            requests: BTreeMap::new(),
            certificates: BTreeMap::new(),
            leases: (0..row::REPLICAS).map(|n| (n, lease)).collect(),
            sessions: BTreeMap::new(),
            nodes: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    /// The call with what an honest caller would have read.
    pub(crate) fn resolve(&self, call: &Call) -> Call {
        let mut call = call.clone();
        match &mut call {
            Call::Commit(decision) => self.resolve_decision(decision),
            Call::Batch(decisions) => decisions.iter_mut().for_each(|decision| self.resolve_decision(decision)),
            Call::Open { executors, .. } => executors.iter_mut().for_each(|executor| *executor = self.some(*executor)),
            Call::Nodes { executor, .. } => *executor = self.some(*executor),
            Call::Close { executor, epoch } => {
                *executor = self.some(*executor);
                let newest = self.sessions.get(executor).and_then(|of| of.keys().next_back());
                // Mostly the newest, else one before it.
                let behind = u64::from(*epoch == 3);
                *epoch = newest.map_or(*epoch, |newest| newest - behind);
            }
            Call::Enrol { executor, name, replaces, .. } => {
                let known = |n: &u8| self.live.contains_key(n) || self.deleted.contains_key(n);
                let unused = (0..row::EXECUTORS).find(|n| !known(n));
                *executor = unused.filter(|_| *executor >= row::EXECUTORS).unwrap_or(*executor % row::EXECUTORS);
                let holder = self.live.iter().find(|(_, row)| row.name == row::name(*name));
                *replaces = replaces.map(|other| match holder {
                    Some((holder, _)) if other >= row::EXECUTORS => *holder,
                    _ => other % row::EXECUTORS,
                });
            }
            Call::Advance { .. }
            | Call::Revoke { .. }
            | Call::Yank { .. }
            | Call::Renew { .. }
            | Call::End { .. }
            | Call::PruneAttempts { .. }
            | Call::PruneSessions { .. }
            | Call::PruneEvents { .. }
            | Call::PruneCertificates { .. }
            | Call::PruneExecutors { .. } => {}
        }
        call
    }

    /// The executor that a number stands for.
    fn some(&self, executor: u8) -> u8 {
        if executor < row::EXECUTORS || self.live.is_empty() {
            return executor % row::EXECUTORS;
        }
        *self.live.keys().nth(usize::from(executor) % self.live.len()).expect("one of them")
    }

    fn resolve_decision(&self, decision: &mut Decision) {
        decision.executor = self.some(decision.executor);
        let Some(held) = self.live.get(&decision.executor).filter(|_| decision.honest) else {
            return;
        };
        decision.revision = held.revision.0;
        decision.name = (0..row::NAMES).find(|n| row::name(*n) == held.name).expect("a known name");
        decision.generation += held.generation.0;
        let own: Vec<u8> =
            self.attempts.iter().filter(|(_, row)| row.executor == held.uid).map(|(id, _)| *id).collect();
        let mut free = (0..row::ATTEMPTS).filter(|id| !self.attempts.contains_key(id));
        for write in &mut decision.attempts {
            match write {
                Write::New { id, .. } => *id = free.next().unwrap_or(*id),
                Write::Again { id, request, revision, .. } if !own.is_empty() => {
                    *id = own[usize::from(*id) % own.len()];
                    let held = &self.attempts[id];
                    *revision = held.revision.0;
                    *request = (0..REQUESTS).find(|n| held.request_id == Some(row::request_id(*n)));
                }
                Write::Again { .. } => {}
            }
        }
    }

    /// What the call answers; a refused one changes nothing.
    pub(crate) fn call(&mut self, call: &Call) -> String {
        self.all_or_none(|model| model.apply(call))
    }

    fn all_or_none(&mut self, work: impl FnOnce(&mut Self) -> Said) -> String {
        let before = self.clone();
        work(self).unwrap_or_else(|refusal| {
            *self = before;
            refusal
        })
    }

    fn apply(&mut self, call: &Call) -> Said {
        match call {
            Call::Advance { seconds } => self.now = self.now.plus(Duration::from_secs(*seconds)),
            Call::Enrol { executor, name, token, replaces } => return self.enrol(*executor, *name, *token, *replaces),
            Call::Revoke { token } => drop(self.revoked.insert(*token)),
            Call::Yank { release } => drop(self.yanked.insert(*release)),
            Call::Commit(decision) => return self.commit(decision),
            Call::Batch(decisions) => {
                let each = decisions.iter().map(|decision| self.all_or_none(|model| model.commit(decision)));
                return Ok(each.collect::<Vec<_>>().join(", "));
            }
            Call::Renew { replica } => {
                let lease = (self.now, self.now.plus(Duration::from_secs(row::LEASE)));
                self.leases.insert(*replica, lease);
            }
            Call::End { replica } => self.end_replica(*replica),
            Call::Open { replica, executors } => return self.open(*replica, executors),
            Call::Close { executor, epoch } => {
                return Ok(self.close(*executor, *epoch).to_string());
            }
            Call::Nodes { executor, full, names, removed } => {
                self.require(*executor)?;
                let nodes = self.nodes.entry(*executor).or_default();
                nodes.retain(|name| !full && !removed.iter().any(|gone| node(*gone).name == *name));
                nodes.extend(names.iter().map(|name| node(*name).name));
            }
            Call::PruneAttempts { .. }
            | Call::PruneSessions { .. }
            | Call::PruneEvents { .. }
            | Call::PruneCertificates { .. }
            | Call::PruneExecutors { .. } => return Ok(self.prune(call)),
        }
        done()
    }

    fn require(&self, executor: u8) -> Result<(), String> {
        if self.live.contains_key(&executor) { Ok(()) } else { refuse("missing executor") }
    }

    fn changed(&mut self, executor: u8) {
        self.changes.retain(|other| *other != executor);
        self.changes.push(executor);
    }

    fn delete(&mut self, executor: u8, time: Timestamp) {
        let row = self.live.remove(&executor).expect("it is live");
        self.deleted.insert(executor, row);
        self.delete_times.insert(executor, time);
        self.nodes.remove(&executor);
        self.certificates.entry(executor).and_modify(|revoked| *revoked = true);
    }

    fn enrol(&mut self, executor: u8, name: u8, token: u8, replaces: Option<u8>) -> Said {
        if self.revoked.contains(&token) || self.uses[&token] == row::USES {
            return refuse("stale join token");
        }
        *self.uses.get_mut(&token).expect("it is there") += 1;
        let holder = self.live.iter().find(|(_, row)| row.name == row::name(name)).map(|(n, _)| *n);
        match (holder, replaces) {
            (None, None) => {}
            (Some(holder), Some(replaced)) if holder == replaced => {
                let open = |attempt: &Attempt| attempt.executor == row::uid(replaced) && !attempt.is_ended();
                if self.attempts.values().any(open) {
                    return refuse("stale attempt");
                }
                let time = row::at(5);
                self.delete(replaced, time);
                self.changed(replaced);
                if let Some((_, newest)) = self.sessions.get_mut(&replaced).and_then(|of| of.iter_mut().next_back()) {
                    newest.end_time.get_or_insert(time);
                }
            }
            (Some(_), _) => return refuse("exists executor"),
            (None, Some(_)) => return refuse("stale executor"),
        }
        if self.live.contains_key(&executor) || self.deleted.contains_key(&executor) {
            return refuse("exists executor");
        }
        let row = Executor { revision: Revision(1), ..row::executor(executor, row::name(name)) };
        self.live.insert(executor, row);
        self.changed(executor);
        self.certificates.insert(executor, false);
        self.events.push((format!("enrol-{executor}"), row::at(0)));
        done()
    }

    fn commit(&mut self, decision: &Decision) -> Said {
        self.require(decision.executor)?;
        let held = &self.live[&decision.executor];
        let wanted = decision.row();
        if held.revision != wanted.revision {
            return refuse("stale executor");
        }
        if wanted.generation < held.generation || wanted.name != held.name {
            return refuse("corrupt executor");
        }
        let row = Executor { revision: wanted.revision.next(), ..wanted };
        self.live.insert(decision.executor, row);
        if decision.release.is_some_and(|release| self.yanked.contains(&release)) {
            return refuse("stale release");
        }
        for write in &decision.attempts {
            self.write(decision, write)?;
        }
        if decision.delete {
            self.delete(decision.executor, self.now);
        }
        self.changed(decision.executor);
        self.events.push((decision.event().target, row::at(decision.time)));
        done()
    }

    fn write(&mut self, decision: &Decision, write: &Write) -> Result<(), String> {
        let row = write.row(decision).attempt;
        let (id, revision) = match *write {
            Write::New { id, request } => {
                if let Some(request) = request {
                    // A request id is given up with its attempt, by pruning or by a write without it.
                    if self.requests.contains_key(&request) {
                        return refuse("exists request");
                    }
                }
                if self.attempts.contains_key(&id) {
                    return refuse("stale attempt");
                }
                if let Some(request) = request {
                    self.requests.insert(request, id);
                }
                (id, 1)
            }
            Write::Again { id, revision, .. } => {
                let Some(held) = self.attempts.get(&id) else {
                    return refuse("missing attempt");
                };
                // What was asked, and of whom, never changes.
                let same = held.executor == row.executor && held.request_id == row.request_id;
                if held.revision.0 != revision || !same {
                    return refuse("stale attempt");
                }
                (id, revision + 1)
            }
        };
        self.attempts.insert(id, Attempt { revision: Revision(revision), ..row });
        Ok(())
    }

    fn end_replica(&mut self, replica: u8) {
        let now = self.now;
        if let Some((_, end)) = self.leases.get_mut(&replica) {
            *end = now.min(*end);
        }
        for session in self.sessions.values_mut().flat_map(BTreeMap::values_mut) {
            if session.replica == replica {
                session.end_time.get_or_insert(now);
            }
        }
    }

    fn open(&mut self, replica: u8, executors: &[u8]) -> Said {
        let mut opened = Vec::new();
        executors.iter().try_for_each(|executor| self.require(*executor))?;
        let leased = self.leases.get(&replica).is_some_and(|(_, end)| *end > self.now);
        if !executors.is_empty() && !leased {
            return refuse("missing lease");
        }
        for executor in executors {
            let of = self.sessions.entry(*executor).or_default();
            let previous = of.iter_mut().next_back().map(|(epoch, session)| {
                let told = (*epoch, session.end_time.is_some());
                session.end_time.get_or_insert(self.now);
                told
            });
            let epoch = previous.map_or(1, |(epoch, _)| epoch + 1);
            of.insert(epoch, Session { replica, open_time: self.now, end_time: None });
            opened.push((epoch, previous));
        }
        Ok(format!("{opened:?}"))
    }

    fn close(&mut self, executor: u8, epoch: u64) -> bool {
        let newest = self.sessions.get_mut(&executor).and_then(|of| of.iter_mut().next_back());
        let Some((newest, session)) = newest else {
            return false;
        };
        if *newest != epoch || session.end_time.is_some() {
            return false;
        }
        session.end_time = Some(self.now);
        self.events.push((format!("close-{executor}"), row::at(0)));
        true
    }

    fn presence(&self, executor: u8) -> Option<Presence> {
        let session = self.sessions.get(&executor)?.values().next_back()?;
        let (renewed, lease_end) = self.leases[&session.replica];
        Some(Presence {
            executor: row::uid(executor),
            connected: session.end_time.is_none() && lease_end > self.now,
            last_seen: Some(session.end_time.unwrap_or_else(|| renewed.max(session.open_time))),
        })
    }

    /// What is to be seen.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut executors: Vec<Executor> = self.live.values().cloned().collect();
        executors.sort_by(|a, b| a.name.cmp(&b.name));
        let open = |attempt: &&Attempt| !attempt.is_ended();
        let mut due: Vec<Timestamp> = self.attempts.values().filter(open).map(deadline).collect();
        due.sort();
        let n_open = [0, 1]
            .map(|n| self.attempts.values().filter(open).filter(|attempt| attempt.release == row::release(n)).count());
        let generation = |executor: &u8| {
            let row = self.live.get(executor).or_else(|| self.deleted.get(executor));
            row.map_or(Generation(0), |row| row.generation).0
        };
        let sessions = |executor| {
            let of = self.sessions.get(&executor).into_iter().flatten();
            of.map(|(epoch, session)| (*epoch, session.end_time)).rev().take(16).collect()
        };
        let all = || 0..row::EXECUTORS;
        Snapshot {
            n_pending: self.live.values().filter(|row| row.pending.is_some()).count() as u64,
            executors,
            attempts: self.attempts.values().rev().cloned().collect(),
            due,
            n_open,
            presence: all().filter_map(|executor| self.presence(executor)).collect(),
            sessions: all().map(sessions).collect(),
            events: self.events.iter().map(|(target, _)| target.clone()).collect(),
            changes: self.changes.iter().map(|executor| (row::uid(*executor), generation(executor))).collect(),
            uses: self.uses.values().copied().collect(),
            certificates: all().map(|executor| self.certificates.get(&executor).copied()).collect(),
            nodes: all().map(|executor| self.nodes.get(&executor).into_iter().flatten().cloned().collect()).collect(),
        }
    }
}
