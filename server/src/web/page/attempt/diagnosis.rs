//! When an open attempt stands still for a minute, the page says by itself what `novacula executor explain` would. Pure.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;
use proto::v1;
use proto::v1::explain_upgrade_response::Finding;
use proto::v1::explain_upgrade_response::finding::Severity;

use crate::web::markdown;
use crate::web::show::Safe;

/// How long an attempt may stand still before somebody who looks at it wonders.
const PATIENCE: Duration = Duration::from_secs(60);

/// What stands in the way.
#[derive(Debug)]
pub struct Diagnosis {
    /// One sentence.
    pub summary: String,
    /// In order of gravity.
    pub findings: Vec<Said>,
}

/// One finding, to be shown.
#[derive(Debug)]
pub struct Said {
    /// `bad`, `warn` or nothing: the class of a notice.
    pub class: &'static str,
    /// `blocking`, `notice`, `ok`: the same for who sees no colour.
    pub word: &'static str,
    /// `EXECUTOR_OFFLINE`; often empty.
    pub reason: String,
    /// What is so.
    pub message: String,
    /// What to do next; the API writes commands in backticks.
    pub remedy: Safe,
    /// Since when.
    pub since: Option<Timestamp>,
}

// === impl Diagnosis ===

impl Diagnosis {
    /// Of an open attempt: none while it goes on.
    #[must_use]
    pub fn of(attempt: &v1::Attempt, explained: v1::ExplainUpgradeResponse, now: SystemTime) -> Option<Self> {
        let is_open = attempt.end_time.is_none();
        let is_due = attempt.refused || stood_still(attempt, &explained.findings, now) >= PATIENCE;
        (is_open && is_due).then(|| Self::new(explained))
    }

    /// Whatever it says. What stands well is left out, unless all does.
    #[must_use]
    pub fn new(explained: v1::ExplainUpgradeResponse) -> Self {
        let stands_ill = |finding: &Finding| finding.severity() != Severity::Ok;
        let any = explained.findings.iter().any(stands_ill);
        let findings = explained.findings.into_iter().filter(|finding| !any || stands_ill(finding));
        Self { summary: explained.summary, findings: findings.map(said).collect() }
    }
}

fn said(finding: Finding) -> Said {
    let (class, word) = match finding.severity() {
        Severity::Blocking => ("bad", "blocking"),
        Severity::Notice => ("warn", "notice"),
        Severity::Ok | Severity::Unspecified => ("", "ok"),
    };
    let remedy = markdown::render(&finding.remedy);
    Said { class, word, reason: finding.reason, message: finding.message, remedy, since: finding.since }
}

/// Since its last step. Steps between the four times of an attempt are in what the diagnosis says of it; that, and presence, has
/// no reason of its own, while holds and alarms, which tell of other days, have one.
fn stood_still(attempt: &v1::Attempt, findings: &[Finding], now: SystemTime) -> Duration {
    let of_attempt = findings.iter().filter(|finding| matches!(finding.reason.as_str(), "" | "EXECUTOR_OFFLINE"));
    let times = [attempt.request_time, attempt.deliver_time, attempt.apply_time];
    let last = times.into_iter().chain(of_attempt.map(|finding| finding.since)).flatten();
    let last = last.filter_map(|time| SystemTime::try_from(time).ok()).max();
    // A clock that is behind the store's has seen nothing stand still.
    last.and_then(|last| now.duration_since(last).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    fn now(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn finding(severity: Severity, reason: &str, since: i64) -> Finding {
        Finding {
            severity: severity.into(),
            reason: reason.to_owned(),
            message: "it is so".to_owned(),
            remedy: "`run this`".to_owned(),
            since: at(since),
        }
    }

    fn explained(findings: Vec<Finding>) -> v1::ExplainUpgradeResponse {
        v1::ExplainUpgradeResponse { summary: "in one sentence".to_owned(), findings, attempt: None }
    }

    fn open() -> v1::Attempt {
        v1::Attempt { request_time: at(1_000), deliver_time: at(1_001), ..v1::Attempt::default() }
    }

    #[test]
    fn an_attempt_that_goes_on_has_no_diagnosis() {
        let blocking = || explained(vec![finding(Severity::Blocking, "", 1_050)]);
        assert!(Diagnosis::of(&open(), blocking(), now(1_060)).is_none(), "a step ten seconds ago");
        assert!(Diagnosis::of(&open(), blocking(), now(1_110)).is_some(), "a minute ago");
        let ended = v1::Attempt { end_time: at(1_002), ..open() };
        assert!(Diagnosis::of(&ended, blocking(), now(9_999)).is_none());
        assert!(Diagnosis::of(&open(), blocking(), now(3)).is_none(), "our clock is behind");
    }

    #[test]
    fn a_hold_of_today_is_no_step_of_the_attempt() {
        let held = explained(vec![finding(Severity::Notice, "VERSION_HELD", 1_055)]);
        assert!(Diagnosis::of(&open(), held, now(1_062)).is_some());
        let away = explained(vec![finding(Severity::Blocking, "EXECUTOR_OFFLINE", 1_055)]);
        assert!(Diagnosis::of(&open(), away, now(1_062)).is_none(), "it was there seven seconds ago");
    }

    #[test]
    fn a_refusal_is_told_at_once() {
        let refused = v1::Attempt { refused: true, ..open() };
        assert!(Diagnosis::of(&refused, explained(Vec::new()), now(1_002)).is_some());
    }

    #[test]
    fn what_stands_well_is_left_out_unless_all_does() {
        let both = explained(vec![finding(Severity::Blocking, "", 1), finding(Severity::Ok, "", 1)]);
        let diagnosis = Diagnosis::new(both);
        assert_eq!(diagnosis.findings.iter().map(|said| said.word).collect::<Vec<_>>(), ["blocking"]);
        assert_eq!(diagnosis.findings[0].remedy.0.trim(), "<p><code>run this</code></p>");
        assert_eq!(Diagnosis::new(explained(vec![finding(Severity::Ok, "", 1)])).findings.len(), 1);
    }
}
