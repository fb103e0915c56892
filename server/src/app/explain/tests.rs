//! Findings, as a table: facts in, the gravest finding out.

use std::time::Duration;

use domain::attempt::{Ending, ErrorCode, Outcome, OutcomeSource, Phase, Policy, Report, Stage, Waiting, WaitingSince};
use domain::executor::State;
use domain::target::{Direction, Target};
use domain::warning::{Code, Warning};
use domain::{
    Actor, Attempt, AttemptId, Channel, Executor, ExecutorUid, Generation, Hold, Kind, Reason, ReleaseId, Revision,
    Timestamp, TokenId,
};
use uuid::Uuid;

use super::{Facts, Severity, judge};
use crate::app::presence::Presence;
use crate::app::upgrade::Row;

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn executor() -> Executor {
    let name = "organizations/acme/executors/web-1".parse().expect("a name");
    Executor {
        kind: Some(Kind::Agent),
        version: Some("1.0.0".parse().expect("a version")),
        platform: Some("linux/amd64".parse().expect("a platform")),
        generation: Generation(1),
        ..Executor::new(ExecutorUid::new(Uuid::nil()), name, NOW)
    }
}

fn attempt(phase: Phase) -> Attempt {
    let version = |text: &str| text.parse().expect("a version");
    Attempt {
        id: AttemptId::new(Uuid::nil()),
        executor: ExecutorUid::new(Uuid::nil()),
        executor_name: executor().name,
        revision: Revision::default(),
        release: ReleaseId { kind: Kind::Agent, version: version("1.1.0") },
        from_version: version("1.0.0"),
        generation: Generation(1),
        phase,
        refused: None,
        waiting: None,
        rollback_requested: false,
        ending: None,
        corrected: false,
        bytes_done: 50,
        bytes_total: 200,
        request_time: NOW.minus(Duration::from_secs(60)),
        deliver_time: None,
        progress_time: None,
        apply_time: None,
        end_time: None,
        expire_time: NOW.plus(Duration::from_secs(600)),
        requested_by: Actor::Token(TokenId::new("t").expect("a label")),
        request_id: None,
    }
}

fn report(code: ErrorCode) -> Report {
    Report {
        outcome: Outcome::Refused,
        stage: Some(Stage::Verify),
        error_code: Some(code),
        message: "why".to_owned(),
        running_version: "1.0.0".parse().expect("a version"),
        rolled_back_to: None,
        log_tail: Vec::new(),
    }
}

fn facts(executor: Executor, attempt: Option<Attempt>) -> Facts {
    Facts {
        executor,
        presence: Presence { online: true, connected: true, last_seen: Some(NOW) },
        attempt,
        targets: Vec::new(),
        policy: Policy::default(),
        server_version: "1.5.0".parse().expect("a version"),
        now: NOW,
    }
}

/// The gravest finding: its severity, its reason, and a word that its message has to have.
#[track_caller]
fn check(facts: &Facts, severity: Severity, reason: Option<Reason>, word: &str) {
    let explanation = judge(facts);
    let first = explanation.findings.first().expect("a finding");
    assert_eq!((first.severity, first.reason), (severity, reason), "{explanation:?}");
    assert!(first.message.contains(word), "{word:?} in {first:?}");
    if severity == Severity::Blocking {
        assert!(!first.remedy.is_empty(), "what blocks has a remedy: {first:?}");
        assert!(explanation.summary.contains("cannot go on"), "{}", explanation.summary);
    }
}

#[test]
fn what_the_row_says_blocks_by_name() {
    let row = executor;
    let blocking = Severity::Blocking;
    let cases = [
        (Executor { state: State::Deactivated, ..row() }, Reason::ExecutorDeactivated, "deactivated"),
        (Executor { version: None, ..row() }, Reason::ExecutorNeverSynced, "never synced"),
        (Executor { duplicated_since: Some(NOW), ..row() }, Reason::DuplicateIdentity, "two instances"),
        (Executor { pinned: Some("apt owns it".to_owned()), ..row() }, Reason::ExecutorPinned, "apt owns it"),
    ];
    for (executor, reason, word) in cases {
        check(&facts(executor, None), blocking, Some(reason), word);
    }
}

