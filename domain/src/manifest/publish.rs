//! The control plane's judgement of a manifest: does it speak of this release and artifact, and may it join what is
//! signed already? The server refuses here what executors would refuse later.
//!
//! Channel, sequence and floor together are an **edition** of a release. Every signature belongs to one; two release keys
//! sign the same line, so they are of the same edition, and so are the platforms of one release.
//!
//! - The sequence grows per kind: a new edition is numbered above every edition of every release of its kind that was
//!   ever published, yanked ones included. Two releases never share a number.
//! - A draft's editions keep the channel that the draft was made with. A draft whose number was overtaken is signed again.
//! - A published release takes another key's signature of an edition that it has, or a new edition that promotes it:
//!   the channel may become more finished (dev → beta → stable), never less; the floor may rise, never fall. The bytes
//!   are what they were (rule 13).
//! - An edition counts once every artifact carries it ([`in_force`]): no platform is promoted before the others.

use crate::channel::Channel;
use crate::reason::{Reason, Refusal};
use crate::release::{Artifact, Release, Status};
use crate::version::Version;

use super::{Manifest, Subject};

/// What may change while bytes do not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edition {
    /// The widest channel.
    pub channel: Channel,
    /// The number.
    pub sequence: u64,
    /// The lowest version to accept once this one is confirmed.
    pub floor: Version,
}

/// What a signature adds to a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addition {
    /// An edition that the release has: another key, or another platform.
    Same,
    /// A new edition.
    NewEdition,
}

impl Manifest {
    /// The edition it belongs to.
    #[must_use]
    pub fn edition(&self) -> Edition {
        Edition { channel: self.channel, sequence: self.sequence, floor: self.floor.clone() }
    }

    /// Checks that the manifest speaks of this release and this artifact, and does not contradict itself.
    ///
    /// # Errors
    /// [`Reason::KindMismatch`] or [`Reason::ManifestMismatch`] with both values.
    pub fn check_release(&self, release: &Release, artifact: &Artifact) -> Result<(), Refusal> {
        self.check_itself().map_err(|unfit| Refusal::new(Reason::ManifestMismatch, unfit.message))?;
        if self.kind() != release.id.kind {
            return Err(differs(Reason::KindMismatch, "kind", &self.kind(), &release.id.kind));
        }
        let mismatch = |what, signed: &dyn std::fmt::Display, own: &dyn std::fmt::Display| {
            Err(differs(Reason::ManifestMismatch, what, signed, own))
        };
        if self.version != release.id.version {
            return mismatch("version", &self.version, &release.id.version);
        }
        match (&self.subject, artifact) {
            (
                Subject::Agent { platform, file, size, sha256 },
                Artifact::Agent { platform: p, file: f, size: s, sha256: h, .. },
            ) => {
                if platform != p {
                    return mismatch("platform", platform, p);
                }
                if file != f {
                    return mismatch("file", file, f);
                }
                if size != s {
                    return mismatch("size", size, s);
                }
                if sha256 != h {
                    return mismatch("sha256", sha256, h);
                }
            }
            (Subject::Operator { image, digest }, Artifact::Operator { image: i, digest: d, .. }) => {
                if image != i {
                    return mismatch("image", image, i);
                }
                if digest != d {
                    return mismatch("digest", digest, d);
                }
            }
            (Subject::Agent { .. }, Artifact::Operator { .. }) | (Subject::Operator { .. }, Artifact::Agent { .. }) => {
                let message = "the manifest and the artifact are of different kinds";
                return Err(Refusal::new(Reason::KindMismatch, message));
            }
        }
        Ok(())
    }

    /// Checks that the manifest's edition may join the release. `own` are the editions that its signatures have already,
    /// `highest_elsewhere` the highest sequence of any other release of this kind that was ever published (0: none).
    ///
    /// # Errors
    /// [`Reason::ManifestMismatch`] with the rule's values, [`Reason::ReleaseYanked`] when nothing may be added any more.
    pub fn check_edition(
        &self,
        release: &Release,
        own: &[Edition],
        highest_elsewhere: u64,
    ) -> Result<Addition, Refusal> {
        let edition = self.edition();
        if release.status == Status::Yanked {
            let message = format!("release {} was yanked: nothing can be signed for it any more", release.id);
            return Err(Refusal::new(Reason::ReleaseYanked, message).with("release", &release.id));
        }
        if let Some(known) = own.iter().find(|known| known.sequence == edition.sequence) {
            return if *known == edition { Ok(Addition::Same) } else { Err(split(&edition, known)) };
        }
        let highest = own.iter().map(|known| known.sequence).max().unwrap_or(0).max(highest_elsewhere);
        if edition.sequence <= highest {
            let message = format!(
                "the manifest's sequence {} is not above {highest}, the highest of its kind; sign it again with {} or more",
                edition.sequence,
                highest.saturating_add(1)
            );
            return Err(Refusal::new(Reason::ManifestMismatch, message)
                .with("sequence", edition.sequence)
                .with("highest_sequence", highest));
        }
        check_step(release, &edition)?;
        Ok(Addition::NewEdition)
    }
}

