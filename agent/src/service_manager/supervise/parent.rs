//! The supervising parent: `run --supervise`.
//!
//! ```text
//! start limit ─ too many → the old version comes back, or a pause ─┐
//!    │ allowed                                                     │
//! count the start ─→ child runs ──────────────────────────────────→┘
//!                      ├ exit, kill, not ready in time: a failed start, again after a second
//!                      ├ it asks for a restart (a swap): again at once, failures forgotten
//!                      ├ it was confirmed, and is not what we run: end it, re-execute ourselves
//!                      └ SIGTERM, SIGINT: end it, end
//! ```
//!
//! A parent that took over from the version before ends by a signal alone: what keeps it from beginning is told and tried again.
//!
//! While a child runs the loop listens to, in this order: two signals, two deadlines (ready, stopped), the dead man's clock, which
//! ticks only while an attempt is open, the socket, and the child's exit and output.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use executor_sdk::Journal;
use executor_sdk::report::chain;
use tokio::time::Instant;
use uuid::Uuid;

use crate::clock::Moment;
use crate::disk::{self, Content};
use crate::layout::Layout;
use crate::rollback::crash_loop::{self, Exit};
use crate::rollback::dead_man::Probed;
use crate::rollback::put_back::Done;
use crate::rollback::steps::{self, Looked};
use crate::service_manager::contract::{
    DEAD_MAN_PERIOD, RESTART_PAUSE, START_TIMEOUT, STOP_TIMEOUT, Start, StartLimit,
};
use crate::service_manager::supervise::handover::Origin;
use crate::service_manager::supervise::process::{Process, exit};
use crate::service_manager::supervise::watch::{Happened, Watch};
use crate::service_manager::supervise::{CONFIRMED, Child, RESTART};

/// A child that ran this long was well: the pauses of an older crash loop are forgotten.
const WELL_AFTER: Duration = Duration::from_secs(600);

/// Further than any deadline.
const FAR: Duration = Duration::from_secs(86_400 * 365);

/// What to run, and how.
#[derive(Debug)]
pub struct Parent<P> {
    /// Where things are.
    pub layout: Layout,
    /// What the child is told.
    pub arguments: Vec<OsString>,
    /// The dead man's window.
    pub window: Duration,
    /// Whether there was a parent before this one.
    pub origin: Origin,
    /// Asks with the parent's own code whether the control plane can be reached.
    pub probe: P,
}

/// How supervising ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By a signal; the child has ended.
    Stopped,
    /// The new version was confirmed; the child has ended, and this process is to become the new binary.
    Reexecute,
}

/// Supervising could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket could not be made.
    #[error("listen on {path:?}")]
    Socket {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Signals cannot be had.
    #[error("listen to signals")]
    Signals(#[source] io::Error),
}

/// How one child ended.
enum End {
    Stopped,
    Restart,
    Confirmed,
    Failed(Exit),
}

/// Why a running child is being ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Stop,
    Restart,
    Confirmed,
    NotReady,
}

/// One child's life.
struct Life {
    process: Process,
    ending: Option<Ending>,
    /// When it has to be ready, or to have ended.
    deadline: Instant,
}

impl<P: AsyncFn() -> Probed> Parent<P> {
    /// Supervises until a signal or a confirmed upgrade.
    ///
    /// # Errors
    /// [`Error`] before the first start of a parent that somebody started; nothing after it ends the supervision.
    pub async fn run(&self) -> Result<Ended, Error> {
        let mut watch = self.watch().await?;
        let manager = Child::new(&self.layout);
        let (mut limit, mut loops, mut last) = (StartLimit::default(), 0, Exit::Other("unknown".to_owned()));
        loop {
            if limit.ask(Moment::now().since_boot) == Start::TooMany {
                limit.reset();
                let pause = self.act_on_crash_loop(&manager, &last, &mut loops).await;
                if watch.stopped_within(pause).await {
                    return Ok(Ended::Stopped);
                }
                continue;
            }
            let invocation = Uuid::new_v4().simple().to_string();
            match steps::before_start(&self.layout, &manager, Some(&invocation)).await {
                Ok(Some(done)) => tracing::warn!(?done, "the start was one too many"),
                Ok(None) => {}
                Err(error) => tracing::error!(error = %chain(&error), "the start was not counted"),
            }
            let begin = Instant::now();
            let end = self.one_child(&mut watch, &manager, &invocation).await;
            if begin.elapsed() >= WELL_AFTER {
                loops = 0;
            }
            match end {
                End::Stopped => return Ok(Ended::Stopped),
                End::Confirmed => return Ok(Ended::Reexecute),
                End::Restart => limit.reset(),
                End::Failed(exit) => {
                    tracing::warn!(?exit, "the agent ended");
                    last = exit;
                    if watch.stopped_within(RESTART_PAUSE).await {
                        return Ok(Ended::Stopped);
                    }
                }
            }
        }
    }

    async fn watch(&self) -> Result<Watch, Error> {
        let mut times = 0;
        loop {
            match (Watch::new(&self.layout), self.origin) {
                (Err(error), Origin::TookOver) => {
                    let pause = crash_loop::pause(times);
                    tracing::error!(error = %chain(&error), ?pause, "supervising cannot begin: trying again after a pause");
                    tokio::time::sleep(pause).await;
                    times = times.saturating_add(1);
                }
                (watch, _) => return watch,
            }
        }
    }

