//! HTTP with one registry's host: requests with everything capped, and the answer to its challenge.
//!
//! A registry is not trusted: it gets no credentials but those named for it, its answers are read up to a limit, and it leads
//! nobody from TLS to plain HTTP. Its bytes are judged elsewhere.

use std::sync::Arc;
use std::time::Duration;

use domain::Sha256;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, Response, StatusCode, Url, redirect};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::challenge::{self, Bearer, Challenge};
use super::credentials::{self, Login};
use super::judge::DOCUMENT_MAX;
use super::settings::Settings;

/// TCP and TLS have to be done within this.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Most redirects followed. A blob is often one away, in a provider's storage.
const REDIRECTS_MAX: usize = 5;

/// Largest answer of a token service, in bytes; an honest token is a few thousand.
const TOKEN_MAX: usize = 64 << 10;

const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// It has none of that digest.
    #[error("has no {0}")]
    NotFound(&'static str),
    /// It shows it to nobody without other credentials.
    #[error("{0}")]
    Unauthorized(String),
    /// It was not reached, or cannot answer now.
    #[error("{0}")]
    Unreachable(String),
    /// It answered, and not as registries do.
    #[error("{0}")]
    Garbage(String),
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// An index or a manifest.
    Manifest,
    /// A configuration.
    Blob,
}

/// What a token service gives, under either name.
#[derive(Deserialize)]
struct Token {
    #[serde(default, deserialize_with = "credentials::secret")]
    token: Zeroizing<String>,
    #[serde(default, deserialize_with = "credentials::secret")]
    access_token: Zeroizing<String>,
}

/// One host, and the credentials it was given.
pub(super) struct Door<'a> {
    client: &'a Client,
    base: String,
    plain: &'a Settings,
    repository: &'a str,
    /// For a mirror: whose images it is asked for.
    mirrored: Option<&'a str>,
    login: Option<&'a Login>,
    /// What convinced it.
    authorization: Option<HeaderValue>,
}

/// The client for every host: it trusts the system's authorities and those that were set.
///
/// # Errors
/// TLS cannot be set up.
pub(super) fn client(settings: &Settings) -> Result<Client, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots.add_parsable_certificates(settings.authorities.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut tls = tls.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let plain_http = settings.plain_http.clone();
    let policy = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > REDIRECTS_MAX {
            attempt.error("redirected too often")
        } else if attempt.url().scheme() != "https" && !plain_http.contains(&host_of(attempt.url())) {
            attempt.error("redirected to plain HTTP")
        } else {
            attempt.follow()
        }
    });
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .referer(false)
        .user_agent(concat!("novacula-operator/", env!("CARGO_PKG_VERSION")))
        .redirect(policy)
        .connect_timeout(CONNECT_DEADLINE)
        .build();
    client.map_err(|error| executor_sdk::report::chain(&error))
}

/// As settings name it: the port when it is said.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

// === impl Door ===

impl<'a> Door<'a> {
    pub(super) fn new(
        client: &'a Client,
        settings: &'a Settings,
        host: &'a str,
        repository: &'a str,
        mirrored: Option<&'a str>,
    ) -> Self {
        let scheme = if settings.plain_http.contains(host) { "http" } else { "https" };
        let base = format!("{scheme}://{host}/v2/");
        Self { client, base, plain: settings, repository, mirrored, login: None, authorization: None }
    }

    /// With other credentials.
    pub(super) fn with_login(&mut self, login: Option<&'a Login>) {
        self.login = login;
        self.authorization = None;
    }

    /// A document by its digest, unjudged.
    pub(super) async fn get(&mut self, kind: Kind, digest: Sha256) -> Result<Vec<u8>, Refused> {
        let url = self.url(kind, digest)?;
        let mut response = self.ask(kind, &url).await?;
        if response.status() == StatusCode::UNAUTHORIZED && self.authorization.is_none() {
            let headers = response.headers().get_all(WWW_AUTHENTICATE).iter();
            let challenge = challenge::answerable(headers.filter_map(|value| value.to_str().ok()));
            self.authorization = Some(self.answer(challenge).await?);
            response = self.ask(kind, &url).await?;
        }
        check_status(response.status(), kind)?;
        body(response, DOCUMENT_MAX).await
    }

