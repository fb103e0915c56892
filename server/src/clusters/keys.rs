//! Public keys of a cluster or an identity provider: from a file, read anew each time so that it may be replaced, or from where they
//! are published.
//!
//! Whoever may reach the executor listener may ask for enrolment, so a fetch is not made for each question: what was fetched
//! counts for ten minutes, a key that is not among it is looked for at most once in [`PAUSE`], and answers are capped.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::JwkSet;
use reqwest::{Client, Url, redirect};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Largest set of keys, in bytes: a cluster has a handful, of some 500 bytes.
const KEYS_MAX: usize = 256 << 10;

/// How long a fetched set counts.
const FRESH: Duration = Duration::from_secs(600);

/// Least time between two fetches.
const PAUSE: Duration = Duration::from_secs(10);

/// A fetch, whole.
const DEADLINE: Duration = Duration::from_secs(5);

/// Where keys are.
#[derive(Debug)]
pub struct KeySource(Kind);

#[derive(Debug)]
enum Kind {
    File(PathBuf),
    Url { url: Url, client: Client, fetched: Mutex<Fetched> },
}

/// What the last fetch gave, and when it was tried.
#[derive(Debug, Default)]
struct Fetched {
    tried: Option<Instant>,
    keys: Option<(Instant, Arc<JwkSet>)>,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// They cannot be fetched.
    #[error("fetch {url}")]
    Fetch {
        /// Where from.
        url: Url,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It was tried a moment ago.
    #[error("{0} was asked less than 10 s ago")]
    Pause(Url),
    /// What is there is no set of keys.
    #[error("{from} holds no set of keys (JWKS)")]
    Form {
        /// From where.
        from: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// It is larger than a set of keys is.
    #[error("{0} is larger than 262144 bytes")]
    Large(String),
}

// === impl KeySource ===

impl KeySource {
    /// A file, which has to hold keys already. Blocks on the disk.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn file(path: PathBuf) -> Result<Self, String> {
        let read = read(&path).and_then(|bytes| parse(&path.display().to_string(), &bytes));
        read.map_err(|error| crate::observe::chain(&error))?;
        Ok(Self(Kind::File(path)))
    }

    /// Where the cluster publishes them, over TLS with its own authority. Blocks on the disk; nothing is fetched yet.
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn url(url: &str, authority: &Path) -> Result<Self, String> {
        let parsed = Url::parse(url).ok().filter(|url| url.scheme() == "https" && url.username().is_empty());
        let parsed = parsed.ok_or_else(|| format!("{url:?} is not an https URL"))?;
        Ok(Self::fetched(parsed, client(Some(authority))?))
    }

    /// From `url`, by `client`. Nothing is fetched yet.
    #[must_use]
    pub fn fetched(url: Url, client: Client) -> Self {
        Self(Kind::Url { url, client, fetched: Mutex::default() })
    }

    /// The keys, with the one that is named when the cluster has it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn get(&self, key_id: Option<&str>) -> Result<Arc<JwkSet>, Error> {
        match &self.0 {
            Kind::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || {
                    let bytes = read(&path)?;
                    parse(&path.display().to_string(), &bytes)
                });
                Ok(Arc::new(read.await.expect("reading a file does not panic")?))
            }
            Kind::Url { url, client, fetched } => {
                // Held while it is fetched: others wait for the same answer.
                let mut fetched = fetched.lock().await;
                if let Some((since, keys)) = &fetched.keys
                    && since.elapsed() < FRESH
                    && key_id.is_none_or(|id| keys.find(id).is_some())
                {
                    return Ok(Arc::clone(keys));
                }
                if fetched.tried.is_some_and(|tried| tried.elapsed() < PAUSE) {
                    return Err(Error::Pause(url.clone()));
                }
                fetched.tried = Some(Instant::now());
                let keys = Arc::new(fetch(client, url).await?);
                fetched.keys = Some((Instant::now(), Arc::clone(&keys)));
                Ok(keys)
            }
        }
    }
}

/// Asks others over HTTPS, with a deadline and without redirects. They are verified by the authorities in `file`; none: by the
/// system's. Blocks on the disk.
///
/// # Errors
/// What is wrong with the file.
pub fn client(file: Option<&Path>) -> Result<Client, String> {
    let place = file.map_or_else(|| "the system's authorities".to_owned(), |file| file.display().to_string());
    let at = |why: String| format!("{place}: {why}");
    let mut roots = RootCertStore::empty();
    match file {
        Some(file) => {
            let pem = std::fs::read(file).map_err(|error| at(error.to_string()))?;
            for certificate in CertificateDer::pem_slice_iter(&pem) {
                let certificate = certificate.map_err(|error| at(error.to_string()))?;
                roots.add(certificate).map_err(|error| at(error.to_string()))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(at("holds no certificate (PEM)".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut tls = tls.map_err(|error| at(error.to_string()))?.with_root_certificates(roots).with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = Client::builder()
        .tls_backend_preconfigured(tls)
        .https_only(true)
        .http1_only()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .timeout(DEADLINE)
        .build();
    client.map_err(|error| at(crate::observe::chain(&error)))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let refused = |source| Error::File { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(refused)?;
    let mut bytes = Vec::new();
    file.take(KEYS_MAX as u64 + 1).read_to_end(&mut bytes).map_err(refused)?;
    if bytes.len() > KEYS_MAX { Err(Error::Large(path.display().to_string())) } else { Ok(bytes) }
}

async fn fetch(client: &Client, url: &Url) -> Result<JwkSet, Error> {
    let refused = |source| Error::Fetch { url: url.clone(), source };
    let response = client.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status);
    let mut response = response.map_err(refused)?;
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(refused)? {
        if bytes.len() + chunk.len() > KEYS_MAX {
            return Err(Error::Large(url.to_string()));
        }
        bytes.extend_from_slice(&chunk);
    }
    parse(url.as_str(), &bytes)
}

fn parse(from: &str, bytes: &[u8]) -> Result<JwkSet, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Form { from: from.to_owned(), source })
}
