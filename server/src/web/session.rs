//! Who reads a page: the bearer of the session cookie.
//!
//! The cookie is `__Host-` (this host, all paths, TLS only), `HttpOnly` (no script reads it) and `SameSite=Lax`: a link from a
//! chat at night opens the page that it names, and no other site's form carries the cookie. It holds a token of its own, made
//! at sign-in ([`crate::app::sign_in`]), so that each request is judged as any bearer's is, and a revocation counts at once.

use std::sync::Arc;

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use domain::role::Demand;
use domain::{BearerToken, OrganizationId, Role, TokenId};
use http::header::COOKIE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};
use prost_types::Timestamp;
use proto::v1;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use subtle::ConstantTimeEq as _;

use crate::app::sign_in::SESSION;
use crate::grpc::layer::REQUEST_ID;
use crate::tls::authority::sha256;
use crate::tls::connection::Peer;
use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::PageError;
use crate::web::guard;

/// The cookie's name.
const COOKIE_NAME: &str = "__Host-novacula";

/// What a form's forgery token is made of beside the session: another use of the same secret gives another word.
const FORGERY: &[u8] = b"novacula forgery token\0";

/// Bytes of a SHA-256.
const DIGEST: usize = 32;

/// Where a script puts the session's forgery token.
pub const FORGERY_HEADER: HeaderName = HeaderName::from_static("x-novacula-forgery-token");

/// A reader who is signed in, and the API in its name.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// The API, as this reader.
    pub api: Api,
    /// Who it is.
    pub reader: Reader,
}

/// Who reads.
#[derive(Clone, Debug)]
pub struct Reader {
    /// What the session may do, and where.
    pub role: Role,
    /// For people.
    pub display_name: String,
    /// The session's own token.
    pub session: TokenId,
    /// Its resource name.
    pub token: String,
    /// What the session stems from, for people.
    pub signed_in_by: String,
    /// When it ends if it is not used.
    pub expire_time: Option<Timestamp>,
    /// What a form of this session carries.
    pub forgery_token: String,
    /// The control plane's version.
    pub server_version: String,
}

/// A form that a page of ours sent in the reader's name.
#[derive(Debug)]
pub struct Posted<T> {
    /// Who sent it.
    pub by: SignedIn,
    /// What it says.
    pub form: T,
}

/// Every form of a session.
#[derive(Deserialize)]
struct Guarded<T> {
    #[serde(default)]
    forgery_token: String,
    #[serde(flatten)]
    form: T,
}

// === impl Reader ===

impl Reader {
    /// The organization of its role; none for publishers and admins of the installation.
    #[must_use]
    pub fn organization(&self) -> Option<&OrganizationId> {
        self.role.organization()
    }

    /// Whether a page offers what `demand` needs. The API judges again when it is asked.
    #[must_use]
    pub fn may(&self, demand: Demand, organization: Option<&OrganizationId>) -> bool {
        self.role.meets(demand, organization)
    }

    /// Whether a page of this session carried this forgery token.
    #[must_use]
    pub fn believes(&self, told: &str) -> bool {
        is_same(told.as_bytes(), &self.forgery_token)
    }

    fn new(answer: v1::WhoAmIResponse, bearer: &str) -> Option<Self> {
        let token = answer.token?;
        let organization =
            answer.organization.strip_prefix("organizations/").and_then(|id| OrganizationId::new(id).ok());
        let name = token.role().as_str_name().trim_start_matches("ROLE_").to_lowercase();
        Some(Self {
            role: Role::parse(&name, organization)?,
            session: bearer.parse::<BearerToken>().ok()?.token,
            token: token.name,
            display_name: token.display_name,
            signed_in_by: token.signed_in_by,
            expire_time: token.expire_time,
            forgery_token: forgery_token(bearer),
            server_version: answer.server_version,
        })
    }
}

