//! `ReleaseService`.

use bytes::Bytes;
use domain::{Channel, Kind, ReleaseId};
use futures_util::StreamExt as _;
use proto::convert::{self, vocabulary};
use proto::v1;
use proto::v1::release_service_server::ReleaseService;
use tonic::{Request, Response, Status, Streaming};

use crate::app::release::ReleaseFilter;
use crate::app::upgrade::Mode;
use crate::grpc::access;
use crate::grpc::error;
use crate::grpc::wire::{Service, done, field, page};

/// Largest message of an upload: 1 MiB of bytes and what stands around them.
pub const MAX_MESSAGE_BYTES: usize = (1 << 20) + (64 << 10);

#[tonic::async_trait]
impl ReleaseService for Service {
    async fn create_release(
        &self,
        request: Request<v1::CreateReleaseRequest>,
    ) -> Result<Response<v1::Release>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let id = ReleaseId {
            kind: kind(request.kind)?,
            version: field(convert::field::required("version", &request.version))?,
        };
        let channel = channel(request.channel)?;
        let created = self.app.release_create(&caller, &id, channel, &request.release_notes);
        Ok(Response::new(done(created.await)?.into()))
    }

    async fn upload_artifact(
        &self,
        request: Request<Streaming<v1::UploadArtifactRequest>>,
    ) -> Result<Response<v1::Release>, Status> {
        let caller = access::caller(&request)?;
        let mut messages = request.into_inner();
        let (id, artifact) = header(messages.next().await.transpose()?)?;
        let mut incoming = done(self.app.artifact_begin(&caller, &id, artifact).await)?;
        while let Some(message) = messages.next().await.transpose()? {
            let chunk = chunk(message)?;
            done(incoming.write(&self.app, chunk).await)?;
        }
        let release = done(self.app.artifact_finish(&caller, incoming).await)?;
        Ok(Response::new(release.into()))
    }

    async fn add_release_signature(
        &self,
        request: Request<v1::AddReleaseSignatureRequest>,
    ) -> Result<Response<v1::Release>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let id = field(convert::release::name("name", &request.name))?;
        let platform = field(convert::field::optional("platform", &request.platform))?;
        let text = &request.minisign_signature;
        let signed = self.app.release_add_signature(&caller, &id, platform.as_ref(), text);
        Ok(Response::new(done(signed.await)?.into()))
    }

    async fn get_release(&self, request: Request<v1::GetReleaseRequest>) -> Result<Response<v1::Release>, Status> {
        let caller = access::caller(&request)?;
        let id = field(convert::release::name("name", &request.get_ref().name))?;
        Ok(Response::new(done(self.app.release_get(&caller, &id).await)?.into()))
    }

    async fn list_releases(
        &self,
        request: Request<v1::ListReleasesRequest>,
    ) -> Result<Response<v1::ListReleasesResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let page = page(request.page_size, &request.page_token);
        let listed = done(self.app.release_list(&caller, filter(&request)?, &page).await)?;
        Ok(Response::new(v1::ListReleasesResponse {
            releases: listed.rows.into_iter().map(Into::into).collect(),
            next_page_token: listed.next_page_token,
        }))
    }

    async fn publish_release(
        &self,
        request: Request<v1::PublishReleaseRequest>,
    ) -> Result<Response<v1::PublishReleaseResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let id = field(convert::release::name("name", &request.name))?;
        let mode = if request.validate_only { Mode::ValidateOnly } else { Mode::Write };
        let published = done(self.app.release_publish(&caller, &id, mode).await)?;
        Ok(Response::new(v1::PublishReleaseResponse {
            release: Some(published.release.into()),
            warnings: published.warnings,
        }))
    }

    async fn yank_release(&self, request: Request<v1::YankReleaseRequest>) -> Result<Response<v1::Release>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let id = field(convert::release::name("name", &request.name))?;
        let yanked = done(self.app.release_yank(&caller, &id, &request.reason).await)?;
        Ok(Response::new(yanked.into()))
    }

    async fn compare_releases(
        &self,
        request: Request<v1::CompareReleasesRequest>,
    ) -> Result<Response<v1::CompareReleasesResponse>, Status> {
        let caller = access::caller(&request)?;
        let request = request.into_inner();
        let kind = kind(request.kind)?;
        let from = field(convert::field::required("from_version", &request.from_version))?;
        let to = field(convert::field::required("to_version", &request.to_version))?;
        let compared = done(self.app.release_compare(&caller, kind, &from, &to).await)?;
        Ok(Response::new(v1::CompareReleasesResponse {
            releases: compared.releases.into_iter().map(Into::into).collect(),
            major_hop: compared.major_hop,
            size_delta_bytes: compared.size_delta_bytes.into_iter().collect(),
        }))
    }
}

/// What is not set takes all.
fn filter(request: &v1::ListReleasesRequest) -> Result<ReleaseFilter, Status> {
    let status = |value| {
        let rule = "is none of STATUS_DRAFT, STATUS_PUBLISHED, STATUS_YANKED";
        vocabulary::release_status(value).ok_or_else(|| error::field("status", rule))
    };
    let set = |value: i32| (value != 0).then_some(value);
    Ok(ReleaseFilter {
        kind: set(request.kind).map(kind).transpose()?,
        channel: set(request.channel).map(channel).transpose()?,
        status: set(request.status).map(status).transpose()?,
    })
}

fn kind(value: i32) -> Result<Kind, Status> {
    vocabulary::kind(value).ok_or_else(|| error::field("kind", "is required: AGENT or OPERATOR"))
}

fn channel(value: i32) -> Result<Channel, Status> {
    match (value, vocabulary::channel(value)) {
        (0, _) => Ok(Channel::Stable),
        (_, Some(channel)) => Ok(channel),
        (_, None) => Err(error::field("channel", "is none of STABLE, BETA, DEV")),
    }
}

fn header(first: Option<v1::UploadArtifactRequest>) -> Result<(ReleaseId, domain::Artifact), Status> {
    use v1::upload_artifact_request::Message;
    let Some(Message::Header(header)) = first.and_then(|first| first.message) else {
        return Err(error::field("header", "is required as the first message"));
    };
    let id = field(convert::release::name("header.release", &header.release))?;
    let wire = header.artifact.ok_or_else(|| error::field("header.artifact", "is required"))?;
    let artifact = field(wire.try_into().map_err(|wrong: convert::Error| wrong.within("header.artifact")))?;
    Ok((id, artifact))
}

fn chunk(message: v1::UploadArtifactRequest) -> Result<Bytes, Status> {
    use v1::upload_artifact_request::Message;
    match message.message {
        Some(Message::Chunk(chunk)) => Ok(chunk.into()),
        Some(Message::Header(_)) => Err(error::field("header", "came twice; it is sent once, first")),
        None => Err(error::field("chunk", "is required in each message after the first")),
    }
}
