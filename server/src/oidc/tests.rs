//! Who gets in, and what a file may say.

use domain::sign_in::Identity;
use domain::{OrganizationId, Role, Timestamp};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::token::{Expected, Person, Refused, judge};
use super::{Mapping, read};

const NOW: i64 = 1_800_000_000;

/// A provider's key and its public half.
struct Signer {
    key: EncodingKey,
    keys: JwkSet,
}

impl Signer {
    fn new(key_id: &str) -> Self {
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        let point = pair.public_key_raw();
        let part = |bytes: &[u8]| {
            use base64::Engine as _;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
        };
        let jwk =
            json!({"kty": "EC", "crv": "P-256", "kid": key_id, "x": part(&point[1..33]), "y": part(&point[33..65])});
        Self { key, keys: serde_json::from_value(json!({"keys": [jwk]})).expect("a set of keys") }
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.key).expect("a token")
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example", "aud": "novacula", "sub": "ann", "nonce": "n1", "exp": NOW + 300, "iat": NOW - 5,
        "email": "ann@acme.example", "groups": ["staff", "sre"],
    })
}

fn roles() -> Vec<Mapping> {
    let acme = || OrganizationId::new("acme").expect("a label");
    let row = |claim: &str, value: &str, role| Mapping { claim: claim.to_owned(), value: value.to_owned(), role };
    vec![
        row("groups", "sre", Role::Admin(acme())),
        row("groups", "staff", Role::Member(acme())),
        row("email", "bot@acme.example", Role::Publisher),
    ]
}

fn judged(text: &str, keys: &JwkSet) -> Result<Person, Refused> {
    let roles = roles();
    let now = Timestamp::from_micros(NOW * 1_000_000);
    judge(text, keys, Expected { issuer: "https://id.example", client_id: "novacula", nonce: "n1", roles: &roles, now })
}

/// What becomes of the claims once `change` had its way with them.
fn with(change: impl FnOnce(&mut Value)) -> Result<Person, Refused> {
    let signer = Signer::new("k1");
    let mut claims = claims();
    change(&mut claims);
    judged(&signer.sign(&claims), &signer.keys)
}

#[test]
fn the_first_role_that_fits_counts() {
    let person = with(|_| {}).expect("it counts");
    assert_eq!(person.identity, Identity::new("https://id.example", "ann").expect("printable"));
    assert_eq!(person.display_name, "ann@acme.example");
    assert_eq!(person.role, Role::Admin(OrganizationId::new("acme").expect("a label")));
    let person = with(|claims| claims["groups"] = json!("staff")).expect("it counts");
    assert_eq!(person.role.as_str(), "member");
    assert_eq!(with(|claims| claims["groups"] = json!(["guests"])), Err(Refused::NoRole));
    assert_eq!(with(|claims| claims["groups"] = json!({"sre": true})), Err(Refused::NoRole));
}

#[test]
fn a_token_of_another_sign_in_issuer_client_or_time_is_refused() {
    for (claim, value, refused) in [
        ("iss", json!("https://evil.example"), Refused::Claim("iss")),
        ("aud", json!("other"), Refused::Claim("aud")),
        ("aud", json!(["other"]), Refused::Claim("aud")),
        ("aud", json!(["novacula", "other"]), Refused::Claim("azp")),
        ("azp", json!("other"), Refused::Claim("azp")),
        ("nonce", json!("n2"), Refused::Claim("nonce")),
        ("nonce", Value::Null, Refused::Claim("nonce")),
        ("sub", json!(""), Refused::Claim("sub")),
        ("exp", json!(NOW - 60), Refused::Time),
        ("exp", Value::Null, Refused::Claim("exp")),
        ("iat", json!(NOW + 61), Refused::Time),
        ("exp", json!(i64::MIN), Refused::Time),
    ] {
        assert_eq!(with(|claims| claims[claim] = value.clone()), Err(refused), "{claim} {value}");
    }
}

#[test]
fn what_another_key_signed_or_none_is_refused() {
    let (signer, other) = (Signer::new("k1"), Signer::new("k1"));
    let text = signer.sign(&claims());
    assert_eq!(judged(&text, &other.keys), Err(Refused::Unproven));
    assert_eq!(judged(&text, &Signer::new("k2").keys), Err(Refused::Unproven));
    let (_, rest) = text.split_once('.').expect("three parts");
    let unsigned = "eyJhbGciOiJub25lIn0";
    assert_eq!(judged(&format!("{unsigned}.{rest}"), &signer.keys), Err(Refused::Unproven));
    // HMAC with what everybody knows.
    let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) };
    let public = serde_json::to_vec(&signer.keys).expect("JSON");
    let forged = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(&public)).expect("a token");
    assert_eq!(judged(&forged, &signer.keys), Err(Refused::Unproven));
    for text in ["", "a.b.c", &"a".repeat(70_000)] {
        assert_eq!(judged(text, &signer.keys), Err(Refused::Unproven));
    }
}

#[test]
fn the_example_is_a_good_file_beside_its_secrets() {
    let example = include_str!("../../../deploy/examples/oidc.toml");
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("oidc-client-secret"), "hunter2\n").expect("written");
    let pair = rcgen::KeyPair::generate().expect("a key");
    let certificate = rcgen::CertificateParams::new(vec!["id.example.com".to_owned()]).expect("a name");
    std::fs::write(at("id-ca.pem"), certificate.self_signed(&pair).expect("signed").pem()).expect("written");
    std::fs::write(at("oidc.toml"), example).expect("written");
    let provider = read(&at("oidc.toml")).expect("no mistake");
    assert_eq!((provider.client().name.as_str(), provider.client().roles.len()), ("Example ID", 2));
    assert!(!format!("{provider:?}").contains("hunter2"), "a secret is printed");
}

#[test]
fn every_mistake_of_a_file_is_told_at_once() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("oidc.toml");
    let text = "issuer = \"http://id.example\"\nclient_id = \"\"\nredirect_uri = \"https://n.example/else\"\nscopes = [\"email\"]\n\
                client_secret_file = \"gone\"\n[[role]]\nclaim = \"groups\"\nvalue = \"sre\"\nrole = \"admin\"\n";
    std::fs::write(&path, text).expect("written");
    let told = read(&path).expect_err("mistakes").join("\n");
    for word in ["issuer", "client_id", "redirect_uri", "openid", "client_secret_file", "role 1"] {
        assert!(told.contains(word), "{word}: {told}");
    }
}
