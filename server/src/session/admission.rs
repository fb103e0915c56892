//! The door: hellos that arrive together are admitted together. One task, one batch at a time; what comes meanwhile is the next
//! batch. Past what fits before the door, newcomers are told to come back, each at another time.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use domain::sync::{Hello, Response, Welcome};
use domain::{ExecutorUid, Reason, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::app::App;
use crate::app::sync::{Admitted, Opened, Wanted};
use crate::session::close::Close;
use crate::session::outbox::{Outbox, Repeat};
use crate::session::registry::Registry;
use crate::session::trust::turn;
use crate::tls::identity::Certificate;

/// Hellos that may stand before the door: at the 10,000 or so that a replica admits in a second, a tenth of a second's worth.
const QUEUE: usize = 1024;

/// Hellos admitted together: large enough that a storm costs writes by the hundred, small enough that none waits long.
const BATCH: usize = 128;

/// A newcomer that is turned away comes back inside this time, and not before a tenth of it.
const COME_BACK: Duration = Duration::from_secs(10);

/// A hello before the door.
#[derive(Debug)]
pub struct Knock {
    /// What it said.
    pub hello: Hello,
    /// When its certificate ends.
    pub certificate: Certificate,
    /// Where it is answered.
    pub outbox: Arc<Outbox>,
    answer: oneshot::Sender<Result<Box<Opened>, Close>>,
}

/// Where to knock.
#[derive(Clone, Debug)]
pub struct Door {
    queue: mpsc::Sender<Knock>,
}

/// The task behind the door.
#[derive(Debug)]
pub struct Admission {
    app: Arc<App>,
    registry: Arc<Registry>,
    queue: mpsc::Receiver<Knock>,
    /// A second hello of an executor that is in the batch at hand.
    next: Vec<Knock>,
}

/// A door, and the task behind it.
#[must_use]
pub fn new(app: Arc<App>, registry: Arc<Registry>) -> (Door, Admission) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let admission = Admission { app, registry, queue, next: Vec::new() };
    (Door { queue: sender }, admission)
}

// === impl Door ===

impl Door {
    /// Asks to be let in. Once this answers with a session, welcome and what is desired are in the outbox, and the registry
    /// knows it.
    ///
    /// # Errors
    /// Why not; a `reconnect` is in the outbox where there is a time to come back.
    pub async fn knock(
        &self,
        hello: Hello,
        certificate: Certificate,
        outbox: &Arc<Outbox>,
    ) -> Result<Box<Opened>, Close> {
        let (answer, answered) = oneshot::channel();
        let knock = Knock { hello, certificate, outbox: Arc::clone(outbox), answer };
        if self.queue.try_send(knock).is_err() {
            return Err(turn_away(outbox));
        }
        answered.await.unwrap_or_else(|_| Err(turn_away(outbox)))
    }
}

/// Tells a peer to come back at a time of its own.
pub fn turn_away(outbox: &Outbox) -> Close {
    let after = rand::random_range(COME_BACK / 10..COME_BACK);
    outbox.say(Response::Reconnect { after, reason: Reason::Unavailable.as_str().to_owned() });
    Close::Unavailable
}

// === impl Admission ===

impl Admission {
    /// Runs until every door is gone.
    pub async fn run(mut self) {
        loop {
            let mut arrived = std::mem::take(&mut self.next);
            if arrived.is_empty() {
                match self.queue.recv().await {
                    Some(knock) => arrived.push(knock),
                    None => return,
                }
            }
            while arrived.len() < BATCH
                && let Ok(knock) = self.queue.try_recv()
            {
                arrived.push(knock);
            }
            let mut seen = HashSet::new();
            let (batch, next) = arrived.into_iter().partition(|knock| seen.insert(knock.hello.uid));
            self.next = next;
            self.admit(batch).await;
        }
    }