/// What a new edition may change.
fn check_step(release: &Release, edition: &Edition) -> Result<(), Refusal> {
    let kept = match release.status {
        Status::Draft => edition.channel == release.channel,
        Status::Published | Status::Yanked => edition.channel <= release.channel,
    };
    if !kept {
        let message = format!(
            "the manifest says channel {}, and release {} is on {}: a draft keeps its channel, a published release only moves from dev to beta to stable",
            edition.channel, release.id, release.channel
        );
        return Err(Refusal::new(Reason::ManifestMismatch, message)
            .with("channel", edition.channel)
            .with("release_channel", release.channel));
    }
    match &release.floor {
        Some(floor) if release.status != Status::Draft && edition.floor < *floor => {
            let message = format!(
                "the manifest's floor {} is below {floor}, which release {} has published",
                edition.floor, release.id
            );
            Err(Refusal::new(Reason::ManifestMismatch, message)
                .with("floor", &edition.floor)
                .with("release_floor", floor))
        }
        Some(_) | None => Ok(()),
    }
}

/// The newest edition that every artifact carries; none while an artifact lacks a signature of each. One slice of
/// editions for each artifact of the release.
#[must_use]
pub fn in_force(artifacts: &[Vec<Edition>]) -> Option<Edition> {
    let (first, others) = artifacts.split_first()?;
    let everywhere = |edition: &&Edition| others.iter().all(|editions| editions.contains(edition));
    first.iter().filter(everywhere).max_by_key(|edition| edition.sequence).cloned()
}

/// Checks that a draft may be published, and says under which edition.
///
/// # Errors
/// [`Reason::SignatureInvalid`] when an artifact lacks a signature of the edition, [`Reason::ManifestMismatch`] when the
/// sequence was overtaken, [`Reason::ReleaseYanked`] for a yanked release, [`Reason::PlatformMissing`] without artifacts.
pub fn check_publish(
    release: &Release,
    artifacts: &[Vec<Edition>],
    highest_elsewhere: u64,
) -> Result<Edition, Refusal> {
    if release.status == Status::Yanked {
        let message = format!("release {} was yanked and stays so; publish a new version", release.id);
        return Err(Refusal::new(Reason::ReleaseYanked, message).with("release", &release.id));
    }
    if artifacts.is_empty() {
        let message = format!("release {} has no artifact; upload one first", release.id);
        return Err(Refusal::new(Reason::PlatformMissing, message).with("release", &release.id));
    }
    let Some(edition) = in_force(artifacts) else {
        let message = format!(
            "the artifacts of release {} do not all carry a signature with one channel, sequence and floor; sign each with the same",
            release.id
        );
        return Err(Refusal::new(Reason::SignatureInvalid, message).with("release", &release.id));
    };
    if edition.sequence <= highest_elsewhere {
        let message = format!(
            "the manifest's sequence {} was overtaken: {highest_elsewhere} is published; sign it again with {} or more",
            edition.sequence,
            highest_elsewhere.saturating_add(1)
        );
        return Err(Refusal::new(Reason::ManifestMismatch, message)
            .with("sequence", edition.sequence)
            .with("highest_sequence", highest_elsewhere));
    }
    Ok(edition)
}

fn differs(reason: Reason, what: &'static str, signed: &dyn std::fmt::Display, own: &dyn std::fmt::Display) -> Refusal {
    let message = format!("the signed manifest says {what} {signed}, and the release says {own}");
    Refusal::new(reason, message).with("field", what).with("signed", signed).with("expected", own)
}

fn split(edition: &Edition, known: &Edition) -> Refusal {
    let message = format!(
        "sequence {} is signed already with channel {} and floor {}, and this manifest says {} and {}; one number, one edition",
        edition.sequence, known.channel, known.floor, edition.channel, edition.floor
    );
    Refusal::new(Reason::ManifestMismatch, message).with("sequence", edition.sequence)
}
