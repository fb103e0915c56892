//! An attempt as a line of steps, each with its time: what is done, what goes on now, where it went wrong. Pure.
//!
//! The rows are the same from the first moment to the last, so that nothing moves while somebody looks.

use std::collections::BTreeMap;

use prost_types::Timestamp;
use proto::v1::{self, Outcome, Phase};

use crate::web::show;

/// Steps in order; an operator's cluster downloads by itself, so that its attempts have no step for it.
const STEPS: [(Phase, &str); 8] = [
    (Phase::Requested, "Requested"),
    (Phase::Delivered, "Delivered"),
    (Phase::Downloading, "Downloading"),
    (Phase::Verifying, "Verifying"),
    (Phase::ReadyToSwap, "Asking for leave"),
    (Phase::Applying, "Applying"),
    (Phase::Restarting, "Restarting"),
    (Phase::Confirming, "Confirming"),
];

/// One row.
#[derive(Debug, PartialEq)]
pub struct Step {
    /// What it is called.
    pub label: &'static str,
    /// `done`, `now`, `bad` or nothing: the class of its row.
    pub class: &'static str,
    /// What is to be said of it.
    pub note: String,
    /// When it began.
    pub time: Option<Timestamp>,
    /// Bytes on their way: how many of a hundred.
    pub percent: Option<u64>,
}

/// The rows. `began` says when a phase was entered, by its name, as the feed has it.
#[must_use]
pub fn timeline(attempt: &v1::Attempt, began: &BTreeMap<String, Timestamp>) -> Vec<Step> {
    let has_ended = attempt.end_time.is_some();
    let is_well = !has_ended || attempt.outcome() == Outcome::Succeeded;
    let downloads = attempt.kind() != v1::Kind::Operator;
    let steps = STEPS.into_iter().filter(|(phase, _)| downloads || *phase != Phase::Downloading);
    let row = |(phase, label): (Phase, &'static str)| {
        let class = match phase.cmp(&attempt.phase()) {
            _ if has_ended && is_well => "done",
            std::cmp::Ordering::Less => "done",
            std::cmp::Ordering::Equal if !has_ended => "now",
            // Where it was when it ended is where it did not go on, unless nothing went wrong there.
            std::cmp::Ordering::Equal => "done",
            std::cmp::Ordering::Greater => "",
        };
        Step {
            label,
            class,
            note: [note(attempt, phase, class), if class == "now" { waits_out(attempt) } else { String::new() }]
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect::<Vec<_>>()
                .join("; "),
            time: if class.is_empty() { None } else { time(attempt, phase, began) },
            percent: percent(attempt, phase, class),
        }
    };
    let mut rows: Vec<Step> = steps.map(row).collect();
    rows.push(end(attempt));
    rows
}

fn time(attempt: &v1::Attempt, phase: Phase, began: &BTreeMap<String, Timestamp>) -> Option<Timestamp> {
    match phase {
        Phase::Requested => attempt.request_time,
        Phase::Delivered => attempt.deliver_time,
        Phase::Applying => attempt.apply_time,
        _ => began.get(&show::word(phase.as_str_name()).replace(' ', "_")).copied(),
    }
}

fn note(attempt: &v1::Attempt, phase: Phase, class: &str) -> String {
    match (phase, class) {
        (Phase::Requested, _) => format!("by {}", show::who(&attempt.requested_by, &attempt.requested_by_display_name)),
        (Phase::Downloading, "now" | "done") => bytes(attempt),
        (Phase::Restarting, "now") => format!("{} is starting", attempt.target_version),
        (Phase::Confirming, "now") => {
            format!("{} runs, and has to run unbroken through probation", attempt.target_version)
        }
        (Phase::Delivered, "now") => "the executor knows of it".to_owned(),
        _ => String::new(),
    }
}

/// `waits out REGISTRY_UNREACHABLE: registry r.example cannot be reached`; empty: nothing.
#[must_use]
pub fn waits_out(attempt: &v1::Attempt) -> String {
    attempt.waiting.as_ref().map(|waiting| format!("waits out {}", waiting.sentence())).unwrap_or_default()
}

