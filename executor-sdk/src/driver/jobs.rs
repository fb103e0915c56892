//! The job under way and what jobs have made so far. A job is a task whose handle is kept here.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;

use domain::Version;
use domain::attempt::{ErrorCode, Stage, Waiting};
use domain::sync::AttemptReport;
use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::download::TemporaryFile;
use crate::executor::{Applied, Artifact, Failure, Plan, Prepared, Workplace};
use crate::machine::{self, Action, Done, Job, Judgement};
use crate::verify::Proven;

/// What a task tells the loop.
pub(super) enum News {
    /// A job got on.
    Job {
        /// Which.
        job: Job,
        /// With what.
        product: Result<Product, Failure>,
    },
    /// An outcome is in the journal, and with it the floor.
    Finished { report: Box<AttemptReport>, floor: Option<Version> },
}

/// What jobs make.
pub(super) enum Product {
    /// Preflight.
    Fit(Box<Ready>),
    /// Download, so far.
    Fetched(u64),
    /// Preflight or download, so far: what is waited out.
    Waits(Option<Waiting>),
    /// Download; none: there was nothing to fetch.
    Downloaded(Option<TemporaryFile>),
    /// Verification.
    Verified(Artifact),
    /// Swap.
    Swapped(Applied),
    /// Rollback.
    RolledBack(Applied),
    /// Watch.
    Judged(Judgement),
}

/// What passed preflight.
pub(super) struct Ready {
    pub(super) plan: Plan,
    pub(super) proven: Proven,
    pub(super) workplace: Workplace,
}

/// Whether a job may be dropped in its middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Droppable {
    Yes,
    No,
}

pub(super) struct Jobs {
    news: mpsc::Sender<News>,
    running: Option<Running>,
    /// Journal writes of outcomes; they go on beside the next attempt.
    writes: Vec<JoinHandle<()>>,
    pub(super) ready: Option<Box<Ready>>,
    pub(super) bytes: Option<TemporaryFile>,
    pub(super) artifact: Option<Artifact>,
    later: Vec<Action>,
}

struct Running {
    job: Job,
    droppable: Droppable,
    task: JoinHandle<()>,
}

impl Jobs {
    pub(super) const fn new(news: mpsc::Sender<News>) -> Self {
        Self { news, running: None, writes: Vec::new(), ready: None, bytes: None, artifact: None, later: Vec::new() }
    }

    /// Keeps what is to be done before the loop's first turn.
    pub(super) fn later(&mut self, actions: Vec<Action>) {
        self.later = actions;
    }

    pub(super) fn take_later(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.later)
    }

    /// For tasks that tell on the way.
    pub(super) fn news(&self) -> mpsc::Sender<News> {
        self.news.clone()
    }

    /// Starts a job. A panic in an executor's code is a failure of the job, not the end of the loop.
    pub(super) fn start(
        &mut self,
        job: Job,
        droppable: Droppable,
        work: impl Future<Output = Result<Product, Failure>> + Send + 'static,
    ) {
        self.abort_running();
        let news = self.news.clone();
        let task = tokio::spawn(async move {
            let product = AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(panicked()));
            // The loop has ended: nobody is left to tell.
            let _ = news.send(News::Job { job, product }).await;
        });
        self.running = Some(Running { job, droppable, task });
    }

    /// Starts a write of an outcome.
    pub(super) fn write(&mut self, work: impl Future<Output = News> + Send + 'static) {
        self.writes.retain(|write| !write.is_finished());
        let news = self.news.clone();
        self.writes.push(tokio::spawn(async move {
            // As above.
            let _ = news.send(work.await).await;
        }));
    }

    /// Keeps what a job made, and says so in the machine's words; nothing when the job was dropped meanwhile.
    pub(super) fn keep(&mut self, job: Job, product: Result<Product, Failure>) -> Option<Done> {
        let current = self.running.as_ref().is_some_and(|running| running.job == job);
        if current && !matches!(product, Ok(Product::Fetched(_) | Product::Waits(_))) {
            self.running = None;
        }
        let product = match product {
            Ok(product) => product,
            // Of whichever job: the machine knows whether it still matters.
            Err(failure) => {
                if current {
                    self.forget();
                }
                return Some(Done::Failed(failure.into()));
            }
        };
        current.then(|| self.keep_product(product))
    }

    fn keep_product(&mut self, product: Product) -> Done {
        match product {
            Product::Fit(ready) => {
                let bytes_total = match ready.workplace {
                    Workplace::Directory(_) => ready.proven.size().unwrap_or(0),
                    Workplace::Elsewhere => 0,
                };
                self.ready = Some(ready);
                Done::Fit { bytes_total }
            }
            Product::Fetched(bytes_done) => Done::Fetched { bytes_done },
            Product::Waits(waiting) => Done::Waits(waiting),
            Product::Downloaded(bytes) => {
                self.bytes = bytes;
                Done::Downloaded
            }
            Product::Verified(artifact) => {
                self.artifact = Some(artifact);
                Done::Verified
            }
            Product::Swapped(applied) => Done::Swapped(applied.into()),
            Product::RolledBack(applied) => Done::RolledBack(applied.into()),
            Product::Judged(judgement) => Done::Judged(judgement),
        }
    }

    /// What passed every check; taken once.
    pub(super) fn take_prepared(&mut self) -> Option<Prepared> {
        let artifact = self.artifact.take()?;
        let plan = self.ready.take()?.plan;
        Some(Prepared { plan, artifact })
    }

    /// Drops the attempt before leave: its job, its files.
    pub(super) fn abort(&mut self) {
        self.abort_running();
        self.forget();
    }

    pub(super) fn drop_all(&mut self) {
        self.abort();
        for write in self.writes.drain(..) {
            write.abort();
        }
    }

    /// Whether a swap or rollback is under way, or has ended and was not heard yet.
    pub(super) fn must_not_be_dropped(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.droppable == Droppable::No)
    }

    fn abort_running(&mut self) {
        if let Some(running) = self.running.take_if(|running| running.droppable == Droppable::Yes) {
            running.task.abort();
        }
    }

    fn forget(&mut self) {
        self.ready = None;
        self.bytes = None;
        self.artifact = None;
    }
}

/// Does `work`, and tells the loop meanwhile what it waits out.
pub(super) async fn telling<T>(
    waits: Option<watch::Receiver<Option<Waiting>>>,
    job: Job,
    news: &mpsc::Sender<News>,
    work: impl Future<Output = T>,
) -> T {
    let Some(mut waits) = waits else {
        return work.await;
    };
    // What an earlier work waited out is not this one's.
    waits.mark_unchanged();
    let mut work = pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            // Cancel safe: a change that was not taken is seen the next time.
            Ok(()) = waits.changed() => {
                let waiting = waits.borrow_and_update().clone();
                // The loop has ended: nobody is left to tell.
                let _ = news.send(News::Job { job, product: Ok(Product::Waits(waiting)) }).await;
            }
        }
    }
}

fn panicked() -> Failure {
    Failure::failed(Stage::Swap, ErrorCode::Other, "the executor's own code panicked; see its log")
}

impl From<Applied> for machine::Applied {
    fn from(applied: Applied) -> Self {
        match applied {
            Applied::Restart => Self::Restart,
            Applied::Elsewhere => Self::Elsewhere,
        }
    }
}

impl From<Failure> for machine::Failure {
    fn from(failure: Failure) -> Self {
        let Failure { outcome, stage, code, message } = failure;
        Self { outcome, stage, code, message }
    }
}
