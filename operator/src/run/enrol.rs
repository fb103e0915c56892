//! How this operator gets its certificate, once: by a join token, or by its cluster's word. Files are read for each try: the kubelet
//! replaces a projected token, and a person a Secret.

use std::fs;
use std::path::{Path, PathBuf};

use domain::JoinSecret;
use executor_sdk::credentials::Credentials;
use executor_sdk::enrol::{self, ClusterWord};
use zeroize::Zeroizing;

use crate::args::Enrolment;
use crate::keep::Kept;

/// Why there is no certificate yet.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Nothing to enrol with.
    #[error(
        "nothing to enrol with was given: set NOVACULA_JOIN_TOKEN_FILE, or NOVACULA_SERVICE_ACCOUNT_TOKEN_FILE with NOVACULA_ENDPOINT and NOVACULA_CA_FILE"
    )]
    Nothing,
    /// A file cannot be read.
    #[error("read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It holds no join token.
    #[error("{path} holds no join token")]
    JoinToken {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: domain::join::Error,
    },
    /// The control plane did not agree.
    #[error(transparent)]
    Enrol(#[from] enrol::Error),
}

/// Enrols by what was set.
///
/// # Errors
/// [`Error`]; it may be tried again.
pub(super) async fn enrol(set: &Enrolment, kept: &Kept) -> Result<Credentials, Error> {
    let name = set.executor_name.as_ref();
    if let (Some(token), Some(authorities), Some(endpoint)) =
        (&set.service_account_token_file, &set.ca_file, &set.endpoint)
    {
        let word = ClusterWord {
            token: read(token)?,
            endpoint: endpoint.clone(),
            authorities: read(authorities)?.to_string(),
        };
        return Ok(enrol::enrol_by_cluster(&word, name, kept).await?);
    }
    let path = set.join_token_file.as_ref().ok_or(Error::Nothing)?;
    let mut join: JoinSecret =
        read(path)?.trim().parse().map_err(|source| Error::JoinToken { path: path.clone(), source })?;
    if let Some(endpoint) = &set.endpoint {
        join.endpoint = endpoint.clone();
    }
    Ok(enrol::enrol(&join, name, kept).await?)
}

fn read(path: &Path) -> Result<Zeroizing<String>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    Ok(Zeroizing::new(text))
}
