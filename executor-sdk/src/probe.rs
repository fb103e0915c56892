//! [`probe`]: can this code, with these credentials, authenticate to the control plane? Touches no session, version or last
//! seen, so the old version may ask while the new one runs.

use proto::v1::ProbeRequest;
use proto::v1::sync_service_client::SyncServiceClient;

use crate::connect::{self, CALL_DEADLINE, Cause};
use crate::credentials::Credentials;

/// Asks each endpoint in turn until one answers; says the control plane's version.
///
/// # Errors
/// What the last endpoint said, or why it could not be reached: inside [`connect::DIAL_DEADLINE`] and [`CALL_DEADLINE`] each.
pub async fn probe(credentials: &Credentials) -> Result<String, connect::Error> {
    let tls = connect::tls(credentials)?;
    let (last, others) = credentials.endpoints.split_last().expect("credentials name an endpoint");
    for endpoint in others {
        if let Ok(version) = ask(endpoint, tls.clone()).await {
            return Ok(version);
        }
    }
    ask(last, tls).await
}

async fn ask(
    endpoint: &domain::join::Endpoint,
    tls: std::sync::Arc<rustls::ClientConfig>,
) -> Result<String, connect::Error> {
    let channel = connect::dial(endpoint, tls).await?;
    let mut client = SyncServiceClient::new(channel);
    match tokio::time::timeout(CALL_DEADLINE, client.probe(ProbeRequest {})).await {
        Ok(Ok(answer)) => Ok(answer.into_inner().server_version),
        Ok(Err(status)) => Err(connect::Error::of_call(endpoint, &status)),
        Err(_) => Err(connect::Error::Dial {
            endpoint: endpoint.clone(),
            cause: Cause::Timeout,
        }),
    }
}
