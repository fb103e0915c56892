//! How an attempt ends: outcome, who says so, in which stage, with which error, and what the failing version last said.

use crate::reason::Reason;
use crate::time::Timestamp;
use crate::version::Version;

/// Most bytes of log tail kept of one attempt: 64 KiB (API.md).
pub const LOG_TAIL_MAX_BYTES: usize = 64 * 1024;

macro_rules! names {
    ($(#[$enum_doc:meta])* $enum:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)* }) => {
        $(#[$enum_doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $enum {
            $($(#[$doc])* $variant,)*
        }

        impl $enum {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The public name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// From its public name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == name)
            }
        }
    };
}

names! {
    /// How an attempt ended.
    Outcome {
        /// The new version runs and passed probation.
        Succeeded = "succeeded",
        /// The old version runs again after the target had started.
        RolledBack = "rolled_back",
        /// The executor did not accept the artifact or the spec.
        Refused = "refused",
        /// It could not be done, or no word came.
        Failed = "failed",
        /// Nobody picked it up in time.
        Expired = "expired",
        /// A person, a yank, a deactivation or a deletion ended it before leave.
        Cancelled = "cancelled",
        /// Another request or a local change took its place.
        Superseded = "superseded",
    }
}

names! {
    /// Who says how it ended.
    OutcomeSource {
        /// The executor.
        Reported = "reported",
        /// The control plane concluded it; a report may correct it once.
        Inferred = "inferred",
    }
}

names! {
    /// In which stage it went wrong.
    Stage {
        /// Host and spec checks before the first byte.
        Preflight = "preflight",
        /// Fetching bytes.
        Download = "download",
        /// Size, SHA-256, manifest, signature.
        Verify = "verify",
        /// Between the question for leave and its answer.
        Leave = "leave",
        /// Journal, link, rename, fsync.
        Swap = "swap",
        /// The restart and the new version's first steps.
        Start = "start",
        /// The new version connecting to the control plane.
        Connect = "connect",
        /// Probation.
        Confirm = "confirm",
        /// Bringing the old version back.
        Rollback = "rollback",
    }
}

names! {
    /// The typed error of an attempt that did not succeed.
    ErrorCode {
        /// The new version exited or was killed again and again.
        CrashLoop = "CRASH_LOOP",
        /// The new version did not become ready in time.
        StartTimeout = "START_TIMEOUT",
        /// The new version exited 0.
        CleanExit = "CLEAN_EXIT",
        /// The new version runs but does not answer.
        Hang = "HANG",
        /// The new version says another version than the one requested.
        WrongVersion = "WRONG_VERSION",
        /// The new version cannot reach the control plane, and the old one can.
        NoConnection = "NO_CONNECTION",
        /// Too many unconfirmed starts, whatever their spacing.
        TooManyStarts = "TOO_MANY_STARTS",
        /// A person asked for the old version.
        ByHand = "BY_HAND",
        /// Not enough free space.
        NoSpace = "NO_SPACE",
        /// A read-only directory or file system, or a unit too hardened to swap.
        ReadOnly = "READ_ONLY",
        /// The binary or its directory has another owner or mode than expected, or is immutable.
        NotPermitted = "NOT_PERMITTED",
        /// Binary and download directory are on different file systems.
        CrossDevice = "CROSS_DEVICE",
        /// Reading or writing the disk failed.
        Io = "IO",
        /// The binary on disk is owned by a package manager, or pinned.
        Pinned = "PINNED",
        /// The artifact's server did not answer or broke off.
        Unreachable = "UNREACHABLE",
        /// The artifact's server answered with an error.
        HttpStatus = "HTTP_STATUS",
        /// The URL is not allowed: scheme, redirect or private address.
        UrlNotAllowed = "URL_NOT_ALLOWED",
        /// More bytes than signed.
        TooLarge = "TOO_LARGE",
        /// Fewer bytes than signed.
        Truncated = "TRUNCATED",
        /// Another SHA-256 than signed.
        DigestMismatch = "DIGEST_MISMATCH",
        /// No signature by a trusted key.
        UnknownKey = "UNKNOWN_KEY",
        /// A signature that does not verify or is not well formed.
        BadSignature = "BAD_SIGNATURE",
        /// A legacy (not prehashed) signature.
        LegacySignature = "LEGACY_SIGNATURE",
        /// The manifest cannot be read.
        BadManifest = "BAD_MANIFEST",
        /// The manifest says otherwise than the spec.
        ManifestMismatch = "MANIFEST_MISMATCH",
        /// The other kind's artifact.
        KindMismatch = "KIND_MISMATCH",
        /// Another platform's artifact.
        PlatformMismatch = "PLATFORM_MISMATCH",
        /// Farther than one major.
        MajorHop = "MAJOR_HOP",
        /// Below the highest floor confirmed here.
        BelowFloor = "BELOW_FLOOR",
        /// Wider than the host's channel ceiling.
        ChannelCeiling = "CHANNEL_CEILING",
        /// The spec's TTL is over.
        SpecExpired = "SPEC_EXPIRED",
        /// The old binary is gone or was written on.
        PreviousUnusable = "PREVIOUS_UNUSABLE",
        /// The state directory cannot be read or written.
        Journal = "JOURNAL",
        /// systemd or the supervisor refused.
        ServiceManager = "SERVICE_MANAGER",
        /// An image that does not exist (operators).
        ImageNotFound = "IMAGE_NOT_FOUND",
        /// The registry refuses the credentials that were given for it (operators).
        RegistryUnauthorized = "REGISTRY_UNAUTHORIZED",
        /// The registry does not answer, or says that it cannot now: waited out until the time to be picked up is over (operators).
        RegistryUnreachable = "REGISTRY_UNREACHABLE",
        /// A node cannot pull the image (operators).
        ImagePull = "IMAGE_PULL",
        /// A container cannot be made: its configuration names what is not there, or the runtime refuses (operators).
        ContainerConfig = "CONTAINER_CONFIG",
        /// The new version was killed for its memory, again and again (operators).
        OutOfMemory = "OUT_OF_MEMORY",
        /// No node takes the new pod (operators).
        Unschedulable = "UNSCHEDULABLE",
        /// Quota or admission refuses the new pod (operators).
        AdmissionRefused = "ADMISSION_REFUSED",
        /// The new version runs and does not become ready, while the old one can reach the control plane (operators).
        NeverReady = "NEVER_READY",
        /// The Deployment made no progress for as long as it gives itself (operators).
        ProgressDeadline = "PROGRESS_DEADLINE",
        /// The Deployment is shaped so that a bad version could not be undone (operators).
        UnsafeDeployment = "UNSAFE_DEPLOYMENT",
        /// The cluster's API refused a change, or did not answer (operators).
        Cluster = "CLUSTER",
        /// No word came.
        NoWord = "NO_WORD",
        /// A name this build does not know (kept as text in the message).
        Other = "OTHER",
    }
}

impl ErrorCode {
    /// Whether it is the artifact that is wrong, not the host or the way there: then the next executor would refuse it
    /// too, and it is an alarm (rule 11).
    #[must_use]
    pub const fn blames_artifact(self) -> bool {
        matches!(
            self,
            Self::TooLarge
                | Self::Truncated
                | Self::DigestMismatch
                | Self::UnknownKey
                | Self::BadSignature
                | Self::LegacySignature
                | Self::BadManifest
                | Self::ManifestMismatch
                | Self::KindMismatch
                | Self::PlatformMismatch
        )
    }

    /// The public reason of an attempt that failed or was refused with it, where there is one.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::DigestMismatch => Some(Reason::DigestMismatch),
            Self::TooLarge | Self::Truncated => Some(Reason::SizeMismatch),
            Self::UnknownKey | Self::BadSignature | Self::LegacySignature => Some(Reason::SignatureInvalid),
            Self::BadManifest | Self::ManifestMismatch | Self::PlatformMismatch => Some(Reason::ManifestMismatch),
            Self::KindMismatch => Some(Reason::KindMismatch),
            Self::MajorHop => Some(Reason::MajorHopRequired),
            Self::BelowFloor => Some(Reason::BelowFloor),
            Self::ChannelCeiling => Some(Reason::ChannelNotVisible),
            Self::SpecExpired => Some(Reason::TtlExpired),
            Self::Pinned => Some(Reason::ExecutorPinned),
            Self::NoSpace | Self::ReadOnly | Self::NotPermitted | Self::CrossDevice | Self::Io => {
                Some(Reason::HostNotSwappable)
            }
            Self::PreviousUnusable | Self::Journal | Self::ServiceManager => Some(Reason::HostNotSwappable),
            Self::Unreachable | Self::HttpStatus | Self::UrlNotAllowed => Some(Reason::DownloadFailed),
            Self::ByHand => Some(Reason::RolledBackByHand),
            Self::CrashLoop | Self::StartTimeout | Self::CleanExit | Self::Hang | Self::WrongVersion => None,
            Self::NoConnection | Self::TooManyStarts | Self::NoWord | Self::Other => None,
            Self::ImageNotFound | Self::RegistryUnauthorized | Self::RegistryUnreachable => {
                Some(Reason::DownloadFailed)
            }
            Self::UnsafeDeployment | Self::Cluster => Some(Reason::HostNotSwappable),
            Self::ImagePull | Self::ContainerConfig | Self::OutOfMemory | Self::Unschedulable => None,
            Self::AdmissionRefused | Self::NeverReady | Self::ProgressDeadline => None,
        }
    }
}

/// What an executor says about an attempt that is over for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Report {
    /// How it ended. An executor reports succeeded, rolled_back, refused, failed, expired or superseded.
    pub outcome: Outcome,
    /// Where it went wrong.
    pub stage: Option<Stage>,
    /// The typed error.
    pub error_code: Option<ErrorCode>,
    /// A sentence for people.
    pub message: String,
    /// What runs now.
    pub running_version: Version,
    /// What was brought back, after a rollback.
    pub rolled_back_to: Option<Version>,
    /// The failing version's last lines, oldest first; at most [`LOG_TAIL_MAX_BYTES`] in all.
    pub log_tail: Vec<String>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// Who says so.
    pub source: OutcomeSource,
    /// The machine's word, where one is needed.
    pub reason: Option<Reason>,
    /// Where it went wrong.
    pub stage: Option<Stage>,
    /// The typed error.
    pub error_code: Option<ErrorCode>,
    /// A sentence for people.
    pub message: String,
    /// What was brought back.
    pub rolled_back_to: Option<Version>,
    /// The failing version's last lines.
    pub log_tail: Vec<String>,
    /// When.
    pub time: Timestamp,
}