impl FromRequestParts<Web> for SignedIn {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, web: &Web) -> Result<Self, PageError> {
        let wanted = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let back = if parts.method == http::Method::GET { wanted } else { "/" };
        let Some(bearer) = cookie(&parts.headers) else {
            return Err(PageError::sign_in(back));
        };
        let api = api(web, parts, &bearer)?;
        let who = api.organizations().who_am_i(v1::WhoAmIRequest {}).await;
        let who = who.map_err(|status| match status.code() {
            tonic::Code::Unauthenticated => PageError::sign_in(back),
            _ => PageError::from(status),
        })?;
        let reader = Reader::new(who.into_inner(), &bearer).ok_or_else(PageError::inside)?;
        // A token that was put into the cookie by hand is no session, and its forms would never be forgotten.
        if reader.signed_in_by.is_empty() {
            return Err(PageError::sign_in(back));
        }
        web.app.session_renew(&reader.session).await?;
        Ok(Self { api, reader })
    }
}

impl<T: DeserializeOwned> FromRequest<Web> for Posted<T> {
    type Rejection = PageError;

    async fn from_request(request: Request, web: &Web) -> Result<Self, PageError> {
        let (mut parts, body) = request.into_parts();
        let ours = guard::is_from_us(&parts.headers);
        let by = SignedIn::from_request_parts(&mut parts, web).await?;
        let form = Form::<Guarded<T>>::from_request(Request::from_parts(parts, body), web).await;
        let Form(Guarded { forgery_token, form }) = form.map_err(|why| PageError::form(&why))?;
        if ours && by.reader.believes(&forgery_token) { Ok(Self { by, form }) } else { Err(PageError::forged()) }
    }
}

/// The API in the name of a bearer.
///
/// # Errors
/// The listener did not say who is at the other end.
pub fn api(web: &Web, parts: &Parts, bearer: &str) -> Result<Api, PageError> {
    let peer = parts.extensions.get::<Arc<Peer>>().ok_or_else(PageError::inside)?;
    let authorization = HeaderValue::try_from(format!("Bearer {bearer}")).map_err(|_| PageError::sign_in("/"))?;
    Ok(Api::new(web.routes.clone(), Arc::clone(peer), authorization, parts.headers.get(&REQUEST_ID).cloned()))
}

/// What `authorization` would say of a script's request: the session's bearer, when a page of that session sent it. None: there is
/// no session.
///
/// # Errors
/// Another site sent it, or an old page.
pub fn authorization(headers: &HeaderMap) -> Result<Option<HeaderValue>, PageError> {
    let Some(bearer) = cookie(headers) else { return Ok(None) };
    let told = headers.get(FORGERY_HEADER).map(HeaderValue::as_bytes).unwrap_or_default();
    if !guard::is_from_us(headers) || !is_same(told, &forgery_token(&bearer)) {
        return Err(PageError::forged());
    }
    let mut value = HeaderValue::try_from(format!("Bearer {bearer}")).map_err(|_| PageError::forged())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The session's token in the cookie, if it has the form of one.
#[must_use]
pub fn cookie(headers: &HeaderMap) -> Option<String> {
    cookie_named(headers, COOKIE_NAME).filter(|value| value.parse::<BearerToken>().is_ok())
}

/// The first cookie of that name.
#[must_use]
pub fn cookie_named(headers: &HeaderMap, wanted: &str) -> Option<String> {
    let pairs = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok()).flat_map(|v| v.split(';'));
    let mut named = pairs.filter_map(|pair| pair.trim().split_once('=')).filter(|(name, _)| *name == wanted);
    named.next().map(|(_, value)| value.to_owned())
}

