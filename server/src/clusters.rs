//! Clusters whose word counts for their operator: a file says which ServiceAccount of which issuer is which executor. What a
//! token is worth is judged purely in [`token`]; the clusters' public keys are read by [`keys`].
//!
//! ```toml
//! [[cluster]]
//! name = "east"
//! organization = "acme"
//! executor = "east"
//! issuer = "https://kubernetes.default.svc"
//! audience = "novacula"
//! subject = "system:serviceaccount:novacula-system:novacula-operator"
//! keys_file = "east-keys.json"              # kubectl get --raw /openid/v1/jwks
//! # keys_url = "https://east.example:6443/openid/v1/jwks", keys_ca_file = "east-ca.pem"
//! ```
//!
//! Many clusters call themselves by the same issuer, so it is the keys that tell them apart.

pub mod keys;

pub mod token;

#[cfg(test)]
pub(crate) mod testing;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use domain::{ExecutorId, OrganizationId, Timestamp};
use serde::Deserialize;

use keys::KeySource;
use token::{Claims, Refused, Unproved};

/// Every cluster that is trusted.
#[derive(Debug, Default)]
pub struct Clusters {
    clusters: Vec<Cluster>,
}

/// One cluster, and the one executor that it speaks for.
#[derive(Debug)]
pub struct Cluster {
    /// For people and the audit.
    pub name: String,
    /// Where its operator belongs.
    pub organization: OrganizationId,
    /// The operator's name there.
    pub executor: ExecutorId,
    /// Who signs its tokens, as they say it.
    pub issuer: String,
    /// For whom the token has to be: a token for the cluster's own API is none of ours.
    pub audience: String,
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub subject: String,
    /// Its public keys.
    pub keys: KeySource,
}

/// A token that was proven.
#[derive(Clone, Debug)]
pub struct Vouched<'a> {
    /// By which cluster.
    pub cluster: &'a Cluster,
    /// What it says.
    pub claims: Claims,
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not proven, so nothing is said about it.
    #[error("the ServiceAccount token is not one of a cluster that is trusted here")]
    Unknown,
    /// It is, and something else is wrong with it.
    #[error("the ServiceAccount token of cluster {cluster:?} {why}")]
    Refused {
        /// Which cluster.
        cluster: String,
        /// What.
        why: Refused,
    },
    /// The cluster's keys cannot be had now.
    #[error("the keys of cluster {cluster:?} cannot be had now; try again")]
    Keys {
        /// Which cluster.
        cluster: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    cluster: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    organization: String,
    executor: String,
    issuer: String,
    audience: String,
    subject: String,
    keys_file: Option<String>,
    keys_url: Option<String>,
    keys_ca_file: Option<String>,
}

// === impl Clusters ===

impl Clusters {
    /// Reads the file. Paths in it are relative to its own folder. Blocks on the disk.
    ///
    /// # Errors
    /// Every mistake, one sentence each.
    pub fn read(path: &Path) -> Result<Self, Vec<String>> {
        let text = fs::read_to_string(path).map_err(|error| vec![format!("{}: {error}", path.display())])?;
        let file: File =
            toml::from_str(&text).map_err(|error| vec![format!("{}: {}", path.display(), error.to_string().trim())])?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let (mut clusters, mut mistakes) = (Vec::new(), Vec::new());
        let (mut names, mut executors) = (BTreeSet::new(), BTreeSet::new());
        for row in file.cluster {
            let mut wrong = |why: String| mistakes.push(format!("{}: cluster {:?}: {why}", path.display(), row.name));
            if !names.insert(row.name.clone()) {
                wrong("another one has this name".to_owned());
            }
            if !executors.insert((row.organization.clone(), row.executor.clone())) {
                wrong(format!("another one speaks for executor {:?} of {:?}", row.executor, row.organization));
            }
            if let Some(cluster) = row.judged(folder, &mut wrong) {
                clusters.push(cluster);
            }
        }
        if mistakes.is_empty() { Ok(Self { clusters }) } else { Err(mistakes) }
    }

    /// Proves a token: signed by a key of a cluster that is trusted, of the subject that is named for it, for us, and of now.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn prove(&self, text: &str, now: Timestamp) -> Result<Vouched<'_>, Error> {
        let unproved = Unproved::read(text).ok_or(Error::Unknown)?;
        let mut worst = Error::Unknown;
        for cluster in &self.clusters {
            if !unproved.is_said_to_be_of(&cluster.issuer, &cluster.subject) {
                continue;
            }
            let keys = match cluster.keys.get(unproved.key_id()).await {
                Ok(keys) => keys,
                Err(error) => {
                    let error = crate::observe::chain(&error);
                    tracing::warn!(cluster = cluster.name, error, "a cluster's keys cannot be had");
                    worst = Error::Keys { cluster: cluster.name.clone() };
                    continue;
                }
            };
            let Some(claims) = unproved.proven_by(&keys) else { continue };
            let judged = claims.judge(&cluster.audience, now);
            return match judged {
                Ok(()) => Ok(Vouched { cluster, claims }),
                Err(why) => Err(Error::Refused { cluster: cluster.name.clone(), why }),
            };
        }
        Err(worst)
    }
}

impl Row {
    fn judged(&self, folder: &Path, wrong: &mut dyn FnMut(String)) -> Option<Cluster> {
        let mut note = |setting: &str, rule: String| wrong(format!("{setting} {rule}"));
        let organization =
            OrganizationId::new(&self.organization).map_err(|error| note("organization:", error.to_string())).ok();
        let executor = ExecutorId::new(&self.executor).map_err(|error| note("executor:", error.to_string())).ok();
        for (setting, value) in [("name", &self.name), ("issuer", &self.issuer), ("audience", &self.audience)] {
            if value.is_empty() || value.len() > 256 || value.chars().any(char::is_control) {
                note(setting, "is not 1 to 256 characters of one line".to_owned());
            }
        }
        let parts: Vec<&str> = self.subject.split(':').collect();
        if !matches!(parts[..], ["system", "serviceaccount", namespace, name] if !namespace.is_empty() && !name.is_empty())
        {
            note("subject", format!("{:?} is not system:serviceaccount:NAMESPACE:NAME", self.subject));
        }
        let at = |path: &String| folder.join(path);
        let keys = match (&self.keys_file, &self.keys_url, &self.keys_ca_file) {
            (Some(file), None, None) => KeySource::file(at(file)),
            (None, Some(url), Some(ca)) => KeySource::url(url, &at(ca)),
            (_, _, _) => Err("wants either keys_file, or keys_url and keys_ca_file".to_owned()),
        };
        let keys = keys.map_err(|why| note("keys:", why)).ok();
        Some(Cluster {
            name: self.name.clone(),
            organization: organization?,
            executor: executor?,
            issuer: self.issuer.clone(),
            audience: self.audience.clone(),
            subject: self.subject.clone(),
            keys: keys?,
        })
    }
}

#[cfg(test)]
mod tests;
