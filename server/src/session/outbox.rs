//! What a session has to say and its peer has not taken yet: one slot of latest desired, and a few answers.
//!
//! It is no queue that a slow peer could make grow: a newer desired takes the older one's place, heartbeats' answers are
//! one, and the other answers are as many as the peer has open questions, up to [`ANSWERS_MAX`]. The dispatcher writes into
//! it without waiting; the response's body reads from it ([`Reader`]) whenever the peer has room. When something has waited
//! for too long the driver sees it ([`Outbox::waiting_since`]) and closes.
//!
//! Answers go before desired, so that welcome is the first word of every stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use domain::sync::Response;
use domain::{Desired, Generation, Version};
use futures_util::Stream;
use futures_util::task::AtomicWaker;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::session::close::Close;
use crate::session::metric;

/// Answers that may wait. A hello may carry 256 unsent outcomes, each acknowledged, and each reported once more.
const ANSWERS_MAX: usize = 600;

/// What is said next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// An answer.
    Answer(Response),
    /// What is desired now.
    Desired {
        /// That.
        desired: Box<Desired>,
        /// For a rollback: which version comes back.
        rollback_to: Option<Version>,
    },
    /// The last word.
    Close(Close),
}

/// Whether a desired that was said already is said again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// The peer asked for it.
    Yes,
    /// Only what is newer.
    No,
}

/// What waits to be said. Shared by driver, dispatcher, admission and the response's body.
#[derive(Debug, Default)]
pub struct Outbox {
    inner: Mutex<Inner>,
    /// Wakes the body.
    reader: AtomicWaker,
    /// Wakes the driver: closed, or the body is gone.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    answers: VecDeque<Response>,
    desired: Option<Push>,
    /// The generation of the newest desired that was put in.
    newest: Option<Generation>,
    /// Written and not yet acknowledged, with the time of the commit's wake-up.
    written: Option<(Generation, Instant)>,
    waiting_since: Option<Instant>,
    close: Option<Close>,
    reader_gone: bool,
}

#[derive(Debug)]
struct Push {
    desired: Box<Desired>,
    rollback_to: Option<Version>,
    /// When its commit was heard of; none: nobody was waiting (a stream that opens).
    woken: Option<Instant>,
}

/// The response's body. Dropping it is how the peer's end is noticed.
#[derive(Debug)]
pub struct Reader {
    outbox: Arc<Outbox>,
    finished: bool,
}

// === impl Outbox ===

impl Outbox {
    /// An empty one, and the body that reads it.
    #[must_use]
    pub fn new() -> (Arc<Self>, Reader) {
        let outbox = Arc::new(Self::default());
        let reader = Reader { outbox: Arc::clone(&outbox), finished: false };
        (outbox, reader)
    }

    /// Says an answer.
    pub fn say(&self, response: Response) {
        let mut inner = self.lock();
        // One sign of life is as good as two.
        if response == Response::HeartbeatAck && inner.answers.contains(&response) {
            return;
        }
        if inner.answers.len() >= ANSWERS_MAX {
            let message = "too many questions are open; wait for the answers".to_owned();
            inner.end(Close::Nonsense { field: None, message });
            drop(inner);
            self.wake_all();
            return;
        }
        inner.answers.push_back(response);
        inner.wait();
        drop(inner);
        self.reader.wake();
    }

    /// Puts in what is desired now, unless it is older than what was put in before. `woken` is when its commit was heard of.
    pub fn desire(&self, desired: Desired, rollback_to: Option<Version>, woken: Option<Instant>, repeat: Repeat) {
        let mut inner = self.lock();
        let old = match repeat {
            Repeat::No => inner.newest >= Some(desired.generation),
            Repeat::Yes => inner.newest > Some(desired.generation),
        };
        if old || inner.close.is_some() {
            return;
        }
        inner.newest = Some(desired.generation);
        inner.desired = Some(Push { desired: Box::new(desired), rollback_to, woken });
        inner.wait();
        drop(inner);
        self.reader.wake();
    }

    /// Ends it. Answers that wait are still said, then the reason. The first reason stays.
    pub fn close(&self, close: Close) {
        self.lock().end(close);
        self.wake_all();
    }

    /// Since when something has been waiting for the peer.
    #[must_use]
    pub fn waiting_since(&self) -> Option<Instant> {
        self.lock().waiting_since
    }

    /// Waits until it is closed or the peer is gone.
    pub async fn ended(&self) -> Close {
        loop {
            // Registered before looking, so that an end between the two is not missed.
            let ended = self.ended.notified();
            if let Some(close) = self.end() {
                return close;
            }
            ended.await;
        }
    }

    /// The peer has seen `generation`: how long that took from its commit, when it was waited for.
    #[must_use]
    pub fn acknowledged(&self, generation: Generation) -> Option<std::time::Duration> {
        let mut inner = self.lock();
        let (_, woken) = inner.written.take_if(|(written, _)| *written <= generation)?;
        Some(woken.elapsed())
    }

    fn end(&self) -> Option<Close> {
        let inner = self.lock();
        match &inner.close {
            Some(close) => Some(close.clone()),
            None => inner.reader_gone.then_some(Close::Disconnected),
        }
    }

    fn wake_all(&self) {
        self.ended.notify_waiters();
        self.reader.wake();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here panics half-way.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inner ===

impl Inner {
    fn wait(&mut self) {
        if self.waiting_since.is_none() {
            self.waiting_since = Some(Instant::now());
        }
    }

    fn end(&mut self, close: Close) {
        self.desired = None;
        if self.close.is_none() {
            self.close = Some(close);
        }
    }

    fn take(&mut self) -> Option<Said> {
        let said = if let Some(answer) = self.answers.pop_front() {
            Some(Said::Answer(answer))
        } else if let Some(push) = self.desired.take() {
            if let Some(woken) = push.woken {
                metric::delivered(woken.elapsed());
                self.written = Some((push.desired.generation, woken));
            }
            Some(Said::Desired { desired: push.desired, rollback_to: push.rollback_to })
        } else {
            self.close.clone().map(Said::Close)
        };
        // Nothing to say is how a stream is most of the time, and there are as many as executors.
        if self.answers.is_empty() {
            self.answers = VecDeque::new();
        }
        // The peer takes things: what is left has its own time.
        let more = !self.answers.is_empty() || self.desired.is_some();
        self.waiting_since = more.then(Instant::now);
        said
    }
}

// === impl Reader ===

impl Stream for Reader {
    type Item = Said;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Said>> {
        if self.finished {
            return Poll::Ready(None);
        }
        // Registered before looking, so that a word between the two is not missed.
        self.outbox.reader.register(cx.waker());
        let said = self.outbox.lock().take();
        match said {
            Some(said) => {
                self.finished = matches!(said, Said::Close(_));
                Poll::Ready(Some(said))
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.outbox.lock().reader_gone = true;
        self.outbox.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
