//! Every release between two versions, with what changes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use domain::release::{Artifact, Release, Status};
use domain::{Kind, ReleaseId, Version};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;

/// What lies between two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Published releases after the lower up to the higher version, newest first.
    pub releases: Vec<Release>,
    /// Whether the move is more than one major.
    pub major_hop: bool,
    /// Bytes of the target's artifacts less those of the origin's, by platform.
    pub size_delta_bytes: BTreeMap<String, i64>,
}

impl App {
    /// Compares two versions of a kind. The origin need not be in the catalog: executors may run what was never published here.
    ///
    /// # Errors
    /// `NOT_FOUND` when the target is not in the catalog.
    pub async fn release_compare(
        &self,
        caller: &Caller,
        kind: Kind,
        from: &Version,
        to: &Version,
    ) -> Result<Comparison, Error> {
        caller.authorize(None)?;
        let catalog = self.store.release_list(kind).await?;
        let find = |version: &Version| catalog.iter().find(|release| release.id.version == *version);
        let target = find(to).ok_or_else(|| {
            let id = ReleaseId { kind, version: to.clone() };
            Error::not_found(id.resource_name())
        })?;
        let (low, high) = (from.min(to), from.max(to));
        let between = |release: &&Release| {
            release.status == Status::Published && release.id.version > *low && release.id.version <= *high
        };
        let mut releases: Vec<Release> = catalog.iter().filter(between).cloned().collect();
        releases.sort_by_key(|release| Reverse(release.id.version.clone()));
        let origin = find(from).map(sizes).unwrap_or_default();
        let delta = |(platform, size): (String, i64)| {
            let before = origin.get(&platform)?;
            Some((platform, size.saturating_sub(*before)))
        };
        Ok(Comparison {
            size_delta_bytes: sizes(target).into_iter().filter_map(delta).collect(),
            major_hop: from.major_distance(to) > 1,
            releases,
        })
    }
}

fn sizes(release: &Release) -> BTreeMap<String, i64> {
    let size = |artifact: &Artifact| match artifact {
        Artifact::Agent { platform, size, .. } => {
            Some((platform.to_string(), i64::try_from(*size).unwrap_or(i64::MAX)))
        }
        Artifact::Operator { .. } => None,
    };
    release.artifacts.iter().filter_map(size).collect()
}
