//! [`Executor`]: what a program does itself so that the SDK can upgrade it. The agent and the operator implement it; so may you.
//!
//! ```text
//! desired ─ preflight ─→ download, verify (by the SDK) ─→ leave ─→ apply ─→ this process ends, the new version starts
//!           (refuse here)  or nothing: an image                      └ Failure: nothing was changed
//! leave given, then the old version is wanted after all ─→ roll_back
//! ```
//!
//! The SDK decides when each step may happen and keeps the journal; the executor only does it. Methods run one at a time,
//! except [`Executor::describe`] and [`Executor::inventory`], which may be asked at any moment and must be quick.
//!
//! A future that the SDK drops was not finished: [`Executor::preflight`] may be dropped whenever the control plane wants
//! something else; [`Executor::apply`] and [`Executor::roll_back`] are never dropped, only ended by the process.

use std::future::Future;
use std::path::{Path, PathBuf};

use domain::attempt::{ErrorCode, Outcome, Stage, Waiting};
use domain::sync::Node;
use domain::{AttemptId, Channel, Generation, Kind, Manifest, Platform, Sha256, Spec, Version};
use tokio::sync::watch;

use crate::download::TemporaryFile;
use crate::journal::OpenAttempt;
use crate::machine::{Judgement, Live};

/// A program that Novacula upgrades.
pub trait Executor: Send + Sync + 'static {
    /// What this process is and wants. Asked before every hello, so that a pin set meanwhile counts at the next one.
    fn describe(&self) -> Description;

    /// Whether this host could apply the plan, and where its bytes go. Nothing was fetched yet, and nothing may be changed.
    /// The manifest is proven and fits already.
    ///
    /// # Errors
    /// A [`Failure`] (best [`Failure::refused`] in [`Stage::Preflight`]) that names what stands in the way.
    fn preflight(&self, plan: &Plan) -> impl Future<Output = Result<Workplace, Failure>> + Send;

    /// What [`Executor::preflight`] and [`Executor::watch`] wait out, where an error may pass: while one is in it, the attempt shows it,
    /// and an end that a deadline brings names it. Each of the two begins with none. A download is the SDK's, and says so itself.
    fn waiting(&self) -> Option<watch::Receiver<Option<Waiting>>> {
        None
    }

    /// Makes the prepared artifact the running one. Called once per [`Leave`], which only the SDK can make.
    ///
    /// Before the first change the attempt is journalled ([`OpenAttempt::of`]), under the lock that confirming and rolling back
    /// take too ([`crate::journal::Journal::lock`]), and [`crate::journal::Step::Swapped`] after the last one. Without it the
    /// new version would not know what it has to confirm.
    ///
    /// # Errors
    /// A [`Failure`] only when the old version is fully in place and runs on.
    fn apply(&self, prepared: Prepared, leave: Leave) -> impl Future<Output = Result<Applied, Failure>> + Send;

    /// Brings back what ran before the attempt: asked by a person after leave was given. Called again when a process died in it.
    /// The journal has the cause; from the first change on it also has [`crate::journal::Step::RollingBack`], or else a failure
    /// takes the decision back.
    ///
    /// # Errors
    /// A [`Failure`] when nothing was changed and the present version runs on.
    fn roll_back(&self, attempt: AttemptId) -> impl Future<Output = Result<Applied, Failure>> + Send;

    /// Watches over the version that takes over elsewhere, after [`Applied::Elsewhere`]; asked again by each process of the version
    /// before it that finds the attempt open. Ends with a verdict; where none is to be had, it need not end. It is dropped when this
    /// process ends, or when a person wants the old version back.
    fn watch(&self, open: &OpenAttempt) -> impl Future<Output = Judgement> + Send {
        let _ = open;
        std::future::pending()
    }

    /// What is live now, of an attempt that the journal holds open: asked when the process starts, answered from the disk (or
    /// the cluster), never from a marker. The default compares [`Description::binary_sha256`] with the journal's hashes, or
    /// where it holds none, the version of this process with the attempt's.
    fn live(&self, open: &OpenAttempt) -> Live {
        let about = self.describe();
        match (about.binary_sha256, open.old_sha256, open.new_sha256) {
            (Some(live), _, Some(new)) if live == new => Live::New,
            (Some(live), Some(old), _) if live == old => Live::Old,
            (Some(_), Some(_), Some(_)) => Live::Other,
            _ if about.version == open.target_version => Live::New,
            _ if about.version == open.from_version => Live::Old,
            _ => Live::Other,
        }
    }

    /// Who changed what is live, where [`Executor::live`] says [`Live::Other`] and that is known: a sentence, asked right after it.
    fn changed_by(&self, open: &OpenAttempt) -> Option<String> {
        let _ = open;
        None
    }

    /// Called once, after the journal holds the confirmation of `attempt`: a place to tidy up. Not called again after a crash.
    fn confirmed(&self, attempt: AttemptId) -> impl Future<Output = ()> + Send {
        let _ = attempt;
        std::future::ready(())
    }

    /// The machines that this executor sees. An agent answers with its own host.
    fn inventory(&self) -> impl Future<Output = Vec<Node>> + Send {
        std::future::ready(Vec::new())
    }

    /// The same, for an executor whose machines come and go: what is new is told as it comes. None in it: not known yet.
    fn nodes(&self) -> Option<watch::Receiver<Option<Vec<Node>>>> {
        None
    }

    /// The last lines that the failing version logged, oldest first, from `cursor` on (the journal's
    /// [`crate::journal::OpenAttempt::log_cursor`]). The SDK cuts them at [`domain::attempt::outcome::LOG_TAIL_MAX_BYTES`].
    fn log_tail(&self, cursor: Option<&str>) -> impl Future<Output = Vec<String>> + Send {
        let _ = cursor;
        std::future::ready(Vec::new())
    }
}

