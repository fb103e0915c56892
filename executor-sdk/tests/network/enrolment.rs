//! Enrolment, renewal and the handshake: who is trusted, and what is said when nobody is.

use domain::join::Endpoint;
use domain::{JoinSecret, JoinTokenId, Sha256};
use novacula_executor_sdk::connect::{self, Cause};
use novacula_executor_sdk::credentials::{self, CredentialStore};
use novacula_executor_sdk::enrol::{ClusterWord, Error, enrol, enrol_by_cluster, once, renew};
use novacula_executor_sdk::probe::probe;

use crate::authority::{Authority, UID};
use crate::control_plane::ControlPlane;

fn join(authority: Sha256, endpoint: &Endpoint) -> JoinSecret {
    JoinSecret {
        token: JoinTokenId::new("rack-4").expect("a label"),
        authority,
        secret: domain::secret::Secret::new([7; 32]),
        endpoint: endpoint.clone(),
    }
}

fn cause(error: &connect::Error) -> &Cause {
    let connect::Error::Dial { cause, .. } = error else { panic!("{error:?}") };
    cause
}

#[tokio::test]
async fn a_join_token_gets_credentials_that_open_the_door() {
    let (authority, home) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let control_plane = ControlPlane::new(&authority).await;
    let store = CredentialStore::new(home.path());
    let credentials = enrol(&join(authority.pin(), &control_plane.endpoint), None, &store).await.expect("enrolled");
    assert_eq!(credentials.uid.to_string(), UID);
    let read = store.load().expect("kept");
    probe(&read).await.expect("let in");
}

#[tokio::test]
async fn a_program_that_is_started_with_its_token_every_time_enrols_once() {
    let (authority, home) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let control_plane = ControlPlane::new(&authority).await;
    let store = CredentialStore::new(home.path());
    let nothing = once(None, &store).await.expect_err("no token, no credentials");
    assert!(matches!(nothing, Error::Credentials(credentials::Error::NotEnrolled { .. })), "{nothing:?}");
    let join = join(authority.pin(), &control_plane.endpoint);
    for token in [Some(&join), Some(&join), None] {
        assert_eq!(once(token, &store).await.expect("enrolled").uid.to_string(), UID);
    }
    assert_eq!(control_plane.office.asked.lock().expect("not poisoned").len(), 1, "the token is not used up");
}

#[tokio::test]
async fn a_man_in_the_middle_at_enrolment() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let home = tempfile::tempdir().expect("a directory");
    let middle = ControlPlane::new(&stranger).await;
    let store = CredentialStore::new(home.path());
    let error = enrol(&join(authority.pin(), &middle.endpoint), None, &store).await.expect_err("refused");
    assert!(matches!(error, Error::NotPinned { .. }), "{error:?}");
    assert!(middle.office.asked.lock().expect("not poisoned").is_empty(), "it got neither token nor request");
    assert!(store.load().is_err());
}

fn word(authorities: String, endpoint: &Endpoint) -> ClusterWord {
    ClusterWord { token: "a.b.c\n".to_owned().into(), endpoint: endpoint.clone(), authorities }
}

#[tokio::test]
async fn a_cluster_s_word_gets_credentials_from_the_authority_that_was_given_beside_it() {
    let (authority, home) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let control_plane = ControlPlane::new(&authority).await;
    let store = CredentialStore::new(home.path());
    let word = word(authority.pem(), &control_plane.endpoint);
    *control_plane.office.lose.lock().expect("not poisoned") = 1;
    enrol_by_cluster(&word, None, &store).await.expect_err("the answer is lost");
    enrol_by_cluster(&word, None, &store).await.expect("enrolled");
    probe(&store.load().expect("kept")).await.expect("let in");
}

#[tokio::test]
async fn a_cluster_s_word_is_shown_to_no_other_authority() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let home = tempfile::tempdir().expect("a directory");
    let middle = ControlPlane::new(&stranger).await;
    let store = CredentialStore::new(home.path());
    for authorities in [authority.pem(), String::new()] {
        let error = enrol_by_cluster(&word(authorities, &middle.endpoint), None, &store).await.expect_err("refused");
        assert!(matches!(error, Error::NotPinned { .. }), "{error:?}");
    }
    let garbled = word("-----BEGIN CERTIFICATE-----\n!".to_owned(), &middle.endpoint);
    let error = enrol_by_cluster(&garbled, None, &store).await.expect_err("refused");
    assert!(matches!(error, Error::Answer { field: "authorities", .. }), "{error:?}");
    assert!(middle.office.asked.lock().expect("not poisoned").is_empty(), "it got neither token nor request");
    assert!(store.load().is_err());
}

