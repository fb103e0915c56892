//! The stream and the dial of the next one. It knows nothing of attempts.
//!
//! ```text
//! next:     nothing ←──────────────── welcome ───────────────┐
//!              │ reconnect, loss, failure                     │
//!              └─→ at a time ─→ dialling ─→ dialled ─hello─→ opening
//! session:  none, or up until it ends or the next one is welcome
//! ```
//!
//! Told to dial again it tries until it is welcome. What is only offered ([`OFFERED`]) it tries as `offer` says, and then it
//! stays: without that, replicas that have all lost their database would be dialled by everybody for as long as it lasts.

mod offer;
mod session;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::join::Endpoint;
use domain::sync::{Hello, OFFERED, Request, Response, Welcome};
use proto::convert::sync;
use proto::v1;
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

use self::offer::Offer;
use self::session::{Answer, Session, open};
use super::ANSWER_DEADLINE;
use crate::connect::{self, Backoff, Connection, Error};
use crate::credentials::Credentials;

/// A stream that lived this long was a good one: what ends it is a new trouble, not the old one again.
const GOOD_LIFE: Duration = Duration::from_secs(30);

/// How long the last words may take to be written when the process ends.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Longest that an executor stays away because it is told to: an hour. A wrong word must not lose an executor for good.
const LATER_MAX: Duration = Duration::from_secs(60 * 60);

type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// What happened.
pub(super) enum Event {
    /// TLS is up, nothing was said: [`Link::open`], or renew over [`Link::dialled`].
    Dialled,
    /// A new stream is open and is the one that counts.
    Welcome(Welcome),
    /// The control plane says something.
    Said(Response),
    /// Nothing but when to look at the time next.
    Rescheduled,
    /// The stream is gone.
    Lost(String),
    /// No stream came about.
    Refused {
        /// Why.
        why: String,
        /// Whether it was for our certificate.
        certificate: Certificate,
    },
}

/// Whether the control plane refused the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certificate {
    Refused,
    NotTheTrouble,
}

pub(super) struct Link {
    endpoints: Vec<Endpoint>,
    at: usize,
    tls: Arc<ClientConfig>,
    session: Option<Session>,
    next: Next,
    /// What is next is tried because it was offered, and need not come about.
    offer: Option<Offer>,
    backoff: Backoff,
    trouble: Option<String>,
    /// The old stream ended while the next one was being opened: told only if that fails.
    lost: Option<String>,
}

enum Next {
    Nothing,
    At(Instant),
    Dialling(Pending<Connection>),
    Dialled(Connection),
    Opening(Pending<Answer>),
}

/// What `next` waited for.
enum Came {
    Said(Result<Option<v1::SyncExecutorResponse>, tonic::Status>),
    Dialled(Result<Connection, Error>),
    Answered(Result<Answer, Error>),
}

impl Link {
    pub(super) fn new(credentials: &Credentials) -> Result<Self, Error> {
        Ok(Self {
            endpoints: credentials.endpoints.clone(),
            at: 0,
            tls: connect::tls(credentials)?,
            session: None,
            next: Next::At(Instant::now()),
            offer: None,
            backoff: Backoff::default(),
            trouble: None,
            lost: None,
        })
    }

    pub(super) const fn is_up(&self) -> bool {
        self.session.is_some()
    }

