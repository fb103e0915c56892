//! What changes on a page while it is open: server-sent events (HTML, section 9.2) whose data is a part of the page, rendered by
//! the template that rendered it first.
//!
//! ```text
//! a change of the API's watch, or time passing -> wait a little, so that a burst is one -> render -> sent if it is another
//! ```
//!
//! One page holds one part, its last text as a digest, and one watch: memory does not grow while it is open. It is a task of its
//! own, so that a browser that takes nothing leaves it between two looks and never within one. The browser dials again by
//! itself, and hears the whole part first, so that nothing is missed in between.

use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use domain::Sha256;
use futures_util::{Stream, StreamExt as _};
use tokio_util::sync::CancellationToken;

use crate::tls::authority::sha256;
use crate::web::Web;
use crate::web::error::PageError;

/// How long a burst of changes is gathered. A person sees no difference below it.
const GATHER: Duration = Duration::from_millis(200);

/// Least time between two looks at a list: in a large fleet something changes all the time, and each look reads a page of it.
const CALM: Duration = Duration::from_secs(2);

/// Time itself changes what is said ("stuck for a minute").
const TICK: Duration = Duration::from_secs(10);

/// Proxies close what is silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How long one page is served: then the browser comes back, and its session is judged anew.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// How often a part is looked at when what it shows changes all the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// One executor, one attempt: at once.
    Prompt,
    /// A list: at once, and then not more often than every two seconds.
    Calm,
}

/// What one look at the part gave.
#[derive(Clone, Debug)]
pub enum Part {
    /// Its HTML now.
    Now(String),
    /// It will not change any more.
    Last(String),
}

/// Streams a part: `changes` wakes, `render` looks. A refusal ends the stream; the browser's next request is told why.
pub fn part<C, F, R>(web: &Web, pace: Pace, changes: C, render: R) -> Response
where
    C: Stream<Item = ()> + Send + Unpin + 'static,
    R: FnMut() -> F + Send + 'static,
    F: Future<Output = Result<Part, PageError>> + Send + 'static,
{
    let farewell = Event::default().comment("the server is going away");
    let stream = web.tasks.drive("page", events(pace, changes, web.draining.clone(), render), Ok(farewell));
    // An event, not a comment: scripts see none of those, and a network that dies in silence has to be noticed.
    let beat = Event::default().event("beat").data(".");
    Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).event(beat)).into_response()
}

/// Where the stream is.
struct Following<C, R> {
    changes: C,
    draining: CancellationToken,
    render: R,
    pace: Pace,
    last: Option<Sha256>,
    looked: tokio::time::Instant,
    ends: tokio::time::Instant,
    is_over: bool,
}

fn events<C, F, R>(
    pace: Pace,
    changes: C,
    draining: CancellationToken,
    render: R,
) -> impl Stream<Item = Result<Event, Infallible>> + Send
where
    C: Stream<Item = ()> + Send + Unpin + 'static,
    R: FnMut() -> F + Send + 'static,
    F: Future<Output = Result<Part, PageError>> + Send + 'static,
{
    let now = tokio::time::Instant::now();
    let following =
        Following { changes, draining, render, pace, last: None, looked: now, ends: now + LIFE, is_over: false };
    futures_util::stream::unfold(following, |mut following| async move {
        let event = following.next().await?;
        Some((Ok(event), following))
    })
}

impl<C, R, F> Following<C, R>
where
    C: Stream<Item = ()> + Send + Unpin,
    R: FnMut() -> F + Send,
    F: Future<Output = Result<Part, PageError>> + Send + 'static,
{
    /// The next event, once the part is another than it was.
    async fn next(&mut self) -> Option<Event> {
        while !self.is_over {
            if self.last.is_some() && !self.woken().await {
                return None;
            }
            self.looked = tokio::time::Instant::now();
            let (text, kind) = match (self.render)().await.ok()? {
                Part::Now(text) => (text, "part"),
                Part::Last(text) => {
                    self.is_over = true;
                    (text, "last")
                }
            };
            let digest = sha256(text.as_bytes());
            if self.last.replace(digest) != Some(digest) || self.is_over {
                // A carriage return would end a line of the event.
                return Some(Event::default().event(kind).data(text.replace('\r', "")));
            }
        }
        None
    }

    /// Waits for a change, or for time to pass; false when the stream is to end.
    async fn woken(&mut self) -> bool {
        let draining = self.draining.clone();
        tokio::select! {
            () = draining.cancelled() => false,
            () = tokio::time::sleep_until(self.ends) => false,
            () = tokio::time::sleep(TICK) => true,
            change = self.changes.next() => match change {
                // A burst becomes one look.
                Some(()) => {
                    let gathered = tokio::time::Instant::now() + GATHER;
                    let rested = match self.pace {
                        Pace::Prompt => gathered,
                        Pace::Calm => self.looked + CALM,
                    };
                    tokio::time::sleep_until(gathered.max(rested).min(self.ends)).await;
                    while let Some(Some(())) = futures_util::FutureExt::now_or_never(self.changes.next()) {}
                    true
                }
                None => false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_look_and_what_did_not_change_is_not_sent() {
        let looks = Arc::new(AtomicUsize::new(0));
        let (wake, woken) = tokio::sync::mpsc::channel::<()>(8);
        let counted = Arc::clone(&looks);
        let render = move || {
            let n = counted.fetch_add(1, Ordering::SeqCst);
            async move { Ok(if n < 2 { Part::Now("same".to_owned()) } else { Part::Last("other".to_owned()) }) }
        };
        let woken = tokio_stream::wrappers::ReceiverStream::new(woken);
        let mut events = Box::pin(events(Pace::Prompt, woken, CancellationToken::new(), render));
        assert!(events.next().await.is_some());
        for _ in 0..5 {
            wake.send(()).await.expect("it listens");
        }
        // The second look is the same and is not sent; time brings the third.
        assert!(events.next().await.is_some());
        assert_eq!(looks.load(Ordering::SeqCst), 3);
        assert!(events.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_that_changes_all_the_time_is_looked_at_every_two_seconds() {
        let changes = futures_util::stream::repeat(()).then(|()| tokio::time::sleep(Duration::from_millis(10)));
        let mut looks = 0;
        let render = move || {
            looks += 1;
            async move { Ok(Part::Now(looks.to_string())) }
        };
        let began = tokio::time::Instant::now();
        let mut events = Box::pin(events(Pace::Calm, Box::pin(changes), CancellationToken::new(), render));
        for _ in 0..6 {
            assert!(events.next().await.is_some());
        }
        assert!((Duration::from_secs(10)..Duration::from_secs(11)).contains(&began.elapsed()), "{:?}", began.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_live_ends_when_the_server_drains() {
        let draining = CancellationToken::new();
        let changes = futures_util::stream::pending();
        let render = || async { Ok(Part::Now("same".to_owned())) };
        let mut events = Box::pin(events(Pace::Prompt, changes, draining.clone(), render));
        assert!(events.next().await.is_some());
        draining.cancel();
        assert!(events.next().await.is_none());
    }
}
