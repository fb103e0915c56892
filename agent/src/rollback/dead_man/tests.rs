//! Stories of the dead man, told as timelines.

use executor_sdk::journal::SwapTime;
use proptest::prelude::*;

use super::*;
use crate::fixture::open_attempt;

const LENGTH: Duration = Duration::from_secs(300);
const BOOT: Uuid = Uuid::from_u128(1);

fn at(second: u64) -> Moment {
    Moment { boot: BOOT, since_boot: Duration::from_secs(second) }
}

fn swapped_at(second: u64, step: Step) -> OpenAttempt {
    let mut open = open_attempt(1, 2);
    open.step = step;
    open.swap = Some(SwapTime {
        wall: domain::Timestamp::EPOCH,
        boot_id: BOOT.to_string(),
        since_boot: Duration::from_secs(second),
    });
    open
}

/// Looks every 30 s from second 0 to `end`; says when what was done.
fn story(end: u64, step: impl Fn(u64, bool) -> Step, reached: impl Fn(u64) -> bool) -> Vec<(u64, &'static str)> {
    let (mut watch, mut done, mut woken) = (None, Vec::new(), false);
    for second in (0..=end).step_by(30) {
        let open = swapped_at(0, step(second, woken));
        let found = match look(&open, watch, at(second), LENGTH) {
            Look::Wait(found) => {
                watch = Some(found);
                continue;
            }
            Look::Probe(found) => found,
        };
        let probed = if reached(second) { Probed::Reached } else { Probed::NotReached };
        match answer(&open, found, probed, at(second), LENGTH) {
            Action::Wait(next) => watch = Some(next),
            Action::Wake(next) => {
                watch = Some(next);
                woken = true;
                done.push((second, "wake"));
            }
            Action::RollBack(_) => {
                done.push((second, "roll back"));
                return done;
            }
        }
    }
    done
}

#[test]
fn a_version_that_never_connects_is_woken_and_then_rolled_back() {
    assert_eq!(story(3600, |_, _| Step::Started, |_| true), [(300, "wake"), (600, "roll back")]);
}

#[test]
fn an_outage_alone_never_rolls_back() {
    assert_eq!(story(36_000, |_, _| Step::Started, |_| false), []);
}

#[test]
fn after_an_outage_the_new_version_has_a_whole_window_of_its_own() {
    assert_eq!(story(7200, |_, _| Step::Started, |second| second >= 3000), [(3000, "wake"), (3300, "roll back")]);
    // The outage comes back in the middle of the second window: judged only after a window without one.
    let flapping = |second: u64| !(400..1000).contains(&second);
    assert_eq!(story(7200, |_, _| Step::Started, flapping), [(300, "wake"), (1020, "wake"), (1320, "roll back")]);
}

#[test]
fn a_version_that_connects_when_woken_is_left_on_probation() {
    let step = |second: u64, woken: bool| {
        if woken && second >= 360 { Step::Connected } else { Step::Started }
    };
    assert_eq!(story(600, step, |_| true), [(300, "wake")]);
}

#[test]
fn a_version_that_connected_late_is_not_disturbed_in_its_probation() {
    let step = |second: u64, _| {
        if second >= 290 { Step::Connected } else { Step::Started }
    };
    assert_eq!(story(590, step, |_| true), []);
}

#[test]
fn a_probation_longer_than_the_window_is_not_disturbed_and_a_silent_end_of_it_is() {
    let check = |probation: Option<u64>, woken: u64| {
        let mut open = swapped_at(0, Step::Connected);
        open.probation = probation.map(Duration::from_secs);
        let Look::Wait(watch) = look(&open, None, at(0), LENGTH) else { panic!("its window has just begun") };
        assert_eq!(watch.window, Window::Connected);
        assert_eq!(look(&open, Some(watch), at(woken - 1), LENGTH), Look::Wait(watch), "{probation:?}");
        assert_eq!(look(&open, Some(watch), at(woken), LENGTH), Look::Probe(watch), "{probation:?}");
        let action = answer(&open, watch, Probed::Reached, at(woken), LENGTH);
        assert!(matches!(action, Action::Wake(_)), "{probation:?}: {action:?}");
    };
    check(None, 300);
    check(Some(120), 300);
    check(Some(600), 1200);
    check(Some(u64::MAX / 1000), 24 * 60 * 60);
}

#[test]
fn a_version_that_hangs_before_its_journal_is_told_from_one_without_a_connection() {
    assert_eq!(cause(&swapped_at(0, Step::Swapped)).code, ErrorCode::Hang);
    assert_eq!(cause(&swapped_at(0, Step::Started)).code, ErrorCode::NoConnection);
}

#[test]
fn the_window_survives_a_reboot_and_begins_anew_with_it() {
    let open = swapped_at(5000, Step::Started);
    let rebooted = |second| Moment { boot: Uuid::from_u128(2), since_boot: Duration::from_secs(second) };
    assert!(matches!(look(&open, None, rebooted(299), LENGTH), Look::Wait(_)));
    assert!(matches!(look(&open, None, rebooted(300), LENGTH), Look::Probe(_)));
}

proptest! {
    /// Whatever happens and whenever: rolled back only by an old code that has just reached the control plane, over a whole
    /// window in which it never failed to, and never while the new version's stream is up.
    #[test]
    fn a_roll_back_follows_a_wake_and_a_window_of_reaching(
        ticks in proptest::collection::vec((any::<bool>(), 0usize..4, 1u64..200), 1..80)
    ) {
        let (mut watch, mut now) = (None, 0);
        let mut reaching_since: Option<u64> = None;
        let mut woken_at = None;
        for (reached, step, pause) in ticks {
            now += pause;
            let open = swapped_at(0, Step::ALL[step]);
            let found = match look(&open, watch, at(now), LENGTH) {
                Look::Wait(found) => { watch = Some(found); continue; }
                Look::Probe(found) => found,
            };
            reaching_since = if reached { reaching_since.or(Some(now)) } else { None };
            let probed = if reached { Probed::Reached } else { Probed::NotReached };
            match answer(&open, found, probed, at(now), LENGTH) {
                Action::Wait(next) => watch = Some(next),
                Action::Wake(next) => {
                    prop_assert!(reached);
                    woken_at = Some(now);
                    watch = Some(next);
                }
                Action::RollBack(_) => {
                    prop_assert!(reached && open.step != Step::Connected);
                    prop_assert!(now - woken_at.expect("woken before") >= LENGTH.as_secs());
                    prop_assert!(now - reaching_since.expect("reached") >= LENGTH.as_secs());
                    break;
                }
            }
        }
    }
}