/// `3.0 MiB of 12.0 MiB`.
fn bytes(attempt: &v1::Attempt) -> String {
    match (attempt.bytes_done, attempt.bytes_total) {
        (0, 0) => String::new(),
        (done, 0) => show::bytes(done),
        (done, total) if done >= total => show::bytes(total),
        (done, total) => format!("{} of {}", show::bytes(done), show::bytes(total)),
    }
}

fn percent(attempt: &v1::Attempt, phase: Phase, class: &str) -> Option<u64> {
    match (phase, class) {
        (Phase::Downloading, "now") => show::percent(attempt.bytes_done, attempt.bytes_total),
        _ => None,
    }
}

fn end(attempt: &v1::Attempt) -> Step {
    let (label, class) = match attempt.outcome() {
        Outcome::Unspecified if attempt.refused => ("Refused", "bad"),
        Outcome::Unspecified => ("Outcome", ""),
        Outcome::Succeeded => ("Succeeded", "done"),
        Outcome::RolledBack => ("Rolled back", "bad"),
        Outcome::Refused => ("Refused", "bad"),
        Outcome::Failed => ("Failed", "bad"),
        Outcome::Expired => ("Expired", "bad"),
        Outcome::Cancelled => ("Cancelled", "done"),
        Outcome::Superseded => ("Superseded", "done"),
    };
    let note = match attempt.outcome() {
        Outcome::RolledBack if !attempt.rolled_back_to.is_empty() => format!("to {}", attempt.rolled_back_to),
        Outcome::Succeeded => format!("{} runs and is confirmed", attempt.target_version),
        _ => String::new(),
    };
    Step { label, class, note, time: attempt.end_time, percent: None }
}

/// What an attempt is, in a word, with the class of its colour.
#[must_use]
pub fn state(attempt: &v1::Attempt) -> (&'static str, String) {
    match attempt.outcome() {
        Outcome::Unspecified if attempt.refused => ("bad", "refused, still pending".to_owned()),
        Outcome::Unspecified if attempt.rollback_requested => ("warn", "going back".to_owned()),
        Outcome::Unspecified => ("accent", show::word(attempt.phase().as_str_name())),
        Outcome::Succeeded => ("good", "succeeded".to_owned()),
        Outcome::RolledBack | Outcome::Refused | Outcome::Failed => {
            ("bad", show::word(attempt.outcome().as_str_name()))
        }
        Outcome::Expired => ("warn", "expired".to_owned()),
        Outcome::Cancelled | Outcome::Superseded => ("", show::word(attempt.outcome().as_str_name())),
    }
}

/// Whether it has not been picked up yet.
#[must_use]
pub fn is_waiting(attempt: &v1::Attempt) -> bool {
    attempt.end_time.is_none() && attempt.phase() <= Phase::Delivered
}

