//! Where a control plane is: for those who stand before it also while no process is behind it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::client::Client;
use crate::control_plane::{dial, trusting};
use crate::daemon::Daemon;

/// The addresses of one control plane, over its restarts.
#[derive(Clone, Debug)]
pub struct Door {
    api: SocketAddr,
    executors: SocketAddr,
    ca: PathBuf,
    tokens: PathBuf,
}

// === impl Door ===

impl Door {
    /// Of this control plane.
    #[must_use]
    pub fn of(daemon: &Daemon) -> Self {
        Self { api: daemon.api_addr(), executors: daemon.executor_addr(), ca: daemon.ca(), tokens: daemon.tokens() }
    }

    /// Where executors connect.
    #[must_use]
    pub const fn executor_addr(&self) -> SocketAddr {
        self.executors
    }

    /// One who has the token of `role`, as bootstrap wrote it.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn client(&self, role: &str) -> Result<Client> {
        let token = fs::read_to_string(self.tokens.join(format!("{role}.token"))).context(role.to_owned())?;
        let channel = dial(self.api, trusting(&self.ca)?).await?;
        Ok(Client::new(channel, Some(token.trim())))
    }
}
