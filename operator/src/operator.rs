//! The operator as the SDK sees it: what it says of itself, whether its Deployment can be changed and undone, and the change.

use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Stage, Waiting};
use domain::manifest::Subject;
use domain::sync::Node;
use domain::{AttemptId, Channel, Kind, Version};
use executor_sdk::connect::Backoff;
use executor_sdk::executor::{Applied, Description, Failure, Leave, Plan, Prepared, Workplace};
use executor_sdk::journal::{OpenAttempt, Step, SwapTime};
use executor_sdk::machine::{Judgement, Live};
use executor_sdk::{Executor, clock, report};
use tokio::sync::watch;

use crate::cluster::{Again, Cluster, Error, Mode, Trouble};
use crate::deployment::Own;
use crate::fault::{Point, reach};
use crate::keep::Kept;
use crate::monitor::{Monitor, code};
use crate::record::{self, Record};
use crate::registry::image::Image;
use crate::registry::settings::Settings;
use crate::registry::{self, Seen, secrets};
use crate::rollout::changed;

/// A registry is asked again within this long at first, and later within eight times that.
const AGAIN: Duration = Duration::from_secs(1);

/// How often a change that meets another one is made again.
const TRIES: usize = 16;

/// An operator that leads.
#[derive(Debug)]
pub struct Operator {
    version: Version,
    cluster: Cluster,
    kept: Kept,
    monitor: Monitor,
    wishes: Wishes,
    /// What this pod runs.
    image: String,
    /// What the Deployment names, of an attempt that was open when this pod began to lead.
    found: Option<Live>,
    /// Who changed that, where it was neither this operator nor the one before.
    changed: Option<String>,
    managed: watch::Receiver<Option<String>>,
    registries: Registries,
    nodes: watch::Receiver<Option<Vec<Node>>>,
    /// What a preflight waits out, or a watch.
    waiting: watch::Sender<Option<Waiting>>,
}

/// What the cluster's people want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Why there are to be no upgrades.
    pub pin: Option<String>,
    /// The channel it asks for.
    pub channel: Option<Channel>,
    /// The widest it accepts.
    pub channel_ceiling: Option<Channel>,
}

/// How images are looked at before they are deployed.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    /// Where registries are, and how they are spoken to.
    pub settings: Settings,
    /// Secrets of the namespace whose credentials may be used.
    pub pull_secrets: Vec<String>,
}

/// What an operator works with.
#[derive(Debug)]
pub struct Parts {
    /// The cluster.
    pub cluster: Cluster,
    /// What survives.
    pub kept: Kept,
    /// Who watches over a new version.
    pub monitor: Monitor,
    /// What people want.
    pub wishes: Wishes,
    /// What this pod runs.
    pub image: String,
    /// Why the image is not ours to change, as it comes.
    pub managed: watch::Receiver<Option<String>>,
    /// How images are looked at.
    pub registries: Registries,
    /// The cluster's nodes, as they come.
    pub nodes: watch::Receiver<Option<Vec<Node>>>,
}

impl Operator {
    /// Of this version; `own` is the Deployment as it was found.
    #[must_use]
    pub fn new(version: Version, parts: Parts, own: &Own) -> Self {
        let Parts { cluster, kept, monitor, wishes, image, managed, registries, nodes } = parts;
        Self {
            version,
            cluster,
            kept,
            monitor,
            wishes,
            image,
            found: own.record.as_ref().map(|record| live(own, record)),
            changed: own.record.as_ref().map(|record| changed(&own.image, &own.set_by(), &record.previous_image)),
            managed,
            registries,
            nodes,
            waiting: watch::Sender::new(None),
        }
    }

    /// Goes back where that is decided and not done, before anything that this version does beyond: one that crashes a moment after it
    /// leads may have no other. Where it fails it is tried again as part of the attempt.
    pub async fn go_back_if_decided(&self, own: &Own) {
        let Some(record) = own.record.as_ref().filter(|record| record.open.rollback.is_some()) else {
            return;
        };
        if own.image == record.target_image
            && let Err(failure) = self.roll_back(record.open.attempt).await
        {
            tracing::warn!(why = failure.message, "not back yet");
        }
    }

    fn waits_out(&self, error_code: ErrorCode, message: String) {
        self.waiting.send_replace(Some(Waiting { error_code, message }));
    }

    /// What stands in the way, in the order in which people would mend it.
    fn obstacle(&self, own: &Own) -> Option<Failure> {
        let refused = |code, message: String| Some(Failure::refused(Stage::Preflight, code, message));
        if let Some(why) = &own.managed {
            return refused(ErrorCode::Pinned, why.clone());
        }
        if !own.hazards.is_empty() {
            let message = format!("a bad version could not be undone here: {}", own.hazards.join("; "));
            return refused(ErrorCode::UnsafeDeployment, message);
        }
        if let Some(record) = &own.record {
            let message = format!("version {} is not confirmed yet", record.open.target_version);
            return refused(ErrorCode::Other, message);
        }
        if own.image != self.image {
            let message = format!(
                "the Deployment names image {}, and this pod runs {}: another rollout is under way; ask again when it is over",
                own.image, self.image
            );
            return refused(ErrorCode::NotPermitted, message);
        }
        None
    }

