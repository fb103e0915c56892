//! The loop around the [`machine`](crate::machine): dials, reads, waits, and does what the machine says.
//!
//! ```text
//!            ┌─ shutdown ─────────────┐
//! inputs ────┼─ the stream            ├─→ machine ─→ actions: say, journal, start or drop a job, exit
//!            ├─ news of running jobs  │
//!            ├─ a dial or a renewal   │
//!            └─ time                  ┘
//! ```
//!
//! - One task, one stream, one job at a time. A job runs as a task of its own whose handle is kept; a swap or rollback is
//!   never dropped, not even by a shutdown: the loop ends after it.
//! - Make before break: told to dial again, or with a new certificate, the old stream is used until the new one is welcome. Offered
//!   another replica, it tries a few times and stays when none takes it.
//! - A heartbeat that nothing answers for [`ANSWER_DEADLINE`] ends the stream: the kernel may acknowledge for a dead application.
//! - Idle, nothing wakes it but the heartbeat. Deadlines are the machine's, on CLOCK_BOOTTIME, and are looked at with each wake.
//!
//! It runs on a current-thread runtime with I/O and time enabled.

mod carry;
mod facts;
mod inventory;
mod jobs;
mod link;
mod renewal;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::join::Endpoint;
use domain::sync::{AttemptReport, Hello, Request, Response};
use domain::{InstanceId, Version};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::credentials::{self, CredentialStore, Credentials};
use crate::download;
use crate::executor::Executor;
use crate::journal::{self, Journal, Step};
use crate::machine::{Input, Machine};
use crate::release_keys::ReleaseKeys;

use facts::facts;
use inventory::Machines;
use jobs::{Jobs, News};
use link::{Event, Link};
use renewal::Renewal;

/// No answer to a heartbeat for this long: the other side is dead or frozen (DESIGN section 8).
pub const ANSWER_DEADLINE: Duration = Duration::from_secs(20);

/// How long the journal's lock is waited for. Others hold it for an apply, confirmation or rollback: seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// News of jobs that may wait to be read; progress beyond it is dropped.
const NEWS: usize = 16;

/// Shortest interval of heartbeats that is accepted: less, or nothing at all, would keep a processor busy.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);

/// Longest wait of the loop, so that a wall clock that was set is noticed by the renewal at some time.
const LONGEST_WAIT: Duration = Duration::from_secs(60 * 60);

/// Where an executor keeps what it needs, and its wishes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the journal is kept.
    pub journal: Arc<dyn journal::Keeper>,
    /// Where the credentials are kept.
    pub credentials: Arc<dyn credentials::Keeper>,
    /// What the host says about downloads.
    pub downloads: download::Policy,
    /// Hears what the loop is doing, for `status` and a service manager.
    pub status: Option<watch::Sender<Status>>,
    /// Notified when what [`Executor::describe`] says has changed: a new stream is opened to say so.
    pub changed: Option<Arc<Notify>>,
}

impl Options {
    /// Everything in one state directory, downloads as they are by default, nobody told.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            journal: Arc::new(Journal::new(directory)),
            credentials: Arc::new(CredentialStore::new(directory)),
            downloads: download::Policy::default(),
            status: None,
            changed: None,
        }
    }
}

/// What the loop is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Where the stream is up; none: it is not.
    pub connected: Option<Endpoint>,
    /// The attempt in hand and where it is.
    pub attempt: Option<(domain::AttemptId, domain::attempt::Phase)>,
    /// What last went wrong with the connection, since it was last up.
    pub trouble: Option<String>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Shutdown,
    /// Another version is in place: end the process, so that it starts.
    Restart,
}

