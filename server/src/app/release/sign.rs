//! Adding a signature: another release key, or the promotion to a wider channel (same bytes, new manifest, higher sequence).

use domain::audit::EventKind;
use domain::release::{Artifact, Release, Status};
use domain::{Event, Platform, Reason, Refusal, ReleaseId};

use crate::app::App;
use crate::app::caller::Caller;
use crate::app::commit::Patience;
use crate::app::error::Error;
use crate::app::minisign::SignatureFile;
use crate::app::release::upload::SIGNATURES_MAX;
use crate::app::release::{editions, find_artifact, label, settle};

impl App {
    /// Adds a signature to a draft or a published release. The same one again changes nothing.
    ///
    /// # Errors
    /// `NOT_FOUND`, `SIGNATURE_INVALID`, `MANIFEST_MISMATCH`, `RELEASE_YANKED`, `PLATFORM_MISSING`.
    pub async fn release_add_signature(
        &self,
        caller: &Caller,
        id: &ReleaseId,
        platform: Option<&Platform>,
        text: &str,
    ) -> Result<Release, Error> {
        caller.authorize(None)?;
        let file = SignatureFile::parse(text)?;
        self.check_proven(&file)?;
        let mut patience = Patience::new();
        loop {
            let mut release = self.release_read(id).await?;
            if find_artifact(&mut release, platform)?.signatures().iter().any(|own| own == text) {
                return Ok(release);
            }
            // A published release is offered with its new signature at once: what its bytes say has to be proven now.
            if release.status == Status::Published {
                let artifact = find_artifact(&mut release, platform)?.clone();
                self.prove_added(&file, &artifact).await?;
            }
            let elsewhere = self.highest_sequence_elsewhere(id).await?;
            add(&mut release, platform, &file, text, elsewhere)?;
            let name = label(find_artifact(&mut release, platform)?);
            let event = Event {
                kind: EventKind::ReleaseSignatureAdded,
                actor: caller.actor(),
                target: id.resource_name(),
                organization: None,
                time: self.now().await?,
                details: vec![
                    ("artifact", name),
                    ("key", file.key().to_string()),
                    ("channel", file.manifest().channel.to_string()),
                    ("sequence", file.manifest().sequence.to_string()),
                ],
            };
            match self.store.release_commit(&release, &[event]).await {
                Err(error) if patience.again(&error).await => {}
                written => {
                    written?;
                    return Ok(release);
                }
            }
        }
    }

    async fn prove_added(&self, file: &SignatureFile, artifact: &Artifact) -> Result<(), Error> {
        let Some(key) = file.proven_by(&self.release_keys).transpose()?.cloned() else {
            return Ok(());
        };
        match self.stored(artifact).await? {
            Some(sha256) => self.prove_bytes(file.clone(), key, sha256).await,
            None => Ok(()),
        }
    }

    /// A signature that says it is by a key the server was given has to be; one by another key cannot be judged here.
    pub(crate) fn check_proven(&self, file: &SignatureFile) -> Result<(), Refusal> {
        match file.proven_by(&self.release_keys) {
            Some(Err(refusal)) => Err(refusal),
            Some(Ok(_)) | None => Ok(()),
        }
    }
}

fn add(
    release: &mut Release,
    platform: Option<&Platform>,
    file: &SignatureFile,
    text: &str,
    elsewhere: u64,
) -> Result<(), Refusal> {
    let own: Vec<_> = editions(release)?.into_iter().flatten().collect();
    let artifact = find_artifact(release, platform)?.clone();
    file.manifest().check_release(release, &artifact)?;
    file.manifest().check_edition(release, &own, elsewhere)?;
    let signatures = match find_artifact(release, platform)? {
        Artifact::Agent { signatures, .. } | Artifact::Operator { signatures, .. } => signatures,
    };
    if signatures.len() >= SIGNATURES_MAX {
        let message = format!(
            "the artifact has {SIGNATURES_MAX} signatures already, and none may be taken away; make a new version"
        );
        return Err(Refusal::new(Reason::SignatureInvalid, message));
    }
    signatures.push(text.to_owned());
    settle(release)
}
