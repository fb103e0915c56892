//! The task of one session. It decides nothing: the machine says what a message means, the use cases say what becomes of it,
//! and the outbox says it.
//!
//! Inputs of its loop: the end (closed, or the peer is gone), the use case at hand, the next message, deadlines, the drain. One
//! use case runs at a time, and the next message is read when it is done, so that a peer can have one question open and no
//! more; meanwhile desired is pushed past this task.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use domain::sync::{DRAINING, Progress, Request, Response};
use domain::{ExecutorUid, Generation, Reason};
use futures_util::{Stream, StreamExt as _};
use proto::v1::SyncExecutorRequest;
use tokio::time::Instant;

use crate::app::App;
use crate::app::error::Error;
use crate::app::sync::{Leave, Opened, Wanted};
use crate::observe;
use crate::session::Sessions;
use crate::session::admission::turn_away;
use crate::session::close::Close;
use crate::session::machine::{Action, First, Introduced, Open, Unidentified};
use crate::session::metric;
use crate::session::outbox::{Outbox, Reader, Repeat};
use crate::session::trust::{Trust, Verdict};
use crate::supervise::{OnCancel, OnError};
use crate::tls::identity::Certificate;

/// The peer of a stream, as the gate found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Which executor its certificate names.
    pub uid: ExecutorUid,
    /// That certificate.
    pub certificate: Certificate,
}

/// Why no more messages come.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection or the stream is gone: the process ended, the network did.
    #[error("the stream broke off: {0}")]
    Off(String),
    /// What came cannot be read.
    #[error("{0}")]
    Unreadable(String),
}

/// What a message leads to, once the use case is through.
enum Done {
    Acknowledged(Generation),
    Progressed(Progress),
    Nothing,
}

type Work = Pin<Box<dyn Future<Output = Result<Done, Error>> + Send>>;

impl Sessions {
    /// Takes a stream over. The answer is the response's body; the session lives as long as both.
    pub fn serve<S>(self: &Arc<Self>, peer: Peer, inbound: S) -> Reader
    where
        S: Stream<Item = Result<SyncExecutorRequest, Broken>> + Send + Unpin + 'static,
    {
        let (outbox, reader) = Outbox::new();
        // Boxed, and so is the session: what waits for years is as large as it must be, and not as its beginning was.
        let introduction = Box::pin(Arc::clone(self).introduce(peer, inbound, Arc::clone(&outbox)));
        let task = async move {
            let close = match introduction.await {
                Ok(session) => session.run().await,
                Err(close) => close,
            };
            metric::closed(&close);
            tracing::debug!(executor = %peer.uid, reason = close.label(), "stream closed");
            outbox.close(close);
            Ok(())
        };
        self.supervisor.spawn("session", OnCancel::Drain, OnError::Log, task);
        reader
    }

    /// From the first message to an open session.
    async fn introduce<S>(
        self: Arc<Self>,
        peer: Peer,
        mut inbound: S,
        outbox: Arc<Outbox>,
    ) -> Result<Box<Session<S>>, Close>
    where
        S: Stream<Item = Result<SyncExecutorRequest, Broken>> + Send + Unpin,
    {
        if self.draining.is_cancelled() || self.count() >= self.limits.max_sessions {
            return Err(turn_away(&outbox));
        }
        let introduced = self.first(peer, &mut inbound, &outbox).await?;
        let hello = introduced.hello().clone();
        // Not given up when the peer goes meanwhile: what is admitted has to be taken out again, by the session itself.
        let opened = self.door.knock(hello, peer.certificate, &outbox).await?;
        metric::opened();
        tracing::info!(executor = %opened.name, epoch = %opened.epoch, "session opened");
        let now = Instant::now();
        let machine = introduced.open(&self.limits, self.app.settings().silent_after, now);
        let left = peer.certificate.not_after.since(opened.time);
        let (authority, spread) = (self.app.authority(), self.app.settings().authority_spread);
        let trust = Trust::new(peer.uid, peer.certificate, &authority, spread, (opened.time, now));
        Ok(Box::new(Session {
            uid: peer.uid,
            certificate_end: now + left,
            noticed: false,
            trust,
            outbox,
            opened,
            inbound,
            machine,
            work: None,
            sessions: self,
        }))
    }

