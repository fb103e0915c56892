//! Enrolment and renewal over real TLS, with the attacks on them by name.

use std::time::Duration;

use domain::{ExecutorId, ExecutorName, JoinTokenId, Reason};
use rcgen::{CertificateParams, KeyPair, SanType};
use tonic::Code;

use super::client::{self, Identity, enroll, executor_channel, probe, reason, renew};
use super::harness::{DAY, Joining, Server, csr, id};

#[tokio::test]
async fn a_join_token_and_a_csr_become_an_executor_that_is_let_in() {
    let server = Server::start().await;
    let word = server.join_token("t1", Joining::default()).await;
    let key = KeyPair::generate().unwrap();
    let issued = enroll(&server, &word, &csr(&key), "web-1").await.unwrap();
    assert_eq!(issued.executor, "organizations/acme/executors/web-1");
    assert_eq!(issued.trust_bundle, server.app.authority().trust_bundle());
    let identity = Identity::new(&issued.certificate_chain, &key);
    let channel = executor_channel(&server, Some(&identity)).await.unwrap();
    assert_eq!(probe(&channel).await.unwrap().server_version, "1.0.0");
}

#[tokio::test]
async fn a_lost_answer_is_given_again_and_a_used_token_is_good_for_nobody_else() {
    let server = Server::start().await;
    let word = server.join_token("t1", Joining::default()).await;
    let key = KeyPair::generate().unwrap();
    let first = enroll(&server, &word, &csr(&key), "web-1").await.unwrap();
    // Another request with the same key: the answer to the first was lost.
    let again = enroll(&server, &word, &csr(&key), "web-1").await.unwrap();
    assert_eq!(first, again);
    let thief = KeyPair::generate().unwrap();
    let refused = enroll(&server, &word, &csr(&thief), "web-2").await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::JoinTokenInvalid));
    assert!(refused.message().contains("used up"), "{}", refused.message());
    // The same key under another name is not the same request.
    let refused = enroll(&server, &word, &csr(&key), "web-2").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_join_token_that_is_not_good_enrols_nobody() {
    let server = Server::start().await;
    let good = server.join_token("good", Joining { max_uses: 10, ..Joining::default() }).await;
    let other = server.join_token("other", Joining::default()).await;
    let expired = server.join_token("expired", Joining { life: Duration::ZERO, ..Joining::default() }).await;
    let revoked = server.join_token("revoked", Joining::default()).await;
    let id = JoinTokenId::new("revoked").unwrap();
    server.app.store.join_token_revoke(&id, server.app.now().await.unwrap(), &[]).await.unwrap();
    // The secret of one token under the id of another.
    let swapped = other.replace("_other_", "_good_").replace("nvj1_other", "nvj1_good");
    let unknown = good.replace("nvj1_good", "nvj1_ghost");
    let cases = [
        (expired, "has expired"),
        (revoked, "was revoked"),
        (swapped, "is not known here"),
        (unknown, "is not known here"),
        ("nvj1_".to_owned(), "is not known here"),
        (String::new(), "is not known here"),
    ];
    for (word, says) in cases {
        let key = KeyPair::generate().unwrap();
        let refused = enroll(&server, &word, &csr(&key), "web-1").await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, Some(Reason::JoinTokenInvalid)));
        assert!(refused.message().contains(says), "{}", refused.message());
    }
    assert!(enroll(&server, &good, &csr(&KeyPair::generate().unwrap()), "web-1").await.is_ok());
}

#[tokio::test]
async fn a_csr_that_asks_for_a_name_or_is_none_is_refused() {
    let server = Server::start().await;
    let word = server.join_token("t1", Joining::default()).await;
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let foreign = "spiffe://novacula.internal/organization/other/executor/0";
    params.subject_alt_names = vec![SanType::URI(foreign.try_into().unwrap())];
    let foreign = params.serialize_request(&key).unwrap().der().to_vec();
    for (csr, says) in
        [(foreign, "subject alternative name"), (vec![0x30, 0x80, 0xff], "PKCS#10"), (vec![0; 9000], "longer")]
    {
        let refused = enroll(&server, &word, &csr, "web-1").await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(says), "{}", refused.message());
    }
    // None of them used the token up.
    assert!(enroll(&server, &word, &csr(&key), "web-1").await.is_ok());
}

