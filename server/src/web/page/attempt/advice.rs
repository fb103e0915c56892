//! What whoever reads the end of an attempt may do next, in the words of this page. Pure.

use proto::v1::{self, Outcome, OutcomeSource};

/// What to do next.
#[must_use]
pub fn advice(attempt: &v1::Attempt) -> String {
    let (from, target) = (&attempt.from_version, &attempt.target_version);
    match attempt.outcome() {
        Outcome::Unspecified => String::new(),
        Outcome::Succeeded => format!("Nothing. The way back is to ask for {from}."),
        Outcome::RolledBack => format!(
            "{} runs again, and {target} is held here: rollouts skip it until somebody asks for it by name. Read what the new \
             version last said, mend its cause, and ask again.",
            if attempt.rolled_back_to.is_empty() { from } else { &attempt.rolled_back_to }
        ),
        Outcome::Refused => format!(
            "Nothing was changed on the host: {from} went on running, and {target} is held here. Find out why the error code \
             says what it says before you ask again."
        ),
        Outcome::Expired | Outcome::Failed if waited_in_vain(attempt) => format!(
            "{from} went on running, and {target} was never begun with. Remove the cause that the message names, and ask again."
        ),
        Outcome::Failed if attempt.outcome_source() == OutcomeSource::Inferred => format!(
            "No word came, so the control plane concluded this; a later report corrects it. See which version runs on the host \
             before you ask for {target} again."
        ),
        Outcome::Failed => format!("{from} was not replaced. Remove the cause that the message names, and ask again."),
        Outcome::Expired => "Nothing was changed. Ask again when the executor is online, or give it longer.".to_owned(),
        Outcome::Cancelled => format!("Nothing was changed: {from} went on running."),
        Outcome::Superseded => {
            "Another request, or a change on the host, took its place: look at the newest attempt.".to_owned()
        }
    }
}

/// Whether a deadline came while the executor waited out what the message names: before leave, so that nothing was changed.
fn waited_in_vain(attempt: &v1::Attempt) -> bool {
    attempt.apply_time.is_none()
        && match attempt.outcome() {
            Outcome::Expired => !matches!(attempt.error_code.as_str(), "" | "SPEC_EXPIRED"),
            Outcome::Failed => {
                attempt.outcome_source() == OutcomeSource::Inferred
                    && !matches!(attempt.error_code.as_str(), "" | "NO_WORD")
            }
            _ => false,
        }
}

/// Whether asking for the same target once more makes sense.
#[must_use]
pub fn may_ask_again(attempt: &v1::Attempt) -> bool {
    !matches!(attempt.outcome(), Outcome::Unspecified | Outcome::Succeeded)
}

/// Whether asking for the version that it came from is carried out as the rollback of this very attempt.
#[must_use]
pub fn may_bring_back(attempt: &v1::Attempt) -> bool {
    attempt.end_time.is_none() && attempt.phase() >= v1::Phase::Applying && !attempt.rollback_requested
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(outcome: Outcome) -> v1::Attempt {
        v1::Attempt {
            outcome: outcome.into(),
            from_version: "1.0.0".to_owned(),
            target_version: "1.1.0".to_owned(),
            ..v1::Attempt::default()
        }
    }

    #[test]
    fn every_end_says_what_next() {
        for (outcome, word) in [
            (Outcome::Succeeded, "ask for 1.0.0"),
            (Outcome::RolledBack, "1.0.0 runs again, and 1.1.0 is held"),
            (Outcome::Refused, "1.0.0 went on running"),
            (Outcome::Failed, "ask again"),
            (Outcome::Expired, "online"),
            (Outcome::Cancelled, "went on running"),
            (Outcome::Superseded, "newest attempt"),
        ] {
            assert!(advice(&ended(outcome)).contains(word), "{outcome:?}: {}", advice(&ended(outcome)));
            assert_eq!(may_ask_again(&ended(outcome)), outcome != Outcome::Succeeded);
        }
        assert_eq!(
            (advice(&ended(Outcome::Unspecified)).as_str(), may_ask_again(&ended(Outcome::Unspecified))),
            ("", false)
        );
    }

    #[test]
    fn what_was_waited_out_in_vain_has_a_cause_to_remove() {
        for (outcome, code, word) in [
            (Outcome::Expired, "REGISTRY_UNREACHABLE", "the cause that the message names"),
            (Outcome::Failed, "UNREACHABLE", "the cause that the message names"),
            (Outcome::Expired, "SPEC_EXPIRED", "online"),
            (Outcome::Failed, "NO_WORD", "No word came"),
        ] {
            let outcome_source = OutcomeSource::Inferred.into();
            let attempt = v1::Attempt { error_code: code.to_owned(), outcome_source, ..ended(outcome) };
            assert!(advice(&attempt).contains(word), "{outcome:?} {code}: {}", advice(&attempt));
        }
    }

    #[test]
    fn what_was_concluded_is_said_to_be_so() {
        let inferred = v1::Attempt { outcome_source: OutcomeSource::Inferred.into(), ..ended(Outcome::Failed) };
        assert!(advice(&inferred).contains("concluded"));
    }

    #[test]
    fn the_way_back_is_offered_after_leave() {
        let at = |phase: v1::Phase| v1::Attempt { phase: phase.into(), ..ended(Outcome::Unspecified) };
        assert!(!may_bring_back(&at(v1::Phase::ReadyToSwap)));
        assert!(may_bring_back(&at(v1::Phase::Applying)) && may_bring_back(&at(v1::Phase::Confirming)));
        assert!(!may_bring_back(&v1::Attempt { rollback_requested: true, ..at(v1::Phase::Confirming) }));
    }
}
