//! Where the control plane is: what the pod's environment says has the last word over the credentials.
//!
//! A candidate proves itself there before anything is kept. So an address that leads nowhere never makes a pod ready: the pod
//! before it stays, and goes on where it was. Whoever leads keeps the address, for the day on which nobody says one any more.

use domain::join::Endpoint;
use executor_sdk::credentials::{Credentials, Error, Keeper as _};
use tokio::task::spawn_blocking;

use crate::keep::Kept;

/// The credentials, as they lead to where the environment says; and whether that is elsewhere than they said.
#[must_use]
pub fn moved(mut credentials: Credentials, said: Option<&Endpoint>) -> (Credentials, bool) {
    let is_new = said.is_some_and(|endpoint| credentials.move_to(endpoint));
    (credentials, is_new)
}

/// Keeps where the environment says that the control plane is.
///
/// # Errors
/// The credentials cannot be read or written.
pub async fn keep(kept: &Kept, said: Option<&Endpoint>) -> Result<(), Error> {
    let (credentials, is_new) = moved(kept.credentials().await?, said);
    if !is_new {
        return Ok(());
    }
    tracing::info!(endpoint = %credentials.endpoints[0], "the control plane has moved, says the environment");
    let (store, place) = (kept.clone(), kept.to_string());
    let saved = spawn_blocking(move || store.save(&credentials)).await;
    saved.unwrap_or_else(|error| Err(Error::Elsewhere { place, source: Box::new(error) }))
}
