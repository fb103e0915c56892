//! The agent as the SDK sees it: what it says of itself, whether this host can swap, and the swap.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use domain::attempt::{ErrorCode, Stage};
use domain::manifest::Subject;
use domain::sync::Node;
use domain::{AttemptId, Channel, Kind, Sha256, Version};
use executor_sdk::disk::Stamp;
use executor_sdk::executor::{Applied, Artifact, Description, Failure, Leave, Plan, Prepared, Workplace};
use executor_sdk::journal::{Journal, OpenAttempt, SwapTime};
use executor_sdk::report::chain;
use executor_sdk::{Executor, clock};

use crate::apply::obstacle::Obstacle;
use crate::apply::package;
use crate::apply::preflight::{Host, Volatile};
use crate::apply::swap::{self, Incoming};
use crate::disk::{self, Content};
use crate::fault::{self, reach};
use crate::inventory;
use crate::layout::Layout;
use crate::pin;
use crate::rollback::put_back::{self, Done, by_hand};
use crate::rollback::steps::{self, LOCK_PATIENCE, go_back};
use crate::service_manager::{Manager, ServiceManager};

/// An agent that runs.
#[derive(Debug)]
pub struct Agent {
    layout: Layout,
    version: Version,
    manager: Manager,
    wishes: Wishes,
    /// The package manager that owns the binary, looked up once: the lists are long.
    owner: Option<Obstacle>,
    live: Mutex<Option<(Stamp, Sha256)>>,
}

/// What the host wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// The channel it asks for.
    pub channel: Option<Channel>,
    /// The widest it accepts.
    pub channel_ceiling: Option<Channel>,
    /// Whether state that a reboot forgets is good enough.
    pub volatile_state: Volatile,
}

impl Agent {
    /// An agent of this version on this host.
    pub async fn new(layout: Layout, version: Version, manager: Manager, wishes: Wishes) -> Self {
        let owner = package::owner(layout.binary()).await;
        Self { layout, version, manager, wishes, owner, live: Mutex::new(None) }
    }

    /// Everything that stands in the way of an upgrade of `size` bytes.
    async fn obstacles(&self, size: u64) -> Vec<Obstacle> {
        let mut found = Vec::new();
        if let Some(reason) = pin::reason(&self.layout) {
            found.push(Obstacle::Pinned { reason });
        }
        found.extend(package::owner(self.layout.binary()).await);
        if matches!(self.manager, Manager::Nobody) {
            found.push(Obstacle::NoServiceManager);
        }
        let (layout, volatile) = (self.layout.clone(), self.wishes.volatile_state);
        let looked = tokio::task::spawn_blocking(move || {
            let mut found = Host::look(&layout).obstacles(&layout, size, volatile);
            found.extend(other_binary(&layout));
            found
        });
        match looked.await {
            Ok(more) => found.extend(more),
            Err(error) => {
                let path = self.layout.directory().to_owned();
                found.push(Obstacle::NotSwappable { path, why: error.to_string(), kind: io::ErrorKind::Other });
            }
        }
        found
    }

    /// The digest of the live binary, hashed again only when the file is another one.
    fn live(&self) -> Option<Sha256> {
        let before = stamp(self.layout.binary())?;
        let mut known = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((stamp, digest)) = *known
            && stamp == before
        {
            return Some(digest);
        }
        let Content::Is(digest) = disk::content(self.layout.binary()) else {
            return None;
        };
        *known = Some((before, digest));
        Some(digest)
    }
}

impl Executor for Agent {
    fn describe(&self) -> Description {
        Description {
            binary_sha256: self.live(),
            pinned: pin::reason(&self.layout).or_else(|| self.owner.as_ref().map(ToString::to_string)),
            channel: self.wishes.channel,
            channel_ceiling: self.wishes.channel_ceiling,
            ..Description::new(Kind::Agent, self.version.clone())
        }
    }

    async fn preflight(&self, plan: &Plan) -> Result<Workplace, Failure> {
        let Subject::Agent { size, .. } = &plan.manifest.subject else {
            let message = "the artifact is an image, and this executor is an agent".to_owned();
            return Err(Failure::refused(Stage::Preflight, ErrorCode::KindMismatch, message));
        };
        match self.obstacles(*size).await.first() {
            Some(obstacle) => Err(obstacle.refusal(&self.layout)),
            None => Ok(Workplace::Directory(self.layout.directory().to_owned())),
        }
    }