    async fn first<S>(&self, peer: Peer, inbound: &mut S, outbox: &Outbox) -> Result<Introduced, Close>
    where
        S: Stream<Item = Result<SyncExecutorRequest, Broken>> + Send + Unpin,
    {
        let mut machine = Unidentified::new(peer.uid, &self.limits, Instant::now());
        let mut messages = 0;
        loop {
            let message = tokio::select! {
                close = outbox.ended() => return Err(close),
                // Cancel-safe: a stream's next item is not lost.
                message = inbound.next() => message,
                () = tokio::time::sleep_until(machine.deadline()) => return Err(machine.expire()),
            };
            messages += 1;
            if messages > self.limits.message_burst {
                return Err(Close::Flood);
            }
            match machine.receive(decode(message)?)? {
                First::Introduced(introduced) => return Ok(introduced),
                First::StillUnidentified(same) => machine = same,
            }
        }
    }
}

/// One open session.
struct Session<S> {
    sessions: Arc<Sessions>,
    uid: ExecutorUid,
    opened: Box<Opened>,
    outbox: Arc<Outbox>,
    inbound: S,
    machine: Open,
    work: Option<Work>,
    certificate_end: Instant,
    noticed: bool,
    trust: Trust,
}

// === impl Session ===

impl<S> Session<S>
where
    S: Stream<Item = Result<SyncExecutorRequest, Broken>> + Send + Unpin,
{
    /// From open to closed, and what has to be written of the end.
    async fn run(mut self: Box<Self>) -> Close {
        let close = self.live().await;
        self.sessions.registry.leave(self.uid, self.opened.epoch);
        // A body that waits in the outbox is told before the store is.
        self.outbox.close(close.clone());
        let opened = &self.opened;
        let app = &self.sessions.app;
        app.sync_closed(vec![opened.ended(self.uid, &close)]).await;
        tracing::info!(executor = %opened.name, epoch = %opened.epoch, reason = close.label(), "session closed");
        close
    }

    async fn live(&mut self) -> Close {
        let mut drain = Box::pin(drain(Arc::clone(&self.sessions), Arc::clone(&self.outbox)));
        loop {
            let wake = self.wake();
            tokio::select! {
                biased;
                // Closed by the registry or the dispatcher, or the body was dropped.
                close = self.outbox.ended() => return close,
                // This server goes down, and the peer was given its time.
                close = &mut drain => return close,
                // The use case at hand is through.
                done = work(&mut self.work), if self.work.is_some() => {
                    self.work = None;
                    self.finish(done);
                }
                // Cancel-safe: a stream's next item is not lost.
                message = self.inbound.next(), if self.work.is_none() => {
                    if let Err(close) = self.receive(message) {
                        return close;
                    }
                }
                () = tokio::time::sleep_until(wake) => {
                    if let Some(close) = self.tick(Instant::now()) {
                        return close;
                    }
                }
            }
        }
    }

    /// When something has to be looked at, unless something happens before.
    fn wake(&self) -> Instant {
        let slow = self.outbox.waiting_since().map(|since| since + self.sessions.limits.slow_after);
        let certificate = if self.noticed {
            self.certificate_end
        } else {
            self.certificate_end.checked_sub(self.sessions.limits.certificate_notice).unwrap_or(self.certificate_end)
        };
        // What is put into the outbox meanwhile is looked at no later than this: no wake-up is needed for it.
        let look = Instant::now() + self.sessions.limits.slow_after;
        let wake = self.machine.deadline().min(certificate).min(look).min(self.trust.deadline());
        slow.map_or(wake, |slow| slow.min(wake))
    }

    fn tick(&mut self, now: Instant) -> Option<Close> {
        let limits = &self.sessions.limits;
        if let Some(since) = self.outbox.waiting_since()
            && now.duration_since(since) >= limits.slow_after
        {
            return Some(Close::Slow(limits.slow_after));
        }
        if now >= self.certificate_end {
            return Some(Close::CertificateEnded);
        }
        if !self.noticed && now + limits.certificate_notice >= self.certificate_end {
            self.noticed = true;
            self.dial_again();
        }
        if now >= self.trust.deadline() {
            match self.trust.tick(&self.sessions.app.authority(), now) {
                Verdict::Fine => {}
                Verdict::DialAgain => self.dial_again(),
                Verdict::Untrusted => return Some(Close::AuthorityRetired),
            }
        }
        // Its messages are not read while a use case runs: that silence is ours.
        if self.work.is_some() {
            return None;
        }
        self.machine.tick(now)
    }

    /// With the newer certificate, or to be told that one is due.
    fn dial_again(&self) {
        let reason = Reason::CertificateInvalid.as_str().to_owned();
        self.outbox.say(Response::Reconnect { after: Duration::ZERO, reason });
    }

    fn receive(&mut self, message: Option<Result<SyncExecutorRequest, Broken>>) -> Result<(), Close> {
        let request = decode(message)?;
        for action in self.machine.receive(request, Instant::now())? {
            let app = Arc::clone(&self.sessions.app);
            let outbox = Arc::clone(&self.outbox);
            match action {
                Action::Say(response) => outbox.say(response),
                action => self.work = Some(Box::pin(carry_out(app, self.uid, outbox, action))),
            }
        }
        Ok(())
    }

    /// Errors leave things as they were: the peer asks, reports or acknowledges again, and no answer is no leave.
    fn finish(&mut self, done: Result<Done, Error>) {
        match done {
            Ok(Done::Acknowledged(generation)) => self.machine.note_acknowledged(generation),
            Ok(Done::Progressed(progress)) => self.machine.note_progress(&progress, Instant::now()),
            Ok(Done::Nothing) => {}
            Err(Error::Refused(refusal)) => self.outbox.close(Close::Refused(refusal)),
            Err(error) => {
                tracing::warn!(executor = %self.opened.name, error = observe::chain(&error), "an executor's word could not be written");
            }
        }
    }
}

