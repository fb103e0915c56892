//! Watching an organization's executors: all of them now, then every change.
//!
//! ```text
//! listing ─ every page: PRESENT ─→ SYNCED ─→ live ─ a change, a connect, a presence that ran out: PRESENT or REMOVED
//!    ↑                                        │
//!    └──────────── lagged behind ─────────────┘  (what is gone meanwhile: REMOVED)
//! ```

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::{ExecutorId, ExecutorName, ExecutorUid, OrganizationId, Revision};
use futures_util::stream::{BoxStream, StreamExt as _, try_unfold};
use store::{Change, EventQuery};
use tokio::sync::broadcast::{Receiver, error::RecvError, error::TryRecvError};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::executor::{Filter, View};
use crate::app::watch::{Guard, LOOK};

/// Rows read at a time.
const SLICE: usize = 200;

/// How often the presence of all that were told is looked at again: a replica that died says nothing, its lease runs out.
const PRESENCE: Duration = Duration::from_secs(10);

/// One change.
#[derive(Clone, Debug, PartialEq)]
pub enum ExecutorChange {
    /// It is so now.
    Present(Box<View>),
    /// It is gone, or no longer matches.
    Removed {
        /// Its name.
        name: ExecutorName,
        /// Its uid.
        uid: ExecutorUid,
    },
    /// The first list is complete.
    Synced,
}

/// What was told of an executor.
struct Told {
    name: ExecutorName,
    revision: Revision,
    online: bool,
}

enum Phase {
    Listing { after: Option<ExecutorId>, seen: BTreeSet<ExecutorUid> },
    Live,
}

struct Watcher {
    app: Arc<App>,
    organization: OrganizationId,
    filter: Filter,
    changes: Receiver<Change>,
    head: watch::Receiver<u64>,
    events_after: u64,
    phase: Phase,
    synced: bool,
    told: HashMap<ExecutorUid, Told>,
    ready: VecDeque<ExecutorChange>,
    presence_checked: Instant,
    guard: Guard,
}

impl App {
    /// Watches the executors of an organization that match a filter.
    ///
    /// # Errors
    /// The caller's role.
    pub async fn executor_watch(
        self: &Arc<Self>,
        caller: Caller,
        organization: OrganizationId,
        filter: Filter,
    ) -> Result<BoxStream<'static, Result<ExecutorChange, Error>>, Error> {
        caller.authorize(Some(&organization))?;
        // Before the first page, so that no change falls between.
        let changes = self.store.change_subscribe();
        let head = self.store.event_head();
        let events_after = *head.borrow();
        let watcher = Watcher {
            app: Arc::clone(self),
            organization,
            filter,
            changes,
            head,
            events_after,
            phase: Phase::from_the_beginning(),
            synced: false,
            told: HashMap::new(),
            ready: VecDeque::new(),
            presence_checked: Instant::now(),
            guard: Guard::new(caller),
        };
        let next = |mut watcher: Watcher| async move {
            let change = watcher.next().await?;
            Ok(change.map(|change| (change, watcher)))
        };
        Ok(try_unfold(watcher, next).boxed())
    }
}

// === impl Phase ===

impl Phase {
    const fn from_the_beginning() -> Self {
        Self::Listing { after: None, seen: BTreeSet::new() }
    }
}

// === impl Watcher ===

