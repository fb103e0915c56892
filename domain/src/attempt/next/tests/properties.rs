//! What holds for every sequence of words, in every order, at any time.

use proptest::prelude::*;

use super::*;

fn any_phase() -> impl Strategy<Value = Phase> {
    proptest::sample::select(&Phase::ALL[..])
}

fn any_report() -> impl Strategy<Value = Report> {
    let codes = [None, Some(ErrorCode::CrashLoop), Some(ErrorCode::DigestMismatch), Some(ErrorCode::ByHand)];
    (proptest::sample::select(Outcome::ALL), any_version(), proptest::sample::select(codes.to_vec()))
        .prop_map(|(outcome, running, code)| report(outcome, running, code))
}

fn any_version() -> impl Strategy<Value = &'static str> {
    prop_oneof![3 => Just("1.1.0"), 3 => Just("1.2.0"), 1 => Just("1.1.5")]
}

fn any_waiting() -> impl Strategy<Value = Option<Waiting>> {
    let waits = |error_code| Some(Waiting { error_code, message: "away".to_owned() });
    let codes = [ErrorCode::RegistryUnreachable, ErrorCode::Cluster].map(waits);
    prop_oneof![2 => Just(None), 1 => proptest::sample::select(codes.to_vec())]
}

fn any_input() -> impl Strategy<Value = Input> {
    let generation = || (0u64..4).prop_map(Generation);
    let open = prop_oneof![3 => Just(Some(attempt_id(1))), 3 => Just(None), 1 => Just(Some(attempt_id(2)))];
    let waiting = prop_oneof![4 => Just(OutcomeWaiting::No), 1 => Just(OutcomeWaiting::Yes)];
    prop_oneof![
        2 => generation().prop_map(|generation| Input::Acknowledged { generation }),
        4 => (any_phase(), 0u64..100, any_waiting()).prop_map(|(phase, bytes_done, waiting)| Input::Progress {
            phase, bytes_done, bytes_total: 100, waiting,
        }),
        4 => generation().prop_map(|generation| Input::ReadyToSwap { generation }),
        3 => any_report().prop_map(Input::Reported),
        3 => (any_version(), open, waiting).prop_map(|(running, open_attempt, has_unsent_outcome)| Input::Hello {
            version: version(running), open_attempt, has_unsent_outcome,
        }),
        3 => proptest::sample::select(&[Input::Cancel, Input::Replace, Input::RollBack, Input::Yank, Input::Deactivate, Input::Delete][..]),
        3 => Just(Input::Tick),
    ]
}

/// Words with how many seconds pass before each: mostly few, sometimes past a deadline.
fn any_story() -> impl Strategy<Value = Vec<(u64, Input)>> {
    let pause = prop_oneof![8 => 0u64..60, 2 => 500u64..1000, 1 => 3000u64..4000];
    proptest::collection::vec((pause, any_input()), 0..25)
}

/// Replays a story and calls `check` with each step: before, the input, the time, the decision.
fn replay(
    story: Vec<(u64, Input)>,
    mut check: impl FnMut(&Road, &Input, Timestamp, &Next) -> Result<(), TestCaseError>,
) -> Result<Road, TestCaseError> {
    let mut road = Road::new();
    let mut seconds = 0;
    for (pause, input) in story {
        seconds += pause;
        let next = next(&road.attempt, &input, &POLICY, at(seconds));
        check(&road, &input, at(seconds), &next)?;
        let (executor, attempt) = effect::apply(&road.executor, next, None, at(seconds));
        road = Road { executor, attempt };
    }
    Ok(road)
}

fn source(attempt: &Attempt) -> Option<OutcomeSource> {
    attempt.ending.as_ref().map(|ending| ending.source)
}

