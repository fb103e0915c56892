//! All that a store shows, in a form that a model can show too: numbers that a backend may space out as it likes (events,
//! changes) appear as an order.

use domain::{Attempt, Executor, Timestamp};
use novacula_store::{ChangeNumber, EventQuery, ExecutorQuery, Page, Presence, Store};

use crate::row;

/// What is to be seen.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Snapshot {
    /// Live ones, by name.
    pub(crate) executors: Vec<Executor>,
    /// By id, newest first.
    pub(crate) attempts: Vec<Attempt>,
    /// Positions in `row`, in order of deadline and id.
    pub(crate) due: Vec<Timestamp>,
    pub(crate) n_pending: u64,
    /// Open ones of each release.
    pub(crate) n_open: [usize; 2],
    /// By executor.
    pub(crate) presence: Vec<Presence>,
    /// Epochs and ends, newest first, of each executor.
    pub(crate) sessions: Vec<Vec<(u64, Option<Timestamp>)>>,
    /// Targets, oldest first.
    pub(crate) events: Vec<String>,
    /// Executor and generation, oldest first.
    pub(crate) changes: Vec<(domain::ExecutorUid, u64)>,
    /// Uses of each join token.
    pub(crate) uses: Vec<u32>,
    /// Of each certificate: whether it is there, and revoked.
    pub(crate) certificates: Vec<Option<bool>>,
    /// Of each executor.
    pub(crate) nodes: Vec<Vec<String>>,
}

impl Snapshot {
    /// What the store shows.
    pub(crate) async fn of_store(store: &dyn Store) -> Self {
        let uids: Vec<_> = (0..row::EXECUTORS).map(row::uid).collect();
        let acme = row::organization();
        let query = ExecutorQuery { organization: Some(acme.clone()), ..ExecutorQuery::default() };
        let executors = store.executor_list(&query, Page { after: None, limit: 100 }).await.expect("a page");
        let mut by_uid = store.executor_list_by_uid(&uids).await.expect("a list");
        by_uid.sort_by(|a, b| a.name.cmp(&b.name));
        assert_eq!(by_uid, executors, "both lists show the same");
        let page = Page { after: None, limit: 100 };
        let attempts = store.attempt_list_by_organization(&acme, page).await.expect("a page");
        let due = store.attempt_list_due(row::at(1_000), 100).await.expect("a list");
        let mut n_open = [0; 2];
        for (n, slot) in (0..2).zip(&mut n_open) {
            *slot = store
                .attempt_list_open_by_release(&row::release(n), None, Page { after: None, limit: 100 })
                .await
                .expect("a list")
                .len();
        }
        let mut presence = store.presence_list(&uids).await.expect("a list");
        presence.sort_by_key(|presence| presence.executor);
        let mut shown = Self {
            executors,
            due: due.iter().map(deadline).collect(),
            attempts,
            n_pending: store.attempt_count_pending().await.expect("a count"),
            n_open,
            presence,
            ..Self::default()
        };
        shown.read_lists(store, &acme).await;
        for uid in uids {
            let rows = store.session_list_recent(uid, Timestamp::EPOCH).await.expect("a list");
            shown.sessions.push(rows.iter().map(|row| (row.epoch.0, row.end_time)).collect());
            let page = Page { after: None, limit: 100 };
            let rows = store.node_list(uid, page).await.expect("a page");
            shown.nodes.push(rows.into_iter().map(|row| row.name).collect());
        }
        shown
    }

    async fn read_lists(&mut self, store: &dyn Store, acme: &domain::OrganizationId) {
        let query = EventQuery { organization: Some(acme.clone()), limit: 1_000, ..EventQuery::default() };
        let events = store.event_list(&query).await.expect("a list");
        self.events = events.into_iter().map(|event| event.target).collect();
        let changes = store.change_list_since(ChangeNumber(0), 1_000).await.expect("a list");
        self.changes = changes.iter().map(|change| (change.executor, change.generation.0)).collect();
        for n in 0..row::TOKENS {
            let token = store.join_token_get(&row::token(n)).await.expect("a read");
            self.uses.push(token.expect("it is there").uses);
        }
        for n in 0..row::EXECUTORS {
            let certificate = store.certificate_get(&row::fingerprint(n)).await.expect("a read");
            self.certificates.push(certificate.map(|certificate| certificate.revoke_time.is_some()));
        }
    }
}

/// The deadline that [`crate::call::Write::row`] gave it.
pub(crate) fn deadline(attempt: &Attempt) -> Timestamp {
    row::at(if attempt.revision.0 == 1 { 30 } else { 40 })
}
