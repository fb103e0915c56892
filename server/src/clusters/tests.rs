//! Tokens as clusters sign them, and as thieves would like to.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::testing::{Issuer, SUBJECT, claims_at, row};
use super::*;

/// 2023-11-14T22:13:20Z.
const NOW: i64 = 1_700_000_000;

fn claims() -> Value {
    claims_at(NOW)
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

/// Clusters of these names, each with its issuer's keys.
fn trusted(issuers: &[(&str, &Issuer)]) -> (TempDir, Clusters) {
    let folder = TempDir::new().expect("a folder");
    for (name, issuer) in issuers {
        fs::write(folder.path().join(format!("{name}.json")), issuer.keys().to_string()).expect("written");
    }
    let path = folder.path().join("clusters.toml");
    fs::write(&path, issuers.iter().map(|(name, _)| row(name)).collect::<String>()).expect("written");
    let clusters = Clusters::read(&path).expect("clusters");
    (folder, clusters)
}

fn now() -> Timestamp {
    Timestamp::from_micros(NOW * 1_000_000)
}

async fn proven(clusters: &Clusters, token: &str) -> Result<(String, Vec<(&'static str, String)>), Error> {
    let vouched = clusters.prove(token, now()).await?;
    Ok((vouched.cluster.name.clone(), vouched.claims.facts()))
}

#[tokio::test]
async fn a_token_of_a_trusted_cluster_is_proven_with_its_facts() {
    let issuer = Issuer::new("k1");
    let (_folder, clusters) = trusted(&[("east", &issuer)]);
    let (cluster, facts) = proven(&clusters, &issuer.sign(&claims())).await.expect("proven");
    assert_eq!(cluster, "east");
    let fact = |key, value: &str| (key, value.to_owned());
    assert_eq!(facts, [fact("subject", SUBJECT), fact("token_id", "7"), fact("pod", "op-1")]);
    proven(&clusters, &issuer.sign(&with("aud", json!("novacula")))).await.expect("one audience as a text");
}

#[tokio::test]
async fn clusters_of_one_issuer_are_told_apart_by_their_keys() {
    let (one, two) = (Issuer::new("k1"), Issuer::new("k1"));
    let (_folder, clusters) = trusted(&[("east", &one), ("west", &two)]);
    assert_eq!(proven(&clusters, &two.sign(&claims())).await.expect("proven").0, "west");
    assert_eq!(proven(&clusters, &one.sign(&claims())).await.expect("proven").0, "east");
}

#[tokio::test]
async fn what_no_trusted_cluster_signed_is_unknown_and_nothing_is_said_of_it() {
    let (issuer, thief) = (Issuer::new("k1"), Issuer::new("k1"));
    let (_folder, clusters) = trusted(&[("east", &issuer)]);
    let good = issuer.sign(&claims());
    let parts: Vec<&str> = good.split('.').collect();
    let part = |value: Value| B64.encode(value.to_string());
    // The public key as the secret of a symmetrical algorithm.
    let secret = EncodingKey::from_secret(issuer.pair.public_key_raw());
    let confused = encode(&Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::HS256) }, &claims(), &secret);
    let other_id = Issuer { pair: KeyPair::try_from(issuer.pair.serialize_der()).expect("a key"), id: "k2" };
    for (attack, token) in [
        ("another key", thief.sign(&claims())),
        ("an unknown key id", other_id.sign(&claims())),
        ("another subject", issuer.sign(&with("sub", json!("system:serviceaccount:default:default")))),
        ("another issuer", issuer.sign(&with("iss", json!("https://elsewhere")))),
        ("other claims under the signature", format!("{}.{}.{}", parts[0], part(with("jti", json!("8"))), parts[2])),
        ("no algorithm", format!("{}.{}.", part(json!({ "alg": "none", "typ": "JWT" })), parts[1])),
        ("a confused algorithm", confused.expect("signed")),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("truncated", good[..good.len() - 2].to_owned()),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("nothing", String::new()),
        ("too long", format!("{good}{}", "A".repeat(9_000))),
    ] {
        assert_eq!(proven(&clusters, &token).await, Err(Error::Unknown), "{attack}");
    }
    proven(&clusters, &good).await.expect("the token itself is good");
}

