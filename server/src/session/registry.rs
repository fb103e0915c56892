//! Which outbox is whose. The newest epoch of an executor wins; the older session is closed with a reason.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Epoch, ExecutorUid};

use crate::session::close::Close;
use crate::session::metric;
use crate::session::outbox::Outbox;

/// The open sessions of this process.
#[derive(Debug, Default)]
pub struct Registry {
    sessions: Mutex<HashMap<ExecutorUid, Entry>>,
}

#[derive(Debug)]
struct Entry {
    epoch: Epoch,
    outbox: Arc<Outbox>,
}

// === impl Registry ===

impl Registry {
    /// Enters a session. Whichever of two has the lower epoch is closed, be it the one that comes.
    pub fn enter(&self, uid: ExecutorUid, epoch: Epoch, outbox: &Arc<Outbox>) {
        let mut sessions = self.lock();
        if sessions.get(&uid).is_some_and(|entry| entry.epoch > epoch) {
            drop(sessions);
            outbox.close(Close::Replaced);
            return;
        }
        let entry = Entry { epoch, outbox: Arc::clone(outbox) };
        let older = sessions.insert(uid, entry);
        metric::streams(sessions.len());
        drop(sessions);
        if let Some(older) = older {
            older.outbox.close(Close::Replaced);
        }
    }

    /// Closes an executor's session that is older than `epoch`: the store has ended it.
    pub fn displace(&self, uid: ExecutorUid, epoch: Epoch) {
        let older = self.lock().get(&uid).and_then(|entry| {
            let is_older = entry.epoch < epoch;
            is_older.then(|| Arc::clone(&entry.outbox))
        });
        if let Some(older) = older {
            older.close(Close::Replaced);
        }
    }

    /// Takes a session out, if it still is the executor's.
    pub fn leave(&self, uid: ExecutorUid, epoch: Epoch) {
        let mut sessions = self.lock();
        if sessions.get(&uid).is_some_and(|entry| entry.epoch == epoch) {
            sessions.remove(&uid);
        }
        metric::streams(sessions.len());
    }

    /// The outbox of an executor's session, when it has one here.
    #[must_use]
    pub fn find(&self, uid: ExecutorUid) -> Option<Arc<Outbox>> {
        self.lock().get(&uid).map(|entry| Arc::clone(&entry.outbox))
    }

    /// Every session, in no order.
    #[must_use]
    pub fn list(&self) -> Vec<(ExecutorUid, Epoch)> {
        self.lock().iter().map(|(uid, entry)| (*uid, entry.epoch)).collect()
    }

    /// The outbox of one session, while it lasts.
    #[must_use]
    pub fn find_epoch(&self, uid: ExecutorUid, epoch: Epoch) -> Option<Arc<Outbox>> {
        self.lock().get(&uid).filter(|entry| entry.epoch == epoch).map(|entry| Arc::clone(&entry.outbox))
    }

    /// How many sessions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ExecutorUid, Entry>> {
        // Nothing in here panics half-way.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_newest_epoch_wins_and_the_older_is_told_why() {
        let uid = ExecutorUid::new(Uuid::from_u128(1));
        let registry = Registry::default();
        let sessions: Vec<_> = (0..3).map(|_| Outbox::new()).collect();
        let closed = |n: usize| sessions[n].0.ended().now_or_never();
        registry.enter(uid, Epoch(1), &sessions[0].0);
        registry.enter(uid, Epoch(3), &sessions[2].0);
        // Admitted earlier, entered later.
        registry.enter(uid, Epoch(2), &sessions[1].0);
        assert_eq!(closed(0), Some(Close::Replaced));
        assert_eq!(closed(1), Some(Close::Replaced));
        assert_eq!(closed(2), None);
        registry.leave(uid, Epoch(1));
        assert_eq!(registry.count(), 1, "the older one's leaving changes nothing");
        registry.leave(uid, Epoch(3));
        assert!(registry.find(uid).is_none());
    }
}