    /// Whether the stream is up and the control plane reads: what is said now does not fall, and leaves room for what is urgent.
    pub(super) fn has_room(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_room())
    }

    /// Where the stream is up, or will be tried next.
    pub(super) fn endpoint(&self) -> &Endpoint {
        self.session.as_ref().map_or_else(|| &self.endpoints[self.at], |session| session.connection.endpoint())
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    pub(super) fn tls(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.tls)
    }

    /// The connection under the stream, for other calls.
    pub(super) fn connection(&self) -> Option<Connection> {
        self.session.as_ref().map(|session| session.connection.clone())
    }

    /// The connection that has no stream yet.
    pub(super) fn dialled(&self) -> Option<Connection> {
        match &self.next {
            Next::Dialled(connection) => Some(connection.clone()),
            _ => None,
        }
    }

    /// Says it on the stream. Without one, or when the control plane does not read, it falls: whatever matters is said again.
    pub(super) fn say(&mut self, request: Request) {
        if let Some(session) = &mut self.session {
            session.say(request);
        }
    }

    /// Says hello over the connection that was dialled.
    pub(super) fn open(&mut self, hello: Hello) {
        if let Next::Dialled(connection) = std::mem::replace(&mut self.next, Next::Nothing) {
            self.next = Next::Opening(Box::pin(open(connection, hello)));
        }
    }

    /// The next thing that happens. Cancel safe: what is waited for stays in `self`.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            let came = self.came().await;
            if let Some(event) = self.take(came) {
                return event;
            }
        }
    }

    async fn came(&mut self) -> Came {
        let Self { session, next, .. } = self;
        let said = async {
            match session {
                Some(session) => session.inbox.message().await,
                None => pending().await,
            }
        };
        let step = async {
            match next {
                Next::Dialling(dialling) => Came::Dialled(dialling.await),
                Next::Opening(opening) => Came::Answered(opening.await),
                Next::Nothing | Next::At(_) | Next::Dialled(_) => pending().await,
            }
        };
        tokio::select! {
            // What the present stream says.
            said = said => Came::Said(said),
            // How far the next one is.
            step = step => step,
        }
    }

    fn take(&mut self, came: Came) -> Option<Event> {
        match came {
            Came::Said(Ok(Some(wire))) => self.said(wire),
            Came::Said(Ok(None)) => self.lose("the control plane ended the stream".to_owned()),
            Came::Said(Err(status)) => {
                let error = self.session.as_ref().map(|session| session.connection.error(&status));
                self.lose(error.map_or_else(|| status.to_string(), |error| crate::report::chain(&error)))
            }
            Came::Dialled(Ok(connection)) => {
                self.next = Next::Dialled(connection);
                Some(Event::Dialled)
            }
            Came::Answered(Ok(Answer::Welcome(session, welcome))) => {
                self.session = Some(*session);
                self.next = Next::Nothing;
                self.offer = None;
                self.trouble = None;
                self.lost = None;
                Some(Event::Welcome(welcome))
            }
            Came::Answered(Ok(Answer::Later(after))) => {
                self.next = match &mut self.offer {
                    Some(_) => self.declined(after),
                    None => Next::At(later(after)),
                };
                Some(self.lost.take().map_or(Event::Rescheduled, Event::Lost))
            }
            Came::Dialled(Err(error)) | Came::Answered(Err(error)) => Some(self.refused(&error)),
        }
    }

    fn said(&mut self, wire: v1::SyncExecutorResponse) -> Option<Event> {
        if let Some(session) = &mut self.session {
            session.unanswered = None;
        }
        match sync::response(wire) {
            Ok(Some(Response::Reconnect { after, reason })) => {
                tracing::info!(?after, reason, "told to dial again");
                self.told(after, &reason);
                Some(Event::Rescheduled)
            }
            Ok(Some(Response::HeartbeatAck) | None) => None,
            Ok(Some(response)) => Some(Event::Said(response)),
            Err(error) => {
                tracing::warn!(error = %error, "the control plane says something that cannot be used");
                None
            }
        }
    }

    fn told(&mut self, after: Duration, reason: &str) {
        if reason != OFFERED {
            // From here on it has to come about, also what is under way already.
            self.offer = None;
            if matches!(self.next, Next::Nothing | Next::At(_)) {
                self.next = Next::At(later(after));
            }
        } else if matches!(self.next, Next::Nothing) {
            self.offer = Some(Offer::default());
            self.elsewhere();
            self.next = Next::At(later(after));
        }
    }

    /// What was offered did not come about: not again before `after`.
    fn declined(&mut self, after: Duration) -> Next {
        match self.offer.as_mut().and_then(|offer| offer.fail(rand::random())) {
            Some(wait) => {
                self.elsewhere();
                Next::At(later(after.max(wait)))
            }
            None => {
                tracing::info!("nobody takes what was offered; the present stream goes on");
                self.offer = None;
                Next::Nothing
            }
        }
    }

    /// What is to be said in a hello is different now: a new stream says it, the present one is used meanwhile.
    pub(super) fn again_now(&mut self) {
        if matches!(self.next, Next::Nothing) {
            self.next = Next::At(Instant::now());
        }
    }

    fn elsewhere(&mut self) {
        self.at = (self.at + 1) % self.endpoints.len();
    }

    fn lose(&mut self, why: String) -> Option<Event> {
        let lived = self.session.take().map(|session| session.since.elapsed());
        if lived.is_some_and(|lived| lived >= GOOD_LIFE) {
            self.backoff.succeed();
        }
        self.trouble = Some(why.clone());
        // There is nothing left to stay on.
        let offered = self.offer.take().is_some();
        match self.next {
            Next::Nothing => self.next = Next::At(Instant::now() + self.backoff.wait()),
            Next::At(_) if offered => self.next = Next::At(Instant::now() + self.backoff.wait()),
            // A newer stream ends the older one, often before its own welcome is read.
            Next::Opening(_) => {
                self.lost = Some(why);
                return None;
            }
            Next::At(_) | Next::Dialling(_) | Next::Dialled(_) => {}
        }
        Some(Event::Lost(why))
    }

    fn refused(&mut self, error: &Error) -> Event {
        let certificate = if error.is_of_the_certificate() { Certificate::Refused } else { Certificate::NotTheTrouble };
        let why = crate::report::chain(error);
        self.again(why.clone());
        // Both are news, and the loss came first; the refusal has the same consequence when it comes as one.
        match self.lost.take() {
            Some(lost) => Event::Lost(format!("{lost}; {why}")),
            None => Event::Refused { why, certificate },
        }
    }

    fn again(&mut self, why: String) {
        if self.offer.is_some() {
            self.next = self.declined(Duration::ZERO);
            return;
        }
        self.trouble = Some(why);
        self.elsewhere();
        self.next = Next::At(Instant::now() + self.backoff.wait());
    }

    /// The renewal over the connection that was dialled for it failed.
    pub(super) fn could_not_renew(&mut self, why: String) {
        if matches!(self.next, Next::Dialled(_)) {
            self.again(why);
        }
    }

    /// The next stream is opened with the next certificate, at once; the present one is used meanwhile.
    pub(super) fn renew(&mut self, credentials: &Credentials) -> Result<(), Error> {
        self.tls = connect::tls(credentials)?;
        self.offer = None;
        self.next = self.dial();
        Ok(())
    }

    fn dial(&self) -> Next {
        let (endpoint, tls) = (self.endpoints[self.at].clone(), self.tls());
        Next::Dialling(Box::pin(async move { connect::dial(&endpoint, tls).await }))
    }

    /// How long until [`Link::look_at_the_time`] has something to do.
    pub(super) fn due_in(&self) -> Option<Duration> {
        let next = match self.next {
            Next::At(at) => Some(at),
            _ => None,
        };
        let answer = self.answer_due();
        let now = Instant::now();
        [next, answer].into_iter().flatten().map(|at| at.saturating_duration_since(now)).min()
    }

    fn answer_due(&self) -> Option<Instant> {
        Some(self.session.as_ref()?.unanswered? + ANSWER_DEADLINE)
    }

    /// Dials when it is time; gives the stream up when nothing answers on it.
    pub(super) fn look_at_the_time(&mut self) -> Option<Event> {
        let now = Instant::now();
        if matches!(self.next, Next::At(at) if at <= now) {
            self.next = self.dial();
        }
        if self.answer_due().is_some_and(|due| due <= now) {
            return self.lose(format!("no answer to a heartbeat for {} s", ANSWER_DEADLINE.as_secs()));
        }
        None
    }

    /// Lets what was said be written, and ends the stream.
    pub(super) async fn close(&mut self) {
        let Some(Session { outbox, mut inbox, .. }) = self.session.take() else {
            return;
        };
        drop(outbox);
        let rest = async { while let Ok(Some(_)) = inbox.message().await {} };
        // A control plane that does not end its side in time has read what it reads.
        let _ = timeout(LAST_WORDS, rest).await;
    }
}

/// When the control plane's "later" is. It is not taken at its word for longer than [`LATER_MAX`].
fn later(after: Duration) -> Instant {
    Instant::now() + after.min(LATER_MAX)
}
