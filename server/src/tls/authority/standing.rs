//! Which of the authorities in the store does what, decided by their times alone, so that replicas that have read the same
//! rows say the same.
//!
//! ```text
//!                made            sign_time                        the older is retired
//! the older   ── signs all ───────┬── signs server certificates ──┤ its key is gone, what it signed counts no more
//! the newer   ── is trusted ──────┴── signs executors' ───────────┴── signs all
//! ```
//!
//! Until the older is retired it signs what servers show: whoever has not heard of the newer still knows them. The newer signs
//! for executors only when every replica that may admit them has read it.

use std::time::Duration;

use domain::Timestamp;
use store::AuthorityRecord;

/// Who does what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Whom to trust, by number.
    pub trusted: Vec<u32>,
    /// Who signs executor certificates.
    pub executors: u32,
    /// Who signs server certificates, and is pinned by join tokens.
    pub servers: u32,
    /// Whether certificates that name no authority are trusted: they are older than the second one.
    pub unnamed: Unnamed,
    /// When the fleet last had reason to renew: certificates that were issued before came with other authorities to trust.
    pub changed: Option<Timestamp>,
}

/// What is thought of certificates that do not name their authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// The first authority signed them, and is trusted.
    Trusted,
    /// It was retired.
    Refused,
}

/// Why one cannot be retired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stays {
    /// There is none of this number.
    #[error("there is no authority {0}")]
    Unknown(u32),
    /// It was.
    #[error("authority {0} is retired already")]
    Retired(u32),
    /// No other one signs yet.
    #[error("authority {0} is the only one that signs; rotate first, and wait until the newer one signs")]
    Alone(u32),
}

/// Decides; nothing, when no authority is trusted. `lease` is how long a replica may go on without having read the rows.
#[must_use]
pub fn standing(records: &[AuthorityRecord], lease: Duration, now: Timestamp) -> Option<Standing> {
    let trusted: Vec<&AuthorityRecord> = records.iter().filter(|record| record.retire_time.is_none()).collect();
    let servers = trusted.first()?;
    let executors = trusted.iter().rfind(|record| record.sign_time <= now).unwrap_or(servers);
    let first = records.first().filter(|first| first.retire_time.is_none());
    let began = records.iter().skip(1).map(|record| record.sign_time);
    // A replica that has not read it yet may still hand out the older trust.
    let ended = records.iter().filter_map(|record| record.retire_time).map(|time| time.plus(lease));
    Some(Standing {
        executors: executors.number,
        servers: servers.number,
        unnamed: if first.is_some() { Unnamed::Trusted } else { Unnamed::Refused },
        changed: began.chain(ended).filter(|time| *time <= now).max(),
        trusted: trusted.iter().map(|record| record.number).collect(),
    })
}

/// Whether an authority may be retired.
///
/// # Errors
/// Why not.
pub fn may_retire(records: &[AuthorityRecord], number: u32, now: Timestamp) -> Result<(), Stays> {
    let record = records.iter().find(|record| record.number == number).ok_or(Stays::Unknown(number))?;
    if record.retire_time.is_some() {
        return Err(Stays::Retired(number));
    }
    let signs = |other: &AuthorityRecord| other.retire_time.is_none() && other.sign_time <= now;
    let another = records.iter().any(|other| other.number != number && signs(other));
    if another { Ok(()) } else { Err(Stays::Alone(number)) }
}

#[cfg(test)]
mod tests {
    use domain::Sha256;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn record(number: u32, sign: u64, retire: Option<u64>) -> AuthorityRecord {
        AuthorityRecord {
            number,
            public_key_sha256: Sha256::new([0; 32]),
            certificate_pem: String::new(),
            sealed_key: String::new(),
            create_time: at(0),
            sign_time: at(sign),
            retire_time: retire.map(at),
        }
    }

    #[test]
    fn a_rotation_moves_executors_first_and_servers_last() {
        let told = |records: &[AuthorityRecord], seconds| {
            let standing = standing(records, LEASE, at(seconds)).expect("one is trusted");
            (standing.executors, standing.servers, standing.trusted, standing.changed)
        };
        let alone = [record(1, 0, None)];
        assert_eq!(told(&alone, 50), (1, 1, vec![1], None));
        let both = [record(1, 0, None), record(2, 100, None)];
        assert_eq!(told(&both, 99), (1, 1, vec![1, 2], None), "trusted before it signs");
        assert_eq!(told(&both, 100), (2, 1, vec![1, 2], Some(at(100))));
        let retired = [record(1, 0, Some(200)), record(2, 100, None)];
        assert_eq!(told(&retired, 200), (2, 2, vec![2], Some(at(100))));
        assert_eq!(told(&retired, 215), (2, 2, vec![2], Some(at(215))), "to be forgotten by all");
        let given_up = [record(1, 0, None), record(2, 100, Some(120))];
        assert_eq!(told(&given_up, 130), (1, 1, vec![1], Some(at(100))));
    }

    #[test]
    fn the_last_that_signs_stays() {
        let both = [record(1, 0, None), record(2, 100, None)];
        assert_eq!(may_retire(&both, 1, at(99)), Err(Stays::Alone(1)), "the newer does not sign yet");
        assert_eq!(may_retire(&both, 2, at(99)), Ok(()), "a rotation may be given up");
        assert_eq!(may_retire(&both, 1, at(100)), Ok(()));
        assert_eq!(may_retire(&both, 3, at(100)), Err(Stays::Unknown(3)));
        let retired = [record(1, 0, Some(150)), record(2, 100, None)];
        assert_eq!(may_retire(&retired, 1, at(200)), Err(Stays::Retired(1)));
        assert_eq!(may_retire(&retired, 2, at(200)), Err(Stays::Alone(2)));
    }

    proptest! {
        #[test]
        fn who_signs_is_trusted_and_time_turns_nothing_back(
            times in vec((0..100_u64, option::of(0..100_u64)), 1..6),
            now in 0..200_u64,
        ) {
            let records: Vec<_> = (1..).zip(&times).map(|(n, (sign, retire))| record(n, *sign, *retire)).collect();
            let Some(before) = standing(&records, LEASE, at(now)) else {
                prop_assert!(records.iter().all(|record| record.retire_time.is_some()));
                return Ok(());
            };
            let after = standing(&records, LEASE, at(now + 1)).expect("the same are trusted");
            prop_assert!(before.trusted.contains(&before.executors) && before.trusted.contains(&before.servers));
            prop_assert!(before.servers <= before.executors);
            prop_assert!(before.executors <= after.executors && before.changed <= after.changed);
            for number in before.trusted.clone() {
                if may_retire(&records, number, at(now)).is_ok() {
                    let mut left = records.clone();
                    let at_number = usize::try_from(number - 1).expect("small");
                    left[at_number].retire_time = Some(at(now));
                    let left = standing(&left, LEASE, at(now)).expect("another is there");
                    let signs = &records[usize::try_from(left.executors - 1).expect("small")];
                    prop_assert!(signs.sign_time <= at(now), "somebody signs for executors");
                }
            }
        }
    }
}