/// Why the loop could not begin, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The journal cannot be read.
    #[error("begin with the journal")]
    Journal(#[from] journal::Error),
    /// There are no usable credentials.
    #[error("begin with the credentials")]
    Credentials(#[from] crate::credentials::Error),
    /// The credentials make no TLS client.
    #[error("begin with the credentials")]
    Tls(#[from] crate::connect::Error),
}

/// Keeps `executor` in step with the control plane until it is told to end, or another version is to start in its place.
///
/// Journal and credentials are read before anything else, so a call that is still pending after its first wait has both;
/// being unreachable is never an end.
///
/// # Errors
/// [`Error`], before the first connection only.
pub async fn run<E: Executor>(executor: Arc<E>, options: Options, shutdown: CancellationToken) -> Result<End, Error> {
    let (news, inbox) = mpsc::channel(NEWS);
    let mut driver = Driver::begin(executor, options, news).await?;
    Ok(driver.turn(inbox, shutdown).await)
}

struct Driver<E> {
    executor: Arc<E>,
    options: Options,
    keys: Arc<ReleaseKeys>,
    instance: InstanceId,
    credentials: Credentials,
    machine: Machine,
    jobs: Jobs,
    link: Link,
    renewal: Renewal,
    ending: Option<End>,
    /// Whether the journal has yet to learn that the open attempt's target had its stream up.
    connect_unnoted: bool,
    /// The floor that the journal holds.
    floor: Option<Version>,
    machines: Machines,
}

impl<E: Executor> Driver<E> {
    async fn begin(executor: Arc<E>, options: Options, news: mpsc::Sender<News>) -> Result<Self, Error> {
        let store = Arc::clone(&options.credentials);
        let loaded = spawn_blocking(move || store.load()).await;
        let credentials = loaded.unwrap_or_else(|error| {
            let place = format!("{:?}", options.credentials);
            Err(credentials::Error::Elsewhere { place, source: Box::new(error) })
        })?;
        let uid = credentials.uid;
        let taken_over = carry::update(&options.journal, move |state| {
            state.belongs_to(uid);
            state.clone()
        });
        let state = taken_over.await?;
        let floor = state.floor.clone();
        let connect_unnoted = state.open.as_ref().is_some_and(|open| open.step < Step::Connected);
        let facts = facts(executor.as_ref(), state);
        let (machine, actions) = Machine::start(facts, clock::since_boot());
        let link = Link::new(&credentials)?;
        let mut driver = Self {
            keys: Arc::new(ReleaseKeys::baked_in()),
            instance: InstanceId::new(uuid::Uuid::new_v4()),
            renewal: Renewal::new(),
            jobs: Jobs::new(news),
            machine,
            link,
            credentials,
            options,
            ending: None,
            connect_unnoted,
            floor,
            machines: Machines::of(executor.as_ref()),
            executor,
        };
        driver.jobs.later(actions);
        Ok(driver)
    }

    async fn turn(&mut self, mut inbox: mpsc::Receiver<News>, shutdown: CancellationToken) -> End {
        let first = self.jobs.take_later();
        self.carry_out(first).await;
        loop {
            if let Some(end) = self.ending
                && !self.jobs.must_not_be_dropped()
            {
                self.jobs.drop_all();
                self.link.close().await;
                return end;
            }
            self.tell_status();
            let wait = self.wait();
            // Each arm is cancel safe: a message taken is handed in, one not taken stays where it was.
            tokio::select! {
                // Told to end. Once noted it is not listened to again.
                () = shutdown.cancelled(), if self.ending.is_none() => self.ending = Some(End::Shutdown),
                // What a job says.
                Some(news) = inbox.recv() => self.hear(news).await,
                // The stream, or the dial of the next one.
                event = self.link.next() => self.connection(event).await,
                // The next certificate.
                renewed = self.renewal.next() => self.renewed(renewed),
                // Machines came or went; told once, so only where it will not fall.
                word = self.machines.next(), if self.link.has_room() => self.link.say(Request::Inventory(word)),
                // What this executor says of itself is different now.
                () = changed(self.options.changed.as_deref()) => self.link.again_now(),
                // Something is due.
                () = tokio::time::sleep(wait) => {}
            }
            self.look_at_the_time().await;
        }
    }

    fn wait(&self) -> Duration {
        let machine = self.machine.next_wake().map(|at| at.saturating_sub(clock::since_boot()));
        let renewal = self.renewal.due_in(&self.credentials, self.link.is_up());
        [machine, self.link.due_in(), renewal].into_iter().flatten().fold(LONGEST_WAIT, Duration::min)
    }

    async fn look_at_the_time(&mut self) {
        if let Some(event) = self.link.look_at_the_time() {
            self.connection(event).await;
        }
        if let Some(connection) = self.link.connection()
            && self.renewal.due_in(&self.credentials, self.link.is_up()) == Some(Duration::ZERO)
        {
            self.renewal.start(connection, &self.credentials, &self.options.credentials);
        }
        if self.machine.next_wake().is_some_and(|at| at <= clock::since_boot()) {
            self.handle(Input::Tick).await;
        }
    }

    async fn handle(&mut self, input: Input) {
        let actions = self.machine.handle(input, clock::since_boot());
        self.carry_out(actions).await;
    }

    async fn connection(&mut self, event: Event) {
        match event {
            Event::Dialled if self.must_renew_first() => {
                if let Some(connection) = self.link.dialled() {
                    self.renewal.start(connection, &self.credentials, &self.options.credentials);
                }
            }
            Event::Dialled => {
                let hello = self.hello();
                self.link.open(hello);
            }
            Event::Welcome(welcome) => {
                tracing::info!(endpoint = %self.link.endpoint(), epoch = welcome.epoch.0, "connected");
                self.renewal.welcomed(welcome.renew_certificate_after);
                let probation = welcome.probation;
                self.note_connected(probation).await;
                let heartbeat_interval = welcome.heartbeat_interval.max(SHORTEST_HEARTBEAT);
                self.handle(Input::Connected { heartbeat_interval, probation }).await;
                self.machines.begin(self.executor.as_ref()).await;
            }
            Event::Said(response) => self.said(response).await,
            Event::Rescheduled => {}
            Event::Lost(why) => {
                tracing::info!(error = %why, "the stream is gone, dialling again");
                self.handle(Input::Disconnected).await;
            }
            Event::Refused { why, certificate } => {
                if self.link.is_up() {
                    tracing::info!(error = %why, "another stream cannot be opened; the present one goes on");
                } else {
                    tracing::warn!(error = %why, "cannot connect, trying again");
                }
                self.renewal.refused(certificate);
            }
        }
    }

    async fn said(&mut self, response: Response) {
        let input = match response {
            Response::Desired(desired) => Input::Desired(desired),
            Response::Proceed { attempt, generation } => Input::Proceed { attempt, generation },
            Response::Withdrawn { attempt, reason } => {
                tracing::info!(%attempt, reason, "leave was not given");
                Input::Withdrawn { attempt }
            }
            Response::ReportAck { attempt } => Input::ReportAcknowledged { attempt },
            // The link's own business, done already; a second welcome says nothing new.
            Response::Reconnect { .. } | Response::HeartbeatAck | Response::Welcome(_) => return,
        };
        self.handle(input).await;
    }

    fn hello(&self) -> Hello {
        let about = self.executor.describe();
        let introduction = self.machine.introduction();
        Hello {
            uid: self.credentials.uid,
            instance: self.instance,
            kind: about.kind,
            version: about.version,
            binary_sha256: about.binary_sha256,
            platform: about.platform,
            release_key_ids: self.keys.ids().map(|id| id.to_string()).collect(),
            capabilities: about.capabilities,
            generation: introduction.generation,
            open_attempt: introduction.open_attempt,
            phase: introduction.phase,
            // Their log tails come with the reports; sixteen of them would not fit into one message.
            unsent_outcomes: introduction.unsent_outcomes.into_iter().map(without_log).collect(),
            pinned: about.pinned,
            channel: about.channel,
            channel_ceiling: about.channel_ceiling,
            floor: self.floor.clone(),
        }
    }

    fn must_renew_first(&self) -> bool {
        self.renewal.must_come_first(&self.credentials)
    }

    fn renewed(&mut self, renewed: Result<Credentials, crate::enrol::Error>) {
        match renewed {
            Ok(credentials) => match self.link.renew(&credentials) {
                Ok(()) => {
                    tracing::info!(uid = %credentials.uid, "the certificate was renewed");
                    self.credentials = credentials;
                }
                Err(error) => {
                    tracing::error!(error = %crate::report::chain(&error), "the renewed certificate cannot be used")
                }
            },
            Err(error) => {
                let why = crate::report::chain(&error);
                tracing::warn!(error = %why, "the certificate could not be renewed, trying again");
                self.link.could_not_renew(why);
            }
        }
    }

    fn tell_status(&self) {
        let Some(status) = &self.options.status else {
            return;
        };
        let now = Status {
            connected: self.link.is_up().then(|| self.link.endpoint().clone()),
            attempt: self.machine.current(),
            trouble: self.link.trouble().map(str::to_owned),
        };
        status.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
    }
}

/// The next time that the executor says something else of itself. Cancel safe: a notification that nobody waited for is kept.
async fn changed(notify: Option<&Notify>) {
    match notify {
        Some(notify) => notify.notified().await,
        None => std::future::pending().await,
    }
}

fn without_log(mut report: AttemptReport) -> AttemptReport {
    report.report.log_tail.clear();
    report
}
