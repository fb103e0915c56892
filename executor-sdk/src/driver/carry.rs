//! Doing what the machine says.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::attempt::outcome::LOG_TAIL_MAX_BYTES;
use domain::attempt::{ErrorCode, Phase, Stage};
use domain::manifest::Expectation;
use domain::sync::AttemptReport;
use domain::{AttemptId, Generation, Spec};
use tokio::task::spawn_blocking;

use super::jobs::{Droppable, News, Product, Ready, telling};
use super::{Driver, LOCK_PATIENCE};
use crate::download::{self, ControlPlane, Heard, TemporaryFile};
use crate::executor::{Artifact, Executor, Failure, Leave, Plan, Workplace};
use crate::fault;
use crate::journal::{self, Keeper, RollbackCause, State, Step};
use crate::machine::{Action, Cause, Done, Input, Job, Judgement, Log};
use crate::release_keys::ReleaseKeys;
use crate::report;
use crate::verify::{self, Proven};

/// An outcome that could not be journalled is tried again after this long: a full disk is emptied by people.
const WRITE_AGAIN: Duration = Duration::from_secs(10);

/// Bytes fetched are told to the machine at most this often; it says them on the stream once a second.
const TELL_EVERY: Duration = Duration::from_millis(500);

impl<E: Executor> Driver<E> {
    pub(super) async fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Say(request) => self.link.say(*request),
                Action::NoteGeneration(generation) => self.note(move |state| state.saw(generation)).await,
                Action::Forget { attempt } => {
                    self.note(move |state| {
                        state.acknowledge(attempt);
                    })
                    .await;
                }
                Action::Preflight { job, attempt, generation, spec } => self.preflight(job, attempt, generation, *spec),
                Action::Download { job, .. } => self.download(job),
                Action::Verify { job, .. } => self.verify(job),
                Action::Swap { job, attempt, generation } => self.swap(job, attempt, generation),
                Action::Abort { .. } => self.jobs.abort(),
                Action::Confirm { job, report } => self.confirm(job, *report),
                Action::RollBack { job, attempt, cause } => self.roll_back(job, attempt, *cause),
                Action::Watch { job, attempt } => self.watch(job, attempt),
                Action::Finish { report, log } => self.finish(*report, log),
                Action::Exit => self.ending = Some(super::End::Restart),
            }
        }
    }

    pub(super) async fn hear(&mut self, news: News) {
        match news {
            News::Job { job, product } => {
                if let Some(done) = self.jobs.keep(job, product) {
                    if let Done::Failed(failure) = &done {
                        tracing::warn!(stage = failure.stage.as_str(), code = failure.code.as_str(), error = %failure.message, "a step of the upgrade failed");
                    }
                    self.handle(Input::Job { job, done }).await;
                }
            }
            News::Finished { report, floor } => {
                self.floor = floor;
                tracing::info!(attempt = %report.attempt, outcome = report.report.outcome.as_str(), "the attempt is over");
                self.jobs.abort();
                self.handle(Input::Finished(report)).await;
            }
        }
    }

    /// A write that only helps: without it the same is learned again after a restart.
    async fn note(&mut self, change: impl FnMut(&mut State) + Send + 'static) {
        if let Err(error) = update(&self.options.journal, change).await {
            tracing::error!(error = %report::chain(&error), "the journal could not be written");
        }
    }

    /// The target had its stream up: should it fail now, it did so later than at connecting. And how long it is on probation: what
    /// watches over it has to be at least as patient.
    pub(super) async fn note_connected(&mut self, probation: Duration) {
        let confirming = self.machine.current().is_some_and(|(_, phase)| phase == Phase::Confirming);
        if !std::mem::take(&mut self.connect_unnoted) && !confirming {
            return;
        }
        let running = self.machine.running().clone();
        self.note(move |state| {
            if let Some(open) = &mut state.open
                && open.target_version == running
                && open.step <= Step::Connected
            {
                open.step = Step::Connected;
                open.probation = Some(probation);
            }
        })
        .await;
    }

    fn preflight(&mut self, job: Job, attempt: AttemptId, generation: Generation, spec: Spec) {
        let (executor, keys, journal) =
            (Arc::clone(&self.executor), Arc::clone(&self.keys), self.options.journal.clone());
        let news = self.jobs.news();
        self.jobs.start(job, Droppable::Yes, async move {
            let state = read(&journal).await.map_err(|error| not_written(Stage::Preflight, &error))?;
            let (plan, proven) = plan(executor.as_ref(), &keys, &state, attempt, generation, spec)?;
            let workplace = telling(executor.waiting(), job, &news, executor.preflight(&plan)).await?;
            if let (Workplace::Directory(directory), Some(size)) = (&workplace, proven.size()) {
                download::check_space(directory, size)?;
            }
            Ok(Product::Fit(Box::new(Ready { plan, proven, workplace })))
        });
    }

    fn download(&mut self, job: Job) {
        let Some((uri, size, directory)) = self.jobs.ready.as_deref().and_then(to_fetch) else {
            self.jobs.start(job, Droppable::Yes, async { Ok(Product::Downloaded(None)) });
            return;
        };
        let control_plane = ControlPlane { endpoint: self.link.endpoint().clone(), tls: self.link.tls() };
        let (policy, news) = (self.options.downloads.clone(), self.jobs.news());
        self.jobs.start(job, Droppable::Yes, async move {
            let mut told = Some(Instant::now());
            let heard = |heard| {
                let product = match heard {
                    Heard::Bytes(_) if told.is_some_and(|told| told.elapsed() < TELL_EVERY) => return,
                    Heard::Bytes(bytes) => {
                        told = Some(Instant::now());
                        Product::Fetched(bytes)
                    }
                    // The first bytes after it say that it is over.
                    Heard::BrokeOff(waiting) => {
                        told = None;
                        Product::Waits(Some(waiting))
                    }
                };
                // A full inbox has newer news to read than this.
                let _ = news.try_send(News::Job { job, product: Ok(product) });
            };
            let request = download::Request { uri: &uri, size, directory: &directory };
            download::fetch(request, &control_plane, &policy, heard).await.map(|bytes| Product::Downloaded(Some(bytes)))
        });
    }

    fn verify(&mut self, job: Job) {
        let bytes = self.jobs.bytes.take();
        let proven = self.jobs.ready.as_ref().map(|ready| ready.proven.clone());
        self.jobs.start(job, Droppable::Yes, async move {
            match (bytes, proven) {
                (Some(bytes), Some(proven)) => prove(bytes, proven).await,
                _ => Ok(Product::Verified(Artifact::Image)),
            }
        });
    }

    fn swap(&mut self, job: Job, attempt: AttemptId, generation: Generation) {
        let mut prepared = self.jobs.take_prepared().filter(|prepared| prepared.plan.attempt == attempt);
        // It may have been renumbered since it was looked at: the number that leave was given under counts.
        prepared.iter_mut().for_each(|prepared| prepared.plan.generation = generation);
        let (executor, leave) = (Arc::clone(&self.executor), Leave::new(attempt, generation));
        self.jobs.start(job, Droppable::No, async move {
            let nothing =
                || Failure::failed(Stage::Swap, ErrorCode::Other, "leave came for an attempt that is not prepared");
            executor.apply(prepared.ok_or_else(nothing)?, leave).await.map(Product::Swapped)
        });
    }

    fn roll_back(&mut self, job: Job, attempt: AttemptId, cause: Cause) {
        let (executor, journal) = (Arc::clone(&self.executor), self.options.journal.clone());
        self.jobs.start(job, Droppable::No, async move {
            let noted = update(&journal, move |state| {
                if let Some(open) = state.open.as_mut().filter(|open| open.attempt == attempt) {
                    open.rollback.get_or_insert(cause.clone().into());
                }
            });
            noted.await.map_err(|error| not_written(Stage::Rollback, &error))?;
            let rolled_back = executor.roll_back(attempt).await;
            if rolled_back.is_err()
                && let Err(error) = update(&journal, move |state| take_back(state, attempt)).await
            {
                tracing::error!(error = %report::chain(&error), "the journal keeps a rollback that was not made; the next try takes it back");
            }
            rolled_back.map(Product::RolledBack)
        });
    }

    fn watch(&mut self, job: Job, attempt: AttemptId) {
        let (executor, journal) = (Arc::clone(&self.executor), Arc::clone(&self.options.journal));
        let news = self.jobs.news();
        self.jobs.start(job, Droppable::Yes, async move {
            loop {
                let open = read(&journal).await.map(|state| state.open.filter(|open| open.attempt == attempt));
                match open {
                    Ok(Some(open)) => {
                        let judgement = telling(executor.waiting(), job, &news, executor.watch(&open)).await;
                        return Ok(Product::Judged(judgement));
                    }
                    Ok(None) => {
                        let message = "the journal does not hold the attempt open any more";
                        return Ok(Product::Judged(Judgement::Superseded(message.to_owned())));
                    }
                    Err(error) => {
                        tracing::error!(error = %report::chain(&error), "the journal could not be read, trying again");
                        tokio::time::sleep(WRITE_AGAIN).await;
                    }
                }
            }
        });
    }

    /// Under the lock that a rollback takes too: whichever comes first decides, and the other one hears it.
    fn confirm(&mut self, job: Job, report: AttemptReport) {
        let (executor, journal) = (Arc::clone(&self.executor), self.options.journal.clone());
        self.jobs.write(async move {
            let attempt = report.attempt;
            fault::reach(fault::CONFIRM_BEGUN);
            match update(&journal, move |state| confirm(state, &report).map(|report| (report, state.floor.clone())))
                .await
            {
                Ok(Ok((report, floor))) => {
                    fault::reach(fault::CONFIRM_JOURNALLED);
                    executor.confirmed(attempt).await;
                    News::Finished { report: Box::new(report), floor }
                }
                Ok(Err(failure)) => News::Job { job, product: Err(failure) },
                Err(error) => News::Job { job, product: Err(not_written(Stage::Confirm, &error)) },
            }
        });
    }

    fn finish(&mut self, report: AttemptReport, log: Log) {
        let (executor, journal) = (Arc::clone(&self.executor), self.options.journal.clone());
        self.jobs.write(async move {
            let mut report = report;
            if log == Log::Tail {
                let open = read(&journal).await.ok().and_then(|state| state.open);
                let cursor = open.filter(|open| open.attempt == report.attempt).and_then(|open| open.log_cursor);
                report.report.log_tail = last_lines(executor.log_tail(cursor.as_deref()).await);
            }
            loop {
                let outcome = report.clone();
                match update(&journal, move |state| (finish(state, &outcome), state.floor.clone())).await {
                    Ok((report, floor)) => return News::Finished { report: Box::new(report), floor },
                    Err(error) => tracing::error!(error = %report::chain(&error), "an outcome could not be journalled, trying again"),
                }
                tokio::time::sleep(WRITE_AGAIN).await;
            }
        });
    }
}

