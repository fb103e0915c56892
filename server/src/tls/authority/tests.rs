//! The authority: what it makes, keeps, signs and refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use domain::{ExecutorUid, OrganizationId};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _, SanType, SigningKey as _};
use rustls_pki_types::pem::PemObject as _;
use x509_parser::extensions::GeneralName;

use super::issue::ServerName;
use super::request::{Error as RequestError, KeyRequest};
use super::*;

const NOW: Timestamp = Timestamp::from_micros(1_795_000_000_500_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn load(folder: &Path) -> Result<Authority, Error> {
    Authority::load(folder, None, "novacula", NOW)
}

fn request(key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
    let mut params = CertificateParams::default();
    change(&mut params);
    params.serialize_request(key).expect("a request").der().to_vec()
}

fn key(kind: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(kind).expect("a key")
}

#[test]
fn an_own_authority_is_made_once_and_its_key_is_private() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = load(folder.path()).expect("made");
    let mode = fs::metadata(folder.path().join(OWN_FILE)).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = load(folder.path()).expect("loaded");
    assert_eq!(first.public_key_sha256(), again.public_key_sha256());
    // A crash between the two files, or a person, took ca.pem away.
    fs::remove_file(folder.path().join(BUNDLE_FILE)).expect("removed");
    load(folder.path()).expect("loaded");
    assert_eq!(fs::read_to_string(folder.path().join(BUNDLE_FILE)).expect("there"), first.trust_bundle());
    assert!(!first.trust_bundle().contains("PRIVATE"));
}

#[test]
fn an_unreadable_authority_is_never_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    load(folder.path()).expect("made");
    let path = folder.path().join(OWN_FILE);
    for broken in ["", "-----BEGIN", "not PEM at all"] {
        fs::write(&path, broken).expect("written");
        assert!(load(folder.path()).is_err(), "{broken:?}");
        assert_eq!(fs::read_to_string(&path).expect("there"), broken);
    }
}

#[test]
fn a_given_authority_must_be_one_and_own_its_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let own = load(folder.path()).expect("made");
    let leaf = own.issue_server(&[ServerName::Dns("localhost".to_owned())], NOW).expect("issued");
    fs::write(path("leaf.pem"), pem("CERTIFICATE", &leaf.chain[0])).expect("written");
    fs::write(path("leaf.key"), pem("PRIVATE KEY", leaf.key.secret_der())).expect("written");
    let given = |certificate: &str, key: &str| {
        let files = Files { certificate: path(certificate), key: path(key) };
        Authority::load(folder.path(), Some(&files), "novacula", NOW).map(|authority| authority.public_key_sha256())
    };
    assert_eq!(given(OWN_FILE, OWN_FILE).expect("loaded"), own.public_key_sha256());
    let refusals = [
        (given("leaf.pem", "leaf.key"), "must begin with an authority's certificate"),
        (given("ca.pem", "leaf.key"), "is not the key of the certificate"),
        (given("ca.pem", "ca.pem"), "holds no private key"),
        (given("leaf.key", "leaf.key"), "holds no certificate"),
        (given("absent", "leaf.key"), "read"),
    ];
    for (refusal, words) in refusals {
        let text = refusal.expect_err(words).to_string();
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn an_executor_certificate_says_who_and_is_for_clients_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = load(folder.path()).expect("made");
    let uid = ExecutorUid::new(uuid::Uuid::from_u128(7));
    let acme = OrganizationId::new("acme").expect("a label");
    for kind in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let key = key(kind);
        let asked = KeyRequest::parse(&request(&key, |_| {})).expect("fine");
        let issued = authority.issue_executor(&asked, &acme, uid, 30 * DAY, NOW).expect("issued");
        let der = CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).expect("PEM");
        let certificate = certificate_of(&der).expect("parses");
        assert_eq!(sha256(&der), issued.fingerprint);
        assert_eq!(sha256(&key.subject_public_key_info()), issued.public_key_sha256);
        let names = certificate.subject_alternative_name().expect("valid").expect("there");
        let uri = format!("spiffe://novacula/organization/acme/executor/{uid}");
        assert_eq!(names.value.general_names, [GeneralName::URI(&uri)]);
        let usage = certificate.extended_key_usage().expect("valid").expect("there").value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        assert_eq!(issued.not_after, timestamp(1_795_000_000).plus(30 * DAY));
        assert_eq!(timestamp(certificate.validity().not_after.timestamp()), issued.not_after);
        assert_eq!(timestamp(certificate.validity().not_before.timestamp()), issued.not_before);
        assert!(issued.not_before < NOW.minus(SKEW / 2));
    }
}

#[test]
fn nothing_outlives_the_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = load(folder.path()).expect("made");
    let late = authority.servers.not_after().minus(DAY);
    let server = authority.issue_server(&[], late).expect("issued");
    assert_eq!(server.not_after, authority.servers.not_after());
}

#[test]
fn a_csr_with_a_foreign_san_is_refused() {
    let key = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let uri = "spiffe://novacula/organization/other/executor/x".try_into().expect("ASCII");
    let der = request(&key, |params| params.subject_alt_names = vec![SanType::URI(uri)]);
    assert_eq!(KeyRequest::parse(&der).expect_err("refused"), RequestError::AlternativeName);
}

#[test]
fn a_csr_that_is_not_quite_one_is_refused() {
    let p256 = key(&rcgen::PKCS_ECDSA_P256_SHA256);
    let good = request(&p256, |_| {});
    assert!(KeyRequest::parse(&good).is_ok());
    let mut behind = good.clone();
    behind.push(0);
    let mut flipped = good.clone();
    *flipped.last_mut().expect("not empty") ^= 1;
    // Somebody else's key in a request that this key signed.
    let other = request(&key(&rcgen::PKCS_ECDSA_P256_SHA256), |_| {});
    let swapped = swap_key(&good, &p256, &other);
    let rsa = request(&key(&rcgen::PKCS_RSA_SHA256), |_| {});
    let cases = [
        (behind, RequestError::Form),
        (good[..good.len() - 1].to_vec(), RequestError::Form),
        (Vec::new(), RequestError::Form),
        (flipped, RequestError::Signature),
        (swapped, RequestError::Signature),
        (rsa, RequestError::KeyType),
        (vec![0; request::MAX_BYTES + 1], RequestError::TooLong),
    ];
    for (der, error) in cases {
        assert_eq!(KeyRequest::parse(&der).expect_err("refused"), error);
    }
    assert!(p256.sign(b"alive").is_ok());
}

/// `der` with the public key of `other` in the place of `key`'s.
fn swap_key(der: &[u8], key: &KeyPair, other: &[u8]) -> Vec<u8> {
    let point = key.der_bytes();
    let at = der.windows(point.len()).position(|window| window == point).expect("its key");
    let other = KeyRequest::parse(other).expect("fine");
    let mut swapped = der.to_vec();
    swapped[at..at + point.len()].copy_from_slice(other.public_key().der_bytes());
    swapped
}
