//! [`probe`]: can this code, with these credentials, authenticate to the control plane? Touches no session, version or last
//! seen, so the old version may ask while the new one runs.

use std::sync::Arc;

use domain::join::Endpoint;
use proto::v1::ProbeRequest;
use proto::v1::sync_service_client::SyncServiceClient;
use rustls::ClientConfig;

use crate::connect;
use crate::credentials::Credentials;

/// Asks each endpoint in turn until one answers; says the control plane's version.
///
/// # Errors
/// What the last endpoint said, or why it could not be reached: inside [`connect::DIAL_DEADLINE`] and
/// [`connect::CALL_DEADLINE`] each.
pub async fn probe(credentials: &Credentials) -> Result<String, connect::Error> {
    let tls = connect::tls(credentials)?;
    let (last, others) = credentials.endpoints.split_last().expect("credentials name an endpoint");
    for endpoint in others {
        if let Ok(version) = ask(endpoint, Arc::clone(&tls)).await {
            return Ok(version);
        }
    }
    ask(last, tls).await
}

async fn ask(endpoint: &Endpoint, tls: Arc<ClientConfig>) -> Result<String, connect::Error> {
    let connection = connect::dial(endpoint, tls).await?;
    let mut client = SyncServiceClient::new(connection.channel());
    let answer = connection.call(client.probe(ProbeRequest {})).await?;
    Ok(answer.server_version)
}