/// Proves a signature, and that what it signed fits: nothing is asked of the host before that.
fn plan<E: Executor>(
    executor: &E,
    keys: &ReleaseKeys,
    state: &State,
    attempt: AttemptId,
    generation: Generation,
    spec: Spec,
) -> Result<(Plan, Proven), Failure> {
    let about = executor.describe();
    if let Some(why) = about.pinned {
        let message = format!("this executor is pinned on its host: {why}");
        return Err(Failure::refused(Stage::Preflight, ErrorCode::Pinned, message));
    }
    let expected = Expectation {
        kind: about.kind,
        platform: about.platform.as_ref(),
        running: &about.version,
        target: spec.target_version(),
        floor: state.floor.as_ref(),
        channel_ceiling: about.channel_ceiling,
    };
    let proven = verify::prove_spec(keys, &spec, &expected)?;
    let manifest = proven.manifest().clone();
    Ok((Plan { attempt, generation, from_version: about.version, spec, manifest }, proven))
}

fn to_fetch(ready: &Ready) -> Option<(String, u64, PathBuf)> {
    match (&ready.plan.spec, &ready.workplace) {
        (Spec::Agent(spec), Workplace::Directory(directory)) => {
            Some((spec.download_uri.clone(), ready.proven.size()?, directory.clone()))
        }
        _ => None,
    }
}