/// What sets the cookie.
#[must_use]
pub fn keep(bearer: &BearerToken) -> Option<HeaderValue> {
    let (value, age) = (bearer.reveal(), SESSION.as_secs());
    let text = format!("{COOKIE_NAME}={}; Path=/; Max-Age={age}; Secure; HttpOnly; SameSite=Lax", *value);
    let mut header = HeaderValue::try_from(text).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// What takes the cookie away.
#[must_use]
pub fn forget() -> HeaderValue {
    HeaderValue::from_static("__Host-novacula=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax")
}

/// The forgery token of a session, under a mask that is another each time: pages are compressed, and how small one gets says
/// nothing of a word that no two of them share (decision 0013).
fn forgery_token(bearer: &str) -> String {
    let digest = sha256(&[FORGERY, bearer.as_bytes()].concat());
    let mut mask = [0; DIGEST];
    rand::fill(&mut mask);
    let masked: Vec<u8> = digest.as_bytes().iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    hex::encode([&mask[..], &masked].concat())
}

/// Whether two forgery tokens are the same under their masks.
fn is_same(told: &[u8], own: &str) -> bool {
    match (unmasked(told), unmasked(own.as_bytes())) {
        (Some(told), Some(own)) => bool::from(told.ct_eq(&own)),
        _ => false,
    }
}

fn unmasked(text: &[u8]) -> Option<[u8; DIGEST]> {
    let mut bytes = [0; 2 * DIGEST];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    let (mask, masked) = bytes.split_at(DIGEST);
    let mut digest = [0; DIGEST];
    for (byte, (mask, masked)) in digest.iter_mut().zip(mask.iter().zip(masked)) {
        *byte = mask ^ masked;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use domain::TokenId;
    use domain::secret::Secret;

    use super::*;

    fn token() -> BearerToken {
        BearerToken { token: TokenId::new("t1").expect("a label"), secret: Secret::new([7; 32]) }
    }

    #[test]
    fn the_cookie_is_of_this_host_and_no_script_reads_it() {
        let header = keep(&token()).expect("a header");
        let text = header.to_str().expect("ASCII");
        for part in ["__Host-novacula=nvt_t1_", "; Path=/;", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("Domain") && header.is_sensitive());
    }

    #[test]
    fn a_cookie_that_is_no_token_is_none() {
        let word = token().reveal();
        let cookies = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(text).expect("a header"));
            cookie(&headers)
        };
        assert_eq!(cookies(&format!("a=b; __Host-novacula={}", *word)).as_deref(), Some(word.as_str()));
        assert_eq!(cookies(&format!("novacula={}", *word)), None);
        assert_eq!(cookies("__Host-novacula=nvt_t1_zz"), None);
    }

    #[test]
    fn a_script_of_the_session_is_believed_and_nobody_else() {
        let word = token().reveal();
        let forgery = forgery_token(&word);
        let says = |site: &'static str, token: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(&format!("{COOKIE_NAME}={}", *word)).expect("a header"));
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            headers.insert(FORGERY_HEADER, HeaderValue::from_str(token).expect("a header"));
            authorization(&headers)
        };
        let value = says("same-origin", &forgery).expect("believed").expect("a bearer");
        assert_eq!(value.as_bytes(), format!("Bearer {}", *word).as_bytes());
        assert!(says("cross-site", &forgery).is_err() && says("same-origin", "").is_err());
        assert!(says("same-origin", &forgery_token(&word)).is_ok(), "under another mask");
        let (first, rest) = forgery.split_at(1);
        let other = format!("{}{rest}", if first == "0" { "1" } else { "0" });
        assert!(says("same-origin", &other).is_err());
        assert!(authorization(&HeaderMap::new()).expect("nobody").is_none());
    }

    #[test]
    fn a_forgery_token_is_of_one_session_and_is_not_its_secret() {
        let word = token().reveal();
        let (made, again) = (forgery_token(&word), forgery_token(&word));
        assert!(made != again && is_same(made.as_bytes(), &again));
        assert!(!is_same(made.as_bytes(), &forgery_token(&word.replace('7', "8"))));
        for none in ["", "0", &made[..64], &"0".repeat(128), &"x".repeat(128)] {
            assert!(!is_same(none.as_bytes(), &made) && !is_same(made.as_bytes(), none), "{none}");
        }
        assert!(!word.contains(&made));
    }
}
