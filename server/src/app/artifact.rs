//! Which stored artifacts executors are given.

use domain::release::{Location, Status};
use domain::{Artifact, Kind, Sha256};

use crate::app::App;
use crate::app::error::Error;

impl App {
    /// Whether a published release delivers these bytes from our own storage.
    ///
    /// # Errors
    /// The store.
    pub async fn artifact_offered(&self, asked: &Sha256) -> Result<bool, Error> {
        // Operators fetch images from registries: only agents' releases have files here.
        let releases = self.store.release_list(Kind::Agent).await?;
        let mut offered = releases.iter().filter(|release| release.status == Status::Published);
        Ok(offered.any(|release| {
            release.artifacts.iter().any(|artifact| {
                matches!(artifact, Artifact::Agent { sha256, location: Location::Stored, .. } if sha256 == asked)
            })
        }))
    }
}
