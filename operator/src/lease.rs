//! Which pod speaks for this executor: the holder of one Lease. Deciding is pure; [`Holder`] does it.
//!
//! A Lease counts as given up when nobody wrote it for as long as it says, by this process's own clock from when it saw the last
//! write: clocks of nodes need not agree. Whoever cannot renew it in time falls silent before the next one may speak.

use std::time::Duration;

use domain::Timestamp;
use executor_sdk::connect::Backoff;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff;

use crate::cluster::{Cluster, Error};

/// For how long a Lease that nobody renews counts.
pub const LENGTH: Duration = Duration::from_secs(15);

/// A holder that could not renew it for this long falls silent: before the Lease is over, by the time that takes.
pub const SILENT_AFTER: Duration = Duration::from_secs(10);

/// How often it is looked at, and renewed.
pub const EVERY: Duration = Duration::from_secs(2);

/// What to do with the Lease now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is ours: renew it.
    Renew,
    /// It is nobody's: take it.
    Take,
    /// It is another pod's.
    Wait,
}

/// What was last seen of the Lease, and when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    seen: Option<(String, Duration)>,
}

impl Watch {
    /// Decides; `version` changes with each write of the Lease, `now` is this process's own clock.
    pub fn decide(&mut self, holder: Option<&str>, version: &str, me: &str, now: Duration) -> Decision {
        let since = match &self.seen {
            Some((seen, since)) if seen == version => *since,
            _ => {
                self.seen = Some((version.to_owned(), now));
                now
            }
        };
        match holder.filter(|holder| !holder.is_empty()) {
            None => Decision::Take,
            Some(holder) if holder == me => Decision::Renew,
            Some(_) if now.saturating_sub(since) >= LENGTH => Decision::Take,
            Some(_) => Decision::Wait,
        }
    }
}

/// One pod's part in it.
#[derive(Debug)]
pub struct Holder {
    cluster: Cluster,
    watch: Watch,
    /// How the last look ended.
    last: Result<(), Error>,
}

impl Holder {
    /// Of this pod.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, watch: Watch::default(), last: Ok(()) }
    }

    /// Looks once, and takes or renews it; says whether it is ours.
    ///
    /// # Errors
    /// The cluster's. Somebody who was quicker is none.
    pub async fn look(&mut self, since_boot: Duration, wall: Timestamp) -> Result<bool, Error> {
        let looked = self.look_once(since_boot, wall).await;
        self.last = looked.as_ref().map(drop).map_err(Clone::clone);
        looked
    }

    /// How long until the next look. After one that failed it is left to chance: an API server that comes back has many at its door.
    #[must_use]
    pub fn rest(&self) -> Duration {
        match self.last {
            Ok(()) => EVERY,
            Err(_) => Backoff::between(EVERY, EVERY).wait(),
        }
    }

    async fn look_once(&mut self, since_boot: Duration, wall: Timestamp) -> Result<bool, Error> {
        let lease = self.cluster.lease().await?;
        let me = self.cluster.names().pod.clone();
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let decision = self.watch.decide(holder.as_deref(), &version, &me, since_boot);
        if decision == Decision::Wait {
            return Ok(false);
        }
        match self.cluster.replace_lease(&held(lease, Some(me), decision, wall)).await {
            Ok(_) => Ok(true),
            Err(error) if error.trouble == crate::cluster::Trouble::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Gives it up, so that the next pod need not wait. A failure costs that pod [`LENGTH`].
    ///
    /// # Errors
    /// The cluster's.
    pub async fn let_go(&mut self, wall: Timestamp) -> Result<(), Error> {
        let lease = self.cluster.lease().await?;
        let holder = lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref());
        if holder != Some(self.cluster.names().pod.as_str()) {
            return Ok(());
        }
        self.cluster.replace_lease(&held(lease, None, Decision::Renew, wall)).await.map(drop)
    }
}

fn held(mut lease: Lease, holder: Option<String>, decision: Decision, wall: Timestamp) -> Lease {
    let now = jiff::Timestamp::from_microsecond(wall.as_micros()).ok().map(MicroTime);
    let spec = lease.spec.get_or_insert_with(LeaseSpec::default);
    if decision == Decision::Take {
        spec.acquire_time = now.clone();
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0).saturating_add(1));
    }
    spec.holder_identity = Some(holder.unwrap_or_default());
    spec.lease_duration_seconds = i32::try_from(LENGTH.as_secs()).ok();
    spec.renew_time = now;
    lease
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_lease_that_nobody_renews_is_taken_by_ones_own_clock() {
        let mut watch = Watch::default();
        assert_eq!(watch.decide(Some("old"), "1", "new", SECOND), Decision::Wait);
        assert_eq!(watch.decide(Some("old"), "1", "new", SECOND * 15), Decision::Wait);
        assert_eq!(watch.decide(Some("old"), "2", "new", SECOND * 16), Decision::Wait, "it was renewed");
        assert_eq!(watch.decide(Some("old"), "2", "new", SECOND * 31), Decision::Take);
    }

    #[test]
    fn a_lease_that_was_let_go_is_taken_at_once() {
        assert_eq!(Watch::default().decide(Some(""), "1", "new", SECOND), Decision::Take);
        assert_eq!(Watch::default().decide(None, "1", "new", SECOND), Decision::Take);
        assert_eq!(Watch::default().decide(Some("new"), "1", "new", SECOND), Decision::Renew);
    }

    proptest! {
        /// Whatever the times between looks: nobody takes it who has not seen it unchanged for its length.
        #[test]
        fn a_lease_that_is_renewed_is_never_taken(waits in prop::collection::vec(1_u64..14, 1..60)) {
            let (mut watch, mut now) = (Watch::default(), Duration::ZERO);
            for (version, wait) in waits.into_iter().enumerate() {
                now += Duration::from_secs(wait);
                prop_assert_eq!(watch.decide(Some("old"), &version.to_string(), "new", now), Decision::Wait);
            }
        }
    }
}
