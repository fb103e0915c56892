//! `SyncService`: the executor's stream, and `Probe`. What is said is [`crate::session`]'s affair; here it is encoded.

use std::pin::Pin;
use std::sync::Arc;

use domain::sync::Response as Answer;
use futures_util::{Stream, StreamExt as _};
use proto::v1;
use proto::v1::sync_service_server::{SyncService, SyncServiceServer};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::grpc::error;
use crate::session::Sessions;
use crate::session::driver::{Broken, Peer};
use crate::session::outbox::Said;
use crate::tls::identity;

/// Largest message taken from an executor, in bytes: a report with a full log tail is a tenth of it, an inventory of 3,000
/// nodes fits.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// The service.
#[derive(Debug)]
pub struct Sync {
    sessions: Arc<Sessions>,
}

/// The service, bounded, for the executor listener.
#[must_use]
pub fn service(sessions: Arc<Sessions>) -> SyncServiceServer<Sync> {
    SyncServiceServer::new(Sync { sessions }).max_decoding_message_size(MAX_MESSAGE_BYTES)
}

type Body = Pin<Box<dyn Stream<Item = Result<v1::SyncExecutorResponse, Status>> + Send>>;

#[tonic::async_trait]
impl SyncService for Sync {
    type SyncExecutorStream = Body;

    async fn sync_executor(
        &self,
        request: Request<Streaming<v1::SyncExecutorRequest>>,
    ) -> Result<Response<Body>, Status> {
        let identity = identity::executor(&request)?;
        let peer = Peer { uid: identity.uid, certificate: identity.certificate };
        let inbound = request.into_inner().map(|message| message.map_err(broken));
        let body = self.sessions.serve(peer, inbound).map(encode);
        Ok(Response::new(Box::pin(body)))
    }

    async fn probe(&self, request: Request<v1::ProbeRequest>) -> Result<Response<v1::ProbeResponse>, Status> {
        identity::executor(&request)?;
        let server_version = self.sessions.app().settings().server_version.to_string();
        Ok(Response::new(v1::ProbeResponse { server_version }))
    }
}

/// What a message that cannot be read, or a stream that breaks off, is called.
fn broken(status: Status) -> Broken {
    let why = proto::convert::text::line(status.message(), proto::convert::text::NOTE_MAX_BYTES);
    // tonic keeps the transport's error as the source; what its decoder cannot read has none.
    if std::error::Error::source(&status).is_some() || status.code() == Code::Cancelled {
        Broken::Off(why)
    } else {
        Broken::Unreadable(why)
    }
}

fn encode(said: Said) -> Result<v1::SyncExecutorResponse, Status> {
    match said {
        Said::Answer(answer) => Ok(answer.into()),
        Said::Desired { desired, rollback_to } => {
            let mut wire: v1::SyncExecutorResponse = Answer::Desired(*desired).into();
            if let Some(v1::sync_executor_response::Message::Desired(desired)) = &mut wire.message
                && let Some(v1::desired::Spec::Rollback(rollback)) = &mut desired.spec
                && let Some(version) = rollback_to
            {
                rollback.version = version.to_string();
            }
            Ok(wire)
        }
        Said::Close(close) => Err(error::refused(&close.refusal())),
    }
}
