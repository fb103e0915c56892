//! What ill-behaved peers cost: themselves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::client::{self, Http2, config, executor_channel, probe};
use super::harness::Server;
use crate::run::World;
use crate::tls::listener::Limits;

/// Generous: these tests run beside compilers.
const SOON: Duration = Duration::from_secs(20);

/// Deadlines short enough to see them pass.
async fn impatient() -> Server {
    let short = |limits: Limits| Limits {
        handshake: Duration::from_millis(500),
        first_request: Duration::from_millis(500),
        idle: Duration::from_secs(2),
        anonymous: 8,
        anonymous_life: Duration::from_secs(2),
        ..limits
    };
    let world =
        World { executor_limits: short(Limits::executors()), api_limits: short(Limits::api()), ..World::default() };
    Server::start_in(world).await
}

/// Reads until the server hangs up.
async fn hung_up(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> bool {
    let mut rest = Vec::new();
    timeout(SOON, stream.read_to_end(&mut rest)).await.is_ok()
}

fn both(server: &Server) -> [SocketAddr; 2] {
    [server.bound.api_addr, server.bound.executor_addr]
}

#[tokio::test]
async fn silence_is_hung_up_on_wherever_it_begins() {
    let server = impatient().await;
    for address in both(&server) {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        assert!(hung_up(&mut tcp).await, "half-open TLS");
        let tls = Arc::new(config(&server, None, &[b"h2"]));
        let mut silent = client::tls(address, tls).await.unwrap();
        assert!(hung_up(&mut silent).await, "silence after ALPN h2");
        let tls = Arc::new(config(&server, None, &[b"http/1.1"]));
        let mut slow = client::tls(address, tls).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ").await.unwrap();
        assert!(hung_up(&mut slow).await, "slow-loris");
    }
}

#[tokio::test]
async fn an_idle_connection_is_told_to_go_and_a_busy_one_is_not() {
    let server = impatient().await;
    let identity = server.executor("web-1").await;
    let idle = executor_channel(&server, Some(&identity)).await.unwrap();
    probe(&idle).await.unwrap();
    let gone = async { while probe_after(&idle, Duration::from_secs(3)).await {} };
    assert!(timeout(SOON, gone).await.is_ok());
}

/// Whether a connection that rested for a while still works.
async fn probe_after(channel: &Http2, rest: Duration) -> bool {
    tokio::time::sleep(rest).await;
    probe(channel).await.is_ok()
}

#[tokio::test]
async fn random_bytes_harm_nobody() {
    let server = Server::start().await;
    let identity = server.executor("web-1").await;
    for address in both(&server) {
        for n in 0..64usize {
            let mut noise = vec![0u8; 1 + n * 37];
            rand::fill(&mut noise[..]);
            let mut tcp = TcpStream::connect(address).await.unwrap();
            // It may hang up before it has all.
            let _ = tcp.write_all(&noise).await;
        }
        for alpn in [&b"h2"[..], b"http/1.1"] {
            let mut stream = client::tls(address, Arc::new(config(&server, None, &[alpn]))).await.unwrap();
            let mut noise = vec![0u8; 4096];
            rand::fill(&mut noise[..]);
            let _ = stream.write_all(&noise).await;
            assert!(hung_up(&mut stream).await);
        }
    }
    probe(&executor_channel(&server, Some(&identity)).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn honest_executors_notice_neither_half_open_tls_nor_a_crowd_without_certificates() {
    let server = Server::start().await;
    let identity = server.executor("web-1").await;
    let open = executor_channel(&server, Some(&identity)).await.unwrap();
    let mut half_open = Vec::new();
    for _ in 0..500 {
        half_open.push(TcpStream::connect(server.bound.executor_addr).await.unwrap());
    }
    let tls = Arc::new(config(&server, None, &[b"h2"]));
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(client::tls(server.bound.executor_addr, Arc::clone(&tls)).await.unwrap());
    }
    timeout(SOON, probe(&open)).await.unwrap().unwrap();
    let newcomer = timeout(SOON, executor_channel(&server, Some(&identity))).await.unwrap().unwrap();
    timeout(SOON, probe(&newcomer)).await.unwrap().unwrap();
}

#[tokio::test]
async fn connections_without_a_certificate_have_a_cap_and_an_end() {
    let server = impatient().await;
    let tls = Arc::new(config(&server, None, &[b"http/1.1"]));
    let connect = async || client::tls(server.bound.executor_addr, Arc::clone(&tls)).await.unwrap();
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(connect().await);
    }
    // Asking without end keeps it busy, and yet it ends.
    let mut busy = held.pop().unwrap();
    let asking = async {
        while busy.write_all(b"GET /x HTTP/1.1\r\nhost: localhost\r\n\r\n").await.is_ok() {
            let mut answer = [0u8; 1024];
            if busy.read(&mut answer).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    assert!(timeout(SOON, asking).await.is_ok());
    for mut one in held {
        assert!(hung_up(&mut one).await);
    }
    let mut again = connect().await;
    again.write_all(b"GET /x HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(SOON, again.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}

#[tokio::test]
async fn a_thousand_opens_and_resets_harm_nobody() {
    let server = Server::start().await;
    let identity = server.executor("web-1").await;
    let channel = executor_channel(&server, Some(&identity)).await.unwrap();
    for _ in 0..1000 {
        // Dropped before its answer: HTTP/2 resets the stream. The server may end the connection for it.
        let _ = timeout(Duration::from_micros(200), probe(&channel)).await;
    }
    let fresh = timeout(SOON, executor_channel(&server, Some(&identity))).await.unwrap().unwrap();
    let answered = timeout(SOON, probe(&fresh)).await.unwrap();
    // The same executor may have used its own share up; others are served.
    if answered.is_err() {
        let other = server.executor("web-2").await;
        probe(&executor_channel(&server, Some(&other)).await.unwrap()).await.unwrap();
    }
}
