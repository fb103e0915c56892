//! The machine on a clock that tests own.

use domain::Kind;
use uuid::Uuid;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn uid(n: u128) -> ExecutorUid {
    ExecutorUid::new(Uuid::from_u128(n))
}

fn attempt(n: u128) -> AttemptId {
    AttemptId::new(Uuid::from_u128(n))
}

fn hello(n: u128) -> Request {
    Request::Hello(Box::new(Hello {
        uid: uid(n),
        instance: domain::InstanceId::new(Uuid::from_u128(7)),
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
    }))
}

fn unidentified(now: Instant) -> Unidentified {
    Unidentified::new(uid(1), &Limits::default(), now)
}

fn open(now: Instant) -> Open {
    match unidentified(now).receive(Some(hello(1))) {
        Ok(First::Introduced(introduced)) => introduced.open(&Limits::default(), 30 * SECOND, now),
        other => panic!("not introduced: {other:?}"),
    }
}

fn progress(phase: Phase, bytes_done: u64) -> Progress {
    Progress { attempt: attempt(1), generation: Generation(1), phase, bytes_done, bytes_total: 100, waiting: None }
}

#[tokio::test(start_paused = true)]
async fn an_invalid_first_message_is_closed_with_a_reason() {
    let now = Instant::now();
    for first in [
        Request::Heartbeat { generation: Generation(0) },
        Request::Progress(progress(Phase::Downloading, 1)),
        Request::ReadyToSwap { attempt: attempt(1), generation: Generation(1) },
        Request::Inventory(Inventory::Full(Vec::new())),
    ] {
        let close = unidentified(now).receive(Some(first)).expect_err("closed");
        assert_eq!(close.refusal().reason, domain::Reason::ProtocolViolation);
    }
    let close = unidentified(now).receive(Some(hello(2))).expect_err("closed");
    assert_eq!(close.refusal().values, [("field", "hello.uid".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_first_message_neither_closes_nor_prolongs() {
    let now = Instant::now();
    let Ok(First::StillUnidentified(machine)) = unidentified(now).receive(None) else { panic!("closed") };
    assert_eq!(machine.deadline(), now + 10 * SECOND);
    assert_eq!(machine.expire().label(), "no_hello");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_closed_at_30_seconds() {
    let mut machine = open(Instant::now());
    tokio::time::advance(29 * SECOND).await;
    assert_eq!(machine.tick(Instant::now()), None);
    let heartbeat = Request::Heartbeat { generation: Generation(0) };
    let actions = machine.receive(Some(heartbeat), Instant::now()).expect("heard");
    assert_eq!(actions, [Action::Say(Response::HeartbeatAck)]);
    tokio::time::advance(29 * SECOND).await;
    assert_eq!(machine.tick(Instant::now()), None);
    tokio::time::advance(SECOND).await;
    assert_eq!(machine.tick(Instant::now()), Some(Close::Silent(30 * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_is_written_until_it_is_durable() {
    let now = Instant::now();
    let mut machine = open(now);
    let heartbeat = || Some(Request::Heartbeat { generation: Generation(3) });
    let both = [Action::Say(Response::HeartbeatAck), Action::Acknowledge(Generation(3))];
    assert_eq!(machine.receive(heartbeat(), now).expect("heard"), both);
    assert_eq!(machine.receive(heartbeat(), now).expect("heard"), both);
    machine.note_acknowledged(Generation(3));
    assert_eq!(machine.receive(heartbeat(), now).expect("heard"), both[..1]);
}

#[tokio::test(start_paused = true)]
async fn a_phase_is_written_at_once_and_bytes_now_and_then() {
    let mut machine = open(Instant::now());
    let mut written = |phase, bytes| {
        let now = Instant::now();
        let said = progress(phase, bytes);
        let actions = machine.receive(Some(Request::Progress(said.clone())), now).expect("heard");
        if !actions.is_empty() {
            machine.note_progress(&said, now);
        }
        !actions.is_empty()
    };
    assert!(written(Phase::Downloading, 1));
    assert!(!written(Phase::Downloading, 2));
    assert!(written(Phase::Verifying, 2));
    tokio::time::advance(2 * SECOND).await;
    assert!(!written(Phase::Verifying, 2), "nothing is new");
    assert!(written(Phase::Verifying, 3));
}

#[tokio::test(start_paused = true)]
async fn what_is_waited_out_is_written_at_once_and_that_it_is_over() {
    let mut machine = open(Instant::now());
    let away = |message: &str| {
        Some(Waiting { error_code: domain::attempt::ErrorCode::Unreachable, message: message.to_owned() })
    };
    let mut written = |waiting| {
        let said = Progress { waiting, ..progress(Phase::Downloading, 1) };
        let actions = machine.receive(Some(Request::Progress(said.clone())), Instant::now()).expect("heard");
        machine.note_progress(&said, Instant::now());
        actions == [Action::Progress(said)]
    };
    assert!(written(None));
    assert!(written(away("refused")));
    assert!(!written(away("refused")), "nothing is new");
    assert!(written(away("timed out")));
    assert!(written(None));
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_closed_and_honest_traffic_is_not() {
    let mut flood = open(Instant::now());
    let heard = (0..).map_while(|_| flood.receive(None, Instant::now()).ok()).count();
    assert_eq!(heard, 512);
    assert_eq!(flood.receive(None, Instant::now()), Err(Close::Flood));

    let mut honest = open(Instant::now());
    for _ in 0..10_000 {
        tokio::time::advance(SECOND / 4).await;
        honest.receive(None, Instant::now()).expect("heard");
    }
}

#[tokio::test(start_paused = true)]
async fn hello_is_said_once() {
    let now = Instant::now();
    let close = open(now).receive(Some(hello(1)), now).expect_err("closed");
    assert_eq!(close.label(), "nonsense");
}
