//! Rules 3 and 14 as tables, and the promise that a row without a block is a request that is accepted.

use proptest::prelude::*;

use super::*;
use crate::attempt::request::{DEFAULT_TTL, Decision, Replace, Request, Situation, request};
use crate::fixture::{at, binary, executor, hold, image, release, version};
use crate::release::Artifact;

/// `1.2.0 ok`, or `1.2.0 REASON: message`, a row each.
fn rows(executor: &Executor, catalog: &[Release]) -> Vec<String> {
    let line = |row: Target| {
        let word = row.blocked.map_or_else(|| "ok".to_owned(), |why| format!("{}: {}", why.reason, why.message));
        format!("{} {word}", row.release.version)
    };
    targets(executor, catalog).into_iter().map(line).collect()
}

fn catalog(versions: &[&str]) -> Vec<Release> {
    versions.iter().map(|text| release(text)).collect()
}

#[test]
fn upgrades_come_first_and_the_nearest_of_each_first() {
    let catalog = catalog(&["3.0.0", "1.9.0", "2.0.0", "2.2.0", "2.1.0", "2.1.0-rc.1"]);
    let rows = targets(&executor("2.1.0"), &catalog);
    let order: Vec<String> = rows.iter().map(|row| format!("{:?} {}", row.direction, row.release.version)).collect();
    assert_eq!(order, ["Upgrade 2.2.0", "Upgrade 3.0.0", "Downgrade 2.1.0-rc.1", "Downgrade 2.0.0", "Downgrade 1.9.0"]);
    assert_eq!(rows[0].release_notes, "notes of 2.2.0");
}

#[test]
fn a_far_release_names_the_major_that_comes_first() {
    assert_eq!(
        rows(&executor("1.4.0"), &catalog(&["2.0.0", "2.3.0", "3.0.0", "4.0.0"])),
        [
            "2.0.0 ok",
            "2.3.0 ok",
            "3.0.0 MAJOR_HOP_REQUIRED: requires upgrade to 2.x first",
            "4.0.0 MAJOR_HOP_REQUIRED: requires upgrade to 2.x first"
        ]
    );
    assert_eq!(
        rows(&executor("3.0.0"), &catalog(&["2.9.0", "1.4.0"])),
        ["2.9.0 ok", "1.4.0 MAJOR_HOP_REQUIRED: requires downgrade to 2.x first"]
    );
}

#[test]
fn a_far_release_says_when_no_release_of_that_major_would_do() {
    let said = "3.0.0 MAJOR_HOP_REQUIRED: requires upgrade to 2.x first, and no 2.x is available to this executor";
    let alone = catalog(&["3.0.0"]);
    assert_eq!(rows(&executor("1.4.0"), &alone), [said]);
    let down = rows(&executor("3.0.0"), &catalog(&["1.0.0"]));
    assert_eq!(
        down,
        ["1.0.0 MAJOR_HOP_REQUIRED: requires downgrade to 2.x first, and no 2.x is available to this executor"]
    );

    // Neither a yanked one nor one on a channel that is not shown nor one for another platform would do.
    for spoil in [
        |release: &mut Release| release.status = Status::Yanked,
        |release: &mut Release| release.channel = Channel::Dev,
        |release: &mut Release| release.artifacts = vec![binary("linux/arm64")],
    ] {
        let mut catalog = catalog(&["3.0.0", "2.0.0"]);
        spoil(&mut catalog[1]);
        assert!(rows(&executor("1.4.0"), &catalog).contains(&said.to_owned()));
    }
}

#[test]
fn the_hop_names_the_newest_release_to_go_through() {
    let rows = targets(&executor("1.4.0"), &catalog(&["2.0.0", "2.3.0", "3.0.0"]));
    let blocked = rows[2].blocked.clone().expect("blocked");
    assert!(blocked.values.contains(&("via_version", "2.3.0".to_owned())));
    assert!(blocked.values.contains(&("required_major", "2".to_owned())));
}

