//! How a pod becomes ready: it proves that it can authenticate to the control plane, without touching the session of the pod that
//! speaks now. Once proved it stays ready: an outage makes no pod unready.

use std::io;
use std::path::{Path, PathBuf};

use domain::join::Endpoint;
use executor_sdk::{connect, credentials, probe, report};

use crate::keep::Kept;
use crate::whereabouts;

/// What is known of this pod.
#[derive(Debug)]
pub struct Proof {
    kept: Kept,
    /// Where the control plane is, if the environment says so.
    endpoint: Option<Endpoint>,
    file: PathBuf,
    state: State,
    told: Option<String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is nothing to prove itself with: whoever holds the Lease enrols.
    NotEnrolled,
    /// The control plane does not take its certificate, but perhaps for its renewal: whoever holds the Lease asks for that.
    Late,
    /// Not yet.
    Unproved,
    /// It can reach the control plane, and authenticate.
    Proved,
}

/// Why there is no proof yet.
#[derive(Debug, thiserror::Error)]
enum Missing {
    #[error("read the credentials")]
    Credentials(#[from] credentials::Error),
    #[error("ask the control plane")]
    Probe(#[from] connect::Error),
    #[error("say that this pod is ready in {path}", path = path.display())]
    File { path: PathBuf, source: io::Error },
}

impl Missing {
    fn is_of_the_certificate(&self) -> bool {
        match self {
            Self::Probe(error) => error.is_of_the_certificate(),
            Self::Credentials(_) | Self::File { .. } => false,
        }
    }
}

impl Proof {
    /// Nothing proved yet, also if a process before this one in the same pod had.
    #[must_use]
    pub fn new(kept: Kept, endpoint: Option<Endpoint>, file: &Path) -> Self {
        // Where it is not, there is nothing to remove.
        let _ = std::fs::remove_file(file);
        Self { kept, endpoint, file: file.to_owned(), state: State::Unproved, told: None }
    }

    /// How far it is.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Tries once.
    pub async fn try_once(&mut self) {
        if self.state == State::Proved {
            return;
        }
        #[cfg(feature = "fault-points")]
        if !crate::misbehaviour::may_prove() {
            return;
        }
        match self.prove().await {
            Ok(version) => {
                tracing::info!(control_plane = version, "this pod is ready: it can reach the control plane");
                self.state = State::Proved;
            }
            Err(Missing::Credentials(credentials::Error::NotEnrolled { .. })) => self.state = State::NotEnrolled,
            Err(missing) => {
                self.state = if missing.is_of_the_certificate() { State::Late } else { State::Unproved };
                let why = report::chain(&missing);
                if self.told.as_ref() != Some(&why) {
                    tracing::warn!(error = why, "this pod is not ready yet, trying again");
                    self.told = Some(why);
                }
            }
        }
    }

    async fn prove(&self) -> Result<String, Missing> {
        let (credentials, _) = whereabouts::moved(self.kept.credentials().await?, self.endpoint.as_ref());
        let version = probe::probe(&credentials).await?;
        std::fs::write(&self.file, "").map_err(|source| Missing::File { path: self.file.clone(), source })?;
        Ok(version)
    }
}
