//! What the model forgets.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Attempt, Timestamp};

use super::{Model, Session};
use crate::call::Call;
use crate::row;

impl Model {
    /// Forgets, if that is what the call says; answers how many.
    pub(super) fn prune(&mut self, call: &Call) -> String {
        match *call {
            Call::PruneAttempts { older_than, limit } => self.prune_attempts(row::at(older_than), limit),
            Call::PruneSessions { older_than, limit } => self.prune_sessions(row::at(older_than), limit),
            Call::PruneEvents { older_than, limit } => self.prune_events(row::at(older_than), limit),
            Call::PruneCertificates { limit: 0 } => 0.to_string(),
            Call::PruneCertificates { .. } => std::mem::take(&mut self.certificates).len().to_string(),
            Call::PruneExecutors { deleted_before, limit } => self.prune_executors(row::at(deleted_before), limit),
            _ => unreachable!("{call:?} forgets nothing"),
        }
    }

    fn prune_executors(&mut self, deleted_before: Timestamp, limit: usize) -> String {
        let meant = |executor: u8| {
            let by_attempt = self.attempts.values().any(|attempt| attempt.executor == row::uid(executor));
            by_attempt || self.certificates.contains_key(&executor)
        };
        let gone = self.delete_times.iter().filter(|(executor, time)| **time < deleted_before && !meant(**executor));
        let gone: Vec<u8> = gone.map(|(executor, _)| *executor).take(limit).collect();
        for executor in &gone {
            self.deleted.remove(executor);
            self.delete_times.remove(executor);
            self.sessions.remove(executor);
            self.changes.retain(|other| other != executor);
        }
        gone.len().to_string()
    }

    fn prune_attempts(&mut self, older_than: Timestamp, limit: usize) -> String {
        let old = |attempt: &Attempt| attempt.end_time.is_some_and(|time| time < older_than);
        let pointed_at = |attempt: &Attempt| {
            let mut rows = self.live.values().chain(self.deleted.values());
            rows.any(|row| row.uid == attempt.executor && row.pending == Some(attempt.id))
        };
        let mut gone: Vec<(Timestamp, u8)> = self
            .attempts
            .iter()
            .filter(|(_, attempt)| old(attempt) && !pointed_at(attempt))
            .map(|(id, attempt)| (attempt.end_time.expect("it ended"), *id))
            .collect();
        gone.sort();
        // Which of two that ended in the same moment goes first is the backend's to say: calls take all or none.
        let n_gone = gone.len().min(limit);
        for (_, id) in gone.into_iter().take(n_gone) {
            self.attempts.remove(&id);
            self.requests.retain(|_, of| *of != id);
        }
        n_gone.to_string()
    }

    fn prune_sessions(&mut self, older_than: Timestamp, limit: usize) -> String {
        let mut gone = Vec::new();
        for (executor, of) in &self.sessions {
            let newest = of.keys().next_back().copied();
            let old = |session: &Session| session.end_time.is_some_and(|time| time < older_than);
            let prunable = of.iter().filter(|(epoch, session)| Some(**epoch) != newest && old(session));
            gone.extend(prunable.map(|(epoch, session)| (session.end_time, *executor, *epoch)));
        }
        gone.sort();
        let n_gone = gone.len().min(limit);
        for (_, executor, epoch) in gone.into_iter().take(n_gone) {
            self.sessions.get_mut(&executor).expect("it is there").remove(&epoch);
        }
        // A replica without a lease and without sessions is forgotten, too.
        let holds =
            |replica: u8| self.sessions.values().flat_map(BTreeMap::values).any(|session| session.replica == replica);
        let forgotten: Vec<u8> =
            self.leases.iter().filter(|(n, (_, end))| *end < older_than && !holds(**n)).map(|(n, _)| *n).collect();
        self.leases.retain(|n, _| !forgotten.contains(n));
        n_gone.to_string()
    }

    fn prune_events(&mut self, older_than: Timestamp, limit: usize) -> String {
        let mut old: Vec<(Timestamp, usize)> = self
            .events
            .iter()
            .enumerate()
            .filter(|(_, (_, time))| *time < older_than)
            .map(|(at, (_, time))| (*time, at))
            .collect();
        old.sort();
        let gone: BTreeSet<usize> = old.into_iter().take(limit).map(|(_, at)| at).collect();
        let mut at = 0;
        self.events.retain(|_| {
            at += 1;
            !gone.contains(&(at - 1))
        });
        gone.len().to_string()
    }
}
