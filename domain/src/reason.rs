//! Reasons: the machine-readable word of every refusal and of every outcome that needs one. The names are public (API.md).

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The machine-readable reason of a refusal or an outcome.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the public table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The public name, `EXECUTOR_OFFLINE`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// From its public name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
            }
        }
    };
}

reasons! {
    /// No open session, and last seen 30 s ago or more.
    ExecutorOffline = "EXECUTOR_OFFLINE",
    /// The catalog holds no such release for this kind.
    VersionNotAvailable = "VERSION_NOT_AVAILABLE",
    /// More than one major away: another version has to come first.
    MajorHopRequired = "MAJOR_HOP_REQUIRED",
    /// The release's channel is not shown to this executor.
    ChannelNotVisible = "CHANNEL_NOT_VISIBLE",
    /// A draft.
    ReleaseNotPublished = "RELEASE_NOT_PUBLISHED",
    /// The release has no artifact for this executor's platform.
    PlatformMissing = "PLATFORM_MISSING",
    /// Rolled back or refused here before (rollouts only).
    VersionHeld = "VERSION_HELD",
    /// Below the lowest version this executor accepts.
    BelowFloor = "BELOW_FLOOR",
    /// Leave was given: neither cancel nor replace can win any more.
    AttemptApplying = "ATTEMPT_APPLYING",
    /// The attempt has its outcome.
    AttemptEnded = "ATTEMPT_ENDED",
    /// The release was withdrawn.
    ReleaseYanked = "RELEASE_YANKED",
    /// Two instances use one identity; a person has to decide.
    DuplicateIdentity = "DUPLICATE_IDENTITY",
    /// The executor does not run the version the request expects.
    VersionMismatch = "VERSION_MISMATCH",
    /// It already runs the target.
    AlreadyRunning = "ALREADY_RUNNING",
    /// Another upgrade is pending, and the request does not say replace.
    UpgradePending = "UPGRADE_PENDING",
    /// More than one major behind the control plane.
    OutOfSupport = "OUT_OF_SUPPORT",
    /// Pinned on its host, or owned by a package manager.
    ExecutorPinned = "EXECUTOR_PINNED",
    /// Deactivated by a person.
    ExecutorDeactivated = "EXECUTOR_DEACTIVATED",
    /// Has not sent its first hello: kind and version are unknown.
    ExecutorNeverSynced = "EXECUTOR_NEVER_SYNCED",
    /// The caller's role does not allow it.
    RoleRequired = "ROLE_REQUIRED",
    /// The token is missing, unknown, expired or revoked.
    TokenInvalid = "TOKEN_INVALID",
    /// Agent and operator are not exchangeable.
    KindMismatch = "KIND_MISMATCH",
    /// The signed manifest says otherwise than the release, the spec or the executor.
    ManifestMismatch = "MANIFEST_MISMATCH",
    /// No signature by a trusted key verifies.
    SignatureInvalid = "SIGNATURE_INVALID",
    /// The bytes have another SHA-256 than the signed one.
    DigestMismatch = "DIGEST_MISMATCH",
    /// The bytes are more or fewer than signed.
    SizeMismatch = "SIZE_MISMATCH",
    /// The executor that is running came to a version that was not asked of it.
    ChangedLocally = "CHANGED_LOCALLY",
    /// No word by the confirm deadline.
    Unconfirmed = "UNCONFIRMED",
    /// Leave was given, and the swap was never reported.
    LeaveExpired = "LEAVE_EXPIRED",
    /// No new byte for the progress deadline.
    ProgressStalled = "PROGRESS_STALLED",
    /// Nobody picked it up in time.
    TtlExpired = "TTL_EXPIRED",
    /// A person cancelled it.
    CancelledByRequest = "CANCELLED_BY_REQUEST",
    /// Another request took its place.
    ReplacedByRequest = "REPLACED_BY_REQUEST",
    /// The executor was deleted.
    ExecutorDeleted = "EXECUTOR_DELETED",
    /// The host cannot swap its binary: read-only, other file system, no space, wrong owner, immutable.
    HostNotSwappable = "HOST_NOT_SWAPPABLE",
    /// The artifact could not be fetched.
    DownloadFailed = "DOWNLOAD_FAILED",
    /// The new version did not come up; the old one is back.
    RolledBack = "ROLLED_BACK",
    /// A person brought the old version back on the host.
    RolledBackByHand = "ROLLED_BACK_BY_HAND",
    /// The version it came from was requested after leave: carried out as the rollback.
    RollbackRequested = "ROLLBACK_REQUESTED",
    /// A join token is unknown, expired, revoked or used up.
    JoinTokenInvalid = "JOIN_TOKEN_INVALID",
    /// The name is enrolled already, and the join token does not name it with replace.
    NameTaken = "NAME_TAKEN",
    /// The certificate is unknown, revoked, expired or not bound to this executor.
    CertificateInvalid = "CERTIFICATE_INVALID",
    /// A field is missing or has a value that it may not have.
    InvalidArgument = "INVALID_ARGUMENT",
    /// No such resource.
    NotFound = "NOT_FOUND",
    /// It exists already.
    AlreadyExists = "ALREADY_EXISTS",
    /// The same request id was used for another request.
    RequestIdReused = "REQUEST_ID_REUSED",
    /// Too many requests; ask again later.
    RateLimited = "RATE_LIMITED",
    /// The peer broke the protocol.
    ProtocolViolation = "PROTOCOL_VIOLATION",
    /// The server is draining or its store is away; ask again.
    Unavailable = "UNAVAILABLE",
    /// A newer stream of the same executor took this one's place.
    SessionReplaced = "SESSION_REPLACED",
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: the reason, a sentence for people that says what to do next, and the values of the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The machine's word.
    pub reason: Reason,
    /// The person's sentence.
    pub message: String,
    /// The rule's values, by name, for `google.rpc.ErrorInfo.metadata`.
    pub values: Vec<(&'static str, String)>,
}

impl Refusal {
    /// A refusal without values.
    #[must_use]
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), values: Vec::new() }
    }

    /// The same with one of the rule's values.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.values.push((name, value.to_string()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_names_are_unique_and_parse() {
        for reason in Reason::ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        }
    }
}