    fn url(&self, kind: Kind, digest: Sha256) -> Result<Url, Refused> {
        let noun = match kind {
            Kind::Manifest => "manifests",
            Kind::Blob => "blobs",
        };
        let url = format!("{}{}/{noun}/sha256:{digest}", self.base, self.repository);
        let mut url = Url::parse(&url).map_err(|error| Refused::Garbage(format!("no URL: {error}")))?;
        if let Some(registry) = self.mirrored {
            // As containerd asks its mirrors: one of them may have images of several registries.
            url.query_pairs_mut().append_pair("ns", registry);
        }
        Ok(url)
    }

    async fn ask(&self, kind: Kind, url: &Url) -> Result<Response, Refused> {
        let mut request = self.client.get(url.clone());
        if let Kind::Manifest = kind {
            request = request.header(ACCEPT, MANIFESTS);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        request.send().await.map_err(failed)
    }

    /// What convinces the host, by its challenge.
    async fn answer(&self, challenge: Option<Challenge>) -> Result<HeaderValue, Refused> {
        match (challenge, self.login) {
            (Some(Challenge::Bearer(bearer)), login) => self.token(&bearer, login).await,
            (Some(Challenge::Basic), Some(login)) => {
                use base64::Engine as _;
                let plain = Zeroizing::new(format!("{}:{}", login.username, login.password.as_str()));
                let text = Zeroizing::new(base64::prelude::BASE64_STANDARD.encode(plain.as_bytes()));
                secret(&Zeroizing::new(format!("Basic {}", text.as_str())))
            }
            (Some(Challenge::Basic), None) => Err(Refused::Unauthorized("asks for a password".to_owned())),
            (None, _) => Err(Refused::Unauthorized("refuses without saying what it wants".to_owned())),
        }
    }

    async fn token(&self, bearer: &Bearer, login: Option<&Login>) -> Result<HeaderValue, Refused> {
        let garbage = |why: String| Refused::Garbage(format!("sends for a token to {why}"));
        let mut realm = Url::parse(&bearer.realm).map_err(|error| garbage(format!("no URL: {error}")))?;
        let host = host_of(&realm);
        if realm.scheme() != "https" && !(realm.scheme() == "http" && self.plain.plain_http.contains(&host)) {
            return Err(garbage(format!(
                "{host}, without TLS; allow it as a plain HTTP registry, or mend the registry"
            )));
        }
        let scope = bearer.scope.clone().unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        realm.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = &bearer.service {
            realm.query_pairs_mut().append_pair("service", service);
        }
        let mut request = self.client.get(realm);
        if let Some(login) = login {
            request = request.basic_auth(&login.username, Some(login.password.as_str()));
        }
        let response = request.send().await.map_err(failed)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => {
                let told = format!("its token service {host} answers {}", response.status().as_u16());
                return Err(Refused::Unauthorized(told));
            }
            other => return Err(unavailable(other, &format!("its token service {host}"))),
        }
        let bytes = Zeroizing::new(body(response, TOKEN_MAX).await?);
        let token: Token = serde_json::from_slice(&bytes).map_err(|_| garbage(format!("{host}, which gives none")))?;
        let text = if token.token.is_empty() { token.access_token } else { token.token };
        if text.is_empty() {
            return Err(garbage(format!("{host}, which gives none")));
        }
        secret(&Zeroizing::new(format!("Bearer {}", text.as_str())))
    }
}

fn secret(text: &str) -> Result<HeaderValue, Refused> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| Refused::Unauthorized("the credentials for it are no text for a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn check_status(status: StatusCode, kind: Kind) -> Result<(), Refused> {
    match status {
        StatusCode::OK => Ok(()),
        StatusCode::NOT_FOUND => Err(Refused::NotFound(match kind {
            Kind::Manifest => "such manifest",
            Kind::Blob => "such configuration",
        })),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Err(Refused::Unauthorized(format!("answers {}", status.as_u16())))
        }
        other => Err(unavailable(other, "it")),
    }
}

/// Busy or broken for now; or an answer that no registry gives.
fn unavailable(status: StatusCode, who: &str) -> Refused {
    let told = format!("{who} answers {}", status.as_u16());
    let passing = status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY);
    if passing { Refused::Unreachable(told) } else { Refused::Garbage(told) }
}

async fn body(mut response: Response, most: usize) -> Result<Vec<u8>, Refused> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > most {
            return Err(Refused::Garbage(format!("its answer is longer than {most} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Without the URL: a token service's may carry what is nobody's business.
fn failed(error: reqwest::Error) -> Refused {
    let error = error.without_url();
    let told = executor_sdk::report::chain(&error);
    if error.is_redirect() { Refused::Garbage(told) } else { Refused::Unreachable(told) }
}
