//! What an ID token is worth (OpenID Connect Core 1.0, section 3.1.3.7): pure. Its signature is `jsonwebtoken`'s to check, with
//! algorithms from a list of ours; its claims are judged here, by the store's clock.

use std::time::Duration;

use domain::sign_in::Identity;
use domain::{Role, Timestamp};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use subtle::ConstantTimeEq as _;

use crate::oidc::Mapping;

/// Longest token, in bytes: some providers put hundreds of groups into one.
const TOKEN_MAX: usize = 64 << 10;

/// How a provider may sign. Nothing symmetrical: its keys are public.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// How far the provider's clock may be from the store's.
const LEEWAY: Duration = Duration::from_secs(60);

/// Longest name for people, in characters.
const NAME_MAX: usize = 100;

/// Somebody, proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who it is, there.
    pub identity: Identity,
    /// For people.
    pub display_name: String,
    /// Who it is, here.
    pub role: Role,
}

/// What has to be so.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Who signs, as it says itself.
    pub issuer: &'a str,
    /// For whom.
    pub client_id: &'a str,
    /// What we sent with this sign-in.
    pub nonce: &'a str,
    /// Who is who here.
    pub roles: &'a [Mapping],
    /// The store's clock.
    pub now: Timestamp,
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No token, or none that the provider's keys signed.
    #[error("the ID token is not signed by a key of the provider, or in a way that is not taken")]
    Unproven,
    /// A claim is missing or is another.
    #[error("the ID token's {0:?} is missing or not what it has to be")]
    Claim(&'static str),
    /// Too old, or not yet.
    #[error("the ID token is not of now: look at the clocks of the provider and of the control plane")]
    Time,
    /// Known there, nobody here.
    #[error("none of the roles here fits; ask whoever keeps the control plane's list of roles")]
    NoRole,
}

/// The key that a token names.
#[must_use]
pub fn key_id(text: &str) -> Option<String> {
    header(text)?.kid
}

/// Proves a token and says who it is.
///
/// # Errors
/// [`Refused`].
pub fn judge(text: &str, keys: &JwkSet, expected: Expected<'_>) -> Result<Person, Refused> {
    let header = header(text).ok_or(Refused::Unproven)?;
    let claims = proven(text, &header, keys).ok_or(Refused::Unproven)?;
    let text_of = |claim: &'static str| claims.get(claim).and_then(Value::as_str).ok_or(Refused::Claim(claim));
    if text_of("iss")? != expected.issuer {
        return Err(Refused::Claim("iss"));
    }
    let audiences = claims.get("aud").map(texts).unwrap_or_default();
    if !audiences.contains(&expected.client_id) {
        return Err(Refused::Claim("aud"));
    }
    // Also for others: then it has to say that we asked.
    if (audiences.len() > 1 || claims.contains_key("azp")) && text_of("azp")? != expected.client_id {
        return Err(Refused::Claim("azp"));
    }
    if !bool::from(text_of("nonce")?.as_bytes().ct_eq(expected.nonce.as_bytes())) {
        return Err(Refused::Claim("nonce"));
    }
    judge_time(&claims, expected.now)?;
    let identity = Identity::new(expected.issuer, text_of("sub")?).map_err(|_| Refused::Claim("sub"))?;
    let fits = |row: &&Mapping| claims.get(&row.claim).is_some_and(|claim| texts(claim).contains(&row.value.as_str()));
    let role = expected.roles.iter().find(fits).map(|row| row.role.clone()).ok_or(Refused::NoRole)?;
    Ok(Person { display_name: display_name(&claims, identity.subject()), identity, role })
}

fn header(text: &str) -> Option<Header> {
    (text.len() <= TOKEN_MAX).then(|| decode_header(text).ok()).flatten().filter(|h| ALGORITHMS.contains(&h.alg))
}

fn proven(text: &str, header: &Header, keys: &JwkSet) -> Option<Map<String, Value>> {
    let mut validation = Validation::new(header.alg);
    // Judged by us: by the store's clock, and with words of ours.
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    let is_public = |jwk: &&Jwk| !matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_));
    let named = |jwk: &&Jwk| header.kid.is_none() || jwk.common.key_id == header.kid;
    let prove = |jwk: &Jwk| decode::<Map<String, Value>>(text, &DecodingKey::from_jwk(jwk).ok()?, &validation).ok();
    keys.keys.iter().filter(is_public).filter(named).find_map(prove).map(|token| token.claims)
}

fn judge_time(claims: &Map<String, Value>, now: Timestamp) -> Result<(), Refused> {
    let seconds = now.as_micros().div_euclid(1_000_000);
    let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or(0);
    let number = |claim: &'static str| claims.get(claim).and_then(Value::as_i64).ok_or(Refused::Claim(claim));
    let (end, begin) = (number("exp")?, number("iat")?);
    let is_over = seconds.saturating_sub(end) >= leeway;
    let is_early = begin.saturating_sub(seconds) > leeway;
    if is_over || is_early { Err(Refused::Time) } else { Ok(()) }
}

/// The texts of a claim: itself, or each of its list.
fn texts(claim: &Value) -> Vec<&str> {
    match claim {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn display_name(claims: &Map<String, Value>, subject: &str) -> String {
    let said = ["email", "preferred_username", "name"].into_iter().find_map(|claim| claims.get(claim)?.as_str());
    said.unwrap_or(subject).chars().filter(|c| !c.is_control()).take(NAME_MAX).collect()
}
