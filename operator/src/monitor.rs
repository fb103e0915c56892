//! Watches over a new version after the image was changed, from whichever version is alive: looks at Deployment and pods when one of
//! them changes and every few seconds, and lets [`crate::rollout`] say what it means.
//!
//! An API server that is away only makes it wait. Before it gives a verdict it keeps the failing container's last lines, since the
//! way back takes the pod away.

use std::pin::pin;
use std::time::Duration;

use domain::AttemptId;
use domain::attempt::{ErrorCode, Waiting};
use executor_sdk::connect::Backoff;
use executor_sdk::journal::OpenAttempt;
use executor_sdk::machine::{Cause, Judgement};
use executor_sdk::{clock, probe, report};
use futures_util::StreamExt as _;
use futures_util::stream::select;
use k8s_openapi::api::core::v1 as core;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::cluster::{Cluster, Error, Mode};
use crate::deployment::Own;
use crate::keep::Kept;
use crate::record::{self, Record};
use crate::rollout::{Fault, Finding, Judge, Patience, Rollout, Run, Trial, waits_out};

/// A look every so often also notices what only time brings.
const EVERY: Duration = Duration::from_secs(2);

/// Changes come in bursts; one look for all of them.
const BURST: Duration = Duration::from_millis(100);

/// While a pod does not become ready, for which the control plane may be the cause: within this long, by chance, since many ask it then.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Warnings that say what a pod's own status does not.
const TELLING: [&str; 6] = [
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
    "FailedPostStartHook",
    "NetworkNotReady",
    "Evicted",
];

/// Most warnings of the cluster that are told.
const WARNINGS: usize = 3;

/// What a kubelet answers in place of a log, and as if it were one, when it has just removed the container.
const LOST: &str = "unable to retrieve container logs for ";

/// The watch over one attempt.
#[derive(Debug)]
pub struct Monitor {
    cluster: Cluster,
    kept: Kept,
    patience: Patience,
}

/// What one look saw.
enum Look {
    Rollout(Box<Own>, Box<Record>, Rollout),
    /// The attempt is not written on the Deployment any more, in these words.
    Gone(String),
}

impl Monitor {
    /// In this cluster.
    #[must_use]
    pub const fn new(cluster: Cluster, kept: Kept, patience: Patience) -> Self {
        Self { cluster, kept, patience }
    }

    /// Ends with a verdict; until there is one it goes on, and tells `waits` what does not count yet.
    pub async fn watch(&self, open: &OpenAttempt, waits: &watch::Sender<Option<Waiting>>) -> Judgement {
        tracing::info!(attempt = %open.attempt, target = %open.target_version, "watching over the new version");
        let mut judge = Judge::new(self.patience);
        let (mut told, mut trouble) = (false, None);
        let mut changes = pin!(self.changes());
        loop {
            match self.look(open.attempt).await {
                Ok(Look::Rollout(own, record, rollout)) => {
                    trouble = None;
                    let age = record.open.swap.as_ref().map_or(Duration::ZERO, |swap| clock::wall().since(swap.wall));
                    let Record { previous_image, target_image, .. } = *record;
                    let trial = Trial { previous_image, target_image, age };
                    let finding = judge.look(&rollout, &trial, clock::since_boot());
                    let unready = match &finding {
                        Finding::FailedUnlessOutage(fault) => Some(fault.clone().into()),
                        _ => waits_out(&rollout),
                    };
                    waits.send_if_modified(|told| {
                        let is_new = *told != unready;
                        *told = unready;
                        is_new
                    });
                    match finding {
                        Finding::Wait => {}
                        Finding::Failed(fault) => return self.failed(fault).await,
                        Finding::FailedUnlessOutage(fault) => {
                            let answered = self.reaches_the_control_plane().await;
                            if judge.reached(answered, clock::since_boot()) {
                                return self.failed(fault).await;
                            }
                            Backoff::between(ASK_AGAIN, ASK_AGAIN).pause().await;
                        }
                        Finding::Superseded(message) => return Judgement::Superseded(message),
                        Finding::Overdue(message) if !told => {
                            told = self.hand_over(&own, &trial, &message).await;
                        }
                        Finding::Overdue(_) => {}
                    }
                }
                Ok(Look::Gone(why)) => return Judgement::Superseded(why),
                Err(error) => {
                    if trouble.as_ref() != Some(&error) {
                        tracing::warn!(%error, "the rollout cannot be seen, looking again");
                    }
                    trouble = Some(error);
                }
            }
            tokio::select! {
                // Something changed, and what comes with it.
                _ = changes.next() => sleep(BURST).await,
                // Time went by.
                () = sleep(EVERY) => {}
            }
        }
    }

