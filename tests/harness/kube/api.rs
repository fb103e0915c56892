//! The API of a cluster, asked without a client library: one request, one connection, JSON both ways.
//!
//! Blocking, so that it serves trials with and without a runtime. What the products ask goes through their own client; this is how
//! tests look at what came of it.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::pem::PemObject as _};
use serde_json::Value;

/// How long an answer may take; watches are not asked for here.
const ANSWER: Duration = Duration::from_secs(30);

/// Where the API is, and who asks.
#[derive(Clone)]
pub struct Api {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    token: String,
}

/// What was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// Null where it is not JSON.
    pub body: Value,
    /// As it came.
    pub text: String,
}

/// What is sent: its type and itself.
#[derive(Debug, Clone, Copy)]
pub enum Body<'v> {
    /// An object.
    Object(&'v Value),
    /// Fields to change (RFC 7386).
    Merge(&'v Value),
    /// Fields to own (server-side apply); the manager is in the path's query.
    Apply(&'v Value),
}

// === impl Api ===

impl Api {
    /// Of a cluster, by the files that it left: as its administrator.
    pub(super) fn of(home: &Path) -> Result<Self> {
        let tokens = fs::read_to_string(home.join("tokens.csv"))?;
        let token = tokens.split(',').next().context("an administrator's token")?.to_owned();
        let kubeconfig = fs::read_to_string(home.join("admin.kubeconfig"))?;
        let server = kubeconfig.split("https://").nth(1).and_then(|rest| rest.split('"').next());
        let server = server.context("the API server's address")?;
        let address = server.parse().or_else(|_| format!("{server}:443").parse())?;
        let mut roots = RootCertStore::empty();
        for certificate in rustls::pki_types::CertificateDer::pem_file_iter(home.join("pki/ca.crt"))? {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { address, tls: Arc::new(tls), token })
    }

    /// The same API, asked by who has this token.
    #[must_use]
    pub fn as_bearer(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As clients write it.
    #[must_use]
    pub fn url(&self) -> String {
        if self.address.port() == 443 {
            format!("https://{}", self.address.ip())
        } else {
            format!("https://{}", self.address)
        }
    }

    /// Who asks.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// An object or a list.
    ///
    /// # Errors
    /// There is none, or the API does not answer.
    pub fn get(&self, path: &str) -> Result<Value> {
        self.call("GET", path, None)?.accepted(path)
    }

    /// An object or a list, if there is one and the API answers.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<Value> {
        self.get(path).ok()
    }

    /// Makes an object in a collection.
    ///
    /// # Errors
    /// It is refused.
    pub fn create(&self, collection: &str, object: &Value) -> Result<Value> {
        self.call("POST", collection, Some(Body::Object(object)))?.accepted(collection)
    }

    /// Changes fields; of `…/status`, too, as a kubelet does.
    ///
    /// # Errors
    /// It is refused.
    pub fn patch(&self, path: &str, fields: &Value) -> Result<Value> {
        self.call("PATCH", path, Some(Body::Merge(fields)))?.accepted(path)
    }

    /// Owns fields under the name of a manager, against the will of others.
    ///
    /// # Errors
    /// It is refused.
    pub fn apply(&self, path: &str, manager: &str, fields: &Value) -> Result<Value> {
        let path = format!("{path}?fieldManager={manager}&force=true");
        self.call("PATCH", &path, Some(Body::Apply(fields)))?.accepted(&path)
    }

    /// Removes an object.
    ///
    /// # Errors
    /// It is refused.
    pub fn delete(&self, path: &str) -> Result<Value> {
        self.call("DELETE", path, None)?.accepted(path)
    }

    /// Whatever is asked and answered.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn call(&self, method: &str, path: &str, body: Option<Body<'_>>) -> Result<Answer> {
        let stream = TcpStream::connect_timeout(&self.address, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        let session = ClientConnection::new(Arc::clone(&self.tls), self.address.ip().into())?;
        let mut stream = StreamOwned::new(session, stream);
        // Of HTTP 1.0, an answer is one piece that ends with the connection.
        let mut request =
            format!("{method} {path} HTTP/1.0\r\nHost: {}\r\nAuthorization: Bearer {}\r\n", self.address, self.token);
        request.push_str("Accept: application/json\r\n");
        let content = body.map(|body| body.text()).unwrap_or_default();
        if let Some(body) = body {
            request.push_str(&format!("Content-Type: {}\r\nContent-Length: {}\r\n", body.kind(), content.len()));
        }
        stream.write_all(format!("{request}\r\n{content}").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Answer::parse(&String::from_utf8_lossy(&answer))
    }
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("address", &self.address).finish_non_exhaustive()
    }
}

// === impl Answer ===

impl Answer {
    fn parse(answer: &str) -> Result<Self> {
        let (head, text) = answer.split_once("\r\n\r\n").context("the API cut its answer short")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("a status")?;
        Ok(Self { status, body: serde_json::from_str(text).unwrap_or_default(), text: text.to_owned() })
    }

    fn accepted(self, path: &str) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "{path}: {} {}", self.status, self.text);
        Ok(self.body)
    }
}

// === impl Body ===

impl Body<'_> {
    fn kind(self) -> &'static str {
        match self {
            Self::Object(_) => "application/json",
            Self::Merge(_) => "application/merge-patch+json",
            Self::Apply(_) => "application/apply-patch+yaml",
        }
    }

    fn text(self) -> String {
        let (Self::Object(value) | Self::Merge(value) | Self::Apply(value)) = self;
        value.to_string()
    }
}