    /// Brings the old version back, or says how long to wait before the next start.
    async fn act_on_crash_loop(&self, manager: &Child, last: &Exit, loops: &mut u32) -> Duration {
        let open = Journal::new(self.layout.state_dir()).read().ok().and_then(|state| state.open);
        let done = match open {
            Some(open) => steps::go_back(&self.layout, manager, &crash_loop::cause(&open, last)).await,
            None => Ok(Done::NothingOpen),
        };
        match done {
            Ok(Done::Back(version) | Done::WasBack(version)) => {
                tracing::warn!(%version, "a crash loop: the old version is back");
                *loops = 0;
                return Duration::ZERO;
            }
            Ok(Done::NothingOpen | Done::ChangedLocally) => {}
            Err(error) => tracing::error!(error = %chain(&error), "a crash loop, and no way back"),
        }
        let pause = crash_loop::pause(*loops);
        *loops = loops.saturating_add(1);
        tracing::error!(?pause, "a crash loop that no upgrade caused: starting again after a pause");
        pause
    }

    /// Runs one child to its end.
    async fn one_child(&self, watch: &mut Watch, manager: &Child, invocation: &str) -> End {
        watch.log.mark(invocation);
        let started = Process::start(self.layout.binary(), &self.arguments, watch.path(), invocation);
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                return End::Failed(Exit::Other(format!("it cannot be started: {error}")));
            }
        };
        let mut life = Life { process, ending: None, deadline: Instant::now() + START_TIMEOUT };
        let mut tick = self.next_tick();
        loop {
            match watch.next(&mut life.process, life.deadline, tick).await {
                Happened::Output => {}
                Happened::Exited(status) => {
                    life.process.drain(&mut watch.log);
                    return ended(life.ending, status);
                }
                Happened::Deadline if life.ending.is_some() => life.kill(),
                Happened::Deadline => {
                    // This process may have been busy itself: what was said in time counts.
                    for words in watch.unheard() {
                        life.hear(self.understand(&words));
                    }
                    if life.deadline <= Instant::now() {
                        // It did not become ready; nor would it end in order.
                        life.ending = Some(Ending::NotReady);
                        life.kill();
                    }
                }
                Happened::Said(words) => life.hear(self.understand(&words)),
                Happened::Signal => life.end(Ending::Stop),
                Happened::Tick => {
                    tick = self.next_tick();
                    if life.ending.is_none() && self.dead_man(manager).await {
                        life.end(Ending::Restart);
                    }
                }
            }
        }
    }

    /// When the dead man looks next: never, while no attempt is open. One that opens ends this child.
    fn next_tick(&self) -> Instant {
        let open = Journal::new(self.layout.state_dir()).read().is_ok_and(|state| state.open.is_some());
        Instant::now() + if open { DEAD_MAN_PERIOD.min(self.window / 2) } else { FAR }
    }

    /// Whether the child has to be restarted.
    async fn dead_man(&self, manager: &Child) -> bool {
        match steps::look(&self.layout, manager, self.window, async || (self.probe)().await).await {
            Ok(Looked::Nothing) => false,
            Ok(Looked::Wake) => {
                tracing::warn!("the new version is silent and the old code reaches the control plane: waking it");
                true
            }
            Ok(Looked::Back(version)) => {
                tracing::warn!(%version, "the new version stayed silent: the old version is back");
                true
            }
            Err(error) => {
                tracing::error!(error = %chain(&error), "the dead man cannot look");
                false
            }
        }
    }

    fn understand(&self, words: &[u8]) -> Option<Word> {
        let said = |word: &[u8]| words.split(|byte| *byte == b'\n').any(|line| line == word);
        if said(RESTART) {
            Some(Word::End(Ending::Restart))
        } else if said(CONFIRMED) {
            let newer = match (disk::own_digest(), disk::content(self.layout.binary())) {
                (Ok(own), Content::Is(live)) => own != live,
                _ => false,
            };
            newer.then_some(Word::End(Ending::Confirmed))
        } else {
            said(b"READY=1").then_some(Word::Ready)
        }
    }
}

enum Word {
    Ready,
    End(Ending),
}

impl Life {
    fn hear(&mut self, word: Option<Word>) {
        match word {
            Some(Word::Ready) if self.ending.is_none() => self.deadline = Instant::now() + FAR,
            Some(Word::End(why)) if self.ending.is_none() => self.end(why),
            _ => {}
        }
    }

    /// Asks it to end, for a while.
    fn end(&mut self, why: Ending) {
        self.ending = Some(why);
        self.process.terminate();
        self.deadline = Instant::now() + STOP_TIMEOUT;
    }

    fn kill(&mut self) {
        self.process.kill();
        self.deadline = Instant::now() + FAR;
    }
}

fn ended(ending: Option<Ending>, status: io::Result<std::process::ExitStatus>) -> End {
    match ending {
        Some(Ending::Stop) => End::Stopped,
        Some(Ending::Restart) => End::Restart,
        Some(Ending::Confirmed) => End::Confirmed,
        Some(Ending::NotReady) => End::Failed(Exit::NotReady),
        None => End::Failed(status.map_or_else(|error| Exit::Other(error.to_string()), exit)),
    }
}
