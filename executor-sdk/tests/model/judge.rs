//! What has to be true of a world, and when it has come to rest.

use domain::attempt::{Attempt, Outcome, OutcomeSource};
use domain::reason::Reason;

use crate::world::World;

impl World {
    /// Whether everything has come to rest, and both sides know it.
    pub(crate) fn is_settled(&self) -> bool {
        let (journal, process) = (&self.host.journal, &self.host.process);
        let at_rest = process.linked && process.job.is_none() && process.machine.current().is_none();
        at_rest
            && journal.open.is_none()
            && journal.unsent.is_empty()
            && self.server.executor.pending.is_none()
            && self.server.executor.open_attempt.is_none()
            && self.server.attempts.iter().all(Attempt::is_ended)
    }

    /// Whether the control plane says of every attempt what the host knows, as far as it knows the attempt at all.
    pub(crate) fn agrees(&self) -> bool {
        self.host.truths.iter().all(|(id, truth)| {
            let row = self.server.attempts.iter().find(|attempt| attempt.id == *id);
            let Some(ending) = row.and_then(|row| row.ending.as_ref()) else {
                return self.restored;
            };
            // What a person decided before leave stays, whatever the executor says that changed no binary.
            let changed = matches!(truth, Outcome::Succeeded | Outcome::RolledBack);
            ending.outcome == *truth || (!changed && is_decided(ending.reason))
        })
    }

    /// Whether every reported end is what the host journalled.
    pub(crate) fn reports_are_true(&self) -> bool {
        self.server.attempts.iter().all(|attempt| {
            let reported = attempt.ending.as_ref().filter(|ending| ending.source == OutcomeSource::Reported);
            reported.is_none_or(|ending| self.host.truths.contains(&(attempt.id, ending.outcome)))
        })
    }

    /// Whether what was decided before leave was never carried out. (A restored database may have forgotten that it gave it.)
    pub(crate) fn decisions_hold(&self) -> bool {
        self.restored
            || self.server.attempts.iter().all(|attempt| {
                let decided = attempt.ending.as_ref().is_some_and(|ending| is_decided(ending.reason));
                !(decided && self.host.swaps.contains(&attempt.id))
            })
    }
}

fn is_decided(reason: Option<Reason>) -> bool {
    matches!(
        reason,
        Some(
            Reason::CancelledByRequest
                | Reason::ReplacedByRequest
                | Reason::ReleaseYanked
                | Reason::TtlExpired
                | Reason::ProgressStalled
        )
    )
}
