//! Available upgrades and downgrades: which releases an executor may move to, and why not the others (rule 3).
//!
//! A row exists for every release that the executor **sees**: of its kind, published, on a channel that it is shown, and
//! not the version that runs. Drafts, yanked releases and other channels have no row. A row that is seen may still be
//! **blocked**, by the first of these:
//!
//! 1. below the executor's floor (nothing lifts that);
//! 2. no artifact for its platform;
//! 3. more than one major away: another major comes first, and the row says which, and whether any release of it would do;
//! 4. the executor takes no request at all ([`admission`]): deactivated, duplicated, pinned.
//!
//! A row without a block is exactly what [`crate::attempt::request()`] accepts as long as the executor is online, has no
//! open attempt, and the request's own fields are in order. Those three change from moment to moment, or with the
//! question, and so are the request's to judge. Being out of support blocks nothing (rule 14): old executors are brought
//! forward hop by hop.

use std::cmp::Reverse;

use crate::channel::Channel;
use crate::executor::{Executor, Kind, State};
use crate::id::ReleaseId;
use crate::reason::{Reason, Refusal};
use crate::release::{Release, Status};
use crate::version::Version;

/// Which way a release lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Newer than what runs.
    Upgrade,
    /// Older than what runs.
    Downgrade,
}

/// One row: a release this executor sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which release.
    pub release: ReleaseId,
    /// Its channel.
    pub channel: Channel,
    /// Which way.
    pub direction: Direction,
    /// None: a direct target, and a request for it would be accepted. Otherwise why not (`requires upgrade to 2.x first`).
    pub blocked: Option<Refusal>,
    /// For people.
    pub release_notes: String,
    /// Whether it rolled back or was refused here.
    pub held: bool,
}

/// The releases this executor may move to or sees blocked: upgrades first, nearest first, then downgrades, nearest first.
/// Nothing before its first hello, when kind and version are unknown.
#[must_use]
pub fn targets(executor: &Executor, catalog: &[Release]) -> Vec<Target> {
    let Ok(view) = View::new(executor, catalog) else {
        return Vec::new();
    };
    let admitted = admission(executor);
    let row = |release: &Release| Target {
        release: release.id.clone(),
        channel: release.channel,
        direction: view.direction(release),
        blocked: view.reachable(release).and_then(|()| admitted.clone()).err(),
        release_notes: release.notes.clone(),
        held: executor.hold_on(&release.id.version).is_some(),
    };
    let mut rows: Vec<Target> = catalog.iter().filter(|release| view.sees(release).is_ok()).map(row).collect();
    rows.sort_by(|one, other| match (one.direction, other.direction) {
        (Direction::Upgrade, Direction::Upgrade) => one.release.cmp(&other.release),
        (Direction::Downgrade, Direction::Downgrade) => Reverse(&one.release).cmp(&Reverse(&other.release)),
        (Direction::Upgrade, Direction::Downgrade) => std::cmp::Ordering::Less,
        (Direction::Downgrade, Direction::Upgrade) => std::cmp::Ordering::Greater,
    });
    rows
}

/// The release of `version`, when the executor may move to it directly.
///
/// # Errors
/// The rule that forbids it, with its values; of releases that have no row too.
pub fn direct<'a>(executor: &Executor, catalog: &'a [Release], version: &Version) -> Result<&'a Release, Refusal> {
    let view = View::new(executor, catalog)?;
    let of_kind = |release: &&Release| release.id.kind == view.kind && release.id.version == *version;
    let release = catalog.iter().find(of_kind).ok_or_else(|| {
        if catalog.iter().any(|release| release.id.version == *version) {
            let message =
                format!("version {version} was released for the other kind; this executor is of kind {}", view.kind);
            return Refusal::new(Reason::KindMismatch, message).with("kind", view.kind).with("target_version", version);
        }
        let message =
            format!("the catalog has no {} release {version}; list the targets to see what there is", view.kind);
        Refusal::new(Reason::VersionNotAvailable, message).with("kind", view.kind).with("target_version", version)
    })?;
    view.sees(release)?;
    view.reachable(release)?;
    Ok(release)
}

/// Whether the executor takes requests at all, by what its row says. (Whether it is online is not in its row.)
///
/// # Errors
/// [`Reason::ExecutorDeactivated`], [`Reason::ExecutorNeverSynced`], [`Reason::DuplicateIdentity`] or
/// [`Reason::ExecutorPinned`].
pub fn admission(executor: &Executor) -> Result<(), Refusal> {
    let refused = |reason, message: String| Err(Refusal::new(reason, message).with("executor", &executor.name));
    if executor.state == State::Deactivated {
        return refused(Reason::ExecutorDeactivated, format!("{} is deactivated; activate it first", executor.name));
    }
    if executor.kind.is_none() || executor.version.is_none() {
        let message = format!("{} has not synced yet: its kind and version are unknown; start it first", executor.name);
        return refused(Reason::ExecutorNeverSynced, message);
    }
    if executor.duplicated_since.is_some() {
        let message = format!(
            "two instances use the identity of {}; enrol one of them under its own name, then activate the executor",
            executor.name
        );
        return refused(Reason::DuplicateIdentity, message);
    }
    if let Some(why) = &executor.pinned {
        let message = format!("{} is pinned on its host ({why}); unpin it there first", executor.name);
        return refused(Reason::ExecutorPinned, message);
    }
    Ok(())
}

