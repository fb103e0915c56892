//! What keeps a host from swapping its own binary, each by name: an error code for programs, a sentence and a remedy for
//! people. Found before the first byte is fetched; `doctor` prints the same ones.

use std::io;
use std::path::{Path, PathBuf};

use domain::attempt::{ErrorCode, Stage};
use executor_sdk::executor::Failure;

use crate::layout::Layout;

/// One reason why a swap cannot be done, or could not be undone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// The binary is not there, or not a file that rename could replace.
    #[error("binary {path:?}: {why}")]
    NotAFile {
        /// The binary.
        path: PathBuf,
        /// What is there instead.
        why: String,
    },
    /// The running process was started from another file than the one that would be replaced.
    #[error("this process does not run the file at {path:?}")]
    OtherBinary {
        /// The binary that would be replaced.
        path: PathBuf,
    },
    /// Owned by somebody else than this process.
    #[error("{path:?} is owned by uid {owner}, and this process runs as uid {own}")]
    WrongOwner {
        /// The binary or its directory.
        path: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who we are.
        own: u32,
    },
    /// Others may write it.
    #[error("{path:?} has mode {mode:04o}: group or others may write it")]
    WrongMode {
        /// The binary or its directory.
        path: PathBuf,
        /// Its mode.
        mode: u16,
    },
    /// The immutable or append-only attribute is set.
    #[error("{path:?} has the immutable or append-only attribute")]
    Immutable {
        /// The binary or its directory.
        path: PathBuf,
    },
    /// The file system is mounted read-only for everyone.
    #[error("the file system of {path:?} is read-only")]
    ReadOnly {
        /// The directory.
        path: PathBuf,
    },
    /// Only this process sees it read-only.
    #[error("{path:?} is read-only for this service alone: the unit is too hardened")]
    TooHardened {
        /// The directory.
        path: PathBuf,
    },
    /// The binary is a mount of its own, so that rename cannot replace it.
    #[error("{path:?} is on another file system than its directory")]
    CrossDevice {
        /// The binary.
        path: PathBuf,
    },
    /// Too few bytes.
    #[error("{path:?} has {free} bytes free, and {needed} are needed")]
    NoSpace {
        /// The directory.
        path: PathBuf,
        /// Free for us.
        free: u64,
        /// The artifact, a copy of the old binary for the way back, and a margin.
        needed: u64,
    },
    /// Too few inodes.
    #[error("{path:?} has {free} inodes free, and {needed} are needed")]
    NoInodes {
        /// The directory.
        path: PathBuf,
        /// Free for us.
        free: u64,
        /// New names at most.
        needed: u64,
    },
    /// Linking or renaming in the directory was tried and did not work.
    #[error("cannot link and rename in {path:?}: {why}")]
    NotSwappable {
        /// The directory.
        path: PathBuf,
        /// The system's word.
        why: String,
        /// Its kind: a broken or full disk is nobody's permission.
        kind: io::ErrorKind,
    },
    /// No state directory that can be written.
    #[error("state directory {path:?} cannot be written: {why}")]
    NoState {
        /// The state directory.
        path: PathBuf,
        /// The system's word.
        why: String,
    },
    /// A state directory that a reboot empties.
    #[error("state directory {path:?} is kept in memory: a reboot would forget an open attempt")]
    VolatileState {
        /// The state directory.
        path: PathBuf,
    },
    /// Nobody would start the new version.
    #[error("neither systemd nor --supervise started this process: nobody would start the new version")]
    NoServiceManager,
    /// Pinned by a person.
    #[error("pinned on this host: {reason}")]
    Pinned {
        /// Why.
        reason: String,
    },
    /// A package manager thinks that it owns the binary.
    #[error("{path:?} is owned by package {package} ({manager})")]
    PackageOwned {
        /// The binary.
        path: PathBuf,
        /// Whose database.
        manager: &'static str,
        /// The package.
        package: String,
    },
}

impl Obstacle {
    /// The typed error of a refusal for this reason.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::ReadOnly { .. } | Self::TooHardened { .. } => ErrorCode::ReadOnly,
            Self::CrossDevice { .. } => ErrorCode::CrossDevice,
            Self::NoSpace { .. } | Self::NoInodes { .. } => ErrorCode::NoSpace,
            Self::NoState { .. } | Self::VolatileState { .. } => ErrorCode::Journal,
            Self::NoServiceManager => ErrorCode::ServiceManager,
            Self::Pinned { .. } | Self::PackageOwned { .. } => ErrorCode::Pinned,
            Self::NotSwappable { kind: io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, .. } => {
                ErrorCode::NoSpace
            }
            Self::NotSwappable { kind: io::ErrorKind::PermissionDenied, .. } => ErrorCode::NotPermitted,
            Self::NotSwappable { .. } => ErrorCode::Io,
            Self::NotAFile { .. }
            | Self::OtherBinary { .. }
            | Self::WrongOwner { .. }
            | Self::WrongMode { .. }
            | Self::Immutable { .. } => ErrorCode::NotPermitted,
        }
    }

    /// What a person does about it.
    #[must_use]
    pub fn remedy(&self, layout: &Layout) -> String {
        match self {
            Self::NotAFile { path, .. } => {
                let install = layout.command_of(Path::new("./novacula-agent"), "install");
                format!("install the agent at {}, from where you have it: `{install}`", path.display())
            }
            Self::OtherBinary { path } => {
                format!("run {} itself, or name the running file with --binary", path.display())
            }
            Self::WrongOwner { path, own, .. } => format!("chown {own} {}", path.display()),
            Self::WrongMode { path, .. } => format!("chmod 0755 {}", path.display()),
            Self::Immutable { path } => format!("chattr -i -a {}", path.display()),
            Self::ReadOnly { path } => format!("remount it writable, or move the agent off {}", path.display()),
            Self::TooHardened { path } => {
                format!("add ReadWritePaths={} to novacula-agent.service", path.display())
            }
            Self::CrossDevice { path } => format!("do not mount {} on its own; mount its directory", path.display()),
            Self::NoSpace { path, .. } => {
                format!("free space on the file system of {}", path.display())
            }
            Self::NoInodes { path, .. } => {
                format!("remove files from the file system of {}", path.display())
            }
            Self::NotSwappable { path, kind: io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded, .. } => {
                format!("free space on the file system of {}", path.display())
            }
            Self::NotSwappable { path, kind: io::ErrorKind::PermissionDenied, .. } => {
                format!("make {} a directory where root may link and rename", path.display())
            }
            Self::NotSwappable { path, .. } => {
                format!(
                    "look at the disk of {}: `journalctl -k` says what the kernel met; then ask again",
                    path.display()
                )
            }
            Self::NoState { path, .. } => {
                format!("StateDirectory=novacula in the unit, or a writable {}", path.display())
            }
            Self::VolatileState { path } => {
                format!("mount a disk at {}, or set upgrade.allow_volatile_state in the configuration", path.display())
            }
            Self::NoServiceManager => {
                format!("`{}`, or `{}`", layout.command("install"), layout.command("run --supervise"))
            }
            Self::Pinned { .. } => layout.command("unpin"),
            Self::PackageOwned { package, .. } => {
                format!("upgrade {package} with the package manager instead")
            }
        }
    }

    /// The refusal that the control plane is told.
    #[must_use]
    pub fn refusal(&self, layout: &Layout) -> Failure {
        Failure::refused(Stage::Preflight, self.code(), format!("{self}; {}", self.remedy(layout)))
    }
}