#[tokio::test]
async fn a_token_enrols_only_the_name_it_says() {
    let server = Server::start().await;
    let word = server.join_token("t1", Joining { executor: Some("web-1"), ..Joining::default() }).await;
    let key = KeyPair::generate().unwrap();
    let refused = enroll(&server, &word, &csr(&key), "web-2").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let issued = enroll(&server, &word, &csr(&key), "").await.unwrap();
    assert_eq!(issued.executor, "organizations/acme/executors/web-1");
    let free = server.join_token("t2", Joining::default()).await;
    let refused = enroll(&server, &free, &csr(&KeyPair::generate().unwrap()), "").await.unwrap_err();
    assert!(refused.message().contains("executor_id"), "{}", refused.message());
}

#[tokio::test]
async fn a_taken_name_is_replaced_only_by_a_token_that_says_so_and_the_older_one_is_out() {
    let server = Server::start().await;
    let older = server.executor("web-1").await;
    let channel = executor_channel(&server, Some(&older)).await.unwrap();
    probe(&channel).await.unwrap();
    let plain = server.join_token("plain", Joining { executor: Some("web-1"), ..Joining::default() }).await;
    let key = KeyPair::generate().unwrap();
    let refused = enroll(&server, &plain, &csr(&key), "web-1").await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::AlreadyExists, Some(Reason::NameTaken)));
    probe(&channel).await.unwrap();
    let replace = Joining { executor: Some("web-1"), replace: true, ..Joining::default() };
    let replace = server.join_token("replace", replace).await;
    let issued = enroll(&server, &replace, &csr(&key), "web-1").await.unwrap();
    // On the connection that is open, and on a new one.
    let refused = probe(&channel).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::CertificateInvalid));
    let channel = executor_channel(&server, Some(&older)).await.unwrap();
    assert_eq!(reason(&probe(&channel).await.unwrap_err()), Some(Reason::CertificateInvalid));
    let newer = Identity::new(&issued.certificate_chain, &key);
    probe(&executor_channel(&server, Some(&newer)).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn renewal_keeps_the_uid_and_the_older_certificate_until_its_end() {
    let server = Server::start().await;
    let older = server.executor("web-1").await;
    let channel = executor_channel(&server, Some(&older)).await.unwrap();
    let name = ExecutorName { organization: id("acme"), executor: ExecutorId::new("web-1").unwrap() };
    let before = server.app.store.executor_get(&name).await.unwrap().unwrap();
    let key = KeyPair::generate().unwrap();
    let renewed = renew(&channel, &csr(&key)).await.unwrap();
    let newer = Identity::new(&renewed.certificate_chain, &key);
    probe(&executor_channel(&server, Some(&newer)).await.unwrap()).await.unwrap();
    probe(&channel).await.unwrap();
    assert_eq!(server.app.store.executor_get(&name).await.unwrap().unwrap().uid, before.uid);
}

#[tokio::test]
async fn a_late_certificate_is_good_for_its_renewal_and_nothing_else() {
    let server = Server::start().await;
    let identity = server.executor("web-1").await;
    server.clock.forward(60 * DAY);
    let channel = executor_channel(&server, Some(&identity)).await.unwrap();
    let refused = probe(&channel).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, Some(Reason::CertificateInvalid)));
    let tls = client::config(&server, Some(&identity), &[b"http/1.1"]);
    let artifact = format!("/artifacts/{}", "0".repeat(64));
    let (answer, _) = client::get(server.bound.executor_addr, tls, &artifact, &[]).await;
    assert_eq!(answer.status, 401);
    let key = KeyPair::generate().unwrap();
    let renewed = renew(&channel, &csr(&key)).await.unwrap();
    let newer = Identity::new(&renewed.certificate_chain, &key);
    probe(&executor_channel(&server, Some(&newer)).await.unwrap()).await.unwrap();
    // Too late is a handshake that fails.
    server.clock.forward(200 * DAY);
    let channel = executor_channel(&server, Some(&identity)).await;
    assert!(match channel {
        Ok(channel) => renew(&channel, &csr(&key)).await.is_err(),
        Err(_) => true,
    });
}

#[tokio::test]
async fn a_deactivated_executor_renews_nothing() {
    let server = Server::start().await;
    let identity = server.executor("web-1").await;
    server.deactivate("web-1").await;
    let channel = executor_channel(&server, Some(&identity)).await.unwrap();
    let refused = renew(&channel, &csr(&KeyPair::generate().unwrap())).await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::ExecutorDeactivated));
}