    async fn admit(&self, batch: Vec<Knock>) {
        let (hellos, waiting): (Vec<Hello>, Vec<Waiting>) = batch
            .into_iter()
            .map(|knock| {
                let waiting = Waiting { certificate: knock.certificate, outbox: knock.outbox, answer: knock.answer };
                (knock.hello, waiting)
            })
            .unzip();
        let admitted = match self.app.sync_admit(&hellos).await {
            Ok(admitted) => admitted,
            Err(error) => {
                tracing::warn!(error = crate::observe::chain(&error), hellos = hellos.len(), "nobody can be admitted");
                hellos.iter().map(|_| Admitted::Later).collect()
            }
        };
        let mut open = Vec::new();
        for ((hello, waiting), admitted) in hellos.iter().zip(waiting).zip(admitted) {
            match admitted {
                Admitted::Open(opened) => {
                    self.welcome(hello, &waiting, &opened);
                    open.push((hello.uid, opened, waiting));
                }
                Admitted::Refused(refusal) => waiting.refuse(Close::Refused(refusal)),
                Admitted::StayAway(after) => waiting.send_away(after),
                Admitted::Duel { after, epoch } => {
                    self.registry.displace(hello.uid, epoch);
                    waiting.send_away(after);
                }
                Admitted::Later => {
                    let close = turn_away(&waiting.outbox);
                    waiting.refuse(close);
                }
            }
        }
        let seen: Vec<Sha256> = open.iter().filter_map(|(.., waiting)| waiting.certificate.first_seen()).collect();
        self.desire(open).await;
        if let Err(error) = self.app.sync_note_certificates(&seen).await {
            tracing::warn!(
                error = crate::observe::chain(&error),
                "that certificates arrived is written at the next hello"
            );
        }
    }

    /// The first words of a session. From here on the dispatcher knows it, and nothing that is committed passes it by.
    fn welcome(&self, hello: &Hello, waiting: &Waiting, opened: &Opened) {
        let settings = self.app.settings();
        let life = settings.certificate_life;
        let from = waiting.certificate.not_after.minus(life * 2 / 3);
        // A fleet that was enrolled in one hour does not renew in one hour.
        let spread = rand::random_range(Duration::ZERO..=life / 12);
        let due = from.since(opened.time) + spread;
        let rotated = self.app.authority().stale_since(waiting.certificate.issue_time);
        let rotated = rotated.map(|changed| turn(hello.uid, changed, settings.authority_spread).since(opened.time));
        waiting.outbox.say(Response::Welcome(Welcome {
            epoch: opened.epoch,
            heartbeat_interval: settings.heartbeat_interval,
            probation: settings.probation,
            server_version: Some(settings.server_version.clone()),
            out_of_support: opened.out_of_support,
            renew_certificate_after: Some(rotated.map_or(due, |rotated| rotated.min(due))),
        }));
        for attempt in &opened.acknowledged {
            waiting.outbox.say(Response::ReportAck { attempt: *attempt });
        }
        self.registry.enter(hello.uid, opened.epoch, &waiting.outbox);
    }

    /// A stream that opens gets what is desired now, read after the registry knows it.
    async fn desire(&self, open: Vec<(ExecutorUid, Box<Opened>, Waiting)>) {
        if open.is_empty() {
            return;
        }
        let uids: Vec<ExecutorUid> = open.iter().map(|(uid, ..)| *uid).collect();
        let mut wanted = match self.app.sync_desired(&uids).await {
            Ok(wanted) => wanted,
            Err(error) => {
                tracing::warn!(error = crate::observe::chain(&error), "what is desired of newcomers cannot be read");
                let mut ended = Vec::with_capacity(open.len());
                for (uid, opened, waiting) in open {
                    self.registry.leave(uid, opened.epoch);
                    let close = turn_away(&waiting.outbox);
                    ended.push(opened.ended(uid, &close));
                    waiting.refuse(close);
                }
                // No driver takes these over.
                self.app.sync_closed(ended).await;
                return;
            }
        };
        for (uid, opened, waiting) in open {
            match wanted.remove(&uid) {
                Some(Wanted::Desired { desired, rollback_to }) => {
                    waiting.outbox.desire(desired, rollback_to, None, Repeat::No)
                }
                Some(Wanted::Gone(refusal)) => waiting.outbox.close(Close::Refused(refusal)),
                Some(Wanted::Withheld) | None => {}
            }
            // A peer that has gone meanwhile is noticed by its driver.
            let _ = waiting.answer.send(Ok(opened));
        }
    }
}

/// Who waits for an answer.
struct Waiting {
    certificate: Certificate,
    outbox: Arc<Outbox>,
    answer: oneshot::Sender<Result<Box<Opened>, Close>>,
}

impl Waiting {
    fn send_away(self, after: Duration) {
        let after = after + rand::random_range(Duration::ZERO..after / 2);
        let reason = Reason::DuplicateIdentity.as_str().to_owned();
        self.outbox.say(Response::Reconnect { after, reason });
        self.refuse(Close::Duplicated);
    }

    fn refuse(self, close: Close) {
        // A peer that has gone meanwhile needs no answer.
        let _ = self.answer.send(Err(close));
    }
}
