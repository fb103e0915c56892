//! How often each RPC may be called, and for how long one call may run: one row for every RPC. Buckets are kept per caller: a
//! token, an executor, or an address when neither is known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::{ExecutorUid, TokenId};
use tokio::time::Instant;

/// Buckets that are kept at once. Full ones say nothing and are forgotten first.
const BUCKETS: usize = 64 * 1024;

/// What kind of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Reads: a program may poll several things at once.
    Read,
    /// Writes: each is a durable commit.
    Write,
    /// Writes of up to a thousand.
    Batch,
    /// Streams that stay open.
    Watch,
    /// Uploads.
    Upload,
    /// Enrolments: a rack behind one address joins at once.
    Enrol,
    /// Streams of executors: one that flaps is kept away.
    Sync,
    /// Probes and renewals.
    Executor,
    /// Artifact requests: a download may be cut into ranges.
    Artifact,
    /// What needs no token.
    Open,
    /// Calls with a token that is not valid: a guesser is slowed down, and whoever shares its address is not.
    Stranger,
    /// Sign-ins from a browser: people type them.
    SignIn,
}

/// Whose bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// The bearer of a token.
    Token(TokenId),
    /// An executor.
    Executor(ExecutorUid),
    /// Somebody at an address.
    Address(IpAddr),
}

/// Every RPC's class, and the artifacts'.
pub const TABLE: &[(&str, Class)] = &[
    ("/novacula.v1.SyncService/SyncExecutor", Class::Sync),
    ("/novacula.v1.SyncService/Probe", Class::Executor),
    ("/novacula.v1.EnrollmentService/Enroll", Class::Enrol),
    ("/novacula.v1.EnrollmentService/RenewCertificate", Class::Executor),
    ("/novacula.v1.ExecutorService/GetExecutor", Class::Read),
    ("/novacula.v1.ExecutorService/ListExecutors", Class::Read),
    ("/novacula.v1.ExecutorService/SummarizeExecutors", Class::Read),
    ("/novacula.v1.ExecutorService/WatchExecutors", Class::Watch),
    ("/novacula.v1.ExecutorService/UpdateExecutor", Class::Write),
    ("/novacula.v1.ExecutorService/DeactivateExecutor", Class::Write),
    ("/novacula.v1.ExecutorService/ActivateExecutor", Class::Write),
    ("/novacula.v1.ExecutorService/DeleteExecutor", Class::Write),
    ("/novacula.v1.ExecutorService/ListNodes", Class::Read),
    ("/novacula.v1.ExecutorService/ClearHold", Class::Write),
    ("/novacula.v1.UpgradeService/ListUpgradeTargets", Class::Read),
    ("/novacula.v1.UpgradeService/RequestUpgrade", Class::Write),
    ("/novacula.v1.UpgradeService/BatchRequestUpgrade", Class::Batch),
    ("/novacula.v1.UpgradeService/CancelUpgrade", Class::Write),
    ("/novacula.v1.UpgradeService/GetAttempt", Class::Read),
    ("/novacula.v1.UpgradeService/ListAttempts", Class::Read),
    ("/novacula.v1.UpgradeService/WatchAttempt", Class::Watch),
    ("/novacula.v1.UpgradeService/ExplainUpgrade", Class::Read),
    ("/novacula.v1.ReleaseService/CreateRelease", Class::Write),
    ("/novacula.v1.ReleaseService/UploadArtifact", Class::Upload),
    ("/novacula.v1.ReleaseService/AddReleaseSignature", Class::Write),
    ("/novacula.v1.ReleaseService/GetRelease", Class::Read),
    ("/novacula.v1.ReleaseService/ListReleases", Class::Read),
    ("/novacula.v1.ReleaseService/PublishRelease", Class::Write),
    ("/novacula.v1.ReleaseService/YankRelease", Class::Write),
    ("/novacula.v1.ReleaseService/CompareReleases", Class::Read),
    ("/novacula.v1.OrganizationService/CreateOrganization", Class::Write),
    ("/novacula.v1.OrganizationService/GetOrganization", Class::Read),
    ("/novacula.v1.OrganizationService/ListOrganizations", Class::Read),
    ("/novacula.v1.OrganizationService/CreateJoinToken", Class::Write),
    ("/novacula.v1.OrganizationService/ListJoinTokens", Class::Read),
    ("/novacula.v1.OrganizationService/RevokeJoinToken", Class::Write),
    ("/novacula.v1.OrganizationService/CreateToken", Class::Write),
    ("/novacula.v1.OrganizationService/ListTokens", Class::Read),
    ("/novacula.v1.OrganizationService/RevokeToken", Class::Write),
    ("/novacula.v1.OrganizationService/WhoAmI", Class::Read),
    ("/novacula.v1.EventService/ListEvents", Class::Read),
    ("/novacula.v1.EventService/WatchEvents", Class::Watch),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Class::Open),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Class::Open),
    ("/grpc.health.v1.Health/Check", Class::Open),
    ("/grpc.health.v1.Health/List", Class::Open),
    ("/grpc.health.v1.Health/Watch", Class::Open),
    (crate::tls::gate::ARTIFACTS, Class::Artifact),
];

