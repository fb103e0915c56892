//! Duels: two instances of one identity that keep displacing each other (rule 7). A cloned host or a stolen key looks like
//! this; a host that reconnects, or restarts again and again, does not, since an instance that is gone never comes back.

use std::time::Duration;

use domain::{InstanceId, Timestamp};
use store::SessionRow;

/// Displacements of each other that make a duel.
const DISPLACEMENTS: usize = 3;

/// Inside this time.
pub const WINDOW: Duration = Duration::from_secs(10 * 60);

/// Two instances of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duel {
    /// The one that was there first.
    pub earlier: InstanceId,
    /// The one that came to it.
    pub later: InstanceId,
}

/// Judges the sessions of one executor inside the window, newest first.
#[must_use]
pub fn judge(sessions: &[SessionRow]) -> Option<Duel> {
    let (newest, previous) = (sessions.first()?, sessions.get(1)?);
    if newest.instance == previous.instance {
        return None;
    }
    let pair = [newest.instance, previous.instance];
    let displaced = |both: &&[SessionRow]| {
        let [newer, older] = both else { return false };
        older.instance != newer.instance
            && pair.contains(&older.instance)
            && pair.contains(&newer.instance)
            && was_displaced(older, newer.open_time)
    };
    if sessions.windows(2).filter(displaced).count() < DISPLACEMENTS {
        return None;
    }
    let first = sessions.iter().rev().find(|session| pair.contains(&session.instance))?;
    let [newest, previous] = pair;
    Some(if first.instance == newest {
        Duel { earlier: newest, later: previous }
    } else {
        Duel { earlier: previous, later: newest }
    })
}

/// A session that had ended by itself was not displaced; one that another took the place of ended in that very moment.
fn was_displaced(older: &SessionRow, newer_open: Timestamp) -> bool {
    older.end_time.is_none_or(|end| end >= newer_open)
}

#[cfg(test)]
mod tests {
    use domain::{Epoch, ExecutorUid};
    use store::ReplicaId;
    use uuid::Uuid;

    use super::*;

    /// Sessions in order of time, each displacing the one before unless `gap` says that it had ended.
    fn judged(instances: &[u128], gap: u64) -> Option<Duel> {
        let at = |n: usize| Timestamp::EPOCH.plus(Duration::from_secs(60 * u64::try_from(n).expect("small")));
        let mut rows: Vec<SessionRow> = instances
            .iter()
            .enumerate()
            .map(|(n, instance)| SessionRow {
                executor: ExecutorUid::new(Uuid::from_u128(1)),
                epoch: Epoch(u64::try_from(n).expect("small") + 1),
                replica: ReplicaId(Uuid::from_u128(1)),
                instance: InstanceId::new(Uuid::from_u128(*instance)),
                open_time: at(n),
                end_time: (n + 1 < instances.len()).then(|| at(n + 1).minus(Duration::from_secs(gap))),
            })
            .collect();
        rows.reverse();
        judge(&rows)
    }

    fn instance(n: u128) -> InstanceId {
        InstanceId::new(Uuid::from_u128(n))
    }

    #[test]
    fn three_displacements_by_two_instances_are_a_duel() {
        let duel = Duel { earlier: instance(1), later: instance(2) };
        assert_eq!(judged(&[1, 2, 1], 0), None);
        assert_eq!(judged(&[1, 2, 1, 2], 0), Some(duel));
        assert_eq!(judged(&[1, 2, 1, 2, 1], 0), Some(duel));
        assert_eq!(judged(&[1, 1, 2, 2, 1, 2], 0), Some(duel));
    }

    #[test]
    fn a_host_that_reconnects_or_restarts_is_none() {
        assert_eq!(judged(&[1, 1, 1, 1, 1], 0), None, "one instance reconnects");
        assert_eq!(judged(&[1, 2, 3, 4, 5], 0), None, "a crash loop");
        assert_eq!(judged(&[1, 2, 1, 2], 1), None, "each had ended before");
        assert_eq!(judged(&[], 0), None);
    }
}