/// Whether a cancel can still win: leave is the point that decides.
#[must_use]
pub fn may_cancel(attempt: &v1::Attempt) -> bool {
    attempt.end_time.is_none() && attempt.phase() < Phase::Applying
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn attempt(phase: Phase) -> v1::Attempt {
        v1::Attempt {
            kind: v1::Kind::Agent.into(),
            phase: phase.into(),
            from_version: "1.0.0".to_owned(),
            target_version: "1.1.0".to_owned(),
            requested_by: "organizations/acme/tokens/0197".to_owned(),
            requested_by_display_name: "kim".to_owned(),
            bytes_done: 3 << 20,
            bytes_total: 12 << 20,
            request_time: at(10),
            deliver_time: at(11),
            ..v1::Attempt::default()
        }
    }

    fn classes(attempt: &v1::Attempt) -> Vec<&'static str> {
        timeline(attempt, &BTreeMap::new()).iter().map(|step| step.class).collect()
    }

    #[test]
    fn a_download_shows_its_bytes_and_what_is_to_come() {
        let began = [("downloading".to_owned(), Timestamp { seconds: 12, nanos: 0 })].into();
        let steps = timeline(&attempt(Phase::Downloading), &began);
        assert_eq!(
            steps.iter().map(|step| step.class).collect::<Vec<_>>(),
            ["done", "done", "now", "", "", "", "", "", ""]
        );
        assert_eq!(
            (steps[2].note.as_str(), steps[2].percent, steps[2].time),
            ("3.0 MiB of 12.0 MiB", Some(25), at(12))
        );
        assert_eq!((steps[0].note.as_str(), steps[0].time, steps[1].time), ("by kim", at(10), at(11)));
        assert_eq!((steps[8].label, steps[8].time), ("Outcome", None));
    }

    #[test]
    fn what_is_waited_out_stands_at_the_step_that_waits() {
        let waiting = |code: &str, message: &str| {
            Some(v1::Waiting { error_code: code.to_owned(), message: message.to_owned(), since_time: at(20) })
        };
        let download = v1::Attempt { waiting: waiting("UNREACHABLE", "refused"), ..attempt(Phase::Downloading) };
        let steps = timeline(&download, &BTreeMap::new());
        assert_eq!(steps[2].note, "3.0 MiB of 12.0 MiB; waits out UNREACHABLE: refused");
        assert!(steps.iter().filter(|step| step.note.contains("waits out")).count() == 1, "{steps:?}");
        let early = v1::Attempt { waiting: waiting("CLUSTER", ""), ..attempt(Phase::Delivered) };
        assert_eq!(timeline(&early, &BTreeMap::new())[1].note, "the executor knows of it; waits out CLUSTER");
    }

    #[test]
    fn the_rows_are_the_same_from_the_first_moment_to_the_last() {
        let ended = v1::Attempt { outcome: Outcome::Succeeded.into(), end_time: at(99), ..attempt(Phase::Applying) };
        assert_eq!(classes(&attempt(Phase::Requested)).len(), classes(&ended).len());
        assert!(classes(&ended).iter().all(|class| *class == "done"), "{:?}", classes(&ended));
    }

    #[test]
    fn a_bad_end_is_where_it_went_wrong_and_what_never_came_stays_empty() {
        let back = v1::Attempt {
            outcome: Outcome::RolledBack.into(),
            end_time: at(99),
            rolled_back_to: "1.0.0".to_owned(),
            ..attempt(Phase::Restarting)
        };
        let steps = timeline(&back, &BTreeMap::new());
        let last = steps.last().expect("a row");
        assert_eq!((last.label, last.class, last.note.as_str()), ("Rolled back", "bad", "to 1.0.0"));
        assert_eq!(steps[7].class, "", "it was never confirming");
    }

    #[test]
    fn an_operator_downloads_nothing_itself() {
        let operator = v1::Attempt { kind: v1::Kind::Operator.into(), ..attempt(Phase::Verifying) };
        assert!(timeline(&operator, &BTreeMap::new()).iter().all(|step| step.label != "Downloading"));
    }

    #[test]
    fn a_cancel_is_offered_until_leave() {
        for (phase, may) in [(Phase::Requested, true), (Phase::ReadyToSwap, true), (Phase::Applying, false)] {
            assert_eq!(may_cancel(&attempt(phase)), may, "{phase:?}");
        }
        let ended = v1::Attempt { end_time: at(1), ..attempt(Phase::Requested) };
        assert!(!may_cancel(&ended) && !is_waiting(&ended));
        assert!(is_waiting(&attempt(Phase::Delivered)) && !is_waiting(&attempt(Phase::Downloading)));
    }

    #[test]
    fn a_word_says_how_it_stands() {
        assert_eq!(state(&attempt(Phase::ReadyToSwap)), ("accent", "ready to swap".to_owned()));
        assert_eq!(state(&v1::Attempt { refused: true, ..attempt(Phase::Delivered) }).0, "bad");
        let expired = v1::Attempt { outcome: Outcome::Expired.into(), ..attempt(Phase::Requested) };
        assert_eq!(state(&expired), ("warn", "expired".to_owned()));
    }
}