    /// Something about the Deployment or the pods of the namespace is different. Streams that end or expire begin again by themselves.
    fn changes(&self) -> impl futures_util::Stream<Item = ()> + Send + use<> {
        let names = self.cluster.names();
        let own = watcher::Config::default().fields(&format!("metadata.name={}", names.deployment));
        let deployments = watcher(self.cluster.deployments(), own).default_backoff().map(noted);
        let pods = watcher(self.cluster.pods(), watcher::Config::default()).default_backoff().map(noted);
        select(deployments, pods)
    }

    async fn look(&self, attempt: AttemptId) -> Result<Look, Error> {
        let container = &self.cluster.names().container;
        let own = self.cluster.own().await?;
        let Some(record) = own.record.clone().filter(|record| record.open.attempt == attempt) else {
            let removed = || format!("somebody removed the annotation {} in the meantime", record::ANNOTATION);
            return Ok(Look::Gone(own.unreadable.unwrap_or_else(removed)));
        };
        let pods: Vec<core::Pod> = self.cluster.pods_with(&own.selector).await?;
        let rollout = Rollout::read(&own, &pods, container);
        Ok(Look::Rollout(Box::new(own), Box::new(record), rollout))
    }

    async fn reaches_the_control_plane(&self) -> bool {
        let Ok(credentials) = self.kept.credentials().await else {
            return false;
        };
        match probe::probe(&credentials).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(error = %report::chain(&error), "the control plane is away from here as well: no rollback for that");
                false
            }
        }
    }

    /// The verdict, with what the pod last said, which is kept first.
    async fn failed(&self, fault: Fault) -> Judgement {
        let mut message = fault.message;
        if let Some(pod) = &fault.pod {
            for warning in self.warnings(pod).await {
                if !message.contains(&warning) {
                    message.push_str("; ");
                    message.push_str(&warning);
                }
            }
        }
        let lines = match &fault.log {
            Some((pod, container, run)) => self.lines(pod, container, *run).await,
            None => Vec::new(),
        };
        if let Err(error) = self.kept.keep_failing_log(&lines).await {
            tracing::warn!(%error, "the failing version's last lines may be lost");
        }
        tracing::error!(code = fault.code.as_str(), message, "the new version does not come up");
        Judgement::Failed(Cause { stage: fault.stage, code: fault.code, message })
    }

    /// Of the run that failed, or, where another one has just taken its place, of the one beside it.
    async fn lines(&self, pod: &str, container: &str, run: Run) -> Vec<String> {
        let beside = if run == Run::Last { Run::Previous } else { Run::Last };
        let mut why = String::new();
        for run in [run, beside] {
            why = match self.cluster.log(pod, container, run).await {
                Ok(lines) if lines.first().is_some_and(|line| line.starts_with(LOST)) => lines.join("; "),
                Ok(lines) => return lines,
                Err(error) => error.to_string(),
            };
        }
        vec![format!("(its log could not be read: {why})")]
    }

    /// Only the reasons that a pod's own status does not say.
    async fn warnings(&self, pod: &str) -> Vec<String> {
        let events = self.cluster.warnings(pod).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "the cluster's warnings cannot be read");
            Vec::new()
        });
        let telling = |event: &core::Event| {
            let reason = event.reason.clone().unwrap_or_default();
            let says_more = TELLING.contains(&reason.as_str());
            says_more.then(|| format!("{reason}: {}", event.message.clone().unwrap_or_default()))
        };
        let mut told: Vec<String> = events.iter().filter_map(telling).collect();
        told.dedup();
        told.split_off(told.len().saturating_sub(WARNINGS))
    }

    /// Nobody knows: a person is asked, in the log and on the Deployment. The watch goes on.
    async fn hand_over(&self, own: &Own, trial: &Trial, message: &str) -> bool {
        let names = self.cluster.names();
        let back = format!(
            "kubectl -n {} set image deployment/{} {}={}",
            names.namespace, names.deployment, names.container, trial.previous_image
        );
        tracing::error!(message, "no verdict; to go back by hand: {back}");
        let mut notes = own.notes.clone();
        notes.insert(record::MESSAGE.to_owned(), format!("{message}; to go back by hand: {back}"));
        let fields = record::fields(names, own, &own.image, own.record.as_ref(), &notes);
        match self.cluster.apply_deployment(&fields, Mode::Real).await {
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "the Deployment does not say so");
                !error.is_temporary()
            }
        }
    }
}

fn noted<T>(event: watcher::Result<watcher::Event<T>>) {
    if let Err(error) = event {
        tracing::debug!(error = report::chain(&error), "a watch of the rollout begins again");
    }
}

/// What went wrong in the cluster's words, as an attempt's error.
#[must_use]
pub const fn code(error: &Error) -> ErrorCode {
    match error.trouble {
        crate::cluster::Trouble::Refused => ErrorCode::AdmissionRefused,
        _ => ErrorCode::Cluster,
    }
}
