//! The provider, over the network: where its doors are, its keys, and a code for an ID token. Answers are capped, and each call has
//! a deadline; nothing is fetched before somebody signs in.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::JwkSet;
use reqwest::Url;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use zeroize::Zeroizing;

use crate::clusters::keys::{self, KeySource};
use crate::oidc::Mapping;
use crate::tls::authority::sha256;

/// Where the provider sends browsers back to.
pub const CALLBACK: &str = "/signin/oidc/callback";

/// Largest answer, in bytes.
const ANSWER_MAX: usize = 256 << 10;

/// What we are to the provider.
#[derive(Debug)]
pub struct Client {
    /// Who it says it is.
    pub issuer: String,
    /// Our name there.
    pub client_id: String,
    /// Our word there; none: a public client.
    pub client_secret: Option<Zeroizing<String>>,
    /// Where browsers come back.
    pub redirect_uri: Url,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// On the button.
    pub name: String,
    /// Who is who here.
    pub roles: Vec<Mapping>,
}

/// A provider.
#[derive(Debug)]
pub struct Provider {
    client: Client,
    issuer: Url,
    http: reqwest::Client,
    doors: OnceCell<Doors>,
}

/// What the provider publishes of itself (OpenID Connect Discovery 1.0, section 4).
#[derive(Debug)]
struct Doors {
    authorization: Url,
    token: Url,
    keys: KeySource,
}

#[derive(Deserialize)]
struct Published {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct Exchanged {
    id_token: String,
}

/// What one sign-in carries from the first redirect to the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Ties the answer to this browser.
    pub state: String,
    /// Ties the ID token to this sign-in.
    pub nonce: String,
    /// Proves that whoever redeems the code asked for it (PKCE).
    pub verifier: String,
}

/// Why the provider is of no use now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be asked.
    #[error("ask {what} of the identity provider")]
    Ask {
        /// What for.
        what: &'static str,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It answered, and not what the standard says.
    #[error("the identity provider's {what} is not as it has to be: {why}")]
    Answer {
        /// Which answer.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// Its keys cannot be had.
    #[error("read the identity provider's keys")]
    Keys(#[from] keys::Error),
}

// === impl Provider ===

impl Provider {
    /// Not asked yet.
    #[must_use]
    pub fn new(client: Client, issuer: Url, http: reqwest::Client) -> Self {
        Self { client, issuer, http, doors: OnceCell::new() }
    }

    /// What we are to it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Where a browser goes to sign in.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn authorization(&self, attempt: &Attempt) -> Result<Url, Error> {
        let mut url = self.doors().await?.authorization.clone();
        let challenge = URL_SAFE_NO_PAD.encode(sha256(attempt.verifier.as_bytes()).as_bytes());
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client.client_id)
            .append_pair("redirect_uri", self.client.redirect_uri.as_str())
            .append_pair("scope", &self.client.scopes.join(" "))
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(url)
    }

    /// The ID token for a code, not judged yet.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn exchange(&self, code: &str, attempt: &Attempt) -> Result<String, Error> {
        let url = self.doors().await?.token.clone();
        let kind = (http::header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let mut request = self.http.post(url).header(kind.0, kind.1).body(self.redemption(code, attempt));
        if let Some(secret) = &self.client.client_secret {
            // RFC 6749, section 2.3.1: both are form-encoded before they are joined.
            request = request.basic_auth(encoded(&self.client.client_id), Some(encoded(secret)));
        }
        let answer: Exchanged = self.asked("a token", request).await?;
        Ok(answer.id_token)
    }

    fn redemption(&self, code: &str, attempt: &Attempt) -> String {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", self.client.redirect_uri.as_str())
            .append_pair("code_verifier", &attempt.verifier)
            .append_pair("client_id", &self.client.client_id);
        form.finish()
    }

    /// Its keys, with the one that is named when it has it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn keys(&self, key_id: Option<&str>) -> Result<Arc<JwkSet>, Error> {
        Ok(self.doors().await?.keys.get(key_id).await?)
    }

    /// Looked up once; a failure is looked up again by the next who signs in.
    async fn doors(&self) -> Result<&Doors, Error> {
        self.doors
            .get_or_try_init(async || {
                let path = format!("{}/.well-known/openid-configuration", self.issuer.path().trim_end_matches('/'));
                let mut url = self.issuer.clone();
                url.set_path(&path);
                let published: Published = self.asked("the configuration", self.http.get(url)).await?;
                if published.issuer != self.client.issuer {
                    let why = format!("it calls itself {:?}, not {:?}", published.issuer, self.client.issuer);
                    return Err(Error::Answer { what: "configuration", why });
                }
                let door = |name: &'static str, text: &str| {
                    let why =
                        || Error::Answer { what: "configuration", why: format!("{name} {text:?} is not an https URL") };
                    https(text).ok_or_else(why)
                };
                let keys = door("jwks_uri", &published.jwks_uri)?;
                Ok(Doors {
                    authorization: door("authorization_endpoint", &published.authorization_endpoint)?,
                    token: door("token_endpoint", &published.token_endpoint)?,
                    keys: KeySource::fetched(keys, self.http.clone()),
                })
            })
            .await
    }

    async fn asked<T: DeserializeOwned>(
        &self,
        what: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<T, Error> {
        let refused = |source: reqwest::Error| Error::Ask { what, source: source.without_url() };
        let answer = request.header(http::header::ACCEPT, "application/json").send().await;
        let mut answer = answer.and_then(reqwest::Response::error_for_status).map_err(refused)?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(refused)? {
            if bytes.len() + chunk.len() > ANSWER_MAX {
                return Err(Error::Answer { what, why: format!("it is larger than {ANSWER_MAX} bytes") });
            }
            bytes.extend_from_slice(&chunk);
        }
        // The answer's own text may hold a token.
        let form =
            |error: serde_json::Error| format!("it is no such JSON (line {}, column {})", error.line(), error.column());
        serde_json::from_slice(&bytes).map_err(|error| Error::Answer { what, why: form(error) })
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// An https URL without a user or a fragment.
#[must_use]
pub fn https(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && url.fragment().is_none())
        .then_some(url)
}
