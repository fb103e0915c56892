//! Peers that mean harm, against a real process: its memory stays flat, and an honest executor notices nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result as Anyhow, ensure};
use harness::client::{Client, reason};
use harness::daemon::Daemon;
use harness::fake_executor::{FakeExecutor, Stream};
use libtest_mimic::Trial;
use proto::v1;
use proto::v1::sync_executor_request::Message as Say;
use proto::v1::sync_executor_response::Message as Hear;
use proto::v1::sync_service_client::SyncServiceClient;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

use crate::{Result, server, trial};

/// Rounds that fill caches and the allocator's arenas, before memory is looked at.
const WARM: usize = 2;

/// Rounds that must leave it as it was.
const ROUNDS: usize = 4;

/// What the allocator may keep of one round's peaks: less than one 10 MB message that stayed, or a KiB of each connection.
const SLACK_KIB: u64 = 8 * 1024;

/// Half-open connections, and opens and resets, of one round.
const MANY: usize = 1_000;

/// Generous: this runs beside compilers.
const SOON: Duration = Duration::from_secs(20);

const ENROL: &str = "/novacula.v1.EnrollmentService/Enroll";
const SYNC: &str = "/novacula.v1.SyncService/SyncExecutor";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("bad_input_of_every_kind_leaves_memory_flat_and_an_honest_executor_in_peace", &[], bad_input)]
}

async fn bad_input() -> Result {
    let mut daemon = Daemon::bootstrapped(server())?;
    daemon.start()?;
    let good = FakeExecutor::by_word(&daemon.join_word("good").await?, "1.0.0").await?;
    let bad = FakeExecutor::by_word(&daemon.join_word("bad").await?, "1.0.0").await?;
    let mut stream = good.connect().await?;
    let mut seen = Vec::new();
    for round in 0..WARM + ROUNDS {
        attack(&daemon, &bad, &mut stream).await.with_context(|| format!("round {round}"))?;
        seen.push(daemon.resident_kib()?);
    }
    let (before, after) = (seen[WARM - 1], seen[WARM + ROUNDS - 1]);
    ensure!(after <= before + SLACK_KIB, "memory grew from round to round, in KiB: {seen:?}");
    // One stream, from the first to the last: it was neither closed nor replaced.
    let request = v1::ListEventsRequest {
        parent: "organizations/acme".to_owned(),
        target: good.name().to_owned(),
        types: vec!["executor.*".to_owned()],
        ..v1::ListEventsRequest::default()
    };
    let events = daemon.client("owner").await?.events().list_events(request).await?.into_inner().events;
    let types: Vec<_> = events.iter().map(|event| event.r#type.as_str()).collect();
    ensure!(types == ["executor.enrolled", "executor.connected"], "{types:?}");
    Ok(())
}

/// Everything, once.
async fn attack(daemon: &Daemon, bad: &FakeExecutor, honest: &mut Stream) -> Result {
    for address in [daemon.api_addr(), daemon.executor_addr()] {
        random_bytes(daemon, address).await.context("random bytes")?;
        half_open(address).await.context("half-open TLS")?;
        slow_loris(daemon, address).await.context("slow-loris")?;
        unhurt(honest).await?;
    }
    large_messages(daemon, bad).await.context("10 MB messages")?;
    unhurt(honest).await?;
    invalid_text(daemon, bad).await.context("invalid UTF-8")?;
    opens_and_resets(bad).await.context("opens and resets")?;
    unhurt(honest).await
}

/// The honest executor is answered.
async fn unhurt(honest: &mut Stream) -> Result {
    honest.acknowledge(0).await?;
    honest.until("a heartbeat's answer", |word| matches!(word, Hear::HeartbeatAck(_))).await.map(drop)
}

/// Bytes that nobody chose, the same in each run.
fn noise(length: usize, seed: usize) -> Vec<u8> {
    let mut state = u64::try_from(seed).unwrap_or(1) | 1;
    let step = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_le_bytes()[7]
    };
    (0..length).map(step).collect()
}