    async fn apply(&self, prepared: Prepared, leave: Leave) -> Result<Applied, Failure> {
        let failed = |code, message: String| Failure::failed(Stage::Swap, code, message);
        let Prepared { plan, artifact: Artifact::File(mut artifact) } = prepared else {
            return Err(failed(ErrorCode::KindMismatch, "an agent swaps files".to_owned()));
        };
        let cursor = self.manager.log_cursor().await;
        let layout = self.layout.clone();
        let swapped = tokio::task::spawn_blocking(move || {
            let open = open_attempt(&layout, OpenAttempt::of(&plan, &leave), cursor)?;
            let locked = Journal::new(layout.state_dir()).lock(LOCK_PATIENCE).map_err(swap::Error::Journal)?;
            // Its name is about to become the binary's; what a failure leaves is swept with the next download.
            swap::swap(&layout, &locked, open, Incoming { file: artifact.file(), path: artifact.path() })?;
            artifact.keep();
            Ok(())
        });
        match swapped.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(failed(code(&error), chain(&error))),
            Err(error) => return Err(failed(ErrorCode::Io, error.to_string())),
        }
        reach(fault::SWAP_RESTARTING);
        self.restart().await;
        Ok(Applied::Restart)
    }

    async fn roll_back(&self, attempt: AttemptId) -> Result<Applied, Failure> {
        let cause = by_hand("the version that ran before was asked for");
        match go_back(&self.layout, &self.manager, &cause).await {
            Ok(Done::Back(version) | Done::WasBack(version)) => {
                tracing::info!(%attempt, %version, "rolled back as asked");
                self.restart().await;
                Ok(Applied::Restart)
            }
            Ok(Done::NothingOpen) => {
                Err(Failure::failed(Stage::Rollback, ErrorCode::Other, "the attempt is not open on this host any more"))
            }
            Ok(Done::ChangedLocally) => {
                Err(Failure::failed(Stage::Rollback, ErrorCode::Other, "another binary was installed on the host"))
            }
            Err(error) => {
                let code = match &error {
                    steps::Error::PutBack(put_back::Error::Unusable(_)) => ErrorCode::PreviousUnusable,
                    steps::Error::PutBack(put_back::Error::Full { .. }) => ErrorCode::NoSpace,
                    steps::Error::PutBack(put_back::Error::Disk(_) | put_back::Error::Sync(_)) => ErrorCode::Io,
                    steps::Error::PutBack(put_back::Error::Journal(_))
                    | steps::Error::Journal(_)
                    | steps::Error::Notes(_) => ErrorCode::Journal,
                };
                Err(Failure::failed(Stage::Rollback, code, chain(&error)))
            }
        }
    }

    async fn confirmed(&self, attempt: AttemptId) {
        tracing::info!(%attempt, version = %self.version, "confirmed");
        if let Manager::Supervisor(child) = &self.manager
            && let Err(error) = child.confirmed()
        {
            tracing::warn!(error = %chain(&error), "the supervisor goes on with the old code");
        }
    }

    async fn inventory(&self) -> Vec<Node> {
        vec![inventory::node()]
    }

    async fn log_tail(&self, cursor: Option<&str>) -> Vec<String> {
        self.manager.log_tail(cursor).await
    }
}

impl Agent {
    /// Asks for the start of what is on disk now. A refusal undoes nothing: this process ends anyway, and is started again.
    async fn restart(&self) {
        if let Err(error) = self.manager.restart().await {
            tracing::error!(error = %chain(&error), "no restart; ending, to be started again");
        }
    }
}

/// The attempt as it is journalled before the first change.
fn open_attempt(layout: &Layout, mut open: OpenAttempt, cursor: Option<String>) -> Result<OpenAttempt, swap::Error> {
    let old = disk::own_digest().map_err(swap::Error::Disk)?;
    if !disk::content(layout.binary()).is(&old) {
        return Err(swap::Error::OtherBinary);
    }
    open.old_sha256 = Some(old);
    open.log_cursor = cursor;
    open.swap = Some(SwapTime { wall: clock::wall(), boot_id: clock::boot_id(), since_boot: clock::since_boot() });
    Ok(open)
}

/// The binary that would be replaced has to be the one that runs: else `.prev` would be something nobody confirmed.
fn other_binary(layout: &Layout) -> Option<Obstacle> {
    let same = disk::own_digest().is_ok_and(|own| disk::content(layout.binary()).is(&own));
    (!same).then(|| Obstacle::OtherBinary { path: layout.binary().to_owned() })
}

fn stamp(path: &Path) -> Option<Stamp> {
    fs::symlink_metadata(path).ok().map(|about| Stamp::of(&about))
}

const fn code(error: &swap::Error) -> ErrorCode {
    match error {
        swap::Error::Unconfirmed(_) => ErrorCode::Other,
        swap::Error::Replaced | swap::Error::OtherBinary => ErrorCode::NotPermitted,
        swap::Error::Journal(_) => ErrorCode::Journal,
        swap::Error::Disk(_) | swap::Error::Sync(_) => ErrorCode::Io,
    }
}