/// What an executor says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its kind: the first one it ever said counts for ever.
    pub kind: Kind,
    /// What this process is, by its own build.
    pub version: Version,
    /// What it runs on (agents).
    pub platform: Option<Platform>,
    /// Of the binary on disk that this process was started from (agents). Read from disk, never from a marker.
    pub binary_sha256: Option<Sha256>,
    /// Why it applies no upgrades, when its host pins it.
    pub pinned: Option<String>,
    /// The channel set on its host, when one is.
    pub channel: Option<Channel>,
    /// The widest channel that its host accepts, when it says so.
    pub channel_ceiling: Option<Channel>,
    /// What it can do beyond the first release; the control plane ignores those it does not know.
    pub capabilities: Vec<String>,
}

/// What is to be applied: asked by the control plane, and proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Which attempt.
    pub attempt: AttemptId,
    /// Under which number it is desired.
    pub generation: Generation,
    /// What runs now.
    pub from_version: Version,
    /// What was asked. Unsigned: where it says the same as the manifest, go by the manifest.
    pub spec: Spec,
    /// What was signed; it fits this executor and the spec.
    pub manifest: Manifest,
}

/// Where an artifact's bytes go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workplace {
    /// The SDK downloads to a new file in this directory, under a name of its own. To be renamed over the live binary it has
    /// to be the binary's own directory.
    Directory(PathBuf),
    /// There is nothing to fetch here (an image is pulled by the cluster).
    Elsewhere,
}

/// A plan whose bytes are at hand.
#[derive(Debug)]
pub struct Prepared {
    /// What is to be applied.
    pub plan: Plan,
    /// Its bytes.
    pub artifact: Artifact,
}

/// Bytes, proven.
#[derive(Debug)]
pub enum Artifact {
    /// A file: its size, SHA-256 and signature were proven through this open handle.
    File(ArtifactFile),
    /// An image: the cluster pulls it by digest.
    Image,
}

/// A proven file, mode 0755, not yet synced to disk. Dropping it removes it, unless it was [kept](ArtifactFile::keep).
#[derive(Debug)]
pub struct ArtifactFile {
    temporary: TemporaryFile,
    sha256: Sha256,
    size: u64,
}

/// The control plane's word that this executor may swap now, for one attempt and generation. Made by the SDK only, used up
/// by [`Executor::apply`]: no leave in hand, no swap.
#[derive(Debug, PartialEq, Eq)]
pub struct Leave {
    attempt: AttemptId,
    generation: Generation,
}

/// What becomes of this process now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It ends: [`crate::driver::run`] returns, and whoever started the process starts the new version.
    Restart,
    /// It stays until the new version takes over elsewhere (an operator's old pod), and keeps its stream meanwhile.
    Elsewhere,
}

/// Why an attempt could not be carried out. The old version is fully in place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// [`Outcome::Refused`] or [`Outcome::Failed`]: whether the executor does not accept it, or could not do it.
    pub outcome: Outcome,
    /// In which stage.
    pub stage: Stage,
    /// The typed error.
    pub code: ErrorCode,
    /// A sentence for people: field, rule, values, what to do next.
    pub message: String,
}

impl Description {
    /// A kind and a version, on the platform that this was built for, and nothing else to say.
    #[must_use]
    pub fn new(kind: Kind, version: Version) -> Self {
        Self {
            kind,
            version,
            platform: if kind == Kind::Agent { platform() } else { None },
            binary_sha256: None,
            pinned: None,
            channel: None,
            channel_ceiling: None,
            capabilities: Vec::new(),
        }
    }
}

/// The platform of this build, by Go's and OCI's names; none where they have no name for it.
#[must_use]
pub fn platform() -> Option<Platform> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        arch => arch,
    };
    // An architecture whose name is no platform's: such a build says none, and is offered nothing.
    format!("{}/{arch}", std::env::consts::OS).parse().ok()
}

impl Plan {
    /// The version that the plan leads to.
    #[must_use]
    pub const fn target_version(&self) -> &Version {
        &self.manifest.version
    }
}

impl Leave {
    /// Only a `proceed` on the stream makes one.
    pub(crate) const fn new(attempt: AttemptId, generation: Generation) -> Self {
        Self { attempt, generation }
    }

    /// For which attempt.
    #[must_use]
    pub const fn attempt(&self) -> AttemptId {
        self.attempt
    }

    /// Under which number.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }
}

impl Failure {
    /// The executor does not accept it.
    #[must_use]
    pub fn refused(stage: Stage, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Refused, stage, code, message: message.into() }
    }

    /// It could not be done.
    #[must_use]
    pub fn failed(stage: Stage, code: ErrorCode, message: impl Into<String>) -> Self {
        Self { outcome: Outcome::Failed, stage, code, message: message.into() }
    }
}

impl ArtifactFile {
    /// Wraps a file whose bytes were proven.
    pub(crate) const fn new(temporary: TemporaryFile, sha256: Sha256, size: u64) -> Self {
        Self { temporary, sha256, size }
    }

    /// The open handle through which the bytes were proven; sync this one.
    #[must_use]
    pub const fn file(&self) -> &std::fs::File {
        self.temporary.file()
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Its digest, as signed.
    #[must_use]
    pub const fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Its size in bytes, as signed.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Leaves the file where it is: it was renamed, or is about to be.
    pub const fn keep(&mut self) {
        self.temporary.keep();
    }
}
