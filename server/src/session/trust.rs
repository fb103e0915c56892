//! Whether a session's certificate still fits the authorities that sign and are trusted, decided without I/O.
//!
//! After a change of authorities each executor has to renew: to be signed by the newer one, or to forget the older. Its
//! certificate's own words say when it was issued, and its uid says when its turn is, so that a fleet renews over the whole
//! spread and each executor at the same moment of it, whatever replica asks. A welcome names that moment
//! (`renew_certificate_after`), so a stream that was welcomed before the change is told to dial again at its turn, and once more
//! a while later, to come back with what it renewed.

use std::time::Duration;

use domain::{ExecutorUid, Timestamp};
use tokio::time::Instant;

use crate::tls::authority::Authority;
use crate::tls::identity::Certificate;

/// How often a session looks.
const LOOK: Duration = Duration::from_secs(10);

/// The part of the spread after which an executor that still shows the older certificate is told again.
const AGAIN: u32 = 12;

/// Longest and shortest of it.
const AGAIN_MOST: Duration = Duration::from_secs(300);
const AGAIN_LEAST: Duration = Duration::from_secs(1);

/// One session's part in a change of authorities.
#[derive(Debug)]
pub struct Trust {
    uid: ExecutorUid,
    certificate: Certificate,
    spread: Duration,
    /// The store's time of its beginning, and this process's.
    opened: (Timestamp, Instant),
    /// The change that its welcome spoke of.
    told: Option<Timestamp>,
    /// When it was last told to dial again.
    asked: Option<Timestamp>,
    look: Instant,
}

/// What to do about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// Tell it to dial again: it renews, or has.
    DialAgain,
    /// What signed its certificate counts no more.
    Untrusted,
}

/// When an executor's turn is after a change.
#[must_use]
pub fn turn(uid: ExecutorUid, changed: Timestamp, spread: Duration) -> Timestamp {
    // The last bits of a UUID are random in every version that is made here (RFC 9562).
    let [.., a, b, c, d] = *uid.as_uuid().as_bytes();
    let share = f64::from(u32::from_be_bytes([a, b, c, d])) / f64::from(u32::MAX);
    changed.plus(spread.mul_f64(share))
}

// === impl Trust ===

impl Trust {
    /// A session that begins, at the store's `time`.
    #[must_use]
    pub fn new(
        uid: ExecutorUid,
        certificate: Certificate,
        authority: &Authority,
        spread: Duration,
        (time, now): (Timestamp, Instant),
    ) -> Self {
        let told = authority.stale_since(certificate.issue_time);
        Self { uid, certificate, spread, opened: (time, now), told, asked: None, look: now + LOOK.min(spread) }
    }

    /// When to look again.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.look
    }

    /// Looks.
    pub fn tick(&mut self, authority: &Authority, now: Instant) -> Verdict {
        let again = (self.spread / AGAIN).clamp(AGAIN_LEAST, AGAIN_MOST);
        self.look = now + LOOK.min(again);
        if !authority.trusts(self.certificate.authority) {
            return Verdict::Untrusted;
        }
        let Some(changed) = authority.stale_since(self.certificate.issue_time) else {
            return Verdict::Fine;
        };
        let time = self.opened.0.plus(now.duration_since(self.opened.1));
        let turn = turn(self.uid, changed, self.spread);
        let due = match self.asked {
            Some(asked) => asked.plus(again),
            // It was told at its welcome, and needs time to do it.
            None if self.told == Some(changed) => turn.max(self.opened.0).plus(again),
            None => turn,
        };
        if time < due {
            return Verdict::Fine;
        }
        self.asked = Some(time);
        Verdict::DialAgain
    }
}

#[cfg(test)]
mod tests {
    use domain::Sha256;
    use uuid::Uuid;

    use super::*;
    use crate::tls::authority::shared::Authorities;
    use crate::tls::authority::testing::{keys, record};
    use crate::tls::identity::Seen;

    const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);

    fn uid(last: u32) -> ExecutorUid {
        ExecutorUid::new(Uuid::from_u128(u128::from(last)))
    }

    fn certificate(authority: Sha256, issue_time: Timestamp) -> Certificate {
        let not_after = issue_time.plus(720 * HOUR);
        let fingerprint = Sha256::new([0; 32]);
        Certificate { fingerprint, authority: Some(authority), issue_time, not_after, seen: Seen::Before }
    }

    /// Two authorities, the newer signing from `NOW` on, as they are at `time`; and the ids of both.
    fn rotated(time: Timestamp) -> (Authorities, [Sha256; 2]) {
        let keys = keys();
        let mut rows = vec![record(1, &keys, NOW.minus(HOUR)), record(2, &keys, NOW)];
        rows[0].sign_time = NOW.minus(HOUR);
        let ids = [rows[0].public_key_sha256, rows[1].public_key_sha256];
        (Authorities::of_store(keys, "novacula", MINUTE, &rows, time).expect("built"), ids)
    }

    #[test]
    fn turns_are_spread_and_each_executor_keeps_its_own() {
        assert_eq!(turn(uid(0), NOW, HOUR), NOW);
        assert_eq!(turn(uid(u32::MAX), NOW, HOUR), NOW.plus(HOUR));
        let middle = turn(uid(u32::MAX / 2), NOW, HOUR);
        assert!(middle > NOW.plus(29 * MINUTE) && middle < NOW.plus(31 * MINUTE));
    }

    #[test]
    fn a_stream_from_before_is_told_at_its_turn_and_then_now_and_then() {
        let (authorities, [older, _]) = rotated(NOW);
        let (before, begin) = (NOW.minus(HOUR), Instant::now());
        let own = certificate(older, before);
        let (fresh, ids) = rotated(before);
        let mut trust =
            Trust::new(uid(u32::MAX / 2), certificate(ids[0], before), &fresh.current(), HOUR, (before, begin));
        trust.certificate = own;
        let authority = authorities.current();
        let mut tick = |after: Duration| trust.tick(&authority, begin + after);
        assert_eq!(tick(HOUR), Verdict::Fine, "it is not its turn");
        assert_eq!(tick(HOUR + 31 * MINUTE), Verdict::DialAgain);
        assert_eq!(tick(HOUR + 32 * MINUTE), Verdict::Fine, "it is given time");
        assert_eq!(tick(HOUR + 37 * MINUTE), Verdict::DialAgain);
    }

    #[test]
    fn a_welcome_that_said_so_is_given_time() {
        let (authorities, [older, newer]) = rotated(NOW);
        let (authority, begin) = (authorities.current(), Instant::now());
        let at = (NOW.plus(MINUTE), begin);
        let mut trust = Trust::new(uid(0), certificate(older, NOW.minus(HOUR)), &authority, HOUR, at);
        assert_eq!(trust.tick(&authority, begin + 4 * MINUTE), Verdict::Fine);
        assert_eq!(trust.tick(&authority, begin + 5 * MINUTE), Verdict::DialAgain);
        let mut renewed = Trust::new(uid(0), certificate(newer, NOW), &authority, HOUR, at);
        assert_eq!(renewed.tick(&authority, begin + 5 * HOUR), Verdict::Fine);
    }

    #[test]
    fn what_was_retired_is_over() {
        let (authorities, ids) = rotated(NOW);
        let authority = authorities.current();
        let foreign = certificate(Sha256::new([9; 32]), NOW);
        assert!(!ids.contains(&Sha256::new([9; 32])));
        let mut trust = Trust::new(uid(0), foreign, &authority, HOUR, (NOW, Instant::now()));
        assert_eq!(trust.tick(&authority, Instant::now()), Verdict::Untrusted);
    }
}
