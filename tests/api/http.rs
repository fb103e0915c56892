//! A plain HTTP client of a control plane: no gRPC in it.

use anyhow::{Context as _, Result};
use harness::control_plane::{ControlPlane, ORGANIZATION};
use proto::v1;
use reqwest::redirect::Policy;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// Which HTTP it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// One bearer, or nobody.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

/// Status, headers and JSON of an answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

// === impl Http ===

impl Http {
    /// The bearer of a fresh token of this role; none: nobody.
    pub(crate) async fn of(plane: &ControlPlane, role: Option<v1::Role>, version: Version) -> Result<Self> {
        let mut tls = (*plane.tls()).clone();
        tls.alpn_protocols = match version {
            Version::One => vec![b"http/1.1".to_vec()],
            Version::Two => vec![b"h2".to_vec()],
        };
        let client =
            reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().redirect(Policy::none()).build()?;
        let token = match role {
            Some(role) => Some(token(plane, role).await?),
            None => None,
        };
        Ok(Self { client, base: format!("https://{}", plane.api_addr()), token })
    }

    pub(crate) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `POST /novacula.v1.Service/Method`.
    pub(crate) fn post(&self, rpc: &str) -> RequestBuilder {
        self.ask(Method::POST, &format!("/novacula.v1.{rpc}")).header("content-type", "application/json")
    }

    /// The same, answered.
    pub(crate) async fn call(&self, rpc: &str, body: &Value) -> Result<Answer> {
        Answer::of(self.post(rpc).body(body.to_string()).send().await?).await
    }

    /// Its token.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }
}

// === impl Answer ===

impl Answer {
    pub(crate) async fn of(response: Response) -> Result<Self> {
        let (code, headers) = (response.status(), response.headers().clone());
        let text = response.text().await?;
        let body = match text.as_str() {
            "" => Value::Null,
            text => serde_json::from_str(text).with_context(|| format!("{code}: {text}"))?,
        };
        Ok(Self { code, headers, body })
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// `EXECUTOR_OFFLINE`.
    pub(crate) fn reason(&self) -> &str {
        self.detail("google.rpc.ErrorInfo")["reason"].as_str().unwrap_or_default()
    }

    pub(crate) fn detail(&self, kind: &str) -> &Value {
        let details = self.body["details"].as_array().map(Vec::as_slice).unwrap_or_default();
        details.iter().find(|detail| detail["type"] == kind).map_or(&Value::Null, |detail| &detail["debug"])
    }
}

/// A fresh token.
async fn token(plane: &ControlPlane, role: v1::Role) -> Result<String> {
    let (by, parent) = match role {
        v1::Role::Publisher | v1::Role::InstallationAdmin => (plane.installation_admin(), String::new()),
        _ => (plane.owner(), format!("organizations/{ORGANIZATION}")),
    };
    let request = v1::CreateTokenRequest { parent, role: role.into(), ..v1::CreateTokenRequest::default() };
    Ok(by.organizations().create_token(request).await?.into_inner().secret)
}

/// One role, over each version.
pub(crate) async fn pair(plane: &ControlPlane, role: v1::Role) -> Result<[Http; 2]> {
    Ok([Http::of(plane, Some(role), Version::One).await?, Http::of(plane, Some(role), Version::Two).await?])
}
