//! The event feed and the audit log: one row for every change, with who did what to what.

use crate::id::{ExecutorUid, OrganizationId, TokenId};
use crate::time::Timestamp;

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Actor {
    /// The bearer of a token.
    Token(TokenId),
    /// An executor.
    Executor(ExecutorUid),
    /// The control plane itself; the text names the job or the rule.
    System(&'static str),
    /// A person at the server's console (`novacula-server bootstrap`).
    Console,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $variant,)*
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The public name, `executor.connected`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// From its public name.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
            }
        }
    };
}

actions! {
    /// A join token and CSR became an executor.
    ExecutorEnrolled = "executor.enrolled",
    /// Its first session, or the first after it was offline.
    ExecutorConnected = "executor.connected",
    /// A newer session took the place of an open one.
    ExecutorReconnected = "executor.reconnected",
    /// Its session ended.
    ExecutorDisconnected = "executor.disconnected",
    /// Two instances displace each other.
    ExecutorDuplicated = "executor.duplicated",
    /// Channel or labels changed.
    ExecutorUpdated = "executor.updated",
    /// It came with another version than before.
    ExecutorVersionChanged = "executor.version_changed",
    /// Deactivated.
    ExecutorDeactivated = "executor.deactivated",
    /// Activated again.
    ExecutorActivated = "executor.activated",
    /// Deleted.
    ExecutorDeleted = "executor.deleted",
    /// Its certificate was renewed.
    CertificateRenewed = "executor.certificate_renewed",
    /// A hold was set.
    HoldSet = "executor.hold_set",
    /// A hold was cleared.
    HoldCleared = "executor.hold_cleared",
    /// An upgrade was requested.
    AttemptRequested = "attempt.requested",
    /// The executor acknowledged it.
    AttemptDelivered = "attempt.delivered",
    /// It moved to another phase.
    AttemptPhaseChanged = "attempt.phase_changed",
    /// Leave was given.
    AttemptLeaveGiven = "attempt.leave_given",
    /// The executor refused it; it stays pending, marked, until its time is over.
    AttemptRefused = "attempt.refused",
    /// The version it came from was asked for after leave.
    AttemptRollbackRequested = "attempt.rollback_requested",
    /// It ended.
    AttemptEnded = "attempt.ended",
    /// An inferred end was corrected by a report.
    AttemptCorrected = "attempt.corrected",
    /// An executor refused an artifact: an alarm.
    ArtifactRefused = "artifact.refused",
    /// Bytes that no release names were deleted.
    ArtifactDeleted = "artifact.deleted",
    /// A release draft was made.
    ReleaseCreated = "release.created",
    /// An artifact was uploaded or named.
    ArtifactUploaded = "release.artifact_uploaded",
    /// A signature was added.
    ReleaseSignatureAdded = "release.signature_added",
    /// Published.
    ReleasePublished = "release.published",
    /// Yanked.
    ReleaseYanked = "release.yanked",
    /// An organization was made.
    OrganizationCreated = "organization.created",
    /// A join token was made.
    JoinTokenCreated = "join_token.created",
    /// A join token was revoked.
    JoinTokenRevoked = "join_token.revoked",
    /// A bearer token was made.
    TokenCreated = "token.created",
    /// A bearer token was revoked.
    TokenRevoked = "token.revoked",
    /// A certificate authority was made, or taken into the store.
    AuthorityCreated = "authority.created",
    /// A certificate authority was retired: what it signed counts no more.
    AuthorityRetired = "authority.retired",
    /// A request was refused for want of a role.
    AccessDenied = "access.denied",
}

/// One row of the feed, before the store gives it its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Who did it.
    pub actor: Actor,
    /// To what: a resource name.
    pub target: String,
    /// Whose feed it belongs to; none: the installation's.
    pub organization: Option<OrganizationId>,
    /// When.
    pub time: Timestamp,
    /// Facts by name. Never a secret.
    pub details: Vec<(&'static str, String)>,
}
