//! Who is told what, as examples and as properties.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::attempt::{Outcome, Report, Stage};
use crate::fixture::{at, attempt, executor, hold, version};

const NOW: u64 = 30 * 24 * 60 * 60;

fn named(n: u8) -> ExecutorName {
    format!("organizations/acme/executors/web-{n}").parse().expect("a name")
}

fn refusal(n: u8, platform: &str, seconds: u64) -> Refusal {
    Refusal {
        executor: named(n),
        platform: Some(platform.parse().expect("a platform")),
        attempt: None,
        error_code: Some(ErrorCode::DigestMismatch),
        time: at(seconds),
    }
}

fn target() -> ReleaseId {
    ReleaseId { kind: Kind::Agent, version: version("1.2.0") }
}

/// What `executor` is told of 1.2.0.
fn told(executor: &Executor, refusals: &Refusals) -> Vec<Warning> {
    warnings(&Record { executor, release: &target(), held_by: None, refusals }, at(NOW))
}

#[test]
fn nothing_against_it_is_nothing_told() {
    let mut other = executor("1.1.0");
    other.holds = vec![hold("1.0.0")];
    assert_eq!(told(&other, &Refusals::default()), [], "another version's hold says nothing of this one");
}

#[test]
fn a_hold_is_told_with_its_attempt_and_code() {
    let mut held = executor("1.1.0");
    let before = Attempt {
        refused: Some(Report {
            outcome: Outcome::Refused,
            stage: Some(Stage::Verify),
            error_code: Some(ErrorCode::UnknownKey),
            message: String::new(),
            running_version: version("1.1.0"),
            rolled_back_to: None,
            log_tail: Vec::new(),
        }),
        ..attempt("1.1.0", "1.2.0")
    };
    let cause = "refused in stage verify (UNKNOWN_KEY)".to_owned();
    held.holds = vec![Hold { attempt: before.id, cause, ..hold("1.2.0") }];
    let refusals = Refusals::default();
    let record = Record { executor: &held, release: &target(), held_by: Some(&before), refusals: &refusals };
    let [warning] = &warnings(&record, at(NOW))[..] else { panic!("one warning") };
    assert_eq!((warning.code, warning.time), (Code::HeldBefore, at(0)));
    assert!(warning.message.contains("it was refused in stage verify (UNKNOWN_KEY); asking for it clears the hold"));
    let value = |name: &str| warning.values.get(name).map(String::as_str);
    assert_eq!((value("outcome"), value("stage")), (Some("refused"), Some("verify")));
    assert_eq!((value("error_code"), value("version")), (Some("UNKNOWN_KEY"), Some("1.2.0")));
    assert_eq!(value("attempt"), Some(before.name().to_string().as_str()));

    let unknown = Record { held_by: None, ..record };
    let [bare] = &warnings(&unknown, at(NOW))[..] else { panic!("told all the same") };
    assert_eq!((bare.message == warning.message, bare.values.get("error_code")), (true, None));
}

#[test]
fn others_are_counted_once_each_and_the_last_is_named() {
    let web_1 = executor("1.1.0");
    let amd64 = "linux/amd64";
    let said = vec![refusal(2, amd64, NOW - 10), refusal(3, amd64, NOW - 20), refusal(2, amd64, NOW - 30)];
    let refusals = Refusals { newest: said, ..Refusals::default() };
    let [warning] = &told(&web_1, &refusals)[..] else { panic!("one warning") };
    assert_eq!((warning.code, warning.time), (Code::ArtifactRefused, at(NOW - 10)));
    let words = "2 other executors refused the artifact of agent-1.2.0 for linux/amd64, last web-2 (DIGEST_MISMATCH)";
    assert!(warning.message.starts_with(words), "{}", warning.message);
    let value = |name: &str| warning.values.get(name).map(String::as_str);
    assert_eq!((value("executors"), value("error_code")), (Some("2"), Some("DIGEST_MISMATCH")));
    assert_eq!(value("last_executor"), Some("organizations/acme/executors/web-2"));

    let cut = Refusals { extent: Extent::Newest, ..refusals };
    assert!(told(&web_1, &cut)[0].message.starts_with("at least 2 other"));
}

#[test]
fn an_alarm_ends_with_its_week_or_when_its_executor_runs_the_version() {
    let web_1 = executor("1.1.0");
    let old = NOW - ALARM_LASTS.as_secs();
    let of = |seconds| Refusals { newest: vec![refusal(2, "linux/amd64", seconds)], ..Refusals::default() };
    assert_eq!(told(&web_1, &of(old)), []);
    assert_eq!(told(&web_1, &of(old + 1)).len(), 1);
    let after_all = Refusals { running: BTreeSet::from([named(2)]), ..of(NOW) };
    assert_eq!(told(&web_1, &after_all), []);
}

#[test]
fn operators_are_told_of_their_one_image() {
    let operator = Executor { kind: Some(Kind::Operator), ..executor("1.1.0") };
    let release = ReleaseId { kind: Kind::Operator, version: version("1.2.0") };
    let image = Refusal { platform: None, ..refusal(2, "linux/amd64", NOW) };
    let refusals = Refusals { newest: vec![image], ..Refusals::default() };
    let record = Record { executor: &operator, release: &release, held_by: None, refusals: &refusals };
    let [warning] = &warnings(&record, at(NOW))[..] else { panic!("one warning") };
    assert!(warning.message.contains("the artifact of operator-1.2.0, last web-2"), "{}", warning.message);
}

#[test]
fn public_names_parse() {
    for code in Code::ALL {
        assert_eq!(Code::parse(code.as_str()), Some(*code));
    }
}

fn any_refusal() -> impl Strategy<Value = Refusal> {
    let platform = proptest::sample::select(&["linux/amd64", "linux/arm64"][..]);
    (1u8..5, platform, 0..NOW + 100).prop_map(|(n, platform, seconds)| refusal(n, platform, seconds))
}

proptest! {
    /// web-1 is told of exactly the others that refused its platform's artifact in the last week and do not run it.
    #[test]
    fn exactly_the_standing_refusals_of_others_are_told(
        mut newest in proptest::collection::vec(any_refusal(), 0..12),
        running in proptest::collection::btree_set((1u8..5).prop_map(named), 0..3),
        is_held in any::<bool>(),
    ) {
        newest.sort_by_key(|refusal| std::cmp::Reverse(refusal.time));
        let mut web_1 = executor("1.1.0");
        if is_held {
            web_1.holds = vec![hold("1.2.0")];
        }
        let expected: BTreeSet<_> = newest
            .iter()
            .filter(|refusal| refusal.platform == web_1.platform && refusal.executor != web_1.name)
            .filter(|refusal| at(NOW).since(refusal.time) < ALARM_LASTS && !running.contains(&refusal.executor))
            .map(|refusal| refusal.executor.clone())
            .collect();
        let told = told(&web_1, &Refusals { newest, extent: Extent::Whole, running });
        let count = told.iter().find(|warning| warning.code == Code::ArtifactRefused);
        let count = count.map(|warning| warning.values["executors"].clone());
        let many = (!expected.is_empty()).then(|| expected.len().to_string());
        prop_assert_eq!(count, many);
        prop_assert_eq!(told.iter().any(|warning| warning.code == Code::HeldBefore), is_held);
        prop_assert!(told.len() <= Code::ALL.len());
    }
}