#[tokio::test]
async fn a_proven_token_that_is_not_for_us_or_not_of_now_is_told_why() {
    let issuer = Issuer::new("k1");
    let (_folder, clusters) = trusted(&[("east", &issuer)]);
    for (claims, why) in [
        (with("aud", json!(["https://kubernetes.default.svc"])), "is not for audience \"novacula\""),
        (with("aud", Value::Null), "is not for audience"),
        (with("exp", json!(NOW - 60)), "ended 60 s ago"),
        (with("nbf", json!(NOW + 61)), "begins 61 s from now"),
        (with("exp", json!(NOW - 60 + 24 * 3600 + 1)), "longer than 24 h"),
        (with("exp", Value::Null), "longer than 24 h"),
        (with("iat", Value::Null), "longer than 24 h"),
        (with("iat", json!(i64::MIN)), "longer than 24 h"),
    ] {
        let told = match proven(&clusters, &issuer.sign(&claims)).await {
            Err(error @ Error::Refused { .. }) => error.to_string(),
            // Claims of another form are no token of a cluster.
            Err(Error::Unknown) if claims["aud"].is_null() => continue,
            other => panic!("{claims}: {other:?}"),
        };
        assert!(told.contains(why) && told.contains("\"east\""), "{why:?} in {told}");
    }
    proven(&clusters, &issuer.sign(&with("exp", json!(NOW - 59)))).await.expect("clocks differ a little");
}

#[tokio::test]
async fn keys_that_were_replaced_count_at_once() {
    let (old, new) = (Issuer::new("k1"), Issuer::new("k2"));
    let (folder, clusters) = trusted(&[("east", &old)]);
    assert_eq!(proven(&clusters, &new.sign(&claims())).await, Err(Error::Unknown));
    fs::write(folder.path().join("east.json"), new.keys().to_string()).expect("written");
    proven(&clusters, &new.sign(&claims())).await.expect("the new key");
    assert_eq!(proven(&clusters, &old.sign(&claims())).await, Err(Error::Unknown));
    fs::remove_file(folder.path().join("east.json")).expect("removed");
    assert!(matches!(proven(&clusters, &new.sign(&claims())).await, Err(Error::Keys { .. })));
}

#[test]
fn every_mistake_of_the_file_is_told_at_once() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("clusters.toml");
    let second = row("east").replace("novacula-system:novacula-operator", "novacula").replace("\"acme\"", "\"A/B\"");
    fs::write(&path, row("east") + &second).expect("written");
    let mistakes = Clusters::read(&path).expect_err("mistakes");
    let text = mistakes.join("\n");
    for part in ["another one has this name", "organization", "system:serviceaccount:NAMESPACE:NAME", "east.json"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(mistakes.len(), 5, "{text}");
    fs::write(&path, row("east").replace("audience", "audiense")).expect("written");
    assert!(Clusters::read(&path).expect_err("a mistake")[0].contains("audiense"));
}

#[test]
fn the_example_is_valid() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/examples/trusted-clusters.toml");
    let folder = TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::copy(example, at("clusters.toml")).expect("copied");
    fs::write(at("east-keys.json"), Issuer::new("k1").keys().to_string()).expect("written");
    let authority = rcgen::generate_simple_self_signed(vec!["west.example".to_owned()]).expect("a certificate");
    fs::write(at("west-ca.pem"), authority.cert.pem()).expect("written");
    let clusters = Clusters::read(&at("clusters.toml")).expect("valid");
    assert_eq!(clusters.clusters.len(), 2);
}

proptest::proptest! {
    #[test]
    fn no_token_does_harm(text in "\\PC{0,200}", parts in "[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}\\.[A-Za-z0-9_-]{0,60}") {
        let _ = token::Unproved::read(&text);
        let _ = token::Unproved::read(&parts);
    }

    #[test]
    fn only_the_hour_of_a_token_counts(shift in -100_000i64..100_000) {
        let claims: token::Claims = serde_json::from_value(claims()).expect("claims");
        let at = Timestamp::from_micros((NOW + shift) * 1_000_000);
        let good = (-120..3600).contains(&shift);
        proptest::prop_assert_eq!(claims.judge("novacula", at).is_ok(), good);
    }
}
