//! Properties of the conversions: what goes out comes back, and no bytes panic.

use std::time::Duration;

use domain::attempt::{ErrorCode, Outcome, Phase, Report, Stage, Waiting};
use domain::sync::{AttemptReport, Hello, Inventory, Node, Progress, Request, Response, Welcome};
use domain::{
    AgentUpgradeSpec, AttemptId, Channel, Desired, Epoch, ExecutorUid, Generation, InstanceId, Kind,
    OperatorUpgradeSpec, Platform, Sha256, Spec, Timestamp, Version, Want,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message as _;
use uuid::Uuid;

use crate::convert::{field, sync};
use crate::v1;

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn version() -> impl Strategy<Value = Version> {
    "(0|[1-9][0-9]{0,3})\\.(0|[1-9][0-9]{0,3})\\.(0|[1-9][0-9]{0,3})(-(rc|beta)\\.(0|[1-9][0-9]{0,2}))?"
        .prop_map(|text| text.parse().expect("the pattern is SemVer"))
}

fn platform() -> impl Strategy<Value = Platform> {
    "[a-z0-9]{1,16}/[a-z0-9]{1,16}".prop_map(|text| text.parse().expect("the pattern is a platform"))
}

fn digest() -> impl Strategy<Value = Sha256> {
    any::<[u8; 32]>().prop_map(Sha256::new)
}

fn counter() -> impl Strategy<Value = u64> {
    0..=field::COUNTER_MAX
}

fn words() -> impl Strategy<Value = String> {
    "[ -~äß→]{0,40}"
}

fn report() -> impl Strategy<Value = AttemptReport> {
    let what =
        (
            select(Outcome::ALL),
            of(select(Stage::ALL)),
            of(select(ErrorCode::ALL)),
            words(),
            version(),
            of(version()),
            vec(words(), 0..5),
        )
            .prop_map(|(outcome, stage, error_code, message, running_version, rolled_back_to, log_tail)| {
                Report { outcome, stage, error_code, message, running_version, rolled_back_to, log_tail }
            });
    (uuid(), of(version()), of(version()), what).prop_map(|(attempt, target_version, from_version, report)| {
        AttemptReport { attempt: AttemptId::new(attempt), target_version, from_version, report }
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let who = (uuid(), uuid(), select(vec![Kind::Agent, Kind::Operator]), version(), of(digest()), of(platform()));
    let lists = (vec("[0-9A-F]{1,16}", 0..3), vec("[a-z.]{1,20}", 0..3), vec(report(), 0..3));
    let state = (counter(), of(uuid()), of(select(&Phase::ALL[..])));
    let host = (of("[a-z ]{1,20}"), of(select(&Channel::ALL[..])), of(select(&Channel::ALL[..])), of(version()));
    (who, lists, state, host).prop_map(|(who, lists, state, host)| Hello {
        uid: ExecutorUid::new(who.0),
        instance: InstanceId::new(who.1),
        kind: who.2,
        version: who.3,
        binary_sha256: who.4,
        platform: who.5,
        release_key_ids: lists.0,
        capabilities: lists.1,
        unsent_outcomes: lists.2,
        generation: Generation(state.0),
        open_attempt: state.1.map(AttemptId::new),
        phase: state.2,
        pinned: host.0,
        channel: host.1,
        channel_ceiling: host.2,
        floor: host.3,
    })
}

fn waiting() -> impl Strategy<Value = Waiting> {
    (select(ErrorCode::ALL), words()).prop_map(|(error_code, message)| Waiting { error_code, message })
}

fn node() -> impl Strategy<Value = Node> {
    ("[a-z0-9-]{1,20}", words(), words(), words(), words(), any::<bool>()).prop_map(
        |(name, platform, kernel_version, os_image, kubelet_version, ready)| Node {
            name,
            platform,
            kernel_version,
            os_image,
            kubelet_version,
            ready,
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        hello().prop_map(|hello| Request::Hello(Box::new(hello))),
        counter().prop_map(|n| Request::Heartbeat { generation: Generation(n) }),
        (uuid(), counter(), select(&Phase::ALL[..]), counter(), counter(), of(waiting())).prop_map(
            |(attempt, generation, phase, bytes_done, bytes_total, waiting)| {
                Request::Progress(Progress {
                    attempt: AttemptId::new(attempt),
                    generation: Generation(generation),
                    phase,
                    bytes_done,
                    bytes_total,
                    waiting,
                })
            }
        ),
        (uuid(), counter())
            .prop_map(|(id, n)| Request::ReadyToSwap { attempt: AttemptId::new(id), generation: Generation(n) }),
        report().prop_map(|report| Request::Report(Box::new(report))),
        vec(node(), 0..4).prop_map(|nodes| Request::Inventory(Inventory::Full(nodes))),
        (vec(node(), 0..4), vec("[a-z0-9-]{1,20}", 0..4))
            .prop_map(|(present, removed)| { Request::Inventory(Inventory::Delta { present, removed }) }),
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    (0u64..315_576_000_000, 0u32..1_000_000_000).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos))
}

fn desired() -> impl Strategy<Value = Desired> {
    let signatures = || vec(words(), 0..3);
    let agent = ("/artifacts/[0-9a-f]{64}", any::<u64>(), digest(), signatures(), version()).prop_map(
        |(download_uri, size_bytes, sha256, minisign_signatures, target_version)| {
            Spec::Agent(AgentUpgradeSpec { download_uri, size_bytes, sha256, minisign_signatures, target_version })
        },
    );
    let operator = ("[a-z./]{1,30}", digest(), signatures(), version()).prop_map(
        |(image, digest, minisign_signatures, target_version)| {
            Spec::Operator(OperatorUpgradeSpec { image, digest, minisign_signatures, target_version })
        },
    );
    let want = prop_oneof![
        Just(Want::Nothing),
        (uuid(), prop_oneof![agent, operator], duration()).prop_map(|(id, spec, remaining_ttl)| {
            Want::Upgrade { attempt: AttemptId::new(id), spec, remaining_ttl }
        }),
        uuid().prop_map(|id| Want::RollBack { attempt: AttemptId::new(id) }),
    ];
    (any::<u64>(), want).prop_map(|(generation, want)| Desired { generation: Generation(generation), want })
}

fn welcome() -> impl Strategy<Value = Welcome> {
    (any::<u64>(), duration(), duration(), version(), any::<bool>(), of(duration())).prop_map(
        |(epoch, heartbeat_interval, probation, server_version, out_of_support, renew_certificate_after)| Welcome {
            epoch: Epoch(epoch),
            heartbeat_interval,
            probation,
            server_version: Some(server_version),
            out_of_support,
            renew_certificate_after,
        },
    )
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        welcome().prop_map(Response::Welcome),
        desired().prop_map(Response::Desired),
        (uuid(), any::<u64>())
            .prop_map(|(id, n)| Response::Proceed { attempt: AttemptId::new(id), generation: Generation(n) }),
        (uuid(), "[A-Z_]{0,30}").prop_map(|(id, reason)| Response::Withdrawn { attempt: AttemptId::new(id), reason }),
        uuid().prop_map(|id| Response::ReportAck { attempt: AttemptId::new(id) }),
        (duration(), "[A-Z_]{0,30}").prop_map(|(after, reason)| Response::Reconnect { after, reason }),
        Just(Response::HeartbeatAck),
    ]
}

proptest! {
    #[test]
    fn what_an_executor_says_comes_back_equal(said in request()) {
        let bytes = v1::SyncExecutorRequest::from(said.clone()).encode_to_vec();
        let wire = v1::SyncExecutorRequest::decode(bytes.as_slice()).expect("our own bytes");
        prop_assert_eq!(sync::request(wire), Ok(Some(said)));
    }

    #[test]
    fn what_the_control_plane_says_comes_back_equal(said in response()) {
        let bytes = v1::SyncExecutorResponse::from(said.clone()).encode_to_vec();
        let wire = v1::SyncExecutorResponse::decode(bytes.as_slice()).expect("our own bytes");
        prop_assert_eq!(sync::response(wire), Ok(Some(said)));
    }

    #[test]
    fn times_come_back_equal(micros in any::<i64>(), length in duration()) {
        let time = Timestamp::from_micros(micros);
        prop_assert_eq!(field::timestamp("t", Some(field::to_timestamp(time))), Ok(Some(time)));
        prop_assert_eq!(field::duration("d", Some(field::to_duration(length))), Ok(Some(length)));
    }

    #[test]
    fn no_time_panics(seconds in any::<i64>(), nanos in any::<i32>()) {
        let _ = field::timestamp("t", Some(prost_types::Timestamp { seconds, nanos }));
        let _ = field::duration("d", Some(prost_types::Duration { seconds, nanos }));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..400)) {
        if let Ok(wire) = v1::SyncExecutorRequest::decode(bytes.as_slice()) {
            let _ = sync::request(wire);
        }
        if let Ok(wire) = v1::SyncExecutorResponse::decode(bytes.as_slice()) {
            let _ = sync::response(wire);
        }
        if let Ok(wire) = v1::Release::decode(bytes.as_slice()) {
            let _ = domain::Release::try_from(wire);
        }
    }
}

fn wire_report() -> v1::Report {
    v1::Report {
        attempt: Uuid::from_u128(7).to_string(),
        outcome: v1::Outcome::RolledBack.into(),
        running_version: "1.0.0".to_owned(),
        ..v1::Report::default()
    }
}

#[test]
fn unknown_words_in_a_report_are_kept_as_text() {
    let wire = v1::Report {
        outcome: 99,
        stage: "orbit".to_owned(),
        error_code: "METEOR".to_owned(),
        message: "it burned".to_owned(),
        ..wire_report()
    };
    let report = AttemptReport::try_from(wire).expect("accepted").report;
    assert_eq!((report.outcome, report.stage, report.error_code), (Outcome::Failed, None, Some(ErrorCode::Other)));
    assert_eq!(report.message, "(outcome 99, stage orbit, METEOR) it burned");
}

#[test]
fn what_executors_write_is_made_printable_at_the_border() {
    let wire = v1::Report {
        message: "\u{1b}[2Jgone\u{7}".to_owned(),
        error_code: "\u{1b}[31mX".to_owned(),
        log_tail: vec!["\u{1b}]0;owned\u{7}line\rone".to_owned()],
        ..wire_report()
    };
    let report = AttemptReport::try_from(wire).expect("accepted").report;
    assert_eq!(report.message, "(X) gone\\u{7}");
    assert_eq!(report.log_tail, ["line\\u{d}one"]);

    let node = v1::Node {
        node_name: "web\u{1b}[1m-1\n".to_owned(),
        os_image: "\u{9b}31mDebian".to_owned(),
        ..v1::Node::default()
    };
    let node = Node::try_from(node).expect("accepted");
    assert_eq!((node.name.as_str(), node.os_image.as_str()), ("web-1\\u{a}", "Debian"));
}

#[test]
fn an_error_names_the_field_and_what_was_given() {
    let hello = v1::Hello { uid: "nonsense\u{1b}[31m".to_owned(), ..v1::Hello::default() };
    let wire = v1::SyncExecutorRequest { message: Some(v1::sync_executor_request::Message::Hello(hello)) };
    let error = sync::request(wire).expect_err("refused");
    assert_eq!((error.field.as_ref(), error.value.as_str()), ("hello.uid", "nonsense"));

    let hello = v1::Hello::from(hello_of_today());
    for (spoil, field) in [
        (Box::new(|hello: &mut v1::Hello| hello.version = "v1".to_owned()) as Box<dyn Fn(&mut v1::Hello)>, "version"),
        (Box::new(|hello| hello.kind = 0), "kind"),
        (Box::new(|hello| hello.generation = field::COUNTER_MAX + 1), "generation"),
        (Box::new(|hello| hello.release_key_ids = vec!["xyz".to_owned()]), "release_key_ids"),
        (Box::new(|hello| hello.unsent_outcomes = vec![v1::Report::default()]), "unsent_outcomes.attempt"),
        (Box::new(|hello| hello.unsent_outcomes = vec![wire_report(); 257]), "unsent_outcomes"),
    ] {
        let mut spoiled = hello.clone();
        spoil(&mut spoiled);
        assert_eq!(Hello::try_from(spoiled).expect_err("refused").field, field);
    }
}

#[test]
fn numbers_that_count_nothing_are_refused_by_field() {
    use v1::sync_executor_request::Message;
    let attempt = Uuid::from_u128(7).to_string();
    let phase = v1::Phase::Downloading.into();
    let progress = v1::Progress { attempt: attempt.clone(), phase, ..v1::Progress::default() };
    for n in [field::COUNTER_MAX + 1, i64::MAX.unsigned_abs() - 1, u64::MAX] {
        let hello = v1::Hello { generation: n, ..v1::Hello::from(hello_of_today()) };
        for (message, field) in [
            (Message::Hello(hello), "hello.generation"),
            (Message::Heartbeat(v1::Heartbeat { generation: n }), "heartbeat.generation"),
            (Message::Progress(v1::Progress { generation: n, ..progress.clone() }), "progress.generation"),
            (Message::Progress(v1::Progress { bytes_done: n, ..progress.clone() }), "progress.bytes_done"),
            (Message::Progress(v1::Progress { bytes_total: n, ..progress.clone() }), "progress.bytes_total"),
            (
                Message::ReadyToSwap(v1::ReadyToSwap { attempt: attempt.clone(), generation: n }),
                "ready_to_swap.generation",
            ),
        ] {
            let error = sync::request(v1::SyncExecutorRequest { message: Some(message) }).expect_err("refused");
            assert_eq!(error.field, field);
        }
    }
}

#[test]
fn what_is_not_known_is_left_out_and_never_an_error() {
    assert_eq!(sync::request(v1::SyncExecutorRequest::default()), Ok(None));
    assert_eq!(sync::response(v1::SyncExecutorResponse::default()), Ok(None));
    let progress = v1::Progress { attempt: Uuid::from_u128(7).to_string(), phase: 77, ..v1::Progress::default() };
    let wire = v1::SyncExecutorRequest { message: Some(v1::sync_executor_request::Message::Progress(progress)) };
    assert_eq!(sync::request(wire), Ok(None));
    let mut hello = v1::Hello::from(hello_of_today());
    hello.phase = 99;
    hello.channel_ceiling = 99;
    hello.capabilities = vec!["teleport".to_owned(), String::new()];
    let hello = Hello::try_from(hello).expect("accepted");
    assert_eq!((hello.phase, hello.channel_ceiling, hello.capabilities.len()), (None, None, 1));
}

fn hello_of_today() -> Hello {
    Hello {
        uid: ExecutorUid::new(Uuid::from_u128(1)),
        instance: InstanceId::new(Uuid::from_u128(2)),
        kind: Kind::Agent,
        version: "1.0.0".parse().expect("a version"),
        binary_sha256: None,
        platform: None,
        release_key_ids: Vec::new(),
        capabilities: Vec::new(),
        generation: Generation(0),
        open_attempt: None,
        phase: None,
        unsent_outcomes: Vec::new(),
        pinned: None,
        channel: None,
        channel_ceiling: None,
        floor: None,
    }
}

#[test]
fn reasons_of_the_proto_and_of_the_domain_are_the_same() {
    let wire: Vec<&str> = (1..)
        .map_while(|number| v1::Reason::try_from(number).ok())
        .map(|reason| reason.as_str_name().trim_start_matches("REASON_"))
        .collect();
    let ours: Vec<&str> = domain::Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(wire, ours);
}