async fn prove(bytes: TemporaryFile, proven: Proven) -> Result<Product, Failure> {
    let proved = spawn_blocking(move || download::prove(bytes, &proven)).await;
    let stopped = |_| Failure::failed(Stage::Verify, ErrorCode::Io, "the verification was stopped");
    proved.map_err(stopped)?.map(|file| Product::Verified(Artifact::File(file)))
}

/// The rollback was decided and refused: what runs, stays, and may be confirmed. Unless somebody is at it: whoever puts the old
/// version back notes that step, and is tried again until it is done.
fn take_back(state: &mut State, attempt: AttemptId) {
    if let Some(open) = state.open.as_mut().filter(|open| open.attempt == attempt && open.step != Step::RollingBack) {
        open.rollback = None;
    }
}

/// Confirms the open attempt, unless its rollback was decided. What the journal then says is what counts.
fn confirm(state: &mut State, report: &AttemptReport) -> Result<AttemptReport, Failure> {
    if let Some(open) = state.open.as_ref().filter(|open| open.attempt == report.attempt)
        && let Some(rollback) = &open.rollback
    {
        let message = format!("it is being rolled back: {}", rollback.message);
        return Err(Failure::failed(Stage::Confirm, rollback.code, message));
    }
    if let Some(known) = known(state, report.attempt) {
        return Ok(known);
    }
    state.confirm(report.clone());
    Ok(report.clone())
}

