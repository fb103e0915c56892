//! All that a store shows of an installation, line by line. What has no list in the traits (certificates, aliases) is asked for
//! by the keys in the file.

use std::fmt::Debug;
use std::path::Path;

use domain::{AttemptId, ExecutorUid, Kind, OrganizationId, RequestId, Sha256, Timestamp};
use novacula_store::{ChangeNumber, EventQuery, ExecutorQuery, Page, Store};
use rusqlite::Connection;

/// More than any source of a trial has.
const ALL: usize = 100_000;

/// The end of time, as far as both backends count.
const LATE: Timestamp = Timestamp::from_micros(4_000_000_000_000_000);

/// Keys that the traits ask for and do not list.
pub(crate) struct Keys {
    fingerprints: Vec<Sha256>,
    requests: Vec<(OrganizationId, RequestId)>,
}

impl Keys {
    /// Of the database at `path`.
    pub(crate) fn of(path: &Path) -> Self {
        let file = Connection::open(path).expect("the file");
        let mut fingerprints = file.prepare("SELECT fingerprint FROM certificates ORDER BY 1").expect("a statement");
        let fingerprints = fingerprints.query_map([], |row| row.get::<_, String>(0)).expect("rows");
        let requests = "SELECT organization, request_id FROM attempts WHERE request_id IS NOT NULL \
                        UNION ALL SELECT organization, request_id FROM request_aliases ORDER BY 1, 2";
        let mut requests = file.prepare(requests).expect("a statement");
        let requests = requests.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        Self {
            fingerprints: fingerprints.map(|text| text.expect("text").parse().expect("a digest")).collect(),
            requests: requests
                .expect("rows")
                .map(|row| row.expect("text"))
                .map(|(organization, id)| {
                    (OrganizationId::new(&organization).expect("a label"), RequestId::new(&id).expect("an id"))
                })
                .collect(),
        }
    }
}

fn page<K>() -> Page<K> {
    Page { after: None, limit: ALL }
}

fn say<T: Debug>(lines: &mut Vec<String>, what: &str, rows: impl IntoIterator<Item = T>) {
    lines.extend(rows.into_iter().map(|row| format!("{what}: {row:?}")));
}

/// What it shows. An open session is shown as ended when its executor was last seen: that is how it is carried.
pub(crate) async fn all(store: &dyn Store, keys: &Keys) -> Vec<String> {
    let mut lines = Vec::new();
    let organizations = store.organization_list(page()).await.expect("a page");
    let feeds = organizations.iter().map(|organization| Some(organization.id.clone())).chain([None]);
    for feed in feeds {
        of_feed(store, feed.as_ref(), &mut lines).await;
    }
    say(&mut lines, "organization", organizations);
    let changes = store.change_list_since(ChangeNumber(0), ALL).await.expect("a list");
    for change in &changes {
        of_executor(store, change.executor, &mut lines).await;
    }
    say(&mut lines, "change", changes);
    say(&mut lines, "change head", [store.change_head().await.expect("a number")]);
    let mut due = store.attempt_list_due(LATE, ALL).await.expect("a list");
    due.sort_by_key(|attempt| attempt.id);
    say(&mut lines, "due", due);
    say(&mut lines, "pending", [store.attempt_count_pending().await.expect("a count")]);
    for kind in [Kind::Agent, Kind::Operator] {
        let mut releases = store.release_list(kind).await.expect("a list");
        releases.sort_by_key(|release| release.id.to_string());
        say(&mut lines, "release", releases);
    }
    for fingerprint in &keys.fingerprints {
        say(
            &mut lines,
            "certificate",
            [store.certificate_get(fingerprint).await.expect("a read").expect("it is there")],
        );
    }
    for (organization, id) in &keys.requests {
        let found = store.attempt_list_by_request(organization, std::slice::from_ref(id)).await.expect("a list");
        say(&mut lines, &format!("request {organization} {id:?}"), [found[id].id]);
    }
    lines
}

async fn of_feed(store: &dyn Store, feed: Option<&OrganizationId>, lines: &mut Vec<String>) {
    say(lines, "token", store.token_list(feed, page()).await.expect("a page"));
    let query = EventQuery { organization: feed.cloned(), limit: ALL, ..EventQuery::default() };
    say(lines, "event", store.event_list(&query).await.expect("a page"));
    let Some(organization) = feed else {
        return;
    };
    say(lines, "join token", store.join_token_list(organization, page()).await.expect("a page"));
    let query = ExecutorQuery { organization: Some(organization.clone()), ..ExecutorQuery::default() };
    say(lines, "executor", store.executor_list(&query, page()).await.expect("a page"));
    say(lines, "attempt", store.attempt_list_by_organization(organization, page()).await.expect("a page"));
}

async fn of_executor(store: &dyn Store, uid: ExecutorUid, lines: &mut Vec<String>) {
    say(lines, "by uid", store.executor_list_by_uid(&[uid]).await.expect("a list"));
    let attempts = store.attempt_list(uid, page::<AttemptId>()).await.expect("a page");
    say(lines, "its attempt", attempts);
    say(lines, "node", store.node_list(uid, page()).await.expect("a page"));
    let presence = store.presence_list(&[uid]).await.expect("a list").pop();
    let last_seen = presence.and_then(|presence| presence.last_seen);
    say(lines, "last seen", last_seen);
    let mut sessions = store.session_list_recent(uid, Timestamp::EPOCH).await.expect("a list");
    sessions.iter_mut().for_each(|session| session.end_time = session.end_time.or(last_seen));
    say(lines, "session", sessions);
}
