//! What can go wrong while an image is made.

use std::{io, path::PathBuf};

/// What can go wrong while an image is made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the input.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A file of the output.
    #[error("write {}", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// An archive in memory.
    #[error("pack a layer")]
    Pack(#[source] io::Error),
    /// A program that reads the input for us.
    #[error("{program} refused {}: {complaint}", path.display())]
    Foreign {
        /// Which program.
        program: &'static str,
        /// What it was to read.
        path: PathBuf,
        /// What it said.
        complaint: String,
    },
    /// A package that a base is made of.
    #[error("no package {name} among those in {}: run deploy/dev/parts, or name the folder with --packages", folder.display())]
    NoPackage {
        /// Whose name begins the file's.
        name: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The program is for no platform of ours.
    #[error("{} is no Linux program for amd64 or arm64", path.display())]
    NotAProgram {
        /// Which.
        path: PathBuf,
    },
    /// The packages are for another platform than the program.
    #[error("the program is for {program}, but {package} is for {packages}")]
    Platforms {
        /// The program's.
        program: &'static str,
        /// The package that differs.
        package: String,
        /// The package's.
        packages: String,
    },
    /// The dependencies could not be listed.
    #[error("list what {package} is made of")]
    Dependencies {
        /// Whose.
        package: String,
        /// Why not.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A name of an image that no registry takes.
    #[error("`{name}` is no name of an image: registry/repository:tag is one")]
    Name {
        /// What was given.
        name: String,
    },
    /// A registry did not take something.
    #[error("push {what} to {registry}")]
    Push {
        /// The layer, configuration or manifest.
        what: String,
        /// Which registry.
        registry: String,
        /// Why not.
        #[source]
        source: Box<oci_client::errors::OciDistributionError>,
    },
}

/// Whatever it is, or why not.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }
}