#[test]
fn drafts_yanked_releases_and_other_channels_have_no_row() {
    let mut catalog = catalog(&["1.1.0", "1.2.0", "1.3.0", "1.4.0"]);
    catalog[1].status = Status::Draft;
    catalog[2].status = Status::Yanked;
    catalog[3].channel = Channel::Beta;
    assert_eq!(rows(&executor("1.0.0"), &catalog), ["1.1.0 ok"]);
    let beta = Executor { channel: Channel::Beta, ..executor("1.0.0") };
    assert_eq!(rows(&beta, &catalog), ["1.1.0 ok", "1.4.0 ok"]);
    let held_down = Executor { channel_ceiling: Some(Channel::Stable), ..beta };
    assert_eq!(rows(&held_down, &catalog), ["1.1.0 ok"]);
}

#[test]
fn floor_and_platform_block_a_row_and_a_hold_only_marks_it() {
    let mut catalog = catalog(&["1.0.0", "1.2.0", "1.3.0"]);
    catalog[2].artifacts = vec![binary("linux/arm64")];
    let executor = Executor { floor: Some(version("1.1.0")), holds: vec![hold("1.2.0")], ..executor("1.1.0") };
    assert_eq!(
        rows(&executor, &catalog),
        [
            "1.2.0 ok",
            "1.3.0 PLATFORM_MISSING: release agent-1.3.0 has no artifact for linux/amd64",
            "1.0.0 BELOW_FLOOR: version 1.0.0 is below 1.1.0, the lowest version that this executor still accepts"
        ]
    );
    let held: Vec<bool> = targets(&executor, &catalog).iter().map(|row| row.held).collect();
    assert_eq!(held, [true, false, false]);
}

#[test]
fn an_operator_sees_operator_releases_only() {
    let operator = Executor { kind: Some(Kind::Operator), platform: None, ..executor("1.0.0") };
    let mut own = release("1.1.0");
    own.id.kind = Kind::Operator;
    own.artifacts = vec![image()];
    let catalog = [own, release("1.2.0")];
    assert_eq!(rows(&operator, &catalog), ["1.1.0 ok"]);
    assert_eq!(rows(&executor("1.0.0"), &catalog), ["1.2.0 ok"]);
}

#[test]
fn an_executor_out_of_support_is_brought_forward_hop_by_hop() {
    let catalog = catalog(&["2.0.0", "3.0.0", "4.0.0", "5.0.0"]);
    let mut running = "1.0.0".to_owned();
    for next in ["2.0.0", "3.0.0", "4.0.0", "5.0.0"] {
        let old = executor(&running);
        assert!(direct(&old, &catalog, &version(next)).is_ok(), "{running} to {next}");
        running = next.to_owned();
    }
}

#[test]
fn what_takes_no_requests_has_no_direct_target() {
    let catalog = catalog(&["1.1.0"]);
    let reasons = [
        Executor { state: State::Deactivated, ..executor("1.0.0") },
        Executor { duplicated_since: Some(at(0)), ..executor("1.0.0") },
        Executor { pinned: Some("by hand".to_owned()), ..executor("1.0.0") },
    ]
    .map(|executor| targets(&executor, &catalog)[0].blocked.clone().expect("blocked").reason);
    assert_eq!(reasons, [Reason::ExecutorDeactivated, Reason::DuplicateIdentity, Reason::ExecutorPinned]);
    assert!(targets(&Executor { version: None, ..executor("1.0.0") }, &catalog).is_empty());
}

fn any_release() -> impl Strategy<Value = Release> {
    let pre = proptest::option::of(1u64..3);
    let artifacts = prop_oneof![
        3 => Just(vec![binary("linux/amd64"), binary("linux/arm64")]),
        1 => Just(vec![binary("linux/arm64")]),
        1 => Just(Vec::<Artifact>::new()),
        1 => Just(vec![image()]),
    ];
    let status = prop_oneof![4 => Just(Status::Published), 1 => Just(Status::Draft), 1 => Just(Status::Yanked)];
    let channel = proptest::sample::select(&Channel::ALL[..]);
    let kind = prop_oneof![4 => Just(Kind::Agent), 1 => Just(Kind::Operator)];
    ((1u64..6, 0u64..3, pre), artifacts, status, channel, kind).prop_map(
        |((major, minor, pre), artifacts, status, channel, kind)| {
            let pre = pre.map_or_else(String::new, |n| format!("-rc.{n}"));
            let mut release = release(&format!("{major}.{minor}.0{pre}"));
            release.id.kind = kind;
            Release { artifacts, status, channel, ..release }
        },
    )
}

