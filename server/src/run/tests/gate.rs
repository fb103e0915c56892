//! Who passes the executor listener's gate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::{ExecutorUid, Reason, Role};
use rcgen::KeyPair;
use rustls::client::Resumption;
use tonic::Code;

use super::client::{self, Http2, Identity, call, config, executor_channel, probe, reason};
use super::harness::{DAY, Server, csr, id};
use crate::tls::authority::Authority;
use crate::tls::authority::issue::ServerName;
use crate::tls::authority::request::KeyRequest;

const HOUR: Duration = Duration::from_secs(3600);

const PROBE: &str = "/novacula.v1.SyncService/Probe";

/// Whether an identity reaches a handler: the handshake or the probe may refuse it.
async fn gets_in(server: &Server, identity: &Identity) -> bool {
    match executor_channel(server, Some(identity)).await {
        Ok(channel) => probe(&channel).await.is_ok(),
        Err(_) => false,
    }
}

#[tokio::test]
async fn foreign_certificates_do_not_get_in() {
    let server = Server::start().await;
    let now = server.app.now().await.unwrap();
    let key = KeyPair::generate().unwrap();
    let request = KeyRequest::parse(&csr(&key)).unwrap();
    let uid = ExecutorUid::new(uuid::Uuid::from_u128(1));
    let folder = tempfile::tempdir().unwrap();
    let foreign = Authority::load(folder.path(), None, "novacula.internal", now).unwrap();
    let foreign = foreign.issue_executor(&request, &id("acme"), uid, 30 * DAY, now).unwrap();
    assert!(!gets_in(&server, &Identity::new(&foreign.chain_pem, &key)).await, "a foreign authority");
    let leaf = server.app.authority().issue_server(&[ServerName::Dns("x".to_owned())], now).unwrap();
    let server_leaf = Identity { chain: leaf.chain, key: leaf.key };
    assert!(!gets_in(&server, &server_leaf).await, "a server-only leaf");
    // Signed by our authority, and never written down: a forger who had the key for a moment.
    let unknown = server.app.authority().issue_executor(&request, &id("acme"), uid, 30 * DAY, now).unwrap();
    assert!(!gets_in(&server, &Identity::new(&unknown.chain_pem, &key)).await, "a certificate the store does not know");
    assert!(gets_in(&server, &server.executor("web-1").await).await, "an enrolled one");
}

#[tokio::test]
async fn a_certificate_of_the_lost_hour_is_believed_and_no_other() {
    let server = Server::start().await;
    server.executor("web-1").await;
    let name = "organizations/acme/executors/web-1".parse().unwrap();
    let executor = server.app.store.executor_get(&name).await.unwrap().unwrap();
    let key = KeyPair::generate().unwrap();
    let request = KeyRequest::parse(&csr(&key)).unwrap();
    let now = server.app.now().await.unwrap();
    let issue = |organization: &str, uid, later| {
        let time = now.plus(later);
        server.app.authority().issue_executor(&request, &id(organization), uid, 30 * DAY, time).unwrap().chain_pem
    };
    let renewed = issue("acme", executor.uid, HOUR / 2);
    let (foreign, stranger) = (issue("other", executor.uid, HOUR / 2), ExecutorUid::new(uuid::Uuid::from_u128(9)));
    let (stranger, late) = (issue("acme", stranger, HOUR / 2), issue("acme", executor.uid, HOUR * 3 / 2));
    // All of them are in their time.
    server.clock.forward(3 * HOUR);
    let is_in = async |chain: &str| gets_in(&server, &Identity::new(chain, &key)).await;
    assert!(!is_in(&renewed).await, "nothing was restored");
    // What was restored knows the enrolment of three hours ago, and was restored two hours ago.
    server.app.store.restore_note(now.plus(HOUR)).await.unwrap();
    assert!(!is_in(&foreign).await, "of another organization");
    assert!(!is_in(&stranger).await, "of an executor that the backup does not know");
    assert!(!is_in(&late).await, "issued after the restore");
    assert!(is_in(&renewed).await && is_in(&renewed).await, "it is written, and stays");
    server.deactivate("web-1").await;
    assert!(!is_in(&renewed).await, "it may be refused like any other");
}

#[tokio::test]
async fn a_resumed_tls_session_after_deactivation_is_refused() {
    let server = Server::start().await;
    let identity = server.executor("web-1").await;
    let mut tls = config(&server, Some(&identity), &[b"h2"]);
    tls.resumption = Resumption::in_memory_sessions(16);
    let tls = Arc::new(tls);
    let connect = async || {
        let stream = client::tls(server.bound.executor_addr, Arc::clone(&tls)).await.unwrap();
        let kind = stream.get_ref().1.handshake_kind();
        (Http2::over(stream).await.unwrap(), kind)
    };
    let (open, _) = connect().await;
    probe(&open).await.unwrap();
    server.deactivate("web-1").await;
    let refused = probe(&open).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ExecutorDeactivated), "on the connection that was open");
    let (again, kind) = connect().await;
    let refused = probe(&again).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ExecutorDeactivated), "on a new one, {kind:?}");
    assert_eq!(kind, Some(rustls::HandshakeKind::Full), "tickets are off on this listener");
}

/// What is asked of which listener, with a certificate or a token, and what the answer is.
type Case<'a> = (&'a str, SocketAddr, Option<&'a Identity>, &'a str, Option<&'a str>, Code);

async fn check(server: &Server, cases: &[Case<'_>]) {
    for (what, address, identity, path, token, code) in cases {
        let tls = config(server, *identity, &[b"h2"]);
        assert_eq!(call(*address, tls, path, *token).await.0, *code, "{what}");
    }
}

const REQUEST_UPGRADE: &str = "/novacula.v1.UpgradeService/RequestUpgrade";
const SYNC: &str = "/novacula.v1.SyncService/SyncExecutor";
const RENEW: &str = "/novacula.v1.EnrollmentService/RenewCertificate";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const NOBODY: &str = "/nobody.Service/Method";

#[tokio::test]
async fn the_api_listener_offers_only_its_own() {
    let server = Server::start().await;
    let identity = server.executor("web-1").await;
    let executor = Some(&identity);
    let api = server.bound.api_addr;
    let (unauthenticated, unimplemented) = (Code::Unauthenticated, Code::Unimplemented);
    let own = ("an executor calling the API", api, executor, REQUEST_UPGRADE, None, unauthenticated);
    let foreign = ("an executor's RPC", api, executor, PROBE, None, unimplemented);
    let nobody = ("an unknown service", api, None, NOBODY, None, unimplemented);
    check(&server, &[own, foreign, nobody]).await;
}

#[tokio::test]
async fn the_executor_listener_offers_only_its_own() {
    let server = Server::start().await;
    let token = server.bearer("ci", Role::Owner(id("acme"))).await;
    let token = Some(token.as_str());
    let at = server.bound.executor_addr;
    let (unauthenticated, unimplemented) = (Code::Unauthenticated, Code::Unimplemented);
    let person = ("a person's token", at, None, PROBE, token, unauthenticated);
    let api = ("an RPC of the API", at, None, REQUEST_UPGRADE, token, unimplemented);
    let stream = ("a stream without a certificate", at, None, SYNC, None, unauthenticated);
    let renewal = ("a renewal without a certificate", at, None, RENEW, None, unauthenticated);
    let nobody = ("an unknown service", at, None, NOBODY, None, unimplemented);
    let reflection = ("reflection", at, None, REFLECTION, None, unimplemented);
    check(&server, &[person, api, stream, renewal, nobody, reflection]).await;
}
