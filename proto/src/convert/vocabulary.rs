//! Enums. From the wire each is optional: unset and unknown are the same here, and what that means is the caller's to say.

use domain::attempt::{Outcome, OutcomeSource, Phase};
use domain::target::Direction;
use domain::{Channel, Kind};

use crate::v1;

macro_rules! both_ways {
    ($(#[$doc:meta])* $function:ident: $domain:path, $wire:path { $($ours:ident = $theirs:ident,)* }) => {
        impl From<$domain> for $wire {
            fn from(value: $domain) -> Self {
                match value {
                    $(<$domain>::$ours => Self::$theirs,)*
                }
            }
        }

        $(#[$doc])*
        #[must_use]
        pub fn $function(value: i32) -> Option<$domain> {
            $(if value == <$wire>::$theirs as i32 {
                return Some(<$domain>::$ours);
            })*
            None
        }
    };
}

both_ways!(
    /// A kind, when it is set and known.
    kind: Kind, v1::Kind { Agent = Agent, Operator = Operator, }
);

both_ways!(
    /// A channel, when it is set and known.
    channel: Channel, v1::Channel { Stable = Stable, Beta = Beta, Dev = Dev, }
);

both_ways!(
    /// A phase, when it is set and known.
    phase: Phase, v1::Phase {
        Requested = Requested,
        Delivered = Delivered,
        Downloading = Downloading,
        Verifying = Verifying,
        ReadyToSwap = ReadyToSwap,
        Applying = Applying,
        Restarting = Restarting,
        Confirming = Confirming,
    }
);

both_ways!(
    /// An outcome, when it is set and known.
    outcome: Outcome, v1::Outcome {
        Succeeded = Succeeded,
        RolledBack = RolledBack,
        Refused = Refused,
        Failed = Failed,
        Expired = Expired,
        Cancelled = Cancelled,
        Superseded = Superseded,
    }
);

both_ways!(
    /// Who says how an attempt ended, when it is set and known.
    outcome_source: OutcomeSource, v1::OutcomeSource { Reported = Reported, Inferred = Inferred, }
);

both_ways!(
    /// Which way a target lies, when it is set and known.
    direction: Direction, v1::upgrade_target::Direction { Upgrade = Upgrade, Downgrade = Downgrade, }
);

both_ways!(
    /// A release's status, when it is set and known.
    release_status: domain::release::Status, v1::release::Status { Draft = Draft, Published = Published, Yanked = Yanked, }
);

both_ways!(
    /// Whether an executor may sync, when it is set and known.
    executor_state: domain::executor::State, v1::executor::State { Active = Active, Deactivated = Deactivated, }
);

/// To the wire, when it is set.
pub(crate) fn number<W: Into<i32>>(value: Option<W>) -> i32 {
    value.map_or(0, Into::into)
}
