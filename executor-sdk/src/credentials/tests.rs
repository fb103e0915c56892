//! Credentials survive crashes and lost answers, and are refused when they do not fit together.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use domain::join::Endpoint;
use proptest::prelude::*;

use super::store::{FILE, PENDING};
use super::*;

struct Authority {
    certificate: rcgen::Certificate,
    issuer: rcgen::Issuer<'static, KeyPair>,
}

fn authority() -> Authority {
    let key = KeyPair::generate().expect("a key");
    let mut parameters = CertificateParams::default();
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = parameters.self_signed(&key).expect("a certificate");
    Authority { certificate, issuer: rcgen::Issuer::new(parameters, key) }
}

fn issued(authority: &Authority, key: &PendingKey) -> String {
    CertificateParams::default().signed_by(&key.pair, &authority.issuer).expect("a certificate").pem()
}

fn identity() -> Identity {
    let endpoint: Endpoint = "localhost:7444".parse().expect("an endpoint");
    Identity {
        uid: "7b1f1f4e-29a6-4b61-8f3a-5a1c0e9d7c01".parse().expect("a uid"),
        executor: "organizations/acme/executors/web-1".parse().expect("a name"),
        endpoints: vec![endpoint],
    }
}

#[test]
fn a_set_reads_back_and_is_nobody_elses_to_read() {
    let home = tempfile::tempdir().expect("a directory");
    let store = CredentialStore::new(home.path());
    assert!(matches!(store.load(), Err(Error::NotEnrolled { .. })));
    let (authority, key) = (authority(), store.pending_key().expect("a key"));
    let credentials =
        Credentials::new(identity(), &key, issued(&authority, &key), authority.certificate.pem()).expect("fits");
    store.save(&credentials).expect("saves");
    let read = store.load().expect("reads");
    assert_eq!(
        (read.uid, &read.executor, read.chain(), read.trust()),
        (credentials.uid, &credentials.executor, credentials.chain(), credentials.trust())
    );
    let mode = fs::metadata(home.path().join(FILE)).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!home.path().join(PENDING).exists(), "the key has its certificate");
    assert!(!format!("{read:?}").contains("PRIVATE"));
}

#[test]
fn a_key_stays_the_same_until_its_certificate_is_kept() {
    let home = tempfile::tempdir().expect("a directory");
    let store = CredentialStore::new(home.path());
    let first = store.pending_key().expect("a key");
    let again = CredentialStore::new(home.path()).pending_key().expect("the same key");
    assert_eq!(first.pair.public_key_raw(), again.pair.public_key_raw());
    let mode = fs::metadata(home.path().join(PENDING)).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::write(home.path().join(PENDING), "torn").expect("writes");
    let new = store.pending_key().expect("a new key");
    assert_ne!(first.pair.public_key_raw(), new.pair.public_key_raw());
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let key = CredentialStore::new(one.path()).pending_key().expect("a key");
    let other = CredentialStore::new(two.path()).pending_key().expect("a key");
    let authority = authority();
    let (chain, trust) = (issued(&authority, &key), authority.certificate.pem());
    let refused = |key: &PendingKey, chain: &str, trust: &str| {
        Credentials::new(identity(), key, chain.to_owned(), trust.to_owned()).expect_err("refused").to_string()
    };
    assert!(refused(&other, &chain, &trust).contains("another key"));
    assert!(refused(&key, "", &trust).contains("chain is empty"));
    assert!(refused(&key, &chain, "").contains("trust bundle is empty"));
    assert!(
        refused(&key, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &trust)
            .contains("cannot be read")
    );
}

#[test]
fn a_signing_request_asks_for_no_name() {
    let home = tempfile::tempdir().expect("a directory");
    let key = CredentialStore::new(home.path()).pending_key().expect("a key");
    let request = key.signing_request().expect("a request");
    let (_, request) =
        x509_parser::certification_request::X509CertificationRequest::from_der(&request).expect("parses");
    assert!(request.requested_extensions().is_none_or(|extensions| extensions.count() == 0));
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[test]
fn renewal_is_due_from_a_third_of_the_life_on() {
    let begin = Timestamp::EPOCH.plus(DAY * 1000);
    let validity = Validity { not_before: begin, not_after: begin.plus(DAY * 30) };
    assert_eq!(validity.renew_in(begin, 0.0), DAY * 10);
    assert_eq!(validity.renew_in(begin.plus(DAY * 4), 1.0), DAY * 9);
    assert_eq!(validity.renew_in(begin.plus(DAY * 14), 1.0), Duration::ZERO);
    assert_eq!(validity.renew_in(begin.plus(DAY * 90), 0.5), Duration::ZERO, "late");
    assert_eq!(validity.renew_in(Timestamp::EPOCH, 0.0), DAY * 10, "a clock that was set back");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Credentials::parse(&bytes);
    }
}