#[tokio::test]
async fn the_authority_of_the_token_under_another_name_is_refused() {
    let (authority, home) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let other = ControlPlane::named(&authority, "elsewhere.example").await;
    let store = CredentialStore::new(home.path());
    let error = enrol(&join(authority.pin(), &other.endpoint), None, &store).await.expect_err("refused");
    let Error::Connect(error) = error else { panic!("{error:?}") };
    assert_eq!(cause(&error), &Cause::OtherName);
}

#[tokio::test]
async fn enrolment_whose_answer_is_lost_is_repeated_with_the_same_key() {
    let (authority, home) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let control_plane = ControlPlane::new(&authority).await;
    *control_plane.office.lose.lock().expect("not poisoned") = 1;
    let join = join(authority.pin(), &control_plane.endpoint);
    let store = CredentialStore::new(home.path());
    assert!(matches!(enrol(&join, None, &store).await, Err(Error::Connect(connect::Error::Answer { .. }))));
    enrol(&join, None, &CredentialStore::new(home.path())).await.expect("enrolled");
    let asked = control_plane.office.asked.lock().expect("not poisoned").clone();
    let key = |request: &[u8]| {
        let (_, request) = x509_parser::prelude::FromDer::from_der(request).expect("parses");
        let request: x509_parser::certification_request::X509CertificationRequest<'_> = request;
        request.certification_request_info.subject_pki.raw.to_vec()
    };
    assert_eq!(key(&asked[0]), key(&asked[1]));
}

#[tokio::test]
async fn renewal_uses_a_new_key_and_leaves_the_old_set_when_it_fails() {
    let (authority, home) = (Authority::new(), tempfile::tempdir().expect("a directory"));
    let control_plane = ControlPlane::new(&authority).await;
    let store = CredentialStore::new(home.path());
    let credentials = authority.enrolled(&store, &control_plane.endpoint, 1);
    let tls = connect::tls(&credentials).expect("TLS");
    let connection = connect::dial(&control_plane.endpoint, tls).await.expect("dialled");
    *control_plane.office.lose.lock().expect("not poisoned") = 1;
    renew(&connection, &credentials, &store).await.expect_err("lost");
    assert_eq!(store.load().expect("kept").chain(), credentials.chain());
    let renewed = renew(&connection, &credentials, &store).await.expect("renewed");
    assert_ne!(renewed.chain(), credentials.chain());
    assert_eq!(store.load().expect("kept").chain(), renewed.chain());
    probe(&renewed).await.expect("let in");
}

#[tokio::test]
async fn what_keeps_us_out_is_said_in_words() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let home = tempfile::tempdir().expect("a directory");
    let store = CredentialStore::new(home.path());
    let ours = ControlPlane::new(&authority).await;
    let theirs = ControlPlane::new(&stranger).await;

    let credentials = authority.enrolled(&store, &theirs.endpoint, 30);
    let error = probe(&credentials).await.expect_err("another authority");
    assert_eq!(cause(&error), &Cause::NotTrusted);

    let expired = authority.enrolled(&store, &ours.endpoint, -1);
    let error = probe(&expired).await.expect_err("expired");
    assert_eq!(cause(&error), &Cause::Refused(rustls::AlertDescription::CertificateExpired), "{error}");

    let closed: Endpoint = "localhost:1".parse().expect("an endpoint");
    let nobody = authority.enrolled(&store, &closed, 30);
    let error = probe(&nobody).await.expect_err("nobody listens");
    assert!(matches!(cause(&error), Cause::Unreachable(_)), "{error}");

    let nowhere: Endpoint = "no-such-host.invalid:7444".parse().expect("an endpoint");
    let nowhere = authority.enrolled(&store, &nowhere, 30);
    let error = probe(&nowhere).await.expect_err("no such name");
    assert!(matches!(cause(&error), Cause::Name | Cause::Other(_)), "{error}");
}