async fn tls(daemon: &Daemon, address: SocketAddr, alpn: &[u8]) -> Anyhow<tokio_rustls::client::TlsStream<TcpStream>> {
    let config = daemon.tls(alpn)?;
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::IpAddress(address.ip().into());
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await?)
}

async fn random_bytes(daemon: &Daemon, address: SocketAddr) -> Result {
    for seed in 0..64 {
        let mut tcp = TcpStream::connect(address).await?;
        // It may hang up before it has all.
        let _ = tcp.write_all(&noise(1 + seed * 97, seed)).await;
    }
    for (seed, alpn) in [&b"h2"[..], b"http/1.1"].into_iter().enumerate() {
        let mut stream = tls(daemon, address, alpn).await?;
        let _ = stream.write_all(&noise(64 << 10, seed)).await;
        let mut rest = Vec::new();
        // Cut with or without a word; never kept.
        let _ = timeout(SOON, stream.read_to_end(&mut rest)).await.context("it is open still")?;
    }
    Ok(())
}

async fn half_open(address: SocketAddr) -> Result {
    let mut held = Vec::new();
    for _ in 0..MANY {
        held.push(TcpStream::connect(address).await?);
    }
    for tcp in &mut held {
        // The first byte of a handshake, and then nothing.
        let _ = tcp.write_all(&[22]).await;
    }
    Ok(())
}

async fn slow_loris(daemon: &Daemon, address: SocketAddr) -> Result {
    let mut held = Vec::new();
    for _ in 0..32 {
        let mut stream = tls(daemon, address, b"http/1.1").await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await?;
        held.push(stream);
    }
    for stream in &mut held {
        let _ = stream.write_all(b"a").await;
    }
    Ok(())
}

async fn large_messages(daemon: &Daemon, bad: &FakeExecutor) -> Result {
    let owner = daemon.client("owner").await?;
    let large = "x".repeat(10 << 20);
    let request = v1::GetExecutorRequest { name: large.clone() };
    let refused = owner.executors().get_executor(request).await.err().context("10 MB were taken")?;
    ensure!(refused.code() == Code::OutOfRange, "{refused:?}");
    let mut stream = bad.connect().await?;
    let node = v1::Node { node_name: large, ..v1::Node::default() };
    let inventory = v1::Inventory { nodes: vec![node], ..v1::Inventory::default() };
    stream.say(Say::Inventory(inventory)).await?;
    let end = closed(&mut stream).await?;
    ensure!(reason(&end) == "PROTOCOL_VIOLATION", "{end:?}");
    Ok(())
}

async fn closed(stream: &mut Stream) -> Anyhow<tonic::Status> {
    loop {
        match stream.next().await {
            Ok(Some(_)) => {}
            Ok(None) => anyhow::bail!("it ended without a reason"),
            Err(error) => return error.downcast::<tonic::Status>(),
        }
    }
}

/// Bytes where the proto says text, outside and inside.
async fn invalid_text(daemon: &Daemon, bad: &FakeExecutor) -> Result {
    let owner = daemon.client("owner").await?;
    let refused = owner.say("/novacula.v1.ExecutorService/GetExecutor", vec![0xff; 40]).await;
    ensure!(refused.as_ref().is_err_and(|status| status.code() == Code::Internal), "{refused:?}");
    let executor = Client::new(bad.channel().await?, None);
    // A hello whose uid is no text: field 1 of field 1.
    let hello = [&[10, 40][..], &[0xff; 40]].concat();
    for (path, bytes) in [(ENROL, vec![0xff; 40]), (SYNC, hello)] {
        let refused = executor.say(path, bytes).await.err().with_context(|| format!("{path} took it"))?;
        ensure!(refused.code() != Code::Ok && !refused.message().contains("panic"), "{path}: {refused:?}");
    }
    Ok(())
}

async fn opens_and_resets(bad: &FakeExecutor) -> Result {
    let channel = bad.channel().await?;
    for _ in 0..MANY {
        let mut client = SyncServiceClient::new(channel.clone());
        // Dropped before its answer: HTTP/2 resets the stream. The server may end the connection for it.
        let _ = timeout(Duration::from_micros(200), client.probe(v1::ProbeRequest {})).await;
    }
    Ok(())
}
