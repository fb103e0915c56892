//! What wakes the page of one executor: the rows of the feed about it, and every step of the attempt that is open.

use std::future;
use std::pin::Pin;

use domain::ExecutorName;
use futures_util::{Stream, StreamExt as _};
use proto::v1;
use tonic::{Status, Streaming};

use crate::web::client::Api;

/// What is watched.
struct Watched {
    api: Api,
    name: String,
    events: Streaming<v1::WatchEventsResponse>,
    attempt: Option<Streaming<v1::WatchAttemptResponse>>,
}

/// Something about the executor changed, perhaps.
///
/// # Errors
/// The reader may not look, or the executor is not there.
pub(super) async fn changes(api: &Api, name: &ExecutorName) -> Result<Pin<Box<dyn Stream<Item = ()> + Send>>, Status> {
    let types = ["executor.*", "attempt.*"].map(str::to_owned).to_vec();
    let parent = format!("organizations/{}", name.organization);
    // Before the first look, so that nothing falls between.
    let request = v1::WatchEventsRequest { parent, after_sequence: 0, types };
    let events = api.events().watch_events(request).await?.into_inner();
    let name = name.to_string();
    let executor = api.executors().get_executor(v1::GetExecutorRequest { name: name.clone() }).await?.into_inner();
    let mut watched = Watched { api: api.clone(), name, events, attempt: None };
    watched.follow(executor.open_attempt).await;
    Ok(Box::pin(futures_util::stream::unfold(watched, |mut watched| async move {
        watched.next().await?;
        Some(((), watched))
    })))
}

// === impl Watched ===

impl Watched {
    /// None: a watch ended, and the browser is to come back.
    async fn next(&mut self) -> Option<()> {
        loop {
            tokio::select! {
                event = self.events.next() => {
                    let event = event?.ok()?.event?;
                    if !is_about(&event.target, &self.name) {
                        continue;
                    }
                    if event.r#type == "attempt.requested" {
                        self.follow(event.target).await;
                    }
                    return Some(());
                }
                change = step(&mut self.attempt) => {
                    // Its outcome is in the feed as well.
                    if change.is_none() {
                        self.attempt = None;
                    }
                    return Some(());
                }
            }
        }
    }

    /// Bytes on their way are in no feed: the attempt itself tells them.
    async fn follow(&mut self, attempt: String) {
        if attempt.is_empty() {
            return;
        }
        let watch = self.api.upgrades().watch_attempt(v1::WatchAttemptRequest { name: attempt }).await;
        self.attempt = watch.ok().map(tonic::Response::into_inner);
    }
}

async fn step(attempt: &mut Option<Streaming<v1::WatchAttemptResponse>>) -> Option<()> {
    match attempt {
        Some(changes) => changes.next().await?.ok().map(|_| ()),
        None => future::pending().await,
    }
}

/// Whether a row of the feed is about the executor or one of its attempts, and not about `web-10` when `web-1` is meant.
fn is_about(target: &str, name: &str) -> bool {
    target.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_woken_by_its_own_executor_only() {
        let name = "organizations/acme/executors/web-1";
        assert!(is_about(name, name));
        assert!(is_about("organizations/acme/executors/web-1/attempts/a", name));
        for other in
            ["organizations/acme/executors/web-10", "organizations/acme/executors/web", "releases/agent-1.0.0", ""]
        {
            assert!(!is_about(other, name), "{other}");
        }
    }
}
