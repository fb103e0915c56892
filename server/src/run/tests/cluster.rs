//! Enrolment by a cluster's word, over real TLS, with the attacks on it by name.

use domain::{JoinTokenId, Reason};
use proto::v1;
use rcgen::KeyPair;
use store::{EventQuery, Page};
use tonic::{Code, Status};

use super::client::{Identity, enroll, enroll_by, executor_channel, probe, reason};
use super::harness::{Joining, Server, csr, id};
use crate::clusters::testing::{Issuer, claims_at, row};
use crate::run::World;

const EAST: &str = "organizations/acme/executors/east";

/// A control plane that trusts one cluster.
async fn scene() -> (Server, Issuer) {
    let issuer = Issuer::new("k1");
    let keys = issuer.keys().to_string();
    let server = Server::start_with(World::default(), |folder, config| {
        std::fs::write(folder.join("east.json"), &keys).unwrap();
        std::fs::write(folder.join("clusters.toml"), row("east")).unwrap();
        config.trusted_clusters = Some(folder.join("clusters.toml"));
    });
    (server.await, issuer)
}

fn token(server: &Server, issuer: &Issuer, id: &str) -> String {
    use store::Clock as _;
    let mut claims = claims_at(server.clock.now().as_micros() / 1_000_000);
    claims["jti"] = id.into();
    issuer.sign(&claims)
}

async fn join(server: &Server, token: &str, key: &KeyPair, name: &str) -> Result<v1::EnrollResponse, Status> {
    let request = v1::EnrollRequest {
        join_token: String::new(),
        certificate_signing_request: csr(key),
        executor_id: name.to_owned(),
        service_account_token: token.to_owned(),
    };
    enroll_by(server, request).await
}

#[tokio::test]
async fn a_cluster_s_word_and_a_csr_become_its_operator_and_leave_a_row() {
    let (server, issuer) = scene().await;
    let key = KeyPair::generate().unwrap();
    let issued = join(&server, &token(&server, &issuer, "j-1"), &key, "").await.unwrap();
    assert_eq!(issued.executor, EAST);
    let identity = Identity::new(&issued.certificate_chain, &key);
    probe(&executor_channel(&server, Some(&identity)).await.unwrap()).await.unwrap();
    let query = EventQuery { organization: Some(id("acme")), limit: 100, ..EventQuery::default() };
    let events = server.app.store.event_list(&query).await.unwrap();
    let event = events.iter().find(|row| row.kind == "executor.enrolled").expect("an audit row");
    assert_eq!(event.target, EAST);
    let detail = |key: &str| event.details.get(key).map(String::as_str);
    assert_eq!((detail("cluster"), detail("token_id"), detail("pod")), (Some("east"), Some("j-1"), Some("op-1")));
    assert!(detail("join_token").is_some_and(|id| id.starts_with("k8s-")), "{event:?}");
}

#[tokio::test]
async fn a_lost_answer_is_given_again_whatever_token_the_pod_has_by_then() {
    let (server, issuer) = scene().await;
    let key = KeyPair::generate().unwrap();
    let first = join(&server, &token(&server, &issuer, "j-1"), &key, "east").await.unwrap();
    assert_eq!(join(&server, &token(&server, &issuer, "j-1"), &key, "east").await.unwrap(), first);
    assert_eq!(join(&server, &token(&server, &issuer, "j-2"), &key, "").await.unwrap(), first);
}

#[tokio::test]
async fn a_stolen_token_takes_no_name_that_is_taken_and_a_replayed_one_neither() {
    let (server, issuer) = scene().await;
    let word = token(&server, &issuer, "j-1");
    let key = KeyPair::generate().unwrap();
    let own = join(&server, &word, &key, "").await.unwrap();
    for stolen in [word, token(&server, &issuer, "j-2")] {
        let refused = join(&server, &stolen, &KeyPair::generate().unwrap(), "").await.unwrap_err();
        assert_eq!((refused.code(), reason(&refused)), (Code::AlreadyExists, Some(Reason::NameTaken)));
    }
    let identity = Identity::new(&own.certificate_chain, &key);
    probe(&executor_channel(&server, Some(&identity)).await.unwrap()).await.unwrap();
}

#[tokio::test]
async fn a_cluster_s_word_is_good_for_its_own_executor_only_and_never_beside_a_join_token() {
    let (server, issuer) = scene().await;
    let key = KeyPair::generate().unwrap();
    let word = token(&server, &issuer, "j-1");
    let refused = join(&server, &word, &key, "west").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let foreign = token(&server, &Issuer::new("k1"), "j-1");
    let refused = join(&server, &foreign, &key, "").await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::Unauthenticated, Some(Reason::JoinTokenInvalid)));
    let both = v1::EnrollRequest {
        join_token: server.join_token("t1", Joining::default()).await,
        certificate_signing_request: csr(&key),
        executor_id: String::new(),
        service_account_token: word.clone(),
    };
    assert_eq!(enroll_by(&server, both).await.unwrap_err().code(), Code::InvalidArgument);
    // The token as a join token is none.
    assert_eq!(reason(&enroll(&server, &word, &csr(&key), "").await.unwrap_err()), Some(Reason::JoinTokenInvalid));
    join(&server, &word, &key, "").await.unwrap();
}

#[tokio::test]
async fn a_person_who_revokes_the_right_shuts_that_key_out() {
    let (server, issuer) = scene().await;
    let key = KeyPair::generate().unwrap();
    join(&server, &token(&server, &issuer, "j-1"), &key, "").await.unwrap();
    let page = Page::<JoinTokenId> { after: None, limit: 10 };
    let rights = server.app.store.join_token_list(&id("acme"), page).await.unwrap();
    let [right] = &rights[..] else { panic!("one right: {rights:?}") };
    assert_eq!((right.uses, right.max_uses, right.replace), (1, 1, false));
    server.app.store.join_token_revoke(&right.id, server.app.now().await.unwrap(), &[]).await.unwrap();
    let refused = join(&server, &token(&server, &issuer, "j-2"), &key, "").await.unwrap_err();
    assert!(refused.message().contains("was revoked"), "{}", refused.message());
}

#[tokio::test]
async fn the_key_of_an_operator_that_was_replaced_is_good_for_nothing_any_more() {
    let (server, issuer) = scene().await;
    let word = server.join_token("t1", Joining { executor: Some("east"), replace: true, ..Joining::default() }).await;
    let (old, new) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    join(&server, &token(&server, &issuer, "j-1"), &old, "").await.unwrap();
    enroll(&server, &word, &csr(&new), "east").await.unwrap();
    let refused = join(&server, &token(&server, &issuer, "j-2"), &old, "").await.unwrap_err();
    assert_eq!(reason(&refused), Some(Reason::JoinTokenInvalid), "{}", refused.message());
}