#[test]
fn an_offline_executor_is_told_since_when() {
    let away = Facts {
        presence: Presence {
            online: false,
            connected: false,
            last_seen: Some(NOW.minus(Duration::from_secs(3 * 3_600))),
        },
        ..facts(executor(), None)
    };
    check(&away, Severity::Blocking, Some(Reason::ExecutorOffline), "last seen 3 h 0 min ago");
    assert_eq!(judge(&away).findings[0].since, away.presence.last_seen);
}

#[test]
fn an_operator_is_looked_for_in_its_cluster() {
    let operator = Executor { kind: Some(Kind::Operator), platform: None, ..executor() };
    let presence = Presence { online: false, connected: false, last_seen: None };
    let away = Facts { presence, ..facts(operator.clone(), None) };
    let pinned = facts(Executor { pinned: Some("argocd owns it".to_owned()), ..operator.clone() }, None);
    let on_its_road = |attempt| facts(operator.clone(), Some(attempt));
    let refused = |code| on_its_road(Attempt { refused: Some(report(code)), ..attempt(Phase::Delivered) });
    let expired = Ending {
        outcome: Outcome::Expired,
        source: OutcomeSource::Inferred,
        reason: Some(Reason::TtlExpired),
        stage: None,
        error_code: None,
        message: "nobody began".to_owned(),
        rolled_back_to: None,
        log_tail: Vec::new(),
        time: NOW,
    };
    let waited = Ending { error_code: Some(ErrorCode::RegistryUnreachable), ..expired.clone() };
    let waited = Attempt { ending: Some(waited), deliver_time: Some(NOW), ..attempt(Phase::Delivered) };
    let expired = Attempt { ending: Some(expired), deliver_time: Some(NOW), ..attempt(Phase::Delivered) };
    for (facts, word) in [
        (away, "kubectl logs"),
        (pinned, "set the image"),
        (on_its_road(attempt(Phase::Requested)), "kubectl delete pod"),
        (on_its_road(attempt(Phase::Delivered)), "its registry"),
        (on_its_road(expired), "its registry"),
        (on_its_road(waited), "see that the registry runs"),
        (refused(ErrorCode::Pinned), "set the image"),
        (refused(ErrorCode::NotPermitted), "under way in the cluster"),
    ] {
        let remedy = &judge(&facts).findings[0].remedy;
        assert!(remedy.contains(word), "{word:?} in {remedy:?}");
        assert!(!remedy.contains("deployment/"), "a Deployment is called as its Helm release is: {remedy}");
        for of_a_host in ["systemctl", "journalctl", "novacula-agent"] {
            assert!(!remedy.contains(of_a_host), "{remedy}");
        }
    }
}

#[test]
fn a_held_version_is_worth_knowing_and_blocks_nothing() {
    let hold = Hold {
        version: "1.1.0".parse().expect("a version"),
        attempt: AttemptId::new(Uuid::nil()),
        cause: "crash loop".to_owned(),
        since: NOW,
    };
    let held = Executor { holds: vec![hold], ..executor() };
    check(&facts(held, None), Severity::Notice, Some(Reason::VersionHeld), "crash loop");
}

#[test]
fn a_refused_artifact_is_worth_knowing_with_its_reason_and_a_look() {
    let target = Target {
        release: ReleaseId { kind: Kind::Agent, version: "1.1.0".parse().expect("a version") },
        channel: Channel::Stable,
        direction: Direction::Upgrade,
        blocked: None,
        release_notes: String::new(),
        held: false,
    };
    let alarm = Warning {
        code: Code::ArtifactRefused,
        message: "2 other executors refused it".to_owned(),
        time: NOW,
        values: [("error_code".to_owned(), "UNKNOWN_KEY".to_owned())].into(),
    };
    let alarmed = Facts { targets: vec![Row { target, warnings: vec![alarm] }], ..facts(executor(), None) };
    check(&alarmed, Severity::Notice, Some(Reason::SignatureInvalid), "2 other executors");
    let explanation = judge(&alarmed);
    assert!(explanation.findings[0].remedy.contains("event list --target releases/agent-1.1.0"), "{explanation:?}");
    assert!(explanation.summary.starts_with("nothing stands in the way"), "{}", explanation.summary);
}

