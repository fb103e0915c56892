//! `novacula release …`: the catalog.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use crate::args::{Channel, Kind};

/// `novacula release …`
#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// Make a draft
    Create {
        /// For which kind
        #[arg(value_enum)]
        kind: Kind,
        /// SemVer 2.0.0
        version: String,
        /// Its widest channel
        #[arg(long, value_enum, default_value = "stable")]
        channel: Channel,
        /// Release notes in Markdown; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        notes_file: Option<PathBuf>,
    },
    /// Print the line to sign: `minisign -S -m FILE -t "$(novacula release manifest …)"`; of an image FILE is its index or
    /// manifest, byte for byte as the registry serves it
    Manifest(Manifest),
    /// Add a signed artifact to a draft
    Upload(Upload),
    /// Add a signature by another key, or promote to a wider channel
    AddSignature {
        /// `agent-1.2.0`
        release: String,
        /// minisign signature file
        signature: PathBuf,
        /// `linux/amd64` (agents)
        #[arg(long, default_value = "")]
        platform: String,
    },
    /// Offer a release to the executors that may take it
    Publish {
        /// `agent-1.2.0`
        release: String,
        /// Answer as if, and write nothing
        #[arg(long)]
        validate_only: bool,
    },
    /// Withdraw a release; attempts without leave are cancelled
    Yank {
        /// `agent-1.2.0`
        release: String,
        /// Why, for people
        #[arg(long)]
        reason: String,
    },
    /// One release
    Get {
        /// `agent-1.2.0`
        release: String,
    },
    /// Releases, newest version first
    List {
        /// Only of this kind
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// Only of this channel itself, not of those that it sees
        #[arg(long, value_enum)]
        channel: Option<Channel>,
        /// Only those that stand here
        #[arg(long, value_enum)]
        status: Option<Status>,
    },
    /// Every release between two versions, with their notes
    Compare {
        /// Of which kind
        #[arg(value_enum)]
        kind: Kind,
        /// What runs
        from: String,
        /// Where to
        to: String,
    },
}

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Status {
    /// Being made, offered to nobody.
    Draft,
    /// Offered.
    Published,
    /// Withdrawn.
    Yanked,
}

/// `novacula release manifest`
#[derive(Debug, clap::Args)]
pub(crate) struct Manifest {
    /// The binary (agents)
    #[arg(required_unless_present = "image")]
    pub(crate) file: Option<PathBuf>,
    /// SemVer 2.0.0
    #[arg(long)]
    pub(crate) version: String,
    /// Its widest channel
    #[arg(long, value_enum, default_value = "stable")]
    pub(crate) channel: Channel,
    /// What the binary runs on
    #[arg(long, default_value = "linux/amd64", conflicts_with = "image")]
    pub(crate) platform: String,
    /// File name to state instead of the file's own
    #[arg(long, value_name = "NAME", conflicts_with = "image")]
    pub(crate) file_name: Option<String>,
    /// Image reference without tag or digest (operators)
    #[arg(long, requires = "digest", conflicts_with = "file")]
    pub(crate) image: Option<String>,
    /// `sha256:…` of the image's index or manifest
    #[arg(long, requires = "image")]
    pub(crate) digest: Option<String>,
    /// Number of this release, greater than every one before of its kind [default: asked of the control plane]
    #[arg(long)]
    pub(crate) sequence: Option<u64>,
    /// Lowest version to accept once this one is confirmed
    #[arg(long, default_value = "0.0.0")]
    pub(crate) floor: String,
}

/// `novacula release upload`
#[derive(Debug, clap::Args)]
pub(crate) struct Upload {
    /// `agent-1.2.0`
    pub(crate) release: String,
    /// The binary; with `--external-url` it is read for its size and digest only (agents)
    #[arg(required_unless_present = "image")]
    pub(crate) file: Option<PathBuf>,
    /// minisign signature file; may be repeated [default: `<FILE>.minisig`]
    #[arg(long = "signature", value_name = "FILE")]
    pub(crate) signatures: Vec<PathBuf>,
    /// Where executors fetch the bytes instead of the control plane's storage
    #[arg(long, value_name = "URL")]
    pub(crate) external_url: Option<String>,
    /// Image reference without tag or digest (operators)
    #[arg(long, requires = "digest", conflicts_with = "file")]
    pub(crate) image: Option<String>,
    /// `sha256:…` of the image's index or manifest
    #[arg(long, requires = "image")]
    pub(crate) digest: Option<String>,
}