impl Watcher {
    async fn next(&mut self) -> Result<Option<ExecutorChange>, Error> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(Some(change));
            }
            self.guard.check(&self.app).await?;
            match self.phase {
                Phase::Listing { .. } => self.list().await?,
                Phase::Live => {
                    let Some(uids) = self.woken().await else {
                        return Ok(None);
                    };
                    self.look(uids).await?;
                    self.connections().await?;
                    self.presences().await?;
                }
            }
        }
    }

    /// The next page of the first list, or of one that heals.
    async fn list(&mut self) -> Result<(), Error> {
        let Phase::Listing { after, seen } = &mut self.phase else {
            return Ok(());
        };
        let from = after.take();
        let (views, last) = self.app.executor_walk(&self.organization, &self.filter, from, SLICE).await?;
        seen.extend(views.iter().map(|view| view.executor.uid));
        if last.is_some() {
            *after = last;
        } else {
            let gone: Vec<ExecutorUid> = self.told.keys().filter(|uid| !seen.contains(uid)).copied().collect();
            self.phase = Phase::Live;
            for uid in gone {
                self.remove(uid);
            }
        }
        for view in views {
            self.tell(view);
        }
        if matches!(self.phase, Phase::Live) && !std::mem::replace(&mut self.synced, true) {
            self.ready.push_back(ExecutorChange::Synced);
        }
        Ok(())
    }

    /// Waits for something to look at. None: the store is closed.
    async fn woken(&mut self) -> Option<BTreeSet<ExecutorUid>> {
        let mut uids = BTreeSet::new();
        tokio::select! {
            change = self.changes.recv() => match change {
                Ok(change) => {
                    uids.insert(change.executor);
                }
                Err(RecvError::Lagged(_)) => self.phase = Phase::from_the_beginning(),
                Err(RecvError::Closed) => return None,
            },
            // A session that opened or closed writes no row of the executor, only of the feed.
            changed = self.head.changed() => if changed.is_err() {
                return None;
            },
            // Presences run out, tokens are revoked, and both in silence.
            () = tokio::time::sleep(LOOK) => {}
        }
        // What came together is looked at together.
        if gather(&mut self.changes, &mut uids) == Gathered::Lagged {
            self.phase = Phase::from_the_beginning();
        }
        Some(uids)
    }

    async fn look(&mut self, uids: BTreeSet<ExecutorUid>) -> Result<(), Error> {
        if uids.is_empty() {
            return Ok(());
        }
        let asked: Vec<ExecutorUid> = uids.iter().copied().collect();
        let mut rows = self.app.store.executor_list_by_uid(&asked).await?;
        rows.retain(|row| row.name.organization == self.organization);
        let mut left = uids;
        for view in self.app.executor_views(rows).await? {
            if self.filter.matches(&view) {
                left.remove(&view.executor.uid);
                self.tell(view);
            }
        }
        for uid in left {
            self.remove(uid);
        }
        Ok(())
    }

    /// Sessions that opened or closed since the last look.
    async fn connections(&mut self) -> Result<(), Error> {
        let head = *self.head.borrow_and_update();
        if head == self.events_after {
            return Ok(());
        }
        let kinds = ["executor.connected", "executor.reconnected", "executor.disconnected"];
        let query = EventQuery {
            organization: Some(self.organization.clone()),
            after: Some(self.events_after),
            kinds: kinds.map(str::to_owned).to_vec(),
            target: None,
            newest_first: false,
            limit: SLICE,
        };
        let rows = self.app.store.event_list(&query).await?;
        let last = rows.last().map(|row| row.sequence);
        self.events_after = match last {
            Some(last) if rows.len() >= SLICE => last,
            _ => head.max(last.unwrap_or(0)),
        };
        let names: BTreeSet<ExecutorId> =
            rows.iter().filter_map(|row| row.target.parse::<ExecutorName>().ok()).map(|name| name.executor).collect();
        if names.is_empty() {
            return Ok(());
        }
        let names: Vec<ExecutorId> = names.into_iter().collect();
        let rows = self.app.store.executor_list_by_name(&self.organization, &names).await?;
        self.look(rows.iter().map(|row| row.uid).collect()).await
    }

    /// Presences that ran out, or came back, without a word.
    async fn presences(&mut self) -> Result<(), Error> {
        if self.presence_checked.elapsed() < PRESENCE {
            return Ok(());
        }
        self.presence_checked = Instant::now();
        let uids: Vec<ExecutorUid> = self.told.keys().copied().collect();
        let now = self.app.now().await?;
        let presences = self.app.presences(&uids, now).await?;
        let online = |uid: &ExecutorUid| presences.get(uid).is_some_and(|presence| presence.online);
        let changed = self.told.iter().filter(|(uid, told)| told.online != online(uid));
        let changed: BTreeSet<ExecutorUid> = changed.map(|(uid, _)| *uid).collect();
        self.look(changed).await
    }

    fn tell(&mut self, view: View) {
        let told =
            Told { name: view.executor.name.clone(), revision: view.executor.revision, online: view.presence.online };
        let (revision, online) = (told.revision, told.online);
        let before = self.told.insert(view.executor.uid, told);
        if before.is_none_or(|before| before.revision != revision || before.online != online) {
            self.ready.push_back(ExecutorChange::Present(Box::new(view)));
        }
    }

    fn remove(&mut self, uid: ExecutorUid) {
        if let Some(told) = self.told.remove(&uid) {
            let name = told.name;
            self.ready.push_back(ExecutorChange::Removed { name, uid });
        }
    }
}

/// What became of taking in what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathered {
    /// The feed holds no more, or more than a slice.
    Whole,
    /// Some were never heard: only a list tells them. The feed says so once.
    Lagged,
}

/// Takes in what the feed holds already, at most a slice.
fn gather(changes: &mut Receiver<Change>, uids: &mut BTreeSet<ExecutorUid>) -> Gathered {
    while uids.len() < SLICE {
        match changes.try_recv() {
            Ok(change) => {
                uids.insert(change.executor);
            }
            Err(TryRecvError::Lagged(_)) => return Gathered::Lagged,
            // Whoever waits next is told that it is closed.
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    Gathered::Whole
}

#[cfg(test)]
mod tests {
    use domain::Generation;
    use store::ChangeNumber;
    use tokio::sync::broadcast;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_feed_that_overran_while_it_was_read_is_not_taken_for_read() {
        let (sender, mut changes) = broadcast::channel(2);
        let send = |n: u64| {
            let executor = ExecutorUid::new(Uuid::from_u128(u128::from(n)));
            sender.send(Change { number: ChangeNumber(n), executor, generation: Generation(1) }).expect("it is heard");
        };
        let mut uids = BTreeSet::new();
        (1..=2).for_each(send);
        assert_eq!(gather(&mut changes, &mut uids), Gathered::Whole);
        assert_eq!(uids.len(), 2);
        (3..=5).for_each(send);
        assert_eq!(gather(&mut changes, &mut uids), Gathered::Lagged, "the third was never heard");
        assert_eq!(gather(&mut changes, &mut uids), Gathered::Whole);
        assert_eq!(uids.len(), 4, "and the rest is");
    }
}
