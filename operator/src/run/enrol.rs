//! How this operator gets its certificate: once by a join token, or by its cluster's word. Files are read for each try: the kubelet
//! replaces a projected token, and a person a Secret.
//!
//! And how it gets the next one before it may speak. Whoever leads renews in time over its stream; a cluster that was off for longer than
//! its certificate is good has nobody who leads, and comes back by this.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use domain::JoinSecret;
use executor_sdk::connect;
use executor_sdk::credentials::Credentials;
use executor_sdk::enrol::{self, ClusterWord};
use zeroize::Zeroizing;

use crate::args::Enrolment;
use crate::keep::Kept;
use crate::whereabouts;

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

/// Renews a certificate that the control plane takes for nothing else, where the environment says that the control plane is.
///
/// # Errors
/// [`Error`]; it may be tried again.
pub(super) async fn renew(set: &Enrolment, kept: &Kept) -> Result<Credentials, Error> {
    let (credentials, _) =
        whereabouts::moved(kept.credentials().await.map_err(enrol::Error::from)?, set.endpoint.as_ref());
    let tls = connect::tls(&credentials).map_err(enrol::Error::from)?;
    let (first, others) = credentials.endpoints.split_first().expect("credentials name an endpoint");
    let mut dialled = connect::dial(first, Arc::clone(&tls)).await;
    for endpoint in others {
        if dialled.is_err() {
            dialled = connect::dial(endpoint, Arc::clone(&tls)).await;
        }
    }
    Ok(enrol::renew(&dialled.map_err(enrol::Error::from)?, &credentials, kept).await?)
}

fn read(path: &Path) -> Result<Zeroizing<String>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    Ok(Zeroizing::new(text))
}
