//! Versions: Semantic Versioning 2.0.0 with the pre-release rules said out loud.
//!
//! - Order is SemVer's: `1.2.0-rc.1 < 1.2.0-rc.2 < 1.2.0 < 1.2.1-beta.1`.
//! - A pre-release belongs to the major it announces: `2.0.0-rc.1` has major 2, and moving there from 1.x is a hop to 2.x.
//! - A pre-release is never on the stable channel ([`crate::release`]).
//! - Build metadata (`+…`) is refused: SemVer gives two versions that differ only there the same rank, and an upgrade
//!   between equals has no direction.
//! - `v1.2.0` is refused: one version has one spelling, since it is signed, stored and compared as text.

use std::fmt;
use std::str::FromStr;

/// Longest version text accepted, in bytes. It is part of resource names, file names and the manifest line.
pub const VERSION_MAX: usize = 64;

/// A version of an executor or of the control plane.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(semver::Version);

/// Why a text is not a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not SemVer 2.0.0.
    #[error("version {0:?} is not MAJOR.MINOR.PATCH[-PRERELEASE] (SemVer 2.0.0)")]
    Form(String),
    /// Carries build metadata.
    #[error("version {0:?} carries build metadata; use a new patch or pre-release number instead")]
    BuildMetadata(String),
    /// Longer than [`VERSION_MAX`].
    #[error("version is {0} bytes long; at most 64 are accepted")]
    Length(usize),
}

impl Version {
    /// The major number, a pre-release's being the one it announces.
    #[must_use]
    pub const fn major(&self) -> u64 {
        self.0.major
    }

    /// Whether it is a pre-release.
    #[must_use]
    pub fn is_prerelease(&self) -> bool {
        !self.0.pre.is_empty()
    }

    /// How many majors apart two versions are.
    #[must_use]
    pub const fn major_distance(&self, other: &Self) -> u64 {
        self.0.major.abs_diff(other.0.major)
    }

    /// Whether an executor of this version is out of support by a control plane of version `control_plane`: more than one major behind.
    #[must_use]
    pub const fn is_out_of_support(&self, control_plane: &Self) -> bool {
        self.0.major.saturating_add(1) < control_plane.0.major
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        if value.len() > VERSION_MAX {
            return Err(Error::Length(value.len()));
        }
        let version = semver::Version::parse(value).map_err(|_| Error::Form(value.to_owned()))?;
        if version.build.is_empty() { Ok(Self(version)) } else { Err(Error::BuildMetadata(value.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().expect("a version")
    }

    #[test]
    fn prereleases_sort_before_what_they_announce_and_carry_its_major() {
        let rising = ["1.2.0-rc.1", "1.2.0-rc.2", "1.2.0-rc.10", "1.2.0", "1.2.1-beta.1", "2.0.0-rc.1", "2.0.0"];
        assert!(rising.windows(2).all(|pair| version(pair[0]) < version(pair[1])));
        assert_eq!(version("1.9.9").major_distance(&version("2.0.0-rc.1")), 1);
    }

    #[test]
    fn one_version_has_one_spelling() {
        for bad in
            ["v1.2.0", "1.2", "01.2.0", "1.2.0+build", " 1.2.0", "1.2.0\n", "", &format!("1.2.0-{}", "a".repeat(64))]
        {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn out_of_support_is_more_than_one_major_behind() {
        let control_plane = version("3.1.0");
        assert!(version("1.9.0").is_out_of_support(&control_plane));
        assert!(!version("2.0.0").is_out_of_support(&control_plane));
        assert!(!version("4.0.0").is_out_of_support(&control_plane));
    }
}