    /// Asks the registry, until it answers or the SDK's time is over.
    async fn look_at_the_image(&self, plan: &Plan) -> Result<(), Failure> {
        let Subject::Operator { image, digest } = &plan.manifest.subject else {
            return Err(wrong_kind());
        };
        let refused = |code, message: String| Failure::refused(Stage::Preflight, code, message);
        let image =
            Image::new(image, *digest).map_err(|error| refused(ErrorCode::BadManifest, report::chain(&error)))?;
        let no_platform = || refused(ErrorCode::PlatformMismatch, "this build has no name for its platform".to_owned());
        let platform = executor_sdk::executor::platform().ok_or_else(no_platform)?;
        let Registries { settings, pull_secrets } = &self.registries;
        let mut again = Backoff::between(AGAIN, AGAIN * 8);
        loop {
            let namespace = &self.cluster.names().namespace;
            let (keyring, passed_over) = secrets::keyring(&self.cluster.client(), namespace, pull_secrets).await;
            for secret in passed_over {
                tracing::warn!(secret = secret.name, why = secret.why, "a pull secret is passed over");
            }
            match registry::probe(&image, &platform, &keyring, settings).await {
                Ok(Seen::Found(found)) => {
                    tracing::info!(host = found.host, manifest = %found.manifest, "the image is there, as it was signed");
                    return Ok(());
                }
                Ok(Seen::Hidden(why)) => {
                    tracing::warn!(why, "the image cannot be seen from here; nodes may have credentials of their own");
                    return Ok(());
                }
                Err(error) if error.is_temporary() => {
                    tracing::warn!(%error, "asking the registry again until the upgrade's time is over");
                    self.waits_out(error.code(), error.to_string());
                }
                Err(error) => return Err(error.failure()),
            }
            again.pause().await;
        }
    }

    /// The change of image and record, made if the Deployment is still as it was looked at.
    async fn change(&self, own: &Own, record: &Record, image: &str, mode: Mode) -> Result<(), Error> {
        let mut notes = own.notes.clone();
        notes.remove(record::MESSAGE);
        notes.insert(record::IMAGE.to_owned(), image.to_owned());
        let fields = record::fields(self.cluster.names(), own, image, Some(record), &notes);
        self.cluster.apply_deployment(&fields, mode).await.map(drop)
    }

    /// [`Again::after`], told to whoever follows the attempt. A change that met another one is made again at once: nothing to tell.
    async fn waited_for_the_cluster(&self, again: &mut Again, error: &Error) -> bool {
        if error.trouble != Trouble::Conflict {
            self.waits_out(code(error), error.to_string());
        }
        again.after(error).await
    }

    /// Reads until there is an answer: whether a change was made has to be known.
    async fn own_at_last(&self) -> Result<Own, Error> {
        let mut again = Again::new();
        loop {
            match self.cluster.own().await {
                Err(error) if again.after(&error).await => {}
                own => return own,
            }
        }
    }

    /// Makes the prepared image the Deployment's.
    async fn move_to(&self, record: &Record) -> Result<(), Failure> {
        let attempt = record.open.attempt;
        let mut again = Again::new();
        for _ in 0..TRIES {
            let own = self.own_at_last().await.map_err(|error| failed(Stage::Swap, &error))?;
            // An earlier try was made after all, though nobody said so.
            if own.record.as_ref().is_some_and(|record| record.open.attempt == attempt) {
                return Ok(());
            }
            if let Some(obstacle) = self.obstacle(&own) {
                return Err(obstacle);
            }
            match self.change(&own, record, &record.target_image, Mode::Real).await {
                Ok(()) => return Ok(()),
                // Whether it was changed is looked up.
                Err(error) if again.after(&error).await => {}
                Err(error) => return Err(failed(Stage::Swap, &error)),
            }
        }
        Err(Failure::failed(Stage::Swap, ErrorCode::Cluster, "the Deployment is changed by others all the time"))
    }

    /// Makes what the attempt came from the Deployment's image again.
    async fn move_back(&self, attempt: AttemptId) -> Result<(), Failure> {
        let mut again = Again::new();
        let gave_up = |message: &str| Failure::failed(Stage::Rollback, ErrorCode::Other, message);
        loop {
            let own = self.own_at_last().await.map_err(|error| failed(Stage::Rollback, &error))?;
            let record = own.record.clone().filter(|record| record.open.attempt == attempt);
            let mut record = record.ok_or_else(|| gave_up("the attempt is not written on the Deployment any more"))?;
            if own.image == record.previous_image {
                return Ok(());
            }
            if own.image != record.target_image {
                return Err(gave_up("somebody set another image in the meantime, and that stays"));
            }
            record.open.step = Step::RollingBack;
            let previous = record.previous_image.clone();
            match self.change(&own, &record, &previous, Mode::Real).await {
                Ok(()) => return Ok(()),
                Err(error) if again.after(&error).await => {}
                Err(error) => return Err(failed(Stage::Rollback, &error)),
            }
        }
    }
}

