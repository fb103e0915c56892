//! Offering a release: refuses what executors would refuse, and warns whom it would strand.

use std::collections::BTreeSet;
use std::fs::File;

use domain::audit::EventKind;
use domain::manifest::publish::check_publish;
use domain::release::{Artifact, Location, Release, Status};
use domain::{Event, Executor, Reason, Refusal, ReleaseId, Sha256};
use store::{ExecutorQuery, Page};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::commit::Patience;
use crate::app::error::Error;
use crate::app::minisign::{ReleaseKey, SignatureFile};
use crate::app::release::upload::artifact_error;
use crate::app::release::{editions, judge_signatures, label};
use crate::app::spec::artifact;
use crate::app::upgrade::Mode;

/// Executors read at a time while looking for stranded ones.
const WALK: usize = 1_000;

/// Stranded executors that a warning names; the rest is counted.
const NAMED: usize = 5;

/// A published release, and what to know about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// As it is now.
    pub release: Release,
    /// For people.
    pub warnings: Vec<String>,
}

impl App {
    /// Offers a release. Doing it twice changes nothing, and warns again.
    ///
    /// # Errors
    /// Whatever executors would refuse: signatures, manifests, missing bytes; `RELEASE_YANKED`, `NOT_FOUND`.
    pub async fn release_publish(&self, caller: &Caller, id: &ReleaseId, mode: Mode) -> Result<Published, Error> {
        caller.authorize(None)?;
        let mut patience = Patience::new();
        loop {
            let mut release = self.release_read(id).await?;
            let mut warnings = self.check_artifacts(&release).await?;
            warnings.extend(self.stranded(&release).await?);
            if release.status == Status::Published {
                return Ok(Published { release, warnings });
            }
            let elsewhere = self.highest_sequence_elsewhere(id).await?;
            let edition = check_publish(&release, &editions(&release)?, elsewhere)?;
            let now = self.now().await?;
            release.status = Status::Published;
            release.publish_time = Some(now);
            release.channel = edition.channel;
            release.sequence = Some(edition.sequence);
            release.floor = Some(edition.floor.clone());
            if mode == Mode::ValidateOnly {
                return Ok(Published { release, warnings });
            }
            let event = Event {
                kind: EventKind::ReleasePublished,
                actor: caller.actor(),
                target: id.resource_name(),
                organization: None,
                time: now,
                details: vec![
                    ("channel", edition.channel.to_string()),
                    ("sequence", edition.sequence.to_string()),
                    ("floor", edition.floor.to_string()),
                ],
            };
            match self.store.release_commit(&release, &[event]).await {
                Err(error) if patience.again(&error).await => {}
                written => {
                    written?;
                    return Ok(Published { release, warnings });
                }
            }
        }
    }

    /// Signatures and bytes of every artifact. Answers with what could not be judged.
    async fn check_artifacts(&self, release: &Release) -> Result<Vec<String>, Error> {
        let mut warnings = Vec::new();
        if self.release_keys.is_empty() {
            warnings.push("signatures were checked in form and manifest only: this control plane was given no release keys (`release_keys`); executors verify them all the same".to_owned());
        }
        for artifact in &release.artifacts {
            let name = label(artifact);
            let files = judge_signatures(release, artifact)?;
            if files.is_empty() {
                let message = format!(
                    "the artifact for {name} has no signature; sign it with `minisign -S -t \"$(novacula release manifest …)\"`"
                );
                return Err(Refusal::new(Reason::SignatureInvalid, message).into());
            }
            let stored = self.stored(artifact).await?;
            let mut proven = 0usize;
            for file in files {
                match file.proven_by(&self.release_keys) {
                    None => {
                        if !self.release_keys.is_empty() {
                            warnings.push(format!("{name}: the signature by key {} could not be verified: it is none of this control plane's release keys", file.key()));
                        }
                    }
                    Some(verified) => {
                        let key = verified?.clone();
                        if let Some(sha256) = stored {
                            self.prove_bytes(file, key, sha256).await?;
                        }
                        proven += 1;
                    }
                }
            }
            if proven == 0 && !self.release_keys.is_empty() {
                let message =
                    format!("no signature of the artifact for {name} is by a release key of this control plane");
                return Err(Refusal::new(Reason::SignatureInvalid, message).into());
            }
        }
        Ok(warnings)
    }

    /// The digest of bytes that have to be here, and are.
    pub(super) async fn stored(&self, artifact: &Artifact) -> Result<Option<Sha256>, Error> {
        let Artifact::Agent { location: Location::Stored, sha256, size, .. } = artifact else {
            return Ok(None);
        };
        let found = self.artifacts.size(sha256).await.map_err(artifact_error)?;
        if found == Some(*size) {
            return Ok(Some(*sha256));
        }
        let message = format!("the bytes of the artifact for {} are not here; upload them", label(artifact));
        Err(Refusal::new(Reason::SizeMismatch, message).with("sha256", sha256).into())
    }

    pub(super) async fn prove_bytes(&self, file: SignatureFile, key: ReleaseKey, sha256: Sha256) -> Result<(), Error> {
        let path = self.artifacts.path(&sha256);
        let work = move || file.prove_bytes(&key, File::open(path)?);
        let internal = |source: Box<dyn std::error::Error + Send + Sync>| Error::Internal {
            operation: "read an artifact to verify its signature",
            source,
        };
        let proven = tokio::task::spawn_blocking(work).await.map_err(|error| internal(error.into()))?;
        Ok(proven.map_err(|error| internal(error.into()))??)
    }

    /// Executors of this kind that trust none of the keys that signed what they would get.
    async fn stranded(&self, release: &Release) -> Result<Vec<String>, Error> {
        let (mut after, mut names, mut count) = (None, Vec::new(), 0usize);
        loop {
            let page = Page { after, limit: WALK };
            let rows = self.store.executor_list(&ExecutorQuery::default(), page).await?;
            for executor in rows.iter().filter(|executor| strands(release, executor)) {
                count += 1;
                if names.len() < NAMED {
                    names.push(executor.name.to_string());
                }
            }
            after = rows.last().filter(|_| rows.len() >= WALK).map(|row| row.name.executor.clone());
            if after.is_none() {
                break;
            }
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        let more = if count > names.len() { " and others" } else { "" };
        Ok(vec![format!(
            "{count} executor(s) trust none of the keys that signed it, and would refuse it: {}{more}; add a signature by a key that they trust (`release_key_ids`)",
            names.join(", ")
        )])
    }
}

/// Whether an executor would refuse the release for its keys. One that never said which keys it trusts is not counted.
fn strands(release: &Release, executor: &Executor) -> bool {
    if executor.kind != Some(release.id.kind) || executor.release_key_ids.is_empty() {
        return false;
    }
    let Some(artifact) = artifact(release, executor) else {
        return false;
    };
    let files = artifact.signatures().iter().filter_map(|text| SignatureFile::parse(text).ok());
    let signed: BTreeSet<String> = files.map(|file| file.key().to_string()).collect();
    !executor.release_key_ids.iter().any(|trusted| signed.contains(trusted))
}
