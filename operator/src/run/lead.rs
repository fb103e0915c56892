//! The holder of the Lease: speaks for the executor until it is told to end or another pod may speak.

use std::error::Error;
use std::sync::Arc;

use domain::Version;
use domain::attempt::{ErrorCode, Stage};
use executor_sdk::clock;
use executor_sdk::driver::{self, End, Options};
use executor_sdk::journal::state::UNCONFIRMED_STARTS_MAX;
use executor_sdk::journal::{RollbackCause, Step};
use executor_sdk::report;
use futures_util::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::args::Run;
use crate::cluster::Cluster;
use crate::deployment::Own;
use crate::inventory;
use crate::keep::Kept;
use crate::lease::{self, Holder};
use crate::monitor::Monitor;
use crate::operator::{Operator, Parts, Registries, Wishes};
use crate::whereabouts;

/// What leading needs.
pub(super) struct Site<'a> {
    pub(super) version: Version,
    pub(super) arguments: &'a Run,
    pub(super) cluster: Cluster,
    pub(super) kept: Kept,
    pub(super) registries: Registries,
}

type Failed = Box<dyn Error + Send + Sync>;

/// Speaks until `end`, or until the Lease is lost.
pub(super) async fn lead(site: Site<'_>, holder: &mut Holder, end: CancellationToken) -> Result<(), Failed> {
    let own = site.cluster.own().await?;
    tracing::info!(image = own.image, "this pod speaks for the executor");
    if let Some(record) = &own.record
        && record.open.target_version == site.version
        && own.image == record.target_image
    {
        site.count_start().await?;
    }
    whereabouts::keep(&site.kept, site.arguments.enrolment.endpoint.as_ref()).await?;
    if let Some(why) = &own.managed {
        tracing::warn!(why, "this pod takes no upgrades");
    }
    let (managed, managed_now) = watch::channel(own.managed.clone());
    let (nodes, nodes_now) = watch::channel(None);
    let changed = Arc::new(Notify::new());
    let wishes = &site.arguments.wishes;
    let parts = Parts {
        cluster: site.cluster.clone(),
        kept: site.kept.clone(),
        monitor: Monitor::new(site.cluster.clone(), site.kept.clone(), site.arguments.patience()),
        wishes: Wishes { pin: wishes.pin.clone(), channel: wishes.channel, channel_ceiling: wishes.channel_ceiling },
        image: site.image_of_this_pod().await?,
        managed: managed_now,
        registries: site.registries.clone(),
        nodes: nodes_now,
    };
    // Read again: the count of starts is in it.
    let own = site.cluster.own().await?;
    let operator = Arc::new(Operator::new(site.version.clone(), parts, &own));
    // Nobody renews the Lease meanwhile.
    let _ = timeout(lease::SILENT_AFTER / 2, operator.go_back_if_decided(&own)).await;
    let options = Options {
        journal: Arc::new(site.kept.clone()),
        credentials: Arc::new(site.kept.clone()),
        downloads: executor_sdk::download::Policy::default(),
        status: None,
        changed: Some(Arc::clone(&changed)),
    };
    let mut driver = Box::pin(driver::run(operator, options, end.clone()));
    let ended = tokio::select! {
        // It was told to end, and has.
        ended = &mut driver => ended?,
        // Another pod may speak now.
        () = keep(holder) => {
            end.cancel();
            driver.await?
        }
        // Never ends, but in tests.
        () = misbehave() => driver.await?,
        // Never ends: nodes come and go.
        () = inventory::follow(site.cluster.client(), nodes) => driver.await?,
        // Never ends: what people change on the Deployment is told.
        () = site.follow(&managed, &changed) => driver.await?,
    };
    match ended {
        End::Shutdown => tracing::info!("this pod is silent now"),
        End::Restart => tracing::warn!("another version is in place, and this process does not end for it"),
    }
    Ok(())
}

#[cfg(feature = "fault-points")]
async fn misbehave() {
    crate::misbehaviour::while_leading().await;
}

#[cfg(not(feature = "fault-points"))]
async fn misbehave() {
    std::future::pending().await
}

/// Renews the Lease; returns when it is lost.
async fn keep(holder: &mut Holder) {
    let mut renewed = clock::since_boot();
    loop {
        sleep(holder.rest()).await;
        let now = clock::since_boot();
        match holder.look(now, clock::wall()).await {
            Ok(true) => renewed = now,
            Ok(false) => return tracing::warn!("another pod holds the Lease: falling silent"),
            Err(error) if now.saturating_sub(renewed) >= lease::SILENT_AFTER => {
                return tracing::warn!(%error, "the Lease could not be renewed: falling silent until it can be");
            }
            Err(error) => tracing::warn!(%error, "the Lease could not be renewed, trying again"),
        }
    }
}

impl Site<'_> {
    async fn image_of_this_pod(&self) -> Result<String, Failed> {
        let names = self.cluster.names();
        let pod = self.cluster.pod(&names.pod).await?;
        let containers = pod.spec.map(|spec| spec.containers).unwrap_or_default();
        let own = containers.into_iter().find(|container| container.name == names.container);
        let image = own.and_then(|container| container.image);
        Ok(image.ok_or_else(|| format!("pod {} has no container {:?}", names.pod, names.container))?)
    }

    /// One more start of an unconfirmed version. After too many it brings the old one back, whatever it would have done.
    async fn count_start(&self) -> Result<(), crate::cluster::Error> {
        let count = &mut |state: &mut executor_sdk::journal::State| {
            let Some(open) = &mut state.open else {
                return;
            };
            open.starts = open.starts.saturating_add(1);
            open.step = open.step.max(Step::Started);
            if open.starts > UNCONFIRMED_STARTS_MAX && open.rollback.is_none() {
                open.rollback = Some(RollbackCause {
                    stage: Stage::Confirm,
                    code: ErrorCode::TooManyStarts,
                    message: format!("it began to lead {} times, and was never confirmed", open.starts),
                });
            }
        };
        self.kept.change(count).await
    }

    /// Tells when somebody else begins, or ceases, to think that the image is theirs.
    async fn follow(&self, managed: &watch::Sender<Option<String>>, changed: &Notify) {
        let names = self.cluster.names();
        let only = watcher::Config::default().fields(&format!("metadata.name={}", names.deployment));
        let mut deployments = Box::pin(watcher(self.cluster.deployments(), only).default_backoff().applied_objects());
        while let Some(deployment) = deployments.next().await {
            let seen = match deployment {
                Ok(deployment) => Own::read(&deployment, &names.container),
                Err(error) => {
                    tracing::debug!(error = report::chain(&error), "the watch of the Deployment begins again");
                    continue;
                }
            };
            let Ok(own) = seen else {
                continue;
            };
            let is_new = managed.send_if_modified(|before| {
                let is_new = *before != own.managed;
                *before = own.managed;
                is_new
            });
            if is_new {
                match &*managed.borrow() {
                    Some(why) => tracing::warn!(why, "this pod takes no upgrades now"),
                    None => tracing::info!("this pod takes upgrades again"),
                }
                changed.notify_one();
            }
        }
    }
}