/// A catalog has one release for each kind and version.
fn any_catalog() -> impl Strategy<Value = Vec<Release>> {
    proptest::collection::vec(any_release(), 0..12).prop_map(|mut releases| {
        releases.sort_by(|one, other| one.id.cmp(&other.id));
        releases.dedup_by(|one, other| one.id == other.id);
        releases
    })
}

fn any_executor() -> impl Strategy<Value = Executor> {
    let channel = proptest::sample::select(&Channel::ALL[..]);
    let ceiling = proptest::option::weighted(0.2, proptest::sample::select(&Channel::ALL[..]));
    let floor = proptest::option::weighted(0.3, (1u64..6, 0u64..3));
    let flaw = prop_oneof![6 => Just(0), 1 => Just(1), 1 => Just(2), 1 => Just(3), 1 => Just(4), 1 => Just(5)];
    ((1u64..6, 0u64..3), channel, ceiling, floor, flaw, any::<bool>()).prop_map(
        |((major, minor), channel, channel_ceiling, floor, flaw, held)| {
            let mut executor = executor(&format!("{major}.{minor}.0"));
            executor.channel = channel;
            executor.channel_ceiling = channel_ceiling;
            executor.floor = floor.map(|(major, minor)| version(&format!("{major}.{minor}.0")));
            executor.holds = if held { vec![hold("2.0.0")] } else { Vec::new() };
            match flaw {
                1 => executor.pinned = Some("by hand".to_owned()),
                2 => executor.state = State::Deactivated,
                3 => executor.duplicated_since = Some(at(1)),
                4 => executor.version = None,
                5 => executor.kind = Some(Kind::Operator),
                _ => {}
            }
            executor
        },
    )
}

proptest! {
    #[test]
    fn direct_targets_are_exactly_what_a_request_would_accept(executor in any_executor(), catalog in any_catalog()) {
        let rows = targets(&executor, &catalog);
        let everything = catalog.iter().map(|release| release.id.version.clone()).chain([version("9.9.9")]);
        for asked in everything {
            let row = rows.iter().find(|row| row.release.version == asked);
            let allowed = row.is_some_and(|row| row.blocked.is_none());
            let question = Request {
                target_version: asked.clone(),
                expected_version: None,
                ttl: DEFAULT_TTL,
                replace: Replace::No,
                request_id: None,
            };
            let situation = Situation { executor: &executor, open: None, online: true, catalog: &catalog };
            match request(&question, situation) {
                Ok(Decision::Begin { clears_hold, .. }) => {
                    prop_assert!(allowed, "{} was accepted and is no direct target", asked);
                    prop_assert_eq!(Some(clears_hold), row.map(|row| row.held));
                }
                Ok(other) => prop_assert!(false, "{:?} without an open attempt", other),
                Err(refusal) => prop_assert!(!allowed, "{} is a direct target and was refused: {}", asked, refusal),
            }
            let offline = Situation { online: false, ..situation };
            prop_assert!(request(&question, offline).is_err());
        }
    }

    #[test]
    fn a_direct_target_is_never_farther_than_a_major_nor_below_the_floor(executor in any_executor(), catalog in any_catalog()) {
        let Some(running) = executor.version.clone() else { return Ok(()) };
        for row in targets(&executor, &catalog) {
            prop_assert_ne!(&row.release.version, &running);
            prop_assert!(executor.effective_channel().sees(row.channel));
            if row.blocked.is_none() {
                prop_assert!(running.major_distance(&row.release.version) <= 1);
                prop_assert!(executor.floor.as_ref().is_none_or(|floor| row.release.version >= *floor));
            }
        }
    }
}