proptest! {
    #[test]
    fn no_story_ends_an_attempt_twice(story in any_story()) {
        replay(story, |before, input, _, next| {
            let (old, new) = (&before.attempt, &next.attempt);
            match source(old) {
                Some(OutcomeSource::Reported) => {
                    prop_assert_eq!(&old.ending, &new.ending);
                }
                Some(OutcomeSource::Inferred) if old.ending != new.ending => {
                    prop_assert!(matches!(input, Input::Reported(_)), "corrected by {:?}", input);
                    prop_assert!(!old.corrected && new.corrected);
                }
                Some(OutcomeSource::Inferred) | None => {}
            }
            if old.is_ended() {
                prop_assert!(new.is_ended());
                prop_assert_eq!(old.phase, new.phase);
                prop_assert_eq!(old.apply_time, new.apply_time);
                prop_assert!(!next.actions.contains(&Action::Proceed));
                prop_assert!(!next.actions.contains(&Action::Emit(EventKind::AttemptEnded)));
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_story_swaps_without_leave(story in any_story()) {
        replay(story, |before, input, now, next| {
            if next.actions.contains(&Action::Proceed) {
                let asked = Input::ReadyToSwap { generation: before.attempt.generation };
                prop_assert_eq!(input, &asked);
                prop_assert!(next.attempt.has_leave() && !next.attempt.is_ended());
                prop_assert!(!next.attempt.rollback_requested && next.attempt.refused.is_none());
            }
            if !before.attempt.has_leave() && next.attempt.has_leave() {
                let granted = next.actions.contains(&Action::Proceed);
                // The one other way: the target itself says hello with our attempt in its journal, after a restore.
                let found = matches!(input, Input::Hello { open_attempt, .. } if *open_attempt == Some(before.attempt.id));
                prop_assert!(granted || found, "leave by {:?}", input);
                prop_assert_eq!(next.attempt.apply_time, Some(now));
            }
            if next.attempt.phase >= Phase::Applying {
                prop_assert!(next.attempt.has_leave());
            }
            if before.attempt.has_leave() {
                prop_assert_eq!(before.attempt.apply_time, next.attempt.apply_time);
                prop_assert!(next.attempt.phase >= before.attempt.phase, "back over leave");
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_story_waits_once_it_is_decided_or_moves_a_deadline_by_waiting(story in any_story()) {
        replay(story, |before, input, now, next| {
            let new = &next.attempt;
            let decided = new.is_ended() || new.refused.is_some() || new.phase == Phase::Confirming;
            prop_assert!(new.waiting.is_none() || !decided);
            let given_now = new.has_leave() && !before.attempt.has_leave();
            prop_assert!(new.waiting.is_none() || !given_now, "what was said before leave is not said after it");
            prop_assert!(new.waits() == new.waiting.as_ref() || new.rollback_requested);
            if let Input::Progress { phase, bytes_done, bytes_total, waiting: Some(_) } = input {
                let silent = Input::Progress { phase: *phase, bytes_done: *bytes_done, bytes_total: *bytes_total, waiting: None };
                let without = super::next(&before.attempt, &silent, &POLICY, now);
                prop_assert_eq!(&without.actions, &next.actions);
                // What says nothing of it clears it; a progress that is not heard (another phase, too late) leaves what was kept, either way.
                prop_assert!(without.attempt.waiting.is_none() || new.waiting == before.attempt.waiting);
                prop_assert_eq!(Attempt { waiting: None, ..without.attempt }, Attempt { waiting: None, ..new.clone() });
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_story_begins_after_its_time(story in any_story()) {
        replay(story, |before, input, now, next| {
            let begins = before.attempt.phase < Phase::Downloading && next.attempt.phase >= Phase::Downloading;
            if begins && !matches!(input, Input::Hello { .. }) {
                prop_assert!(now < before.attempt.expire_time);
            }
            Ok(())
        })?;
    }

    #[test]
    fn no_story_goes_back_to_an_older_generation(story in any_story()) {
        let mut desired = (Generation(1), Some(attempt_id(1)));
        replay(story, |before, _, now, next| {
            let (executor, attempt) = effect::apply(&before.executor, next.clone(), None, now);
            prop_assert!(executor.generation >= before.executor.generation);
            prop_assert!(attempt.generation >= before.attempt.generation);
            let now_desired = (executor.generation, executor.pending);
            prop_assert!(now_desired.0 > desired.0 || now_desired == desired, "one number, two meanings");
            prop_assert_eq!(executor.pending.is_some(), attempt.is_pending());
            prop_assert_eq!(executor.open_attempt.is_some(), !attempt.is_ended());
            desired = now_desired;
            Ok(())
        })?;
    }

    #[test]
    fn a_word_said_twice_is_a_word_said_once(story in any_story()) {
        replay(story, |_, input, now, first| {
            let again = next(&first.attempt, input, &POLICY, now);
            prop_assert_eq!(&again.attempt, &first.attempt);
            prop_assert!(again.actions.iter().all(is_answer), "{:?}", again.actions);
            Ok(())
        })?;
    }

    #[test]
    fn the_deadline_is_exact(story in any_story()) {
        let road = replay(story, |_, _, _, _| Ok(()))?;
        let tick = |now| next(&road.attempt, &Input::Tick, &POLICY, now);
        match next_deadline(&road.attempt, &POLICY) {
            None => {
                let late = tick(Timestamp::from_micros(i64::MAX));
                prop_assert!(road.attempt.is_ended() && late.actions.is_empty() && late.attempt == road.attempt);
            }
            Some(time) => {
                let early = tick(time.minus(Duration::from_micros(1)));
                prop_assert!(early.attempt == road.attempt && early.actions.is_empty());
                prop_assert!(tick(time).attempt.is_ended());
            }
        }
    }
}
