//! What a ServiceAccount token is worth: pure. Its signature is `jsonwebtoken`'s to check, by aws-lc-rs and with algorithms from a
//! list of ours, never from the token alone; its claims are judged here, by the store's clock.

use std::time::Duration;

use domain::Timestamp;
use jsonwebtoken::jwk::{AlgorithmParameters, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, dangerous, decode, decode_header};
use serde::Deserialize;

/// Longest token, in bytes; a cluster's are about a thousand.
const TOKEN_MAX: usize = 8 << 10;

/// How a cluster may sign: what API servers and their external signers do. Nothing symmetrical: its keys are public.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::RS384, Algorithm::RS512];

/// How far a cluster's clock may be from the store's.
const LEEWAY: Duration = Duration::from_secs(60);

/// Longest life of a token that is taken. Projected ones live an hour or so; what lives longer is a Secret that somebody copied.
const LIFE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A token that says something, and has proven nothing.
#[derive(Clone, Debug)]
pub struct Unproved<'a> {
    text: &'a str,
    header: Header,
    claims: Claims,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claims {
    iss: String,
    sub: String,
    #[serde(default)]
    aud: Audience,
    exp: Option<i64>,
    iat: Option<i64>,
    nbf: Option<i64>,
    jti: Option<String>,
    #[serde(rename = "kubernetes.io", default)]
    kubernetes: Kubernetes,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Some(Vec<String>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Kubernetes {
    pod: Option<Named>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Named {
    name: String,
}

/// What is wrong with a token that its cluster did sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// For somebody else.
    #[error("is not for audience {0:?}; project it with that audience")]
    Audience(String),
    /// Over.
    #[error("ended {0} s ago; a projected token is replaced in time")]
    Ended(u64),
    /// Not begun.
    #[error("begins {0} s from now; look at the clocks")]
    Early(u64),
    /// Without an end, or with one too far away.
    #[error("is good for longer than 24 h, or for ever; use a projected token with an expirationSeconds")]
    Life,
}

// === impl Unproved ===

impl<'a> Unproved<'a> {
    /// None: it is no token at all, or signed as none of ours is.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        if text.len() > TOKEN_MAX {
            return None;
        }
        let header = decode_header(text).ok()?;
        if !ALGORITHMS.contains(&header.alg) {
            return None;
        }
        // Only to look which cluster's keys to try: what counts is read again, by `proven_by`.
        let claims = dangerous::insecure_decode::<Claims>(text).ok()?.claims;
        Some(Self { text, header, claims })
    }

    /// Whether it says that it is of this issuer and subject.
    #[must_use]
    pub fn is_said_to_be_of(&self, issuer: &str, subject: &str) -> bool {
        self.claims.iss == issuer && self.claims.sub == subject
    }

    /// The key that it names.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// What it says, when one of these keys signed it.
    #[must_use]
    pub fn proven_by(&self, keys: &JwkSet) -> Option<Claims> {
        let mut validation = Validation::new(self.header.alg);
        // Judged by us: by the store's clock, and with words of ours.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let is_public = |jwk: &&jsonwebtoken::jwk::Jwk| {
            matches!(jwk.algorithm, AlgorithmParameters::RSA(_) | AlgorithmParameters::EllipticCurve(_))
        };
        let named = |jwk: &&jsonwebtoken::jwk::Jwk| self.header.kid.is_none() || jwk.common.key_id == self.header.kid;
        let prove = |key: DecodingKey| decode::<Claims>(self.text, &key, &validation).ok();
        keys.keys
            .iter()
            .filter(is_public)
            .filter(named)
            .find_map(|jwk| prove(DecodingKey::from_jwk(jwk).ok()?))
            .map(|token| token.claims)
    }
}

// === impl Claims ===

impl Claims {
    /// Whether it is for `audience`, and now.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn judge(&self, audience: &str, now: Timestamp) -> Result<(), Refused> {
        let is_for = match &self.aud {
            Audience::One(one) => one == audience,
            Audience::Some(some) => some.iter().any(|one| one == audience),
        };
        if !is_for {
            return Err(Refused::Audience(audience.to_owned()));
        }
        let seconds = now.as_micros().div_euclid(1_000_000);
        let leeway = i64::try_from(LEEWAY.as_secs()).unwrap_or(0);
        let (Some(end), Some(begin)) = (self.exp, self.iat) else {
            return Err(Refused::Life);
        };
        let longest = i64::try_from(LIFE_MAX.as_secs()).unwrap_or(0);
        if end.saturating_sub(begin) > longest || end < begin {
            return Err(Refused::Life);
        }
        let behind = seconds.saturating_sub(end);
        if behind >= leeway {
            return Err(Refused::Ended(behind.unsigned_abs()));
        }
        let ahead = begin.max(self.nbf.unwrap_or(begin)).saturating_sub(seconds);
        if ahead > leeway { Err(Refused::Early(ahead.unsigned_abs())) } else { Ok(()) }
    }

    /// Facts for the audit: subject, the token's id, and the pod that it was given to.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(253).collect::<String>();
        let mut facts = vec![("subject", short(&self.sub))];
        facts.extend(self.jti.as_deref().map(|id| ("token_id", short(id))));
        facts.extend(self.kubernetes.pod.as_ref().map(|pod| ("pod", short(&pod.name))));
        facts
    }
}

impl Default for Audience {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}