/// The use case at hand; for ever, when there is none.
async fn work(work: &mut Option<Work>) -> Result<Done, Error> {
    match work {
        Some(work) => work.await,
        None => std::future::pending().await,
    }
}

/// Reads a message: none is one that this build does not know.
fn decode(message: Option<Result<SyncExecutorRequest, Broken>>) -> Result<Option<Request>, Close> {
    let nonsense = |field, message| Close::Nonsense { field, message };
    match message {
        None => Err(Close::Disconnected),
        Some(Err(Broken::Off(why))) => {
            tracing::debug!(why, "a stream broke off");
            Err(Close::Disconnected)
        }
        Some(Err(Broken::Unreadable(why))) => Err(nonsense(None, why)),
        Some(Ok(wire)) => proto::convert::sync::request(wire).map_err(|error| {
            let message = error.to_string();
            nonsense(Some(error.field.into_owned()), message)
        }),
    }
}

async fn carry_out(app: Arc<App>, uid: ExecutorUid, outbox: Arc<Outbox>, action: Action) -> Result<Done, Error> {
    match action {
        Action::Say(response) => outbox.say(response),
        Action::Acknowledge(generation) => {
            if let Some(after) = outbox.acknowledged(generation) {
                metric::received(after);
            }
            app.sync_acknowledged(uid, generation).await?;
            return Ok(Done::Acknowledged(generation));
        }
        Action::Progress(progress) => {
            if let Some(reason) = app.sync_progressed(uid, &progress).await? {
                let reason = reason.as_str().to_owned();
                let attempt = progress.attempt;
                outbox.say(Response::Withdrawn { attempt, reason });
            }
            return Ok(Done::Progressed(progress));
        }
        Action::Leave { attempt, generation } => match app.sync_leave(uid, attempt, generation).await? {
            Leave::Proceed => outbox.say(Response::Proceed { attempt, generation }),
            Leave::Withdrawn(reason) => {
                let reason = reason.as_str().to_owned();
                outbox.say(Response::Withdrawn { attempt, reason });
            }
            Leave::SeeDesired => say_desired(&app, uid, &outbox).await?,
        },
        Action::Report(report) => {
            app.sync_reported(uid, &report).await?;
            outbox.say(Response::ReportAck { attempt: report.attempt });
        }
        Action::Inventory(inventory) => app.sync_inventory(uid, inventory).await?,
    }
    Ok(Done::Nothing)
}

/// What is desired now, again.
async fn say_desired(app: &App, uid: ExecutorUid, outbox: &Outbox) -> Result<(), Error> {
    match app.sync_desired(&[uid]).await?.remove(&uid) {
        Some(Wanted::Desired { desired, rollback_to }) => outbox.desire(desired, rollback_to, None, Repeat::Yes),
        Some(Wanted::Gone(refusal)) => outbox.close(Close::Refused(refusal)),
        Some(Wanted::Withheld) | None => {}
    }
    Ok(())
}

/// Waits for the drain, tells the peer at a time of its own, and lets it stay until all were told and had time to go: make before
/// break is the peer's. The time that it is told lies well inside that, or the stream would break before the next is made.
async fn drain(sessions: Arc<Sessions>, outbox: Arc<Outbox>) -> Close {
    sessions.draining.cancelled().await;
    let spread = sessions.limits.drain_spread;
    let patience = sessions.limits.drain_patience;
    let end = Instant::now() + spread + patience;
    tokio::time::sleep(spread.mul_f64(rand::random())).await;
    let after = (spread.min(patience) / 3).mul_f64(rand::random());
    outbox.say(Response::Reconnect { after, reason: DRAINING.to_owned() });
    tokio::time::sleep_until(end).await;
    Close::Draining
}
