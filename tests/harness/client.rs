//! Typed clients of every API service, with a bearer token or without.

use proto::v1::event_service_client::EventServiceClient;
use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::organization_service_client::OrganizationServiceClient;
use proto::v1::release_service_client::ReleaseServiceClient;
use proto::v1::upgrade_service_client::UpgradeServiceClient;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

/// Puts the token into each request.
#[derive(Clone, Debug)]
pub struct Bearer(Option<AsciiMetadataValue>);

/// What the generated clients stand on.
pub type Transport = InterceptedService<Channel, Bearer>;

/// A caller of the API.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    bearer: Bearer,
}

// === impl Client ===

impl Client {
    /// The bearer of `secret`; none: nobody.
    #[must_use]
    pub fn new(channel: Channel, secret: Option<&str>) -> Self {
        let value = secret.map(|secret| format!("Bearer {secret}").parse().expect("tokens are printable"));
        Self { channel, bearer: Bearer(value) }
    }

    /// `ExecutorService`.
    #[must_use]
    pub fn executors(&self) -> ExecutorServiceClient<Transport> {
        ExecutorServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// `UpgradeService`.
    #[must_use]
    pub fn upgrades(&self) -> UpgradeServiceClient<Transport> {
        UpgradeServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// `ReleaseService`.
    #[must_use]
    pub fn releases(&self) -> ReleaseServiceClient<Transport> {
        ReleaseServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// `OrganizationService`.
    #[must_use]
    pub fn organizations(&self) -> OrganizationServiceClient<Transport> {
        OrganizationServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// `EventService`.
    #[must_use]
    pub fn events(&self) -> EventServiceClient<Transport> {
        EventServiceClient::with_interceptor(self.channel.clone(), self.bearer.clone())
    }

    /// Any RPC by its path, with an empty message: enough to see whether it lets the caller in.
    ///
    /// # Errors
    /// Its status.
    pub async fn call(&self, path: &'static str) -> Result<(), Status> {
        self.raw(path, ()).await
    }

    /// Any RPC by its path, with these bytes as its field 1, whatever it should be.
    ///
    /// # Errors
    /// Its status.
    pub async fn say(&self, path: &'static str, bytes: Vec<u8>) -> Result<(), Status> {
        self.raw(path, bytes).await
    }

    async fn raw<T>(&self, path: &'static str, message: T) -> Result<(), Status>
    where
        T: prost::Message + Send + Sync + 'static,
    {
        let service = InterceptedService::new(self.channel.clone(), self.bearer.clone());
        let mut grpc = tonic::client::Grpc::new(service);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| Status::unknown(error.to_string());
        grpc.ready().await.map_err(|error| failed(error.into()))?;
        let codec = tonic_prost::ProstCodec::<T, ()>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let answer = grpc.server_streaming(Request::new(message), path, codec).await?;
        let mut messages = answer.into_inner();
        // The first word is enough: watches say nothing more for a while.
        messages.message().await.map(|_| ())
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// The machine's word of a refusal, `EXECUTOR_OFFLINE`; empty when it has none.
#[must_use]
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// The fields that a refusal names.
#[must_use]
pub fn fields(status: &Status) -> Vec<String> {
    let details = status.get_details_bad_request();
    let violations = details.map(|details| details.field_violations).unwrap_or_default();
    violations.into_iter().map(|violation| violation.field).collect()
}
