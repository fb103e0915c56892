//! The feed and the audit log, a page at a time. (Watching it is in [`crate::app::watch`].)

use domain::{OrganizationId, audit::EventKind};
use store::{EventQuery, EventRow};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::page::{Listed, PageRequest};

/// Rows of a page when none are asked for (event_service.proto).
const PAGE: usize = 100;

/// Most kinds of one question: more than there are.
const KINDS_MAX: usize = 100;

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Whose feed; none: the installation's own.
    pub organization: Option<OrganizationId>,
    /// Only after this number.
    pub after_sequence: u64,
    /// Only these kinds; `executor.*` takes a family. Empty: all.
    pub kinds: Vec<String>,
    /// Only about this resource; empty: all.
    pub target: String,
}

/// A page of events, and where a watch goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPage {
    /// The rows.
    pub listed: Listed<EventRow>,
    /// The list is complete up to this number; none: another page of it says so.
    pub watch_after: Option<u64>,
}

/// In which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// As it happened.
    OldestFirst,
    /// The newest at the top.
    NewestFirst,
}

/// Checks that every kind, or family, is one that there is: a typing mistake would otherwise wait for ever.
pub(crate) fn check_kinds(kinds: &[String]) -> Result<(), Error> {
    if kinds.len() > KINDS_MAX {
        return Err(Error::field("types", format!("are more than {KINDS_MAX}")));
    }
    let known = |asked: &str| match asked.strip_suffix('*') {
        Some(family) => family.ends_with('.') && EventKind::ALL.iter().any(|kind| kind.as_str().starts_with(family)),
        None => EventKind::parse(asked).is_some(),
    };
    match kinds.iter().find(|kind| !known(kind)) {
        None => Ok(()),
        Some(kind) => {
            let shown: String = kind.chars().take(80).collect();
            let rule =
                format!("{shown:?} is no type of event; write `executor.connected`, or `executor.*` for a family");
            Err(Error::field("types", rule))
        }
    }
}

impl App {
    /// A page of events.
    ///
    /// # Errors
    /// Bad fields.
    pub async fn event_list(
        &self,
        caller: &Caller,
        filter: &EventFilter,
        order: Order,
        page: &PageRequest,
    ) -> Result<EventPage, Error> {
        caller.authorize(filter.organization.as_ref())?;
        check_kinds(&filter.kinds)?;
        let cut = page.judge::<u64>(format!("events {filter:?} {order:?}"), PAGE)?;
        let newest_first = order == Order::NewestFirst;
        let from_beginning = (filter.after_sequence != 0 && !newest_first).then_some(filter.after_sequence);
        let query = EventQuery {
            organization: filter.organization.clone(),
            after: cut.after.or(from_beginning),
            kinds: filter.kinds.clone(),
            target: (!filter.target.is_empty()).then(|| filter.target.clone()),
            newest_first,
            limit: cut.one_more(),
        };
        // Before the rows are read: all up to it are visible then, and may be newer than this replica has heard.
        let head = *self.store.event_head().borrow();
        let mut rows = self.store.event_list(&query).await?;
        if newest_first {
            // The walk goes down: it ends where `after_sequence` says.
            rows.retain(|row| row.sequence > filter.after_sequence);
        }
        let listed = cut.page(rows, |row| row.sequence);
        let reaches_the_newest = if newest_first { cut.after.is_none() } else { listed.next_page_token.is_empty() };
        let seen = listed.rows.iter().map(|row| row.sequence).chain([head, filter.after_sequence]);
        let watch_after = seen.max().filter(|_| reaches_the_newest);
        Ok(EventPage { listed, watch_after })
    }
}
