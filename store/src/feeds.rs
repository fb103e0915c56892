//! Where committed writes are told to this process: wake-ups by executor, and the newest event.

use tokio::sync::{broadcast, watch};

use crate::change::Change;

/// Changes that a slow subscriber may be behind before it has to heal by number: a fan-out to a large fleet fits.
const CHANGES_KEPT: usize = 16 * 1024;

/// Both feeds. Cheap to clone; every clone tells the same subscribers.
#[derive(Clone, Debug)]
pub(crate) struct Feeds {
    changes: broadcast::Sender<Change>,
    event_head: watch::Sender<u64>,
}

/// What a commit is told with.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// In the order of their numbers.
    pub(crate) changes: Vec<Change>,
    /// The newest event; none was written: 0.
    pub(crate) last_event: u64,
}

impl Told {
    /// With what a later part of the same commit tells.
    pub(crate) fn add(&mut self, later: Self) {
        self.changes.extend(later.changes);
        self.last_event = later.last_event.max(self.last_event);
    }
}

impl Feeds {
    /// Feeds without subscribers, after this event.
    pub(crate) fn new(event_head: u64) -> Self {
        Self { changes: broadcast::channel(CHANGES_KEPT).0, event_head: watch::channel(event_head).0 }
    }

    pub(crate) fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    pub(crate) fn event_head(&self) -> watch::Receiver<u64> {
        self.event_head.subscribe()
    }

    /// Tells a commit, once it is durable. The head of events never goes back.
    pub(crate) fn push(&self, told: &Told) {
        for change in &told.changes {
            // Nobody listening is no error.
            drop(self.changes.send(*change));
        }
        self.event_head.send_if_modified(|head| {
            let newer = told.last_event > *head;
            *head = told.last_event.max(*head);
            newer
        });
    }
}
