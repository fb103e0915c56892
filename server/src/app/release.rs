//! The release catalog: putting releases together, publishing and withdrawing them. The server refuses here what executors
//! would refuse later; it never holds a signing key.

pub mod compare;

pub mod draft;

pub mod publish;

pub mod sign;

pub mod upload;

pub mod yank;

use std::cmp::Reverse;

use domain::manifest::Edition;
use domain::release::{Artifact, Release, Status};
use domain::{Channel, Kind, Platform, Reason, Refusal, ReleaseId};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::minisign::SignatureFile;
use crate::app::page::{Listed, PageRequest};

/// Rows of a page when none are asked for (release_service.proto).
const PAGE: usize = 100;

/// Which releases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReleaseFilter {
    /// Only of this kind.
    pub kind: Option<Kind>,
    /// Only of this channel itself, not of those that it sees.
    pub channel: Option<Channel>,
    /// Only those that stand here.
    pub status: Option<Status>,
}

impl App {
    /// One release.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub async fn release_get(&self, caller: &Caller, id: &ReleaseId) -> Result<Release, Error> {
        caller.authorize(None)?;
        self.release_read(id).await
    }

    /// A page of releases, newest version first; of equal versions agents first.
    ///
    /// # Errors
    /// Bad page fields.
    pub async fn release_list(
        &self,
        caller: &Caller,
        filter: ReleaseFilter,
        page: &PageRequest,
    ) -> Result<Listed<Release>, Error> {
        caller.authorize(None)?;
        let cut = page.judge::<ReleaseId>(format!("releases {filter:?}"), PAGE)?;
        let kinds = filter.kind.map_or_else(|| vec![Kind::Agent, Kind::Operator], |kind| vec![kind]);
        let mut rows = Vec::new();
        for kind in kinds {
            rows.extend(self.store.release_list(kind).await?);
        }
        // A catalog is some hundred rows, read whole for its order: versions are no keys of an index.
        rows.retain(|row| filter.takes(row));
        rows.sort_by_key(|row| order(&row.id));
        if let Some(after) = &cut.after {
            rows.retain(|row| order(&row.id) > order(after));
        }
        rows.truncate(cut.one_more());
        Ok(cut.page(rows, |row| row.id.clone()))
    }

    pub(crate) async fn release_read(&self, id: &ReleaseId) -> Result<Release, Error> {
        let found = self.store.release_get(id).await?;
        found.ok_or_else(|| Error::not_found(id.resource_name()))
    }

    /// The highest sequence of any other release of this kind that was ever published, promotions that are not whole yet
    /// included; 0: none.
    pub(crate) async fn highest_sequence_elsewhere(&self, id: &ReleaseId) -> Result<u64, Error> {
        let releases = self.store.release_list(id.kind).await?;
        let published = |release: &&Release| release.id != *id && release.status != Status::Draft;
        let signed = |release: &Release| {
            let editions = editions(release).unwrap_or_default();
            let sequences = editions.iter().flatten().map(|edition| edition.sequence);
            sequences.max().max(release.sequence)
        };
        let highest = releases.iter().filter(published).filter_map(signed).max();
        Ok(highest.unwrap_or(0))
    }
}

// === impl ReleaseFilter ===

impl ReleaseFilter {
    fn takes(&self, release: &Release) -> bool {
        self.channel.is_none_or(|channel| channel == release.channel)
            && self.status.is_none_or(|status| status == release.status)
    }
}

/// Newest version first.
fn order(id: &ReleaseId) -> (Reverse<domain::Version>, Kind) {
    (Reverse(id.version.clone()), id.kind)
}

/// What an artifact is called in messages and the feed.
fn label(artifact: &Artifact) -> String {
    match artifact {
        Artifact::Agent { platform, .. } => platform.to_string(),
        Artifact::Operator { image, .. } => image.clone(),
    }
}

/// The signatures of an artifact, each judged in its form and against release and artifact.
fn judge_signatures(release: &Release, artifact: &Artifact) -> Result<Vec<SignatureFile>, Refusal> {
    let judge = |text: &String| {
        let file = SignatureFile::parse(text)?;
        file.manifest().check_release(release, artifact)?;
        Ok(file)
    };
    artifact.signatures().iter().map(judge).collect()
}

/// The editions that the signatures of a release belong to, a list for each artifact.
fn editions(release: &Release) -> Result<Vec<Vec<Edition>>, Refusal> {
    let of = |artifact: &Artifact| {
        let files = judge_signatures(release, artifact)?;
        Ok(files.iter().map(|file| file.manifest().edition()).collect())
    };
    release.artifacts.iter().map(of).collect()
}

/// The artifact for a platform; of an operator release the image.
fn find_artifact<'a>(release: &'a mut Release, platform: Option<&Platform>) -> Result<&'a mut Artifact, Refusal> {
    let id = release.id.clone();
    let wanted = |artifact: &&mut Artifact| match artifact {
        Artifact::Agent { platform: own, .. } => platform == Some(own),
        Artifact::Operator { .. } => platform.is_none(),
    };
    release.artifacts.iter_mut().find(wanted).ok_or_else(|| {
        let platform = platform.map_or_else(|| "an image".to_owned(), ToString::to_string);
        let message = format!("release {id} has no artifact for {platform}; upload it first");
        Refusal::new(Reason::PlatformMissing, message).with("platform", platform)
    })
}

/// Brings channel, floor and sequence to what the signatures say now: the edition in force, or, of a draft that is not whole
/// yet, the newest that any artifact has.
fn settle(release: &mut Release) -> Result<(), Refusal> {
    let editions = editions(release)?;
    let newest = || editions.iter().flatten().max_by_key(|edition| edition.sequence).cloned();
    let edition = match (domain::manifest::publish::in_force(&editions), release.status) {
        (Some(edition), _) => Some(edition),
        (None, Status::Draft) => newest(),
        (None, Status::Published | Status::Yanked) => return Ok(()),
    };
    release.sequence = edition.as_ref().map(|edition| edition.sequence);
    release.floor = edition.as_ref().map(|edition| edition.floor.clone());
    if let Some(edition) = edition.filter(|_| release.status == Status::Published) {
        release.channel = edition.channel;
    }
    Ok(())
}
