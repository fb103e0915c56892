//! The API listener: tokens, pages, request ids, reflection, drain.

use std::time::Duration;

use domain::{Role, TokenId};
use tonic::Code;

use super::client::{call, config, executor_channel, get, probe};
use super::harness::{DAY, Server, id};
use crate::observe::metrics::Metric;

const WHO_AM_I: &str = "/novacula.v1.OrganizationService/WhoAmI";

#[tokio::test]
async fn a_token_counts_until_it_is_revoked_or_expires_and_not_a_moment_longer() {
    let server = Server::start().await;
    let token = server.bearer("ci", Role::Owner(id("acme"))).await;
    let who = async |token: Option<&str>| {
        call(server.bound.api_addr, config(&server, None, &[b"h2"]), WHO_AM_I, token).await.0
    };
    let other = server.bearer("other", Role::Publisher).await;
    let swapped = other.replace("nvt_other", "nvt_ci");
    for bad in [None, Some(""), Some("nvt_"), Some(swapped.as_str()), Some(&token[..token.len() - 1])] {
        assert_eq!(who(bad).await, Code::Unauthenticated, "{bad:?}");
    }
    assert_ne!(who(Some(&token)).await, Code::Unauthenticated);
    let now = server.app.now().await.unwrap();
    server.app.store.token_revoke(&TokenId::new("ci").unwrap(), now, &[]).await.unwrap();
    assert_eq!(who(Some(&token)).await, Code::Unauthenticated, "revoked");
    assert_ne!(who(Some(&other)).await, Code::Unauthenticated);
    server.clock.forward(2 * DAY);
    assert_eq!(who(Some(&other)).await, Code::Unauthenticated, "expired");
}

#[tokio::test]
async fn guessers_of_tokens_are_slowed_down() {
    let server = Server::start().await;
    let valid = server.bearer("ci", Role::Publisher).await;
    let revoked = server.bearer("cron", Role::Publisher).await;
    let now = server.app.now().await.unwrap();
    server.app.store.token_revoke(&TokenId::new("cron").unwrap(), now, &[]).await.unwrap();
    let call = async |token: &str| {
        let tls = config(&server, None, &[b"h2"]);
        call(server.bound.api_addr, tls, WHO_AM_I, Some(token)).await.0
    };
    for guess in [revoked.as_str(), "nvt_x_1"] {
        let mut seen = Vec::new();
        for _ in 0..80 {
            seen.push(call(guess).await);
            if seen.last() == Some(&Code::ResourceExhausted) {
                break;
            }
        }
        assert_eq!(seen.last(), Some(&Code::ResourceExhausted), "{} tries", seen.len());
        let answer = call(&valid).await;
        assert!(
            !matches!(answer, Code::ResourceExhausted | Code::Unauthenticated),
            "whoever shares the address: {answer:?}"
        );
    }
}

#[tokio::test]
async fn pages_for_monitors_need_no_token() {
    let server = Server::start().await;
    let page = async |path: &'static str| {
        let tls = config(&server, None, &[b"http/1.1"]);
        let (answer, body) = get(server.bound.api_addr, tls, path, &[]).await;
        (answer.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    };
    assert_eq!(page("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(page("/readyz").await, (200, "ready\n".to_owned()));
    let (code, text) = page("/metrics").await;
    assert_eq!(code, 200);
    assert!(text.contains(Metric::Store.name()), "{text}");
    for unknown in ["/nowhere", "/artifacts/", "/novacula.v1.Nobody/WhoAmI"] {
        assert_eq!(page(unknown).await.0, 404, "{unknown}");
    }
}

#[tokio::test]
async fn every_answer_carries_a_request_id() {
    let server = Server::start().await;
    let tls = || config(&server, None, &[b"http/1.1"]);
    let (answer, _) = get(server.bound.api_addr, tls(), "/healthz", &[("x-request-id", "mine-1")]).await;
    assert_eq!(answer.headers.get("x-request-id").unwrap(), "mine-1");
    let (answer, _) =
        get(server.bound.api_addr, tls(), "/healthz", &[("x-request-id", "not printable at all: \u{e9}")]).await;
    assert_eq!(answer.headers.get("x-request-id").unwrap().len(), 36);
    let (code, headers) = call(server.bound.api_addr, config(&server, None, &[b"h2"]), WHO_AM_I, None).await;
    assert_eq!(code, Code::Unauthenticated);
    assert_eq!(headers.get("x-request-id").unwrap().len(), 36);
}

#[tokio::test]
async fn health_is_served_and_connections_do_not_hold_up_the_drain() {
    let server = Server::start().await;
    let tls = || config(&server, None, &[b"h2"]);
    let (code, _) = call(server.bound.api_addr, tls(), "/grpc.health.v1.Health/Check", None).await;
    assert_eq!(code, Code::Ok);
    let identity = server.executor("web-1").await;
    let idle = executor_channel(&server, Some(&identity)).await.unwrap();
    probe(&idle).await.unwrap();
    assert!(server.stop().await < Duration::from_secs(4));
    assert!(probe(&idle).await.is_err());
}

#[tokio::test]
async fn a_denied_access_is_in_the_audit_log() {
    let server = Server::start().await;
    let token = server.bearer("looker", Role::Member(id("acme"))).await;
    let tls = config(&server, None, &[b"h2"]);
    let path = "/novacula.v1.OrganizationService/ListTokens";
    let (code, _) = call(server.bound.api_addr, tls, path, Some(&token)).await;
    assert_eq!(code, Code::PermissionDenied);
    let query = store::EventQuery {
        organization: Some(id("acme")),
        kinds: vec!["access.denied".to_owned()],
        limit: 10,
        ..store::EventQuery::default()
    };
    let rows = server.app.store.event_list(&query).await.unwrap();
    let facts: Vec<_> = rows.iter().map(|row| (row.actor.as_str(), row.target.as_str())).collect();
    assert_eq!(facts, [("tokens/looker", path)]);
}