/// The class of a path; what has no row is treated as the dearest write.
#[must_use]
pub fn class(path: &str) -> Class {
    TABLE.iter().find(|(row, _)| *row == path).map_or(Class::Batch, |(_, class)| *class)
}

impl Class {
    /// Calls that may come at once, and how many a second go on.
    const fn rate(self) -> (u32, u32) {
        match self {
            Self::Read => (1_000, 200),
            Self::Write => (500, 50),
            Self::Batch => (20, 2),
            Self::Watch => (200, 10),
            Self::Upload => (50, 2),
            Self::Enrol => (2_000, 50),
            Self::Sync => (60, 1),
            Self::Executor => (60, 1),
            Self::Artifact => (500, 20),
            Self::Open => (500, 100),
            Self::Stranger => (50, 5),
            Self::SignIn => (20, 1),
        }
    }

    /// How long a call of this class may take to answer; none: it stays open, and has deadlines of its own.
    #[must_use]
    pub const fn deadline(self) -> Option<Duration> {
        match self {
            Self::Read | Self::Write | Self::Enrol | Self::Executor | Self::Stranger | Self::SignIn => {
                Some(Duration::from_secs(30))
            }
            Self::Batch => Some(Duration::from_secs(120)),
            Self::Watch | Self::Upload | Self::Sync | Self::Artifact | Self::Open => None,
        }
    }
}

/// The buckets.
#[derive(Debug, Default)]
pub struct Limits {
    buckets: Mutex<HashMap<(Who, Class), Bucket>>,
}

/// Full at `full_at`, and by one less for each interval before it: one instant is the whole state.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    full_at: Instant,
}

// === impl Limits ===

impl Limits {
    /// Takes one call of `path`.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take(&self, who: Who, path: &str) -> Result<(), Duration> {
        self.take_at(who, class(path), Instant::now())
    }

    /// Takes one of a class.
    ///
    /// # Errors
    /// How long to wait.
    pub fn take_class(&self, who: Who, class: Class) -> Result<(), Duration> {
        self.take_at(who, class, Instant::now())
    }

    fn take_at(&self, who: Who, class: Class, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS {
            buckets.retain(|_, bucket| bucket.full_at > now);
            if buckets.len() >= BUCKETS {
                // More callers at once than we can tell apart: none is refused on account of the others.
                buckets.clear();
            }
        }
        let bucket = buckets.entry((who, class)).or_insert(Bucket { full_at: now });
        *bucket = bucket.after_one(class, now)?;
        Ok(())
    }
}

impl Bucket {
    fn after_one(self, class: Class, now: Instant) -> Result<Self, Duration> {
        let (burst, per_second) = class.rate();
        let interval = Duration::from_secs(1) / per_second;
        let full_at = self.full_at.max(now) + interval;
        let ahead = full_at - now;
        let most = interval * burst;
        if ahead > most { Err(ahead - most) } else { Ok(Self { full_at }) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::grpc::access;

    #[test]
    fn every_rpc_has_a_row_here_and_in_the_access_table() {
        let access: BTreeSet<_> = access::TABLE.iter().map(|row| row.path).collect();
        let limits: BTreeSet<_> = TABLE.iter().map(|(path, _)| *path).filter(|path| *path != "/artifacts/").collect();
        assert_eq!(access, limits);
    }

    #[test]
    fn a_burst_is_borne_and_then_the_rate_rules() {
        let limits = Limits::default();
        let who = || Who::Token(TokenId::new("t").expect("a label"));
        let start = Instant::now();
        let (burst, per_second) = Class::Batch.rate();
        for n in 0..burst {
            assert!(limits.take_at(who(), Class::Batch, start).is_ok(), "{n}");
        }
        let wait = limits.take_at(who(), Class::Batch, start).expect_err("the burst is over");
        assert_eq!(wait, Duration::from_secs(1) / per_second);
        assert!(limits.take_at(who(), Class::Batch, start + wait).is_ok());
        assert!(limits.take_at(who(), Class::Batch, start + wait).is_err());
        // Another class and another caller have buckets of their own.
        assert!(limits.take_at(who(), Class::Read, start).is_ok());
        let other = Who::Token(TokenId::new("u").expect("a label"));
        assert!(limits.take_at(other, Class::Batch, start).is_ok());
    }

    #[test]
    fn memory_stays_bounded_however_many_callers_there_are() {
        let limits = Limits::default();
        let now = Instant::now();
        for n in 0..(BUCKETS as u32 + 1000) {
            let address = IpAddr::V4(std::net::Ipv4Addr::from(n));
            assert!(limits.take_at(Who::Address(address), Class::Enrol, now).is_ok());
        }
        assert!(limits.buckets.lock().expect("no panic").len() <= BUCKETS);
    }
}
