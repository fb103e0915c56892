//! How registries are reached, as the cluster's people set it: mirrors, authorities, and where plain HTTP is spoken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// How long one look at an image may take, all of its requests together. A registry that is slower serves no pod in time either.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How registries are reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Hosts to ask first, by the registry whose images they have.
    pub(super) mirrors: BTreeMap<String, Vec<String>>,
    /// Hosts with which plain HTTP is spoken; with no other, not even after a redirect.
    pub(super) plain_http: BTreeSet<String>,
    /// Authorities that are trusted beside the usual ones.
    pub(super) authorities: Vec<CertificateDer<'static>>,
    /// For everything together.
    pub(super) deadline: Duration,
}

// === impl Settings ===

impl Settings {
    /// From what was set: `registry.example=mirror.internal:5000`, `host:port`, and certificates in PEM.
    ///
    /// # Errors
    /// Every mistake, one sentence each.
    pub fn new(mirrors: &[String], plain_http: &[String], authorities: Option<&[u8]>) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let mut settings = Self::default();
        for mirror in mirrors {
            match mirror.split_once('=') {
                Some((registry, host)) if is_host(registry) && is_host(host) => {
                    settings.mirrors.entry(registry.to_owned()).or_default().push(host.to_owned());
                }
                _ => mistakes.push(format!("registry mirror {mirror:?} is not REGISTRY=HOST, each host or host:port")),
            }
        }
        for host in plain_http {
            if is_host(host) {
                settings.plain_http.insert(host.clone());
            } else {
                mistakes.push(format!("plain HTTP registry {host:?} is not host or host:port"));
            }
        }
        match authorities.map(read) {
            None => {}
            Some(Ok(read)) => settings.authorities = read,
            Some(Err(mistake)) => mistakes.push(mistake),
        }
        if mistakes.is_empty() { Ok(settings) } else { Err(mistakes) }
    }

    /// The same, with another time for everything together.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self { mirrors: BTreeMap::new(), plain_http: BTreeSet::new(), authorities: Vec::new(), deadline: DEADLINE }
    }
}

/// By the rules that manifests have for a registry's host.
fn is_host(text: &str) -> bool {
    let (name, port) = text.split_once(':').map_or((text, None), |(name, port)| (name, Some(port)));
    let label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.bytes().all(inner)
    };
    let is_port = |port: &str| !port.starts_with(['0', '+']) && port.parse::<u16>().is_ok();
    name.split('.').all(label) && port.is_none_or(is_port)
}

fn read(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(authorities) if !authorities.is_empty() => Ok(authorities),
        Ok(_) => Err("the file of registries' authorities holds no certificate (PEM)".to_owned()),
        Err(error) => Err(format!("the file of registries' authorities cannot be read as PEM: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let mirrors = list(&["registry.example=mirror:5000", "registry.example", "a=http://b", "=b"]);
        let mistakes = Settings::new(&mirrors, &list(&["localhost:5000", "x:0", "x/y"]), Some(b"nothing"));
        let mistakes = mistakes.expect_err("mistakes");
        assert_eq!(mistakes.len(), 6, "{mistakes:?}");
        assert!(mistakes[0].contains("\"registry.example\""), "{mistakes:?}");
    }

    #[test]
    fn mirrors_are_asked_in_their_order() {
        let mirrors = list(&["registry.example=b:1", "other.example=c", "registry.example=a:1"]);
        let settings = Settings::new(&mirrors, &[], None).expect("settings");
        assert_eq!(settings.mirrors["registry.example"], ["b:1", "a:1"]);
    }
}