/// Journals an outcome; another process's earlier word about the same attempt counts.
fn finish(state: &mut State, report: &AttemptReport) -> AttemptReport {
    let known = known(state, report.attempt);
    state.finish(report.clone());
    known.unwrap_or_else(|| report.clone())
}

fn known(state: &State, attempt: AttemptId) -> Option<AttemptReport> {
    let about = |report: &&AttemptReport| report.attempt == attempt;
    state.unsent.iter().find(about).or_else(|| state.remembered.iter().find(about)).cloned()
}

/// The journal is written on the blocking pool: it takes as long as the disk, or the cluster, does.
pub(super) async fn update<T: Send + 'static>(
    journal: &Arc<dyn Keeper>,
    mut change: impl FnMut(&mut State) -> T + Send + 'static,
) -> Result<T, journal::Error> {
    blocking(journal, move |journal| {
        let mut answer = None;
        journal.update(LOCK_PATIENCE, &mut |state| answer = Some(change(state)))?;
        Ok(answer.expect("whoever keeps a journal calls the change"))
    })
    .await
}

async fn read(journal: &Arc<dyn Keeper>) -> Result<State, journal::Error> {
    blocking(journal, |journal| journal.read()).await
}

async fn blocking<T: Send + 'static>(
    journal: &Arc<dyn Keeper>,
    work: impl FnOnce(&dyn Keeper) -> Result<T, journal::Error> + Send + 'static,
) -> Result<T, journal::Error> {
    let (journal, place) = (Arc::clone(journal), format!("{journal:?}"));
    spawn_blocking(move || work(journal.as_ref()))
        .await
        .unwrap_or_else(|error| Err(journal::Error::Elsewhere { place, source: Box::new(error) }))
}

fn not_written(stage: Stage, error: &journal::Error) -> Failure {
    Failure::failed(stage, ErrorCode::Journal, report::chain(error))
}

/// The last of the lines that fit into a report.
fn last_lines(lines: Vec<String>) -> Vec<String> {
    let mut room = LOG_TAIL_MAX_BYTES;
    let mut fitting = lines.len();
    for (at, line) in lines.iter().enumerate().rev() {
        match room.checked_sub(line.len() + 1) {
            Some(left) => room = left,
            None => break,
        }
        fitting = at;
    }
    lines.into_iter().skip(fitting).collect()
}

impl From<Cause> for RollbackCause {
    fn from(cause: Cause) -> Self {
        Self { stage: cause.stage, code: cause.code, message: cause.message }
    }
}

impl From<RollbackCause> for Cause {
    fn from(cause: RollbackCause) -> Self {
        Self { stage: cause.stage, code: cause.code, message: cause.message }
    }
}