/// The catalog as one executor sees it.
struct View<'a> {
    executor: &'a Executor,
    kind: Kind,
    running: &'a Version,
    catalog: &'a [Release],
}

// === impl View ===

impl<'a> View<'a> {
    fn new(executor: &'a Executor, catalog: &'a [Release]) -> Result<Self, Refusal> {
        match (executor.kind, &executor.version) {
            (Some(kind), Some(running)) => Ok(Self { executor, kind, running, catalog }),
            (None, _) | (_, None) => {
                let message = format!("{} has not synced yet: its kind and version are unknown", executor.name);
                Err(Refusal::new(Reason::ExecutorNeverSynced, message))
            }
        }
    }

    fn direction(&self, release: &Release) -> Direction {
        if release.id.version > *self.running { Direction::Upgrade } else { Direction::Downgrade }
    }

    /// Whether there is a row.
    fn sees(&self, release: &Release) -> Result<(), Refusal> {
        let version = &release.id.version;
        let refused = |reason, message: String| {
            Refusal::new(reason, message).with("target_version", version).with("kind", self.kind)
        };
        if release.id.kind != self.kind {
            let message = format!("release {} is not for kind {}", release.id, self.kind);
            return Err(refused(Reason::KindMismatch, message));
        }
        match release.status {
            Status::Published => {}
            Status::Draft => {
                return Err(refused(
                    Reason::ReleaseNotPublished,
                    format!("release {} is a draft; publish it first", release.id),
                ));
            }
            Status::Yanked => {
                let why = release.yank_reason.as_deref().unwrap_or("no reason given");
                return Err(refused(Reason::ReleaseYanked, format!("release {} was yanked ({why})", release.id)));
            }
        }
        let channel = self.executor.effective_channel();
        if !channel.sees(release.channel) {
            let held_down = if channel == self.executor.channel { "" } else { " by its host's ceiling" };
            let message = format!(
                "release {} is on channel {}, and the executor is shown {channel}{held_down}",
                release.id, release.channel
            );
            return Err(refused(Reason::ChannelNotVisible, message)
                .with("release_channel", release.channel)
                .with("executor_channel", channel));
        }
        if version == self.running {
            return Err(refused(Reason::AlreadyRunning, format!("the executor runs {version} already")));
        }
        Ok(())
    }

    /// Whether a release that is seen may be moved to directly.
    fn reachable(&self, release: &Release) -> Result<(), Refusal> {
        self.deliverable(release)?;
        if self.running.major_distance(&release.id.version) <= 1 { Ok(()) } else { Err(self.hop(release)) }
    }

    /// Whether it could ever be delivered to this executor, near or far.
    fn deliverable(&self, release: &Release) -> Result<(), Refusal> {
        let version = &release.id.version;
        if let Some(floor) = &self.executor.floor
            && version < floor
        {
            let message =
                format!("version {version} is below {floor}, the lowest version that this executor still accepts");
            return Err(Refusal::new(Reason::BelowFloor, message).with("target_version", version).with("floor", floor));
        }
        let (found, platform) = match (self.kind, &self.executor.platform) {
            (Kind::Operator, _) => (release.operator_artifact().is_some(), "an image".to_owned()),
            (Kind::Agent, Some(platform)) => (release.agent_artifact(platform).is_some(), platform.to_string()),
            (Kind::Agent, None) => (false, "an unknown platform".to_owned()),
        };
        if !found {
            let message = format!("release {} has no artifact for {platform}", release.id);
            return Err(Refusal::new(Reason::PlatformMissing, message)
                .with("target_version", version)
                .with("platform", platform));
        }
        Ok(())
    }

    /// Why a far release is not a direct target: which major comes first, and whether there is one to go to.
    fn hop(&self, release: &Release) -> Refusal {
        let version = &release.id.version;
        let (word, next) = match self.direction(release) {
            Direction::Upgrade => ("upgrade", self.running.major().saturating_add(1)),
            Direction::Downgrade => ("downgrade", self.running.major().saturating_sub(1)),
        };
        let step = |other: &&Release| {
            other.id.version.major() == next && self.sees(other).is_ok() && self.deliverable(other).is_ok()
        };
        let via = self.catalog.iter().filter(step).map(|other| &other.id.version).max();
        let mut message = format!("requires {word} to {next}.x first");
        if via.is_none() {
            message.push_str(&format!(", and no {next}.x is available to this executor"));
        }
        let refusal = Refusal::new(Reason::MajorHopRequired, message)
            .with("running_version", self.running)
            .with("target_version", version)
            .with("required_major", next);
        match via {
            Some(via) => refusal.with("via_version", via),
            None => refusal,
        }
    }
}

#[cfg(test)]
mod tests;
