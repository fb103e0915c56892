//! Watching the feed: events from a number on, for ever. None is dropped between a list and a watch that goes on behind it.

use std::collections::VecDeque;
use std::sync::Arc;

use domain::OrganizationId;
use futures_util::stream::{BoxStream, StreamExt as _, try_unfold};
use store::{EventQuery, EventRow};
use tokio::sync::watch;

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::event::check_kinds;
use crate::app::watch::{Guard, LOOK};

/// Rows read at a time: what a slow reader holds in memory.
const SLICE: usize = 100;

struct Watcher {
    app: Arc<App>,
    organization: Option<OrganizationId>,
    kinds: Vec<String>,
    after: u64,
    head: watch::Receiver<u64>,
    ready: VecDeque<EventRow>,
    guard: Guard,
}

impl App {
    /// Watches events after `after`; 0: only new ones.
    ///
    /// # Errors
    /// Bad fields.
    pub async fn event_watch(
        self: &Arc<Self>,
        caller: Caller,
        organization: Option<OrganizationId>,
        kinds: Vec<String>,
        after: u64,
    ) -> Result<BoxStream<'static, Result<EventRow, Error>>, Error> {
        caller.authorize(organization.as_ref())?;
        check_kinds(&kinds)?;
        let head = self.store.event_head();
        let newest = *head.borrow();
        let watcher = Watcher {
            app: Arc::clone(self),
            organization,
            kinds,
            after: if after == 0 { newest } else { after },
            head,
            ready: VecDeque::new(),
            guard: Guard::new(caller),
        };
        let next = |mut watcher: Watcher| async move {
            let event = watcher.next().await?;
            Ok(event.map(|event| (event, watcher)))
        };
        Ok(try_unfold(watcher, next).boxed())
    }
}

// === impl Watcher ===

impl Watcher {
    async fn next(&mut self) -> Result<Option<EventRow>, Error> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            self.guard.check(&self.app).await?;
            if self.read().await? {
                continue;
            }
            tokio::select! {
                changed = self.head.changed() => if changed.is_err() {
                    return Ok(None);
                },
                // A token that is revoked in silence ends the watch too.
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Reads the next slice; whether there was one.
    async fn read(&mut self) -> Result<bool, Error> {
        // What the head says is visible: rows up to it that are not in the answer are of other kinds or feeds.
        let head = *self.head.borrow_and_update();
        let query = EventQuery {
            organization: self.organization.clone(),
            after: Some(self.after),
            kinds: self.kinds.clone(),
            target: None,
            newest_first: false,
            limit: SLICE,
        };
        let rows = self.app.store.event_list(&query).await?;
        if rows.len() < SLICE {
            self.after = self.after.max(head);
        }
        if let Some(last) = rows.last() {
            self.after = self.after.max(last.sequence);
        }
        self.ready.extend(rows);
        Ok(!self.ready.is_empty())
    }
}