impl Executor for Operator {
    fn describe(&self) -> Description {
        let pinned = self.wishes.pin.clone().or_else(|| self.managed.borrow().clone());
        Description {
            pinned,
            channel: self.wishes.channel,
            channel_ceiling: self.wishes.channel_ceiling,
            ..Description::new(Kind::Operator, self.version.clone())
        }
    }

    fn waiting(&self) -> Option<watch::Receiver<Option<Waiting>>> {
        Some(self.waiting.subscribe())
    }

    async fn preflight(&self, plan: &Plan) -> Result<Workplace, Failure> {
        let target = target_image(plan)?;
        let mut again = Again::new();
        self.waiting.send_replace(None);
        self.look_at_the_image(plan).await?;
        self.waiting.send_replace(None);
        loop {
            let looked = async {
                let own = self.cluster.own().await?;
                if let Some(obstacle) = self.obstacle(&own) {
                    return Ok(Err(obstacle));
                }
                let record = Record {
                    open: OpenAttempt::new(
                        plan.attempt,
                        plan.generation,
                        plan.from_version.clone(),
                        plan.target_version().clone(),
                    ),
                    previous_image: own.image.clone(),
                    target_image: target.clone(),
                };
                // Rights, admission and quota of the Deployment, asked before leave is.
                self.change(&own, &record, &target, Mode::DryRun).await.map(Ok)
            };
            match looked.await {
                Ok(judged) => return judged.map(|()| Workplace::Elsewhere),
                // Until the time to be picked up is over, when the SDK drops this.
                Err(error) if self.waited_for_the_cluster(&mut again, &error).await => {}
                // Nothing was touched: what stands in the way is the cluster's people's to mend.
                Err(error) => return Err(Failure { outcome: Outcome::Refused, ..failed(Stage::Preflight, &error) }),
            }
        }
    }

    async fn apply(&self, prepared: Prepared, leave: Leave) -> Result<Applied, Failure> {
        let plan = prepared.plan;
        let mut open = OpenAttempt::of(&plan, &leave);
        open.step = Step::Swapped;
        open.swap = Some(SwapTime { wall: clock::wall(), boot_id: String::new(), since_boot: clock::since_boot() });
        let record = Record { open, previous_image: self.image.clone(), target_image: target_image(&plan)? };
        reach(Point::BeforeChange);
        self.move_to(&record).await?;
        reach(Point::Changed);
        tracing::info!(attempt = %plan.attempt, image = record.target_image, "the Deployment names the new image");
        Ok(Applied::Elsewhere)
    }

    async fn watch(&self, open: &OpenAttempt) -> Judgement {
        self.waiting.send_replace(None);
        self.monitor.watch(open, &self.waiting).await
    }

    async fn roll_back(&self, attempt: AttemptId) -> Result<Applied, Failure> {
        reach(Point::BeforeBack);
        self.move_back(attempt).await?;
        reach(Point::Back);
        tracing::info!(%attempt, "the Deployment names the old image again");
        Ok(Applied::Elsewhere)
    }

    fn live(&self, open: &OpenAttempt) -> Live {
        let _ = open;
        self.found.unwrap_or(Live::Other)
    }

    fn changed_by(&self, open: &OpenAttempt) -> Option<String> {
        let _ = open;
        self.changed.clone()
    }

    fn nodes(&self) -> Option<watch::Receiver<Option<Vec<Node>>>> {
        Some(self.nodes.clone())
    }

    async fn log_tail(&self, cursor: Option<&str>) -> Vec<String> {
        let _ = cursor;
        self.kept
            .failing_log()
            .await
            .unwrap_or_else(|error| vec![format!("(the log that was kept cannot be read: {error})")])
    }
}

/// What the Deployment says is live. The old image without a decision of ours is somebody else's doing, and stays.
#[must_use]
pub fn live(own: &Own, record: &Record) -> Live {
    if own.image == record.target_image {
        Live::New
    } else if own.image == record.previous_image && record.open.rollback.is_some() {
        Live::Old
    } else {
        Live::Other
    }
}

fn target_image(plan: &Plan) -> Result<String, Failure> {
    match &plan.manifest.subject {
        Subject::Operator { image, digest } => Ok(format!("{image}@sha256:{digest}")),
        Subject::Agent { .. } => Err(wrong_kind()),
    }
}

fn wrong_kind() -> Failure {
    let message = "the artifact is a binary, and this executor is an operator";
    Failure::refused(Stage::Preflight, ErrorCode::KindMismatch, message)
}

fn failed(stage: Stage, error: &Error) -> Failure {
    let next = if error.trouble == Trouble::Forbidden { "" } else { "; look at the Deployment" };
    Failure::failed(stage, code(error), format!("{error}{next}"))
}
