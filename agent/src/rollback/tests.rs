//! The verdict over every combination of journal and disk.

use executor_sdk::journal::Step;
use proptest::prelude::*;

use super::*;
use crate::fixture::{open_attempt, sha};

const OLD: u8 = 1;
const NEW: u8 = 2;

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![
        Just(Content::Missing),
        Just(Content::Unreadable("I/O error".to_owned())),
        (1u8..5).prop_map(|n| Content::Is(sha(n))),
    ]
}

fn attempt() -> impl Strategy<Value = OpenAttempt> {
    (0usize..Step::ALL.len(), 0u32..6).prop_map(|(step, starts)| {
        let mut open = open_attempt(OLD, NEW);
        open.step = Step::ALL[step];
        open.starts = starts;
        open
    })
}

proptest! {
    /// Nothing is ever put over a binary that is neither version, nor anything else than the old version.
    #[test]
    fn only_the_old_version_is_put_back_and_only_over_the_new_one(
        open in attempt(), live in content(), previous in content()
    ) {
        let facts = Facts { live: live.clone(), previous: previous.clone() };
        match verdict(Some(&open), &facts) {
            Verdict::PutBack { old } => {
                prop_assert_eq!(old, sha(OLD));
                prop_assert!(previous.is(&sha(OLD)));
                prop_assert!(!matches!(live, Content::Is(found) if found != sha(NEW)));
            }
            Verdict::AlreadyBack | Verdict::NeverSwapped => prop_assert!(live.is(&sha(OLD))),
            Verdict::ChangedLocally => prop_assert!(!live.is(&sha(OLD)) && !live.is(&sha(NEW))),
            Verdict::Unusable(_) => prop_assert!(!live.is(&sha(OLD)) && !previous.is(&sha(OLD))),
            Verdict::NothingOpen => prop_assert!(false, "an attempt is open"),
        }
    }

    #[test]
    fn without_an_open_attempt_nothing_is_touched(live in content(), previous in content()) {
        prop_assert_eq!(verdict(None, &Facts { live, previous }), Verdict::NothingOpen);
    }
}

fn check(live: Content, previous: Content, expected: Verdict) {
    let open = open_attempt(OLD, NEW);
    assert_eq!(verdict(Some(&open), &Facts { live, previous }), expected);
}

#[test]
fn a_previous_that_is_missing_or_was_written_on_is_named_and_left() {
    let is = |n| Content::Is(sha(n));
    check(is(NEW), is(OLD), Verdict::PutBack { old: sha(OLD) });
    check(is(NEW), Content::Missing, Verdict::Unusable(Unusable::Missing));
    let changed = Unusable::Changed { found: sha(9), expected: sha(OLD) };
    check(is(NEW), is(9), Verdict::Unusable(changed.clone()));
    assert!(changed.to_string().contains("written on") && changed.to_string().contains("nothing was changed"));
}

#[test]
fn an_old_binary_in_place_is_never_swapped_only_before_the_first_start() {
    let facts = Facts { live: Content::Is(sha(OLD)), previous: Content::Is(sha(OLD)) };
    let mut open = open_attempt(OLD, NEW);
    assert_eq!(verdict(Some(&open), &facts), Verdict::NeverSwapped);
    open.starts = 1;
    assert_eq!(verdict(Some(&open), &facts), Verdict::AlreadyBack);
    open.starts = 0;
    open.step = Step::Swapped;
    assert_eq!(verdict(Some(&open), &facts), Verdict::AlreadyBack);
}
