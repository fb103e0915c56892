//! Credentials for registries, out of imagePullSecrets, matched to images by the kubelet's rules: what it would pull with is
//! what we look with.
//!
//! - `https://registry.example/v1/` means `registry.example`; scheme and API version say nothing.
//! - A host matches label by label (`*.registry.example` is one label more, never two), its port has to be the same.
//! - A path matches images whose path begins with it, as text.
//! - Every entry that matches is tried, the longer key before its own beginning (keys in reverse order).
//! - Docker Hub's own key counts when no other entry matches.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// Where `docker login` without a host puts what it was told.
const DOCKER_HUB_KEY: &str = "index.docker.io";

/// What a Secret of today is, and the key of its document.
const CONFIG_JSON: (&str, &str) = ("kubernetes.io/dockerconfigjson", ".dockerconfigjson");

/// The same before 2016: the entries alone.
const CONFIG: (&str, &str) = ("kubernetes.io/dockercfg", ".dockercfg");

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    pub(super) username: String,
    pub(super) password: Zeroizing<String>,
}

/// Logins by the key under which they were written.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    logins: BTreeMap<String, Vec<Login>>,
}

/// Why a Secret holds no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Of another type.
    #[error("its type is {0:?}; credentials for registries are of type kubernetes.io/dockerconfigjson")]
    Type(String),
    /// Without the document.
    #[error("it has no key {0:?}")]
    Key(&'static str),
    /// The document cannot be read. What it says is not repeated: it is secret.
    #[error("{key} cannot be read as JSON: line {line}, column {column}")]
    Json {
        /// Of which key.
        key: &'static str,
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// An entry whose `auth` is not what `docker login` writes.
    #[error("the entry {0:?} has an `auth` that is not the base64 of user:password")]
    Auth(String),
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    username: String,
    #[serde(default, deserialize_with = "secret")]
    password: Zeroizing<String>,
    #[serde(default, deserialize_with = "secret")]
    auth: Zeroizing<String>,
}

// === impl Keyring ===

impl Keyring {
    /// Takes in what a Secret of type `kind` holds.
    ///
    /// # Errors
    /// [`Error`]: then nothing of it was taken in.
    pub fn add<D: AsRef<[u8]>>(&mut self, kind: &str, data: &BTreeMap<String, D>) -> Result<(), Error> {
        let document = |key: &'static str| data.get(key).map(AsRef::as_ref).ok_or(Error::Key(key));
        let entries = match kind {
            kind if kind == CONFIG_JSON.0 => read::<Config>(CONFIG_JSON.1, document(CONFIG_JSON.1)?)?.auths,
            kind if kind == CONFIG.0 => read::<BTreeMap<String, Entry>>(CONFIG.1, document(CONFIG.1)?)?,
            other => return Err(Error::Type(other.chars().take(80).collect())),
        };
        let logins = entries.into_iter().map(|(key, entry)| Ok((normal(&key), entry.login(&key)?)));
        for (key, login) in logins.collect::<Result<Vec<_>, Error>>()? {
            self.logins.entry(key).or_default().extend(login);
        }
        Ok(())
    }

    /// Every login for an image (`registry.example/a/b`, without tag or digest), in the order in which they are tried.
    #[must_use]
    pub fn lookup(&self, image: &str) -> Vec<Login> {
        let matching = self.logins.iter().rev().filter(|(key, _)| matches(key, image));
        let found: Vec<Login> = matching.flat_map(|(_, logins)| logins.clone()).collect();
        match (found.is_empty(), image.starts_with("docker.io/")) {
            (true, true) => self.logins.get(DOCKER_HUB_KEY).cloned().unwrap_or_default(),
            (_, _) => found,
        }
    }
}

impl Entry {
    /// None: an entry that says nothing, as credential helpers leave them.
    fn login(self, key: &str) -> Result<Option<Login>, Error> {
        if self.auth.is_empty() {
            let login = Login { username: self.username, password: self.password };
            return Ok((!login.username.is_empty() || !login.password.is_empty()).then_some(login));
        }
        let refused = || Error::Auth(key.chars().filter(|c| !c.is_control()).take(80).collect());
        let text = self.auth.trim();
        let engine = if text.ends_with('=') { &BASE64_STANDARD } else { &BASE64_STANDARD_NO_PAD };
        let bytes = Zeroizing::new(engine.decode(text).map_err(|_| refused())?);
        let text = std::str::from_utf8(&bytes).map_err(|_| refused())?;
        let (username, password) = text.split_once(':').ok_or_else(refused)?;
        Ok(Some(Login { username: username.to_owned(), password: Zeroizing::new(password.to_owned()) }))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("username", &self.username).finish_non_exhaustive()
    }
}

/// A text that is wiped when it goes.
pub(super) fn secret<'de, D: Deserializer<'de>>(text: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(text).map(Zeroizing::new)
}

fn read<'a, T: Deserialize<'a>>(key: &'static str, bytes: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Json { key, line: error.line(), column: error.column() })
}

/// The key without scheme and API version, without a slash at its end.
fn normal(key: &str) -> String {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = split(bare);
    let path = if path.starts_with("/v1/") || path.starts_with("/v2/") { &path[3..] } else { path };
    if path == "/" { host.to_owned() } else { format!("{host}{path}") }
}

/// The host, and everything from the first slash on.
fn split(text: &str) -> (&str, &str) {
    text.split_at(text.find('/').unwrap_or(text.len()))
}

fn matches(key: &str, image: &str) -> bool {
    let ((key_host, key_path), (image_host, image_path)) = (split(key), split(image));
    let port = |host: &str| host.split_once(':').map_or("", |(_, port)| port).to_owned();
    let labels = |host: &str| host.split(':').next().unwrap_or("").split('.').map(str::to_owned).collect::<Vec<_>>();
    let (key_labels, image_labels) = (labels(key_host), labels(image_host));
    port(key_host) == port(image_host)
        && key_labels.len() == image_labels.len()
        && image_path.starts_with(key_path)
        && key_labels.iter().zip(&image_labels).all(|(pattern, label)| glob(pattern.as_bytes(), label.as_bytes()))
}

/// `*` any number, `?` one. Looks back at the last star only, so that no pattern costs more than its length times the label's.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests;