#[test]
fn each_phase_says_what_it_waits_for() {
    let ok = Severity::Ok;
    let cases = [
        (Phase::Requested, Severity::Blocking, "not acknowledged"),
        (Phase::Delivered, Severity::Notice, "has not begun"),
        (Phase::Downloading, ok, "25 % of 200 bytes"),
        (Phase::Verifying, ok, "checking"),
        (Phase::ReadyToSwap, ok, "asks for leave"),
        (Phase::Applying, ok, "leave was given"),
        (Phase::Restarting, ok, "starting"),
        (Phase::Confirming, ok, "waiting for its confirmation"),
    ];
    for (phase, severity, word) in cases {
        check(&facts(executor(), Some(attempt(phase))), severity, None, word);
    }
}

#[test]
fn what_is_waited_out_is_named_with_its_remedy_and_no_log_is_read() {
    let waits = |phase, error_code| {
        let waiting = Waiting { error_code, message: "registry r.example cannot be reached".to_owned() };
        let waiting = Some(WaitingSince { waiting, since: NOW.minus(Duration::from_secs(40)) });
        facts(executor(), Some(Attempt { waiting, ..attempt(phase) }))
    };
    for (facts, word, remedy) in [
        (waits(Phase::Delivered, ErrorCode::RegistryUnreachable), "cannot begin", "10 min are left"),
        (waits(Phase::Delivered, ErrorCode::RegistryUnreachable), "r.example cannot be reached", "network policies"),
        (waits(Phase::Delivered, ErrorCode::Cluster), "CLUSTER: ", "did not answer"),
        (waits(Phase::Downloading, ErrorCode::Unreachable), "25 % of 200 bytes: UNREACHABLE: ", "artifact's URL"),
        (waits(Phase::Downloading, ErrorCode::Unreachable), "broke off", "without a new byte for 10 min"),
    ] {
        check(&facts, Severity::Notice, None, word);
        let first = &judge(&facts).findings[0];
        assert!(first.remedy.contains(remedy) && !first.remedy.contains("logs"), "{remedy:?} in {first:?}");
        assert_eq!(first.since, Some(NOW.minus(Duration::from_secs(40))));
        assert!(judge(&facts).summary.contains(word), "{}", judge(&facts).summary);
    }
    let mut comes_up = waits(Phase::Restarting, ErrorCode::Unschedulable);
    if let Some(attempt) = &mut comes_up.attempt {
        attempt.apply_time = Some(NOW.minus(Duration::from_secs(60)));
    }
    check(&comes_up, Severity::Notice, None, "1.1.0 does not come up yet");
    assert!(judge(&comes_up).findings[0].remedy.contains("brings 1.0.0 back"), "{:?}", judge(&comes_up).findings);
    let late = waits(Phase::Delivered, ErrorCode::Cluster);
    let late = Facts { now: NOW.plus(Duration::from_secs(600)), ..late };
    check(&late, Severity::Blocking, Some(Reason::TtlExpired), "in time");
}

#[test]
fn a_spec_that_nobody_picked_up_is_expired() {
    let late = Attempt { expire_time: NOW, ..attempt(Phase::Delivered) };
    check(&facts(executor(), Some(late)), Severity::Blocking, Some(Reason::TtlExpired), "in time");
}

#[test]
fn every_typed_error_has_a_remedy() {
    for code in ErrorCode::ALL {
        let refused = Attempt { refused: Some(report(*code)), ..attempt(Phase::Verifying) };
        check(&facts(executor(), Some(refused)), Severity::Blocking, None, code.as_str());
    }
}
