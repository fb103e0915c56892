//! An API server's tokens, for tests.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

/// Whose tokens.
pub(crate) const SUBJECT: &str = "system:serviceaccount:novacula-system:novacula-operator";

/// An API server's key.
pub(crate) struct Issuer {
    pub(crate) pair: KeyPair,
    pub(crate) id: &'static str,
}

impl Issuer {
    pub(crate) fn new(id: &'static str) -> Self {
        Self { pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key"), id }
    }

    /// As it publishes them.
    pub(crate) fn keys(&self) -> Value {
        let point = self.pair.public_key_raw();
        let (x, y) = (B64.encode(&point[1..33]), B64.encode(&point[33..65]));
        json!({ "keys": [{ "use": "sig", "kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.id, "x": x, "y": y }] })
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.id.to_owned()), ..Header::new(Algorithm::ES256) };
        encode(&header, claims, &EncodingKey::from_ec_der(&self.pair.serialize_der())).expect("signed")
    }
}

/// What a projected token says in its first minute, at `now` in seconds.
pub(crate) fn claims_at(now: i64) -> Value {
    json!({
        "iss": "https://kubernetes.default.svc", "sub": SUBJECT, "aud": ["novacula"],
        "iat": now - 60, "nbf": now - 60, "exp": now + 3540, "jti": "7",
        "kubernetes.io": { "namespace": "novacula-system", "pod": { "name": "op-1", "uid": "1" }, "serviceaccount": { "name": "x", "uid": "2" } },
    })
}

/// A table of the file.
pub(crate) fn row(name: &str) -> String {
    format!(
        "[[cluster]]\nname = {name:?}\norganization = \"acme\"\nexecutor = {name:?}\nissuer = \"https://kubernetes.default.svc\"\naudience = \"novacula\"\nsubject = {SUBJECT:?}\nkeys_file = \"{name}.json\"\n"
    )
}
