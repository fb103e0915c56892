//! Rule 2: whether an executor is online. An open session on a replica whose lease runs, or last seen less than 30 s ago.

use std::collections::HashMap;
use std::time::Duration;

use domain::{ExecutorUid, Timestamp};

use crate::app::App;
use crate::app::error::Error;

/// Whether an executor is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// By rule 2.
    pub online: bool,
    /// Whether it has an open session.
    pub connected: bool,
    /// When it was last seen; none: never.
    pub last_seen: Option<Timestamp>,
}

/// Judges what the store says.
#[must_use]
pub fn judge(presence: Option<&store::Presence>, silent_after: Duration, now: Timestamp) -> Presence {
    let Some(presence) = presence else {
        return Presence::default();
    };
    let recent = presence.last_seen.is_some_and(|seen| now.since(seen) < silent_after);
    Presence { online: presence.connected || recent, connected: presence.connected, last_seen: presence.last_seen }
}

impl App {
    /// Whether executors are there; one query for any number. Those without any session are left out.
    pub(crate) async fn presences(
        &self,
        executors: &[ExecutorUid],
        now: Timestamp,
    ) -> Result<HashMap<ExecutorUid, Presence>, Error> {
        if executors.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.store.presence_list(executors).await?;
        let judged = |row: &store::Presence| {
            let presence = judge(Some(row), self.settings.silent_after, now);
            (row.executor, presence)
        };
        Ok(rows.iter().map(judged).collect())
    }

    /// Whether one executor is there.
    pub(crate) async fn presence(&self, executor: ExecutorUid, now: Timestamp) -> Result<Presence, Error> {
        let mut all = self.presences(&[executor], now).await?;
        Ok(all.remove(&executor).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn online_is_connected_or_seen_less_than_30_s_ago() {
        let now = Timestamp::from_micros(1_000_000_000);
        let row = |connected, ago| store::Presence {
            executor: ExecutorUid::new(Uuid::nil()),
            connected,
            last_seen: Some(now.minus(Duration::from_millis(ago))),
        };
        let online = |row: store::Presence| judge(Some(&row), Duration::from_secs(30), now).online;
        assert!(online(row(true, 60_000)));
        assert!(online(row(false, 29_999)));
        assert!(!online(row(false, 30_000)));
        assert!(!judge(None, Duration::from_secs(30), now).online);
    }
}
