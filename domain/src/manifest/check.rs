//! An executor's judgement of a manifest that was proven to be signed: does it fit me, and what I was asked?
//!
//! None of it believes the control plane. A server in wrong hands can only choose among genuine releases at or above the
//! floor, one major away at a time; these checks are what holds it there.

use crate::attempt::outcome::ErrorCode;
use crate::channel::Channel;
use crate::executor::{Kind, Platform};
use crate::spec::Spec;
use crate::version::Version;

use super::{Manifest, Subject};

/// What an executor knows of itself and of what it was asked; a manifest has to agree with all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation<'a> {
    /// Its kind.
    pub kind: Kind,
    /// Its platform (agents).
    pub platform: Option<&'a Platform>,
    /// What it runs.
    pub running: &'a Version,
    /// What it was asked to run.
    pub target: &'a Version,
    /// The highest floor it has confirmed.
    pub floor: Option<&'a Version>,
    /// The widest channel its host accepts.
    pub channel_ceiling: Option<Channel>,
}

/// Why a manifest is refused: what an executor puts into its report.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unfit {
    /// The typed error.
    pub code: ErrorCode,
    /// Rule and values, and what to do, for people.
    pub message: String,
}

impl Unfit {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl Manifest {
    /// Checks the manifest against what the executor knows of itself and of what it was asked.
    ///
    /// # Errors
    /// [`Unfit`] with the typed code of the first rule that it breaks.
    pub fn check(&self, expected: &Expectation<'_>) -> Result<(), Unfit> {
        self.check_itself()?;
        if self.kind() != expected.kind {
            let message =
                format!("the manifest is for kind {}, and this executor is of kind {}", self.kind(), expected.kind);
            return Err(Unfit::new(ErrorCode::KindMismatch, message));
        }
        if let Subject::Agent { platform, .. } = &self.subject
            && Some(platform) != expected.platform
        {
            let own = expected.platform.map_or_else(|| "unknown".to_owned(), ToString::to_string);
            let message = format!("the manifest is for platform {platform}, and this executor's is {own}");
            return Err(Unfit::new(ErrorCode::PlatformMismatch, message));
        }
        if self.version != *expected.target {
            let message =
                format!("the manifest is for version {}, and {} was asked for", self.version, expected.target);
            return Err(Unfit::new(ErrorCode::ManifestMismatch, message));
        }
        self.check_reach(expected)
    }

    /// Version rules: not farther than one major, not below the floor, not past the host's ceiling.
    fn check_reach(&self, expected: &Expectation<'_>) -> Result<(), Unfit> {
        if expected.running.major_distance(&self.version) > 1 {
            let message = format!(
                "version {} is more than one major away from {}, which runs; go there one major at a time",
                self.version, expected.running
            );
            return Err(Unfit::new(ErrorCode::MajorHop, message));
        }
        if let Some(floor) = expected.floor
            && self.version < *floor
        {
            let message =
                format!("version {} is below {floor}, the floor that this executor has confirmed", self.version);
            return Err(Unfit::new(ErrorCode::BelowFloor, message));
        }
        if let Some(ceiling) = expected.channel_ceiling
            && !ceiling.sees(self.channel)
        {
            let message = format!(
                "version {} is on channel {}, and this host accepts nothing beyond {ceiling}",
                self.version, self.channel
            );
            return Err(Unfit::new(ErrorCode::ChannelCeiling, message));
        }
        Ok(())
    }

    /// Rules that a manifest may break all by itself.
    pub(super) fn check_itself(&self) -> Result<(), Unfit> {
        if self.floor > self.version {
            let message = format!("the manifest's floor {} is above its own version {}", self.floor, self.version);
            return Err(Unfit::new(ErrorCode::BadManifest, message));
        }
        if self.version.is_prerelease() && self.channel == Channel::Stable {
            let message = format!("the manifest puts the pre-release {} on the stable channel", self.version);
            return Err(Unfit::new(ErrorCode::BadManifest, message));
        }
        Ok(())
    }

    /// Checks that the spec, which nobody signed, says what the manifest says. The executor then goes by the manifest.
    ///
    /// # Errors
    /// [`Unfit`] when they differ.
    pub fn check_spec(&self, spec: &Spec) -> Result<(), Unfit> {
        let differs = |what: &str, asked: &dyn std::fmt::Display, signed: &dyn std::fmt::Display| {
            let message = format!("the spec says {what} {asked}, and the signed manifest says {signed}");
            Err(Unfit::new(ErrorCode::ManifestMismatch, message))
        };
        if *spec.target_version() != self.version {
            return differs("version", spec.target_version(), &self.version);
        }
        match (&self.subject, spec) {
            (Subject::Agent { size, sha256, .. }, Spec::Agent(spec)) => {
                if spec.size_bytes != *size {
                    return differs("size", &spec.size_bytes, size);
                }
                if spec.sha256 != *sha256 {
                    return differs("SHA-256", &spec.sha256, sha256);
                }
            }
            (Subject::Operator { image, digest }, Spec::Operator(spec)) => {
                if spec.image != *image {
                    return differs("image", &spec.image, image);
                }
                if spec.digest != *digest {
                    return differs("digest", &spec.digest, digest);
                }
            }
            (Subject::Agent { .. }, Spec::Operator(_)) | (Subject::Operator { .. }, Spec::Agent(_)) => {
                let message =
                    format!("the spec is for kind {}, and the signed manifest for {}", spec.kind(), self.kind());
                return Err(Unfit::new(ErrorCode::KindMismatch, message));
            }
        }
        Ok(())
    }
}

/// Chooses among the proven manifests of one artifact (one per release key and per edition): of those that fit, the one
/// with the highest sequence, so that a promotion counts as soon as its signature is shown.
///
/// # Errors
/// When none fits, why the one with the highest sequence does not; [`ErrorCode::UnknownKey`] when there is none at all.
pub fn choose<'m>(proven: &'m [Manifest], expected: &Expectation<'_>, spec: &Spec) -> Result<&'m Manifest, Unfit> {
    let mut newest_first: Vec<&Manifest> = proven.iter().collect();
    newest_first.sort_by_key(|manifest| std::cmp::Reverse(manifest.sequence));
    let mut why = None;
    for manifest in newest_first {
        match manifest.check(expected).and_then(|()| manifest.check_spec(spec)) {
            Ok(()) => return Ok(manifest),
            Err(unfit) => why = why.or(Some(unfit)),
        }
    }
    Err(why.unwrap_or_else(|| {
        Unfit::new(ErrorCode::UnknownKey, "no signature by a release key that this executor trusts")
    }))
}
