//! Offers over random outages, with what must stay true asked after each step.

use std::collections::HashSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

const PATIENCE: Duration = Duration::from_secs(15);

const SHARE: usize = 4;

fn stream(n: usize) -> (ExecutorUid, Epoch) {
    let n = u64::try_from(n).expect("small");
    (ExecutorUid::new(Uuid::from_u128(n.into())), Epoch(n))
}

#[tokio::test(start_paused = true)]
async fn each_stream_is_told_once_at_the_rate_and_anew_in_the_next_outage() {
    let mut offers = Offers::new(PATIENCE, SHARE);
    let streams = || (0..10).map(stream).collect::<Vec<_>>();
    for _ in 0..2 {
        let since = Instant::now();
        let lease = Lease::Failing { since };
        let early = since + PATIENCE.checked_sub(Duration::from_millis(1)).expect("longer");
        assert_eq!(offers.next(lease, early, streams), []);
        let told: Vec<usize> =
            (0..4).map(|n| offers.next(lease, since + PATIENCE + ROUND * n, streams).len()).collect();
        assert_eq!(told, [4, 4, 2, 0]);
        assert_eq!(offers.next(Lease::Held, since + PATIENCE * 2, streams), []);
    }
}

proptest! {
    #[test]
    fn no_short_absence_offers_no_stream_is_told_twice_and_no_second_tells_more(
        steps in prop::collection::vec((any::<bool>(), 0..4_000_u64), 0..200),
        n_streams in 0..60_usize,
    ) {
        let mut offers = Offers::new(PATIENCE, SHARE);
        let (mut lease, mut told) = (Lease::Held, HashSet::new());
        let (begin, mut at) = (Instant::now(), Duration::ZERO);
        let mut rounds: Vec<Instant> = Vec::new();
        for (fails, millis) in steps {
            at += Duration::from_millis(millis);
            let now = begin + at;
            // Long outages are as frequent as short ones.
            lease = if !fails && millis % 8 == 0 { Lease::Held } else { lease.failed(now) };
            let next = offers.next(lease, now, || (0..n_streams).map(stream).collect());
            match lease {
                Lease::Held => {
                    prop_assert!(next.is_empty());
                    told.clear();
                }
                Lease::Failing { since } => prop_assert!(next.is_empty() || now >= since + PATIENCE),
            }
            for one in &next {
                prop_assert!(told.insert(*one), "{one:?} was told twice");
                rounds.push(now);
            }
            let recent = rounds.iter().filter(|then| now.duration_since(**then) < ROUND).count();
            prop_assert!(recent <= SHARE, "{recent} inside a second");
        }
    }
}
